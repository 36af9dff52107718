"""Which studies a step gets, and the tensors that TRL's loss reads of their groups.

TRL's loss keeps one row a response; the rows of a group stand together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch.utils.data import Sampler

from editgrpo.training.packed.packing import PackedGroups
from editgrpo.training.packed.plain import PlainGroups
from editgrpo.training.seeds import Purpose, random_generator
from editgrpo.training.step.scoring import ScoredGroup
from editgrpo.training.step.step_group import StepGroup


class StepSampler(Sampler[int]):
    """Yields the studies of every step of a run, decided by the seed alone.

    Studies are walked through in shuffled passes without a break between passes.

    Args:
        studies: How many training studies there are.
        steps: Steps of the run.
        prompts_per_step: Studies in a step, over all processes.
        seed: The run's seed.
    """

    def __init__(self, studies: int, *, steps: int, prompts_per_step: int, seed: int) -> None:
        self._studies = studies
        self._steps = steps
        self._prompts_per_step = prompts_per_step
        self._seed = seed

    def __len__(self) -> int:
        return self._steps * self._prompts_per_step

    def __iter__(self) -> Iterator[int]:
        yield from islice(self.endless(), len(self))

    def endless(self) -> Iterator[int]:
        """Yield the studies of step after step without an end.

        Yields:
            Numbers of studies, the same in every call.
        """
        number = 0
        while True:
            indices = list(range(self._studies))
            random_generator(self._seed, Purpose.ORDER, number).shuffle(indices)
            yield from indices
            number += 1


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdatePass:
    """One forward and backward pass of the update: some of a step's groups.

    Attributes:
        groups: Which of the process's groups of this step they are.
        packed: The groups as the model reads them, on the CPU but for their features.
        inputs: The groups as TRL's loss reads them, from `loss_inputs`.
        share: Groups in this pass, divided by those of the process's step.
    """

    groups: tuple[StepGroup, ...]
    packed: PackedGroups | PlainGroups
    inputs: dict[str, Any]
    share: float


def loss_inputs(
    groups: Sequence[ScoredGroup], *, pad_token_id: int, device: torch.device
) -> dict[str, Any]:
    """Build what TRL's loss reads for whole groups.

    Args:
        groups: P scored groups of G responses.
        pad_token_id: Fills rows on the right.
        device: Where the tensors go.

    Returns:
        TRL's keys: completion_ids and completion_mask (P*G, C), advantages (P*G,) float32,
        tool_mask (P*G, C) which is 0 for a dropped group; prompt_ids and prompt_mask (P*G, 0), as
        the prompts stand in the packed groups.
    """
    responses = [response.token_ids for scored in groups for response in scored.group.responses]
    lengths_B = torch.tensor([len(response) for response in responses])
    ids_BC = torch.full((len(responses), int(lengths_B.max())), pad_token_id)
    for row, response in enumerate(responses):
        ids_BC[row, : len(response)] = torch.tensor(response)
    mask_BC = (torch.arange(ids_BC.shape[1]) < lengths_B[:, None]).long()
    kept = [not scored.is_dropped for scored in groups for _ in scored.group.responses]
    advantages_B = torch.tensor([value for scored in groups for value in scored.advantages_G])
    no_prompt = torch.empty((len(responses), 0), dtype=torch.long)
    inputs = {
        "prompt_ids": no_prompt,
        "prompt_mask": no_prompt,
        "completion_ids": ids_BC,
        "completion_mask": mask_BC,
        "tool_mask": mask_BC * torch.tensor(kept)[:, None],
        "advantages": advantages_B,
    }
    return {name: value.to(device) for name, value in inputs.items()}


def tokens_of_passes(passes: Sequence[UpdatePass], accelerator: Any) -> list[float]:
    """Count the tokens that count in the loss of each pass.

    Args:
        passes: Of a step, on this process.
        accelerator: Sums over processes.

    Returns:
        For each pass the tokens of all processes.
    """
    counts = [float(one.inputs["tool_mask"].sum()) for one in passes]
    tokens: list[float] = accelerator.reduce(
        torch.tensor(counts, device=accelerator.device)
    ).tolist()
    return tokens
