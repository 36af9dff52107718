"""What one GPU computes and moves in a training step, phase by phase.

Left out: edits and scores, which run on the host or depend on the clinical models; the preparation
of images on the host; what GPUs send one another.
"""

from collections.abc import Iterator
from enum import StrEnum

from editgrpo.config import RolloutEngine, TrainConfig
from editgrpo.training.estimate.flops import (
    BACKWARD,
    BACKWARD_FROZEN,
    FORWARD,
    RECOMPUTE,
    Rows,
    Work,
    text_flops,
    vision_flops,
)
from editgrpo.training.estimate.memory import is_tower_frozen
from editgrpo.training.estimate.shapes import ModelShape, VisionShape
from editgrpo.training.estimate.speed import Phase
from editgrpo.training.estimate.states import BF16, FLOAT64, States, states_of, trained_parameters
from editgrpo.training.estimate.workload import Workload, group_rows

# Operations of a layer that are no views, in bfloat16: of the language model when it decodes, and
# of the vision tower beside attention (tests/training/estimate/test_kernels.py counts them).
TEXT_KERNELS, VISION_KERNELS = 46, 41
# A call of attention for a batch of windows, with slices before it and a concatenation behind it.
WINDOW_KERNELS = 2
# Lengths of windows in an image whose sides are no multiples of a window's: whole, cut on one side,
# cut on the other, and the corner (training/policy/window_attention.py).
WINDOW_LENGTHS = 4
# Queries, keys and values put in the order of the lengths, results joined and put back.
WINDOW_COPIES = 5
# The plain path scores rows a chunk at a time and computes each chunk again for its gradient, in
# place of its logits alone (training/packed/plain.py).
_CHUNKS_AGAIN = Work(matrices=1, attention=1, head=0)


class Stage(StrEnum):
    """What phases are told of together."""

    ROLLOUT = "rollout"
    REFERENCE = "reference"
    UPDATE = "update"


def step_phases(
    config: TrainConfig, shape: ModelShape, work: Workload, *, shards: int = 1
) -> dict[Stage, list[Phase]]:
    """Return the phases of a step.

    Args:
        config: The run.
        shape: Of its model.
        work: The GPU's part of a step.
        shards: In how many parts weights, gradients and moments are cut.

    Returns:
        By stage its phases, in order; an empty stage is not computed on this GPU.

    Raises:
        ConfigError: adapters are on other layers than the counts know.
    """
    return {
        Stage.ROLLOUT: list(_rollout(config, shape, work)),
        Stage.REFERENCE: list(_reference(config, shape, work)),
        Stage.UPDATE: list(_update(config, shape, work, shards)),
    }


def _rollout(config: TrainConfig, shape: ModelShape, work: Workload) -> Iterator[Phase]:
    engine = config.rollout.engine
    keeps_features = work.is_packed and is_tower_frozen(config)
    if engine is RolloutEngine.VLLM_SERVER:
        if keeps_features:
            yield images_phase(shape.vision, work, work.prompts * work.images)
        return
    rows = 1 if work.is_packed else work.sampled  # on the plain path each has its own images
    # vLLM encodes by itself what is encoded for the passes, too.
    encoders = 2 if keeps_features and engine is RolloutEngine.VLLM_COLOCATE else 1
    yield images_phase(shape.vision, work, encoders * work.prompts * work.images * rows)
    pairs = work.prompt**2 / (2 if work.is_packed and not work.masks_prompts else 1)
    prompt = Rows(tokens=work.prompt, pairs=pairs, scored=1).times(work.prompts * rows)
    yield Phase(name="prefill", flops=text_flops(shape.text, prompt, FORWARD))
    yield decoding(shape, work, is_graphed=engine is not RolloutEngine.NATIVE)


def images_phase(
    vision: VisionShape, work: Workload, images: float, passes: Work = FORWARD
) -> Phase:
    """Return the encoding of images, one at a time.

    Args:
        vision: The tower.
        work: The step.
        images: How many.
        passes: How often it is computed.

    Returns:
        The phase.
    """
    windowed = vision.window_layers
    calls = attention_calls(vision)
    kernels = vision.layers * VISION_KERNELS + calls * WINDOW_KERNELS + windowed * WINDOW_COPIES
    # Counted like forward passes: a backward pass launches about two kernels for each.
    often = passes.matrices + passes.recomputed
    return Phase(
        name="images",
        flops=images * vision_flops(vision, work.patches, passes),
        kernels=images * kernels * often,
    )


