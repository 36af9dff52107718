"""Useful operations of a step on the drawn prompts and answers, by phase."""

from collections.abc import Sequence
from typing import Any

from editgrpo.training.estimate.flops import FORWARD, Rows, Work, text_flops, vision_flops
from editgrpo.training.estimate.read_shape import shape_of
from editgrpo.training.policy.processor import EncodedPrompt

# A pass forward and backward, by the usual count: what gradient checkpointing computes again is no
# useful work.
_TRAINED = Work(matrices=3, attention=3, head=3)


def packed_rows(prompts: Sequence[EncodedPrompt], lengths: Sequence[Sequence[int]]) -> Rows:
    """Count what a pass over packed groups computes, nothing that is masked out.

    Args:
        prompts: The prompts.
        lengths: Lengths of each prompt's answers.
    """
    tokens = pairs = scored = 0.0
    for prompt, answers in zip(prompts, lengths, strict=True):
        prefix = prompt.input_ids_T.shape[0] - 1
        tokens += prefix + sum(answers)
        pairs += prefix**2 / 2 + sum(n * (prefix + n / 2) for n in answers)
        scored += sum(answers)
    return Rows(tokens=tokens, pairs=pairs, scored=scored)


def step_flops(
    config: Any, prompts: Sequence[EncodedPrompt], lengths: Sequence[Sequence[int]], samples: int
) -> dict[str, float]:
    """Count the useful operations of a step by phase.

    Args:
        config: Of the model.
        prompts: The step's prompts.
        lengths: Lengths of each prompt's answers, sampled ones first.
        samples: Sampled answers of each prompt.

    Returns:
        Operations of `vision`, `prefill`, `decode`, `reference`, `forward`, `backward`, `update`
        (the last two together) and `step`.
    """
    shape = shape_of(config)
    sizes = [prompt.input_ids_T.shape[0] for prompt in prompts]
    grids = [prompt.image_grid_thw for prompt in prompts if prompt.image_grid_thw is not None]
    patches = [int(count) for grid in grids for count in grid.prod(dim=-1)]
    prefill = Rows(tokens=sum(sizes), pairs=sum(size**2 for size in sizes) / 2, scored=len(prompts))
    answers = [(size, n) for size, row in zip(sizes, lengths, strict=True) for n in row[:samples]]
    decoded = float(sum(n - 1 for _, n in answers))  # the prefill gives the first token
    decode = Rows(
        tokens=decoded,
        pairs=sum((n - 1) * (size + n / 2) for size, n in answers),
        scored=decoded,
    )
    packed = packed_rows(prompts, lengths)
    forward = text_flops(shape.text, packed, FORWARD)
    update = text_flops(shape.text, packed, _TRAINED)
    found = {
        "vision": float(sum(vision_flops(shape.vision, count) for count in patches)),
        "prefill": text_flops(shape.text, prefill, FORWARD),
        "decode": text_flops(shape.text, decode, FORWARD),
        "reference": forward,
        "update": update,
    }
    step = sum(found.values())
    return {**found, "forward": forward, "backward": update - forward, "step": step}
