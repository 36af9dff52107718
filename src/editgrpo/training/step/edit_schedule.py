"""How many responses of a group are sampled and how many are edited, at each step of a run.

`edit.share` and `edit.anneal` say how many edited versions a group of a step may have;
`edit.when: unsaid` withholds them from groups that need none, which are then sampled whole.
docs/objective-variants.md has the reasons.

Left out on purpose: what an edit does (groups.py), and sampling itself.
"""

import math
from collections.abc import Sequence, Sized
from dataclasses import dataclass

from editgrpo.config import Anneal, EditLevel, EditSource, EditWhen, RolloutEngine, TrainConfig
from editgrpo.errors import ConfigError
from editgrpo.training.step.annealing import what_is_left
from editgrpo.training.step.records import GroupRows
from editgrpo.training.step.responses import Kind


@dataclass(frozen=True, slots=True)
class EditSchedule:
    """The composition of groups in the course of a run.

    Attributes:
        config: The run.
    """

    config: TrainConfig

    def share(self, step: int) -> float:
        """Compute the share of a group's second half that may be edited.

        Args:
            step: Steps taken before this one, from 0.

        Returns:
            In [0, 1].
        """
        edit = self.config.edit
        return edit.share * what_is_left(
            edit.anneal, step, until=edit.anneal_until * self.config.steps
        )

    def edited(self, step: int) -> int:
        """Compute how many edited versions an edited group of a step has.

        Args:
            step: Steps taken before this one, from 0.

        Returns:
            share * G/2, rounded, .5 up: the same for all groups of the step.
        """
        if self.config.edit.level is not EditLevel.SENTENCE:
            return 0
        half = self.config.rollout.group_size // 2
        return math.floor(self.share(step) * half + 0.5)

    def first_rows(self, step: int) -> range:
        """Name the rollouts of a study that are sampled whatever they say.

        Args:
            step: Steps taken before this one, from 0.

        Returns:
            Their rows, from 0.
        """
        beside = 1 if self.config.edit.level is EditLevel.REPORT else self.edited(step)
        return range(self.config.rollout.group_size - beside)

    def further_rows(self, step: int) -> range:
        """Name the rollouts that are sampled besides of the studies that need no edit.

        Args:
            step: Steps taken before this one, from 0.

        Returns:
            Their rows, behind the first; none where every group is edited.
        """
        if self.config.edit.when is EditWhen.ALWAYS:
            return range(0)
        size, edited = self.config.rollout.group_size, self.edited(step)
        return range(size - edited, size)

    def metrics(self, step: int, groups: Sequence[GroupRows]) -> dict[str, float]:
        """Say in metrics what a step's groups are made of, where it is not the paper's.

        Args:
            step: Steps taken before this one, from 0.
            groups: The groups of the step, of all processes.

        Returns:
            `edits/share`, edited versions a group may have over G/2, where settings can lower it;
            `edits/groups`, the share of the groups that were edited, where not all need be.
        """
        edit, metrics = self.config.edit, dict[str, float]()
        if edit.level is not EditLevel.SENTENCE:
            return metrics
        if edit.share != 1 or edit.anneal is not Anneal.NONE:
            metrics["edits/share"] = self.edited(step) / (self.config.rollout.group_size // 2)
        kept = [group for group in groups if not group.is_dropped]
        if edit.when is not EditWhen.ALWAYS and kept:
            edited = sum(any(row.kind is Kind.EDITED for row in group.rows) for group in kept)
            metrics["edits/groups"] = edited / len(kept)
        return metrics


def check_edits(config: TrainConfig) -> None:
    """Check, before anything is loaded, that the engine can sample the groups of a run.

    Args:
        config: The run.

    Raises:
        ConfigError: edits are made on demand, and the engine samples for all processes at once.
    """
    edit, engine = config.edit, config.rollout.engine
    is_on_demand = edit.level is EditLevel.SENTENCE and edit.when is not EditWhen.ALWAYS
    if is_on_demand and engine is not RolloutEngine.NATIVE:
        raise ConfigError(
            f"edit.when is {edit.when.value!r}, but rollout.engine {engine.value!r} samples as "
            "often for every study; choose edit.when 'always' or rollout.engine 'native'"
        )


def check_edit_sources(config: TrainConfig, studies: Sized) -> None:
    """Check that there is another study to take edits from, where they come from another.

    Args:
        config: The run.
        studies: The training studies.

    Raises:
        ConfigError: there is one study alone.
    """
    edit = config.edit
    is_shuffled = edit.level is EditLevel.SENTENCE and edit.source is EditSource.SHUFFLED
    if is_shuffled and len(studies) < 2:
        raise ConfigError(
            "edit.source is 'shuffled', but there is one training study; raise data.train_limit"
        )
