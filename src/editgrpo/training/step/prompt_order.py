"""Studies of a step, half of them drawn by finding, so that rare findings are met more often.

docs/objective-variants.md has the reason. The uniform order is in batches.py, the order by hardness
in prompt_stream.py.
"""

from collections.abc import Iterator, Sequence
from itertools import count, islice

import numpy as np
from numpy.typing import NDArray

from editgrpo.config import PromptOrder, TrainConfig
from editgrpo.errors import ConfigError
from editgrpo.reports import load_labeler
from editgrpo.reports.chexpert import NO_FINDING_INDEX
from editgrpo.reports.references import label_references
from editgrpo.training.seeds import Purpose, random_generator
from editgrpo.training.step.batches import StepSampler


def step_sampler(config: TrainConfig, references: Sequence[str]) -> StepSampler:
    """Make the sampler of a run.

    Args:
        config: The run.
        references: The reference reports of the N training studies, at least one.

    Returns:
        What yields the studies of every step; of an order by hardness, the order without results.

    Raises:
        ConfigError: studies are to be drawn by finding, and no reference holds one.
    """
    settings = {
        "steps": config.steps,
        "prompts_per_step": config.prompts_per_step,
        "seed": config.seed,
    }
    if config.prompt_order is not PromptOrder.BY_FINDING:
        return StepSampler(len(references), **settings)
    labels_NF = label_references(load_labeler("rules"), references)
    holds_NF = np.delete(labels_NF, NO_FINDING_INDEX, axis=1) == 1
    if not holds_NF.any():
        raise ConfigError(
            f"prompt_order is {config.prompt_order.value!r}, but the labeler 'rules' finds nothing "
            f"in the references of {len(references)} training studies; choose 'uniform'"
        )
    return FindingSampler(holds_NF, **settings)


class FindingSampler(StepSampler):
    """Yields for each step half of its studies in uniform order, then half by finding.

    Of that half each next study is one with the finding that the half has held least often so far,
    in all steps and all findings of its studies counted; the studies of a finding are walked
    through in shuffled passes. No study of a step is drawn by finding twice, nor one that the
    uniform half holds: a finding that has no other study waits.

    Args:
        holds_NF: (N, F) bool, True where a study holds a finding; some are.
        steps: Steps of the run.
        prompts_per_step: Studies in a step, over all processes, at least 2.
        seed: The run's seed.
    """

    def __init__(
        self, holds_NF: NDArray[np.bool_], *, steps: int, prompts_per_step: int, seed: int
    ) -> None:
        super().__init__(len(holds_NF), steps=steps, prompts_per_step=prompts_per_step, seed=seed)
        self._holds_NF = holds_NF

    def endless(self) -> Iterator[int]:
        """Yield the studies of step after step without an end.

        Yields:
            Numbers of studies, the same in every call.
        """
        uniform = super().endless()
        counts_F = np.zeros(self._holds_NF.shape[1], dtype=np.int64)
        walks = {
            int(finding): _Walk(np.flatnonzero(self._holds_NF[:, finding]), self._seed, finding)
            for finding in np.flatnonzero(self._holds_NF.any(axis=0)).tolist()
        }
        by_finding = self._prompts_per_step // 2
        for step in count():
            studies = list(islice(uniform, self._prompts_per_step - by_finding))
            ties = random_generator(self._seed, Purpose.FINDING, "ties", step)
            for _ in range(by_finding):
                order = sorted(walks, key=lambda finding: (counts_F[finding], ties.random()))
                taken = (walks[finding].take(studies) for finding in order)
                study = next((one for one in taken if one is not None), None)
                if study is None:  # every study with a finding is in the step already
                    study = next(uniform)
                else:
                    counts_F += self._holds_NF[study]
                studies.append(study)
            yield from studies


class _Walk:
    """The studies of one finding, in shuffled passes."""

    def __init__(self, studies: NDArray[np.intp], seed: int, finding: int) -> None:
        self._studies: list[int] = studies.tolist()
        self._seed, self._finding, self._passes = seed, finding, 0
        self._queue: list[int] = []

    def take(self, used: Sequence[int]) -> int | None:
        """Return the next study that is not used; None if all are."""
        if set(self._studies) <= set(used):
            return None
        while (free := next((one for one in self._queue if one not in used), None)) is None:
            shuffled = list(self._studies)
            random_generator(self._seed, Purpose.FINDING, self._finding, self._passes).shuffle(
                shuffled
            )
            self._passes += 1
            self._queue += shuffled
        self._queue.remove(free)
        return free
