"""What an edit is: the rule that applied, the sentences it touched, and where every sentence of the
result came from."""

from dataclasses import dataclass
from enum import StrEnum

from editgrpo.reports.types import AnnotatedReport, Entity


class EditRule(StrEnum):
    """The edit rules in the order in which they are tried (EditGRPO arXiv:2509.22812, Algorithm
    1)."""

    MISLABELLED = "mislabelled"
    REPLACEMENT = "replacement"
    DELETION = "deletion"
    AUGMENTATION = "augmentation"
    NONE = "none"


class Origin(StrEnum):
    """Which report a sentence of the edited report was taken from."""

    ROLLOUT = "rollout"
    REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class SentenceSource:
    """Where one sentence of the edited report came from: `position` counts the sentences of that
    report from 0."""

    origin: Origin
    position: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EditStep:
    """One application of one rule.

    Attributes:
        rule: The rule that applied; never NONE.
        position: Index of the sentence replaced or deleted, or at which one was appended, in the
            report as it stood before this step.
        reference_position: Index of the reference sentence inserted; None for a plain deletion.
        causes: The spurious (or, for AUGMENTATION, missing) entities that made the rule apply.
    """

    rule: EditRule
    position: int
    reference_position: int | None
    causes: tuple[Entity, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """The outcome of editing one rollout against its reference report.

    Attributes:
        report: The edited report; sentences that no step touched are the same objects as in the
            rollout.
        steps: The steps taken, at most `max_edits`; empty if there was nothing to edit.
        sources: For every sentence of `report`, where it came from; the token splice reads this.
    """

    report: AnnotatedReport
    steps: tuple[EditStep, ...]
    sources: tuple[SentenceSource, ...]

    @property
    def rule(self) -> EditRule:
        """The rule of the first step, NONE if there was none."""
        return self.steps[0].rule if self.steps else EditRule.NONE

    @property
    def positions(self) -> tuple[int, ...]:
        """The positions touched, step by step (see `EditStep.position`)."""
        return tuple(step.position for step in self.steps)
