"""Groups without a signal dropped and refilled from further prompts: DAPO's dynamic sampling
(arXiv:2503.14476).

A group has no signal if all its rewards are equal, edited responses included, or if scoring it
failed: its advantages are 0. So they are where the halves are measured apart and each is equal in
itself. Processes draw together, each as many as the one that lacks most, so
that engines which want equal numbers can sample; what is over is dropped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import torch
from accelerate.utils import gather_object

from editgrpo.config import TrainConfig
from editgrpo.data.study import Study
from editgrpo.training.step.prompt_stream import PromptStream
from editgrpo.training.step.scoring import ScoredGroup
from editgrpo.training.step.step_group import StepGroup

Score = Callable[[Sequence[Study]], Sequence[StepGroup]]

DRAWN = "prompts/drawn"
"""The metric that says how many studies a step has drawn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnGroups:
    """The groups of a step on one process.

    Attributes:
        trained: Those of the update, equally many in every process.
        scored: All that were drawn, in order.
        metrics: What the draws were; the same in every process.
    """

    trained: tuple[StepGroup, ...]
    scored: tuple[ScoredGroup, ...]
    metrics: dict[str, float]


class StepDraws:
    """Draws the groups of the steps of a run.

    Args:
        config: The run.
        studies: The training studies.
        prompts: Where they are drawn from, in the same state in every process; None where each
            step has those that the seed decided.
        accelerator: Knows the other processes.
    """

    def __init__(
        self,
        config: TrainConfig,
        studies: Sequence[Study],
        prompts: PromptStream | None,
        accelerator: Any,
    ) -> None:
        self._rollout = config.rollout
        self._studies = studies
        self._wanted = config.prompts_per_step // accelerator.num_processes
        self._prompts = prompts
        self._accelerator = accelerator

    def groups(self, decided: Sequence[Study], score: Score) -> DrawnGroups:
        """Draw the groups of a step; all processes call this together.

        Args:
            decided: This process's studies where the seed decided; not used where they are drawn.
            score: Samples and scores studies of this process.

        Returns:
            The groups, in the order in which they were drawn. Where the cap on draws is reached,
            or no study is left, the first groups without a signal fill the places.
        """
        if self._prompts is None:
            groups = tuple(score(decided))
            scored = tuple(one.scored for one in groups)
            return DrawnGroups(trained=groups, scored=scored, metrics={})
        return self._drawn(self._prompts, score)

    def _drawn(self, prompts: PromptStream, score: Score) -> DrawnGroups:
        numbers, scored, draws = list[int](), list[ScoredGroup](), 0
        kept, spare = list[tuple[int, StepGroup]](), list[tuple[int, StepGroup]]()
        prompts.begin_step()
        most = self._rollout.max_draws if self._rollout.dynamic_sampling else 1
        while draws < most and (missing := self._most(self._wanted - len(kept))):
            own = self._own_share(prompts.draw(missing * self._accelerator.num_processes))
            if not own:
                break
            draws, numbers = draws + 1, numbers + own
            for group in score([self._studies[number] for number in own]):
                (kept if group.scored.has_signal else spare).append((len(scored), group))
                scored.append(group.scored)
            del spare[self._wanted :]  # their features take memory
        self._tell(prompts, numbers, scored)
        chosen = sorted((*kept, *spare)[: self._wanted], key=itemgetter(0))
        trained = tuple(group for _, group in chosen)
        metrics = self._metrics(prompts, draws, len(scored), trained)
        return DrawnGroups(trained=trained, scored=tuple(scored), metrics=metrics)

    def _tell(
        self, prompts: PromptStream, numbers: Sequence[int], scored: Sequence[ScoredGroup]
    ) -> None:
        """Let the stream of every process know the results of all."""
        own = [
            (number, one.has_signal)
            for number, one in zip(numbers, scored, strict=True)
            if not one.is_dropped  # a scorer's fault says nothing of the study
        ]
        prompts.learn(gather_object(own))

    def _own_share(self, drawn: Sequence[int]) -> list[int]:
        """Return this process's part of what all processes drew, equally many in each."""
        size = len(drawn) // self._accelerator.num_processes
        start = size * self._accelerator.process_index
        return list(drawn[start : start + size])

    def _most(self, missing: int) -> int:
        every: list[int] = gather_object([missing])
        return max(0, *every)

    def _metrics(
        self, prompts: PromptStream, draws: int, drawn: int, trained: Sequence[StepGroup]
    ) -> dict[str, float]:
        without = sum(not one.scored.has_signal for one in trained)
        counts = torch.tensor([drawn, without], device=self._accelerator.device)
        all_drawn, all_without = self._accelerator.reduce(counts).tolist()
        metrics = {DRAWN: float(all_drawn), "prompts/passes": prompts.passes}
        if self._rollout.dynamic_sampling:
            metrics["prompts/draws"] = float(draws)
            metrics["prompts/without_signal"] = float(all_without)
        return metrics
