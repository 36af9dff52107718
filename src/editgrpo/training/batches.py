"""Between groups of responses and the tensors that TRL's loss reads.

TRL keeps one row a response. The rows of a group stand together and share one copy of the images;
`pack_rows` turns them back into groups for the shared pass.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from editgrpo.training.processor import EncodedPrompt, join_images
from editgrpo.training.scoring import ScoredGroup
from editgrpo.training.seeds import Purpose, random_generator
from editgrpo.training.shared_prefix import PackedGroups, pack_groups


class StepSampler(Sampler[int]):
    """Yields the studies of every step of a run, decided by the seed alone.

    Studies are walked through in shuffled passes without a break between passes. A step's studies
    are yielded once for each accumulation slot, since the trainer takes a batch for each slot and
    uses the first.

    Args:
        studies: How many training studies there are.
        steps: Steps of the run.
        prompts_per_step: Studies in a step, over all processes.
        repeats: Accumulation slots of a step.
        seed: The run's seed.
    """

    def __init__(
        self, studies: int, *, steps: int, prompts_per_step: int, repeats: int, seed: int
    ) -> None:
        self._studies = studies
        self._steps = steps
        self._prompts_per_step = prompts_per_step
        self._repeats = repeats
        self._seed = seed

    def __len__(self) -> int:
        return self._steps * self._prompts_per_step * self._repeats

    def __iter__(self) -> Iterator[int]:
        order = self._endless_order()
        for _ in range(self._steps):
            chosen = [next(order) for _ in range(self._prompts_per_step)]
            for _ in range(self._repeats):
                yield from chosen

    def _endless_order(self) -> Iterator[int]:
        number = 0
        while True:
            indices = list(range(self._studies))
            random_generator(self._seed, Purpose.ORDER, number).shuffle(indices)
            yield from indices
            number += 1


def loss_inputs(
    prompts: Sequence[EncodedPrompt],
    groups: Sequence[ScoredGroup],
    *,
    pad_token_id: int,
    device: torch.device,
) -> dict[str, Any]:
    """Build what TRL's loss reads for whole groups.

    Args:
        prompts: P prompts.
        groups: Their P scored groups of G responses.
        pad_token_id: Fills rows; prompts on the left, responses on the right.
        device: Where the tensors go.

    Returns:
        TRL's keys: prompt_ids and prompt_mask (P*G, T), completion_ids and completion_mask (P*G,
        C), advantages (P*G,) float32, tool_mask (P*G, C) which is 0 for a dropped group,
        pixel_values and image_grid_thw of the P prompts (one copy a group), num_images of each
        prompt.
    """
    size = len(groups[0].group.responses)
    responses = [list(r.token_ids) for scored in groups for r in scored.group.responses]
    prompt_rows = [prompt.input_ids_T.tolist() for prompt in prompts for _ in range(size)]
    prompt_ids, prompt_mask = _padded(prompt_rows, pad_token_id, left=True)
    completion_ids, completion_mask = _padded(responses, pad_token_id, left=False)
    is_kept_B = torch.tensor([not scored.is_dropped for scored in groups]).repeat_interleave(size)
    advantages = torch.tensor([value for scored in groups for value in scored.advantages_G])
    inputs: dict[str, Any] = {
        "prompt_ids": prompt_ids,
        "prompt_mask": prompt_mask,
        "completion_ids": completion_ids,
        "completion_mask": completion_mask,
        "tool_mask": completion_mask * is_kept_B[:, None],
        "advantages": advantages,
    }
    inputs |= join_images(prompts)
    inputs = {name: value.to(device) for name, value in inputs.items()}
    inputs["num_images"] = [
        0 if prompt.image_grid_thw is None else prompt.image_grid_thw.shape[0] for prompt in prompts
    ]
    return inputs


def pack_rows(
    model: Any,
    input_ids_BL: Tensor,
    attention_mask_BL: Tensor,
    *,
    completion_length: int,
    group_size: int,
    images: tuple[Tensor, Tensor, Sequence[int]] | None,
) -> PackedGroups:
    """Turn padded rows of whole groups back into packed groups.

    Args:
        model: The policy, unwrapped.
        input_ids_BL: (P*G, T + C) int64, prompts padded on the left, responses on the right.
        attention_mask_BL: (P*G, T + C), 1 at tokens, 0 at padding.
        completion_length: C.
        group_size: G.
        images: Patches, grids and the number of images of each of the P prompts; None without
            images.

    Returns:
        The packed groups, on the CPU.
    """
    ids_BL, mask_BL = input_ids_BL.cpu(), attention_mask_BL.bool().cpu()
    prompt_ids, prompt_mask = ids_BL[:, :-completion_length], mask_BL[:, :-completion_length]
    starts = range(0, ids_BL.shape[0], group_size)
    patches = _images_of_prompts(images, len(starts))
    prompts = []
    for number, row in enumerate(starts):
        tokens = prompt_ids[row][prompt_mask[row]]
        prompts.append(
            EncodedPrompt(
                study_id=f"in row {row} of the batch",
                input_ids_T=tokens,
                is_image_token_T=tokens == model.config.image_token_id,
                pixel_values=patches[number][0],
                image_grid_thw=patches[number][1],
            )
        )
    completion_ids = ids_BL[:, -completion_length:]
    completion_mask = mask_BL[:, -completion_length:]
    responses = [
        completion_ids[row][completion_mask[row]].tolist() for row in range(ids_BL.shape[0])
    ]
    grouped = [responses[row : row + group_size] for row in starts]
    return pack_groups(model, prompts, grouped, pad_token_id=0)


def _images_of_prompts(
    images: tuple[Tensor, Tensor, Sequence[int]] | None, prompts: int
) -> list[tuple[Tensor | None, Tensor | None]]:
    if images is None:
        return [(None, None)] * prompts
    pixel_values, grids, counts = images
    grid_parts = torch.split(grids.cpu(), list(counts))
    patches = torch.split(pixel_values, [int(grid.prod(dim=-1).sum()) for grid in grid_parts])
    return [
        (patch, grid) if grid.shape[0] else (None, None)
        for patch, grid in zip(patches, grid_parts, strict=True)
    ]


def _padded(rows: Sequence[Sequence[int]], fill: int, *, left: bool) -> tuple[Tensor, Tensor]:
    length = max(len(row) for row in rows)
    ids = torch.full((len(rows), length), fill, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for index, row in enumerate(rows):
        place = slice(length - len(row), length) if left else slice(0, len(row))
        ids[index, place] = torch.tensor(row, dtype=torch.long)
        mask[index, place] = 1
    return ids, mask
