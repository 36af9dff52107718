"""How the responses of a step come about: sampled part by part, edited and scored meanwhile.

Where edits are made on demand, a part is sampled in two rounds: what the first round says decides
which studies are edited, and the second samples the rest of the others.

Left out on purpose: the engines that sample (sampling/), what an edit does (groups.py), and how
many responses are sampled (edit_schedule.py).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from torch import Tensor

from editgrpo.config import TrainConfig
from editgrpo.data.study import Study
from editgrpo.rewards.types import Reward
from editgrpo.training.policy.processor import EncodedPrompt
from editgrpo.training.sampling.vllm_engine import SampledResponse, with_sampled_log_probs
from editgrpo.training.step.clock import StepClock
from editgrpo.training.step.edit_schedule import EditSchedule
from editgrpo.training.step.groups import GroupBuilder
from editgrpo.training.step.scoring import ScoredGroup, score_groups

Features = list[Tensor | None] | None  # of each prompt's images; None where they are not kept


@dataclass(frozen=True, slots=True)
class PromptBatch:
    """Some studies of a step with what the policy is shown of them."""

    studies: list[Study]
    prompts: list[EncodedPrompt]
    features: Features

    def at(self, numbers: Sequence[int]) -> "PromptBatch":
        """Return the studies of the given numbers."""
        return PromptBatch(
            [self.studies[k] for k in numbers],
            [self.prompts[k] for k in numbers],
            None if self.features is None else [self.features[k] for k in numbers],
        )


Rollouts = list[list[SampledResponse]]
RollOut = Callable[[int, PromptBatch, range], Rollouts]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rounds:
    """Samples, edits and scores the groups of a step."""

    config: TrainConfig
    schedule: EditSchedule
    groups: GroupBuilder
    reward: Reward
    clock: StepClock
    roll_out: RollOut
    """Samples the rollouts of the given rows for each study; all processes call it together."""

    def scored(self, step: int, batch: PromptBatch) -> list[ScoredGroup]:
        """Sample part after part; while one is sampled, the one before is edited and scored.

        Args:
            step: Steps taken before this one.
            batch: This process's studies of the step.

        Returns:
            Their groups, in order.
        """
        count = len(batch.studies)
        size = -(-count // self.config.rollout_parts)
        judged = []
        with ThreadPoolExecutor(max_workers=1) as judge:
            for start in range(0, count, size):
                part = batch.at(range(start, min(start + size, count)))
                rollouts = self._sampled(step, part, judge)
                judged.append(judge.submit(self._edit_score, step, part.studies, rollouts))
            with self.clock.waiting_for_scores():
                return [group for one in judged for group in one.result()]

    def _sampled(self, step: int, part: PromptBatch, judge: ThreadPoolExecutor) -> Rollouts:
        with self.clock.phase("rollout"):
            rollouts = self.roll_out(step, part, self.schedule.first_rows(step))
        further = self.schedule.further_rows(step)
        if not further:
            return rollouts
        # Annotators hold caches and stores: only the judge's thread asks them.
        asked = judge.submit(self._leave_unsaid, step, part.studies, rollouts)
        with self.clock.waiting_for_scores():
            leave_unsaid = asked.result()
        numbers = [k for k, is_left in enumerate(leave_unsaid) if not is_left]
        with self.clock.phase("rollout"):
            more = self.roll_out(step, part.at(numbers), further)
        for number, rest in zip(numbers, more, strict=True):
            rollouts[number] = [*rollouts[number], *rest]
        return rollouts

    def _leave_unsaid(self, step: int, studies: list[Study], rollouts: Rollouts) -> list[bool]:
        with self.clock.phase("edit"):
            return self.groups.leave_unsaid(step, studies, _token_ids(rollouts))

    def _edit_score(self, step: int, studies: list[Study], rollouts: Rollouts) -> list[ScoredGroup]:
        with self.clock.phase("edit"):
            size = self.config.rollout.group_size
            groups = self.groups.build(
                step,
                studies,
                _token_ids(rollouts),
                edited_P=[size - len(of_study) for of_study in rollouts],
            )
            groups = with_sampled_log_probs(groups, rollouts)
        with self.clock.phase("score"):
            objective = self.config.objective
            return score_groups(
                self.reward,
                groups,
                scale=objective.scale,
                baseline=objective.baseline,
                credit=objective.credit,
            )


def _token_ids(rollouts: Rollouts) -> list[list[tuple[int, ...]]]:
    return [[one.token_ids for one in of_study] for of_study in rollouts]
