"""How the responses of a step come about: sampled part by part, edited and scored meanwhile.

Where edits are made on demand, a part is sampled in two rounds: what the first round says decides
which studies are edited, and the second samples the rest of the others.

Left out on purpose: the engines that sample (sampling/), what an edit does (groups.py), and how
many responses are sampled (edit_schedule.py).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from editgrpo.config import TrainConfig
from editgrpo.rewards.types import Reward
from editgrpo.training.sampling.sampler import SampledResponse, Sampler
from editgrpo.training.step.clock import StepClock
from editgrpo.training.step.edit_schedule import EditSchedule
from editgrpo.training.step.groups import GroupBuilder
from editgrpo.training.step.importance import with_sampled_log_probs
from editgrpo.training.step.likelihood import likelihood_weight
from editgrpo.training.step.scoring import score_groups
from editgrpo.training.step.step_group import StepGroup, StudyPrompt

Rollouts = list[list[SampledResponse]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rounds:
    """Samples, edits and scores the groups of a step."""

    config: TrainConfig
    schedule: EditSchedule
    groups: GroupBuilder
    reward: Reward
    clock: StepClock
    sampler: Sampler

    def scored(self, step: int, asked: Sequence[StudyPrompt]) -> list[StepGroup]:
        """Sample part after part; while one is sampled, the one before is edited and scored.

        Args:
            step: Steps taken before this one.
            asked: This process's studies of the step.

        Returns:
            Their groups, in order.
        """
        size = -(-len(asked) // self.config.rollout_parts)
        judged = []
        with ThreadPoolExecutor(max_workers=1) as judge:
            for start in range(0, len(asked), size):
                part = asked[start : start + size]
                rollouts = self._sampled(step, part, judge)
                judged.append(judge.submit(self._edit_score, step, part, rollouts))
            with self.clock.waiting_for_scores():
                return [group for one in judged for group in one.result()]

    def _sampled(
        self, step: int, part: Sequence[StudyPrompt], judge: ThreadPoolExecutor
    ) -> Rollouts:
        with self.clock.phase("rollout"):
            rollouts = self.sampler.sample(step, part, self.schedule.first_rows(step))
        further = self.schedule.further_rows(step)
        if not further:
            return rollouts
        # Annotators hold caches and stores: only the judge's thread asks them.
        answer = judge.submit(self._need_edits, step, part, rollouts)
        with self.clock.waiting_for_scores():
            need_edits = answer.result()
        numbers = [k for k, is_edited in enumerate(need_edits) if not is_edited]
        with self.clock.phase("rollout"):
            more = self.sampler.sample(step, [part[number] for number in numbers], further)
        for number, rest in zip(numbers, more, strict=True):
            rollouts[number] = [*rollouts[number], *rest]
        return rollouts

    def _need_edits(self, step: int, part: Sequence[StudyPrompt], rollouts: Rollouts) -> list[bool]:
        with self.clock.phase("edit"):
            studies = [one.study for one in part]
            return self.groups.need_edits(step, studies, _token_ids(rollouts))

    def _edit_score(
        self, step: int, part: Sequence[StudyPrompt], rollouts: Rollouts
    ) -> list[StepGroup]:
        with self.clock.phase("edit"):
            size = self.config.rollout.group_size
            groups = self.groups.build(
                step,
                [one.study for one in part],
                _token_ids(rollouts),
                edited_P=[size - len(of_study) for of_study in rollouts],
            )
            groups = with_sampled_log_probs(groups, rollouts)
        with self.clock.phase("score"):
            objective = self.config.objective
            scored = score_groups(
                self.reward,
                groups,
                scale=objective.scale,
                baseline=objective.baseline,
                credit=objective.credit,
            )
        is_asked = likelihood_weight(self.config, step) > 0
        return [
            one.answered(group, self.groups.reference_ids(one.study) if is_asked else ())
            for one, group in zip(part, scored, strict=True)
        ]


def _token_ids(rollouts: Rollouts) -> list[list[tuple[int, ...]]]:
    return [[one.token_ids for one in of_study] for of_study in rollouts]