def attention_calls(vision: VisionShape) -> int:
    """Count the calls of attention for one image, all layers together."""
    return vision.window_layers * WINDOW_LENGTHS + vision.layers - vision.window_layers


def decoding(shape: ModelShape, work: Workload, *, is_graphed: bool = False) -> Phase:
    """Return the sampling of responses after their prompts.

    Args:
        shape: Of the model.
        work: The step; rows that have ended are computed to the end of the longest, but for half of
            the grid.
        is_graphed: Whether a step is launched as one, as vLLM does.

    Returns:
        The phase.
    """
    text = shape.text
    turns = work.parts if work.is_packed else work.prompts
    steps = turns * work.longest
    row_steps = work.prompts * work.sampled * work.longest
    seen = work.prompt + work.answer / 2
    computed = Rows(tokens=1, pairs=seen, scored=1).times(row_steps)
    stored = 2 * BF16 * text.key_width
    if work.is_packed:  # the keys of a prompt are read once for its samples
        own = text.layers * row_steps * work.answer / 2
        read = stored * (text.layers * work.prompts * work.longest * work.prompt + own)
    else:  # transformers' cache is written anew for every token
        read = 3 * stored * row_steps * text.stored_tokens(seen)
    weights = steps * BF16 * (text.matrices + text.embedding)
    # Probabilities and their cumulative sum in float64: written, divided, summed, searched.
    drawing = 7 * FLOAT64 * text.vocabulary * row_steps
    return Phase(
        name="decoding",
        flops=text_flops(text, computed, FORWARD),
        bytes=weights + read + drawing,
        kernels=steps * (1 if is_graphed else text.layers * TEXT_KERNELS),
    )


def _reference(config: TrainConfig, shape: ModelShape, work: Workload) -> Iterator[Phase]:
    if not config.objective.beta:
        return
    rows = group_rows(work).times(work.prompts)
    if not (work.is_packed and is_tower_frozen(config)):
        yield images_phase(shape.vision, work, _images_of_pass(work))
    yield Phase(
        name="layers and head",
        flops=text_flops(shape.text, rows, FORWARD),
        bytes=float(work.passes * BF16 * shape.text.parameters),
    )


def _images_of_pass(work: Workload) -> float:
    return work.prompts * work.images * (1 if work.is_packed else work.group)


def _update(config: TrainConfig, shape: ModelShape, work: Workload, shards: int) -> Iterator[Phase]:
    is_full, again = config.model.lora is None, config.model.gradient_checkpointing
    passes = FORWARD + (BACKWARD if is_full else BACKWARD_FROZEN)
    if again:
        passes += RECOMPUTE
    if not work.is_packed:
        passes += _CHUNKS_AGAIN
    images = _images_of_pass(work)
    if not is_tower_frozen(config):
        yield images_phase(shape.vision, work, images, passes)
    elif not work.is_packed:
        yield images_phase(shape.vision, work, 2 * images)
    rows = group_rows(work).times(work.prompts)
    yield Phase(name="layers and head", flops=text_flops(shape.text, rows, passes))
    trained = trained_parameters(config, shape)
    states = states_of(config, is_sharded=shards > 1)
    yield Phase(name="weights and gradients", bytes=_traffic(states, shape, work, trained))
    # Weights, gradients and moments read; weights and moments written; the gradients read for their
    # norm, and read and written to be clipped.
    each = 2 * states.weight + 2 * states.moments + 4 * states.gradient
    yield Phase(name="optimiser", bytes=each * trained / shards)


def _traffic(states: States, shape: ModelShape, work: Workload, trained: int) -> float:
    """Return what the passes of an update move however few tokens they have."""
    number = states.precision.compute
    # Autocast reads weights and writes copies, for the forward pass and for the recomputed one.
    cast = states.weight + number if states.weight != number else 0
    # Read in both and in the backward pass; gradients written, cast and added.
    gradients = number + number + 3 * states.gradient
    weights = (2 * cast + 3 * number) * shape.text.parameters
    return work.passes * (weights + gradients * trained)
