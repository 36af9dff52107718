"""Editing a report by the rules: the rule that applied, the sentences it touched, and where every
sentence of the result came from."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from editgrpo.edits.by_section import ReportPart, parts_by_section
from editgrpo.edits.comparison import Comparison, compare
from editgrpo.edits.placement import place_in_reference_order
from editgrpo.edits.rules import RULE_OF, RULES, Correction, EditRule, Rule
from editgrpo.errors import EditError
from editgrpo.reports.types import AnnotatedReport

T = TypeVar("T")
_INSERTING_RULES = tuple(rule for rule in RULES if rule.inserts)


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
class EditStep(Correction):
    """One application of one rule: what the rule wanted.

    Attributes:
        rule: The rule that applied; never NONE.
    """

    rule: EditRule


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


def edit_report(
    rollout: AnnotatedReport,
    reference: AnnotatedReport,
    *,
    rng: random.Random,
    threshold: float = 0.6,
    max_edits: int = 1,
    anatomy_counts: bool = False,
    wanted_Y: NDArray[np.bool_] | None = None,
    in_reference_order: bool = False,
) -> Edit:
    """Correct a rollout minimally with sentences of its reference report.

    Args:
        rollout: The report to edit; it may have no sentences.
        reference: The report that corrections are taken from; it may have no sentences.
        rng: The only source of randomness. A step calls `rng.choice` once, rule (b) and a deletion
            that is refilled twice; a report with nothing to edit draws nothing. Where reports have
            sections, their order is shuffled first: a step edits the first with anything to edit,
            by the same section of the reference.
        threshold: Tau; two entities are alike if their cosine is above it.
        max_edits: Most steps taken; editing stops earlier when nothing is left to edit.
        anatomy_counts: Whether an ANATOMY entity can itself be spurious or missing.
        wanted_Y: (Y,) bool, True for reference entities that the edit is to state. As long as one
            is missing, a step takes the first of (a), (b) and (d) that inserts a sentence with it.
            None, and where nothing is wanted, tries all rules in their order.
        in_reference_order: Whether (d) adds its sentence where the reference has it, see
            `place_in_reference_order`, rather than at the end.

    Returns:
        The edit. With nothing to edit its report is `rollout` itself and its steps are empty.

    Raises:
        EditError: the threshold is no cosine, `max_edits` is below 1, or the embeddings do not fit
            together.

    Source: EditGRPO arXiv:2509.22812, Algorithm 1; decisions in docs/edit-rules.md.
    """
    if not -1 <= threshold <= 1:
        raise EditError(f"threshold is {threshold}; it is a cosine, so give a value from -1 to 1")
    if max_edits < 1:
        raise EditError(f"max_edits is {max_edits}; it must be at least 1")
    report = rollout
    sources = tuple(SentenceSource(Origin.ROLLOUT, i) for i in range(len(rollout.sentences)))
    steps: list[EditStep] = []
    while len(steps) < max_edits:
        parts = [
            (part, compare(*part.reports, threshold=threshold, anatomy_counts=anatomy_counts))
            for part in parts_by_section(report, reference, rng)
        ]
        found = _next_step(parts, rng, wanted_Y)
        if found is None:
            break
        step = _in_whole_report(*found, in_reference_order=in_reference_order)
        steps.append(step)
        removes, inserted = RULE_OF[step.rule].removes, step.reference_position
        sentence = () if inserted is None else (reference.sentences[inserted],)
        source = () if inserted is None else (SentenceSource(Origin.REFERENCE, inserted),)
        report = AnnotatedReport(_splice(report.sentences, step.position, removes, sentence))
        sources = _splice(sources, step.position, removes, source)
    return Edit(report=report, steps=tuple(steps), sources=sources)


def _next_step(
    parts: Sequence[tuple[ReportPart, Comparison]],
    rng: random.Random,
    wanted_Y: NDArray[np.bool_] | None,
) -> tuple[EditStep, ReportPart, Comparison] | None:
    """Return the step to take, counted within its section: first one that states what is wanted."""
    if wanted_Y is not None:
        for part, comparison in parts:
            wanted = comparison.inserting_only(wanted_Y[part.is_entity_Y])
            if (step := _first_step(wanted, rng, _INSERTING_RULES)) is not None:
                return step, part, comparison
    for part, comparison in parts:
        if (step := _first_step(comparison, rng, RULES)) is not None:
            return step, part, comparison
    return None


def _in_whole_report(
    step: EditStep, part: ReportPart, comparison: Comparison, *, in_reference_order: bool
) -> EditStep:
    """Return a step of a section with its positions counted in the whole reports."""
    position, inserted = step.position, step.reference_position
    if inserted is None:
        return replace(step, position=part.place(position))
    if in_reference_order and not RULE_OF[step.rule].removes:
        position = place_in_reference_order(comparison, inserted)
    return replace(
        step, position=part.place(position), reference_position=part.of_reference[inserted]
    )


def _first_step(
    comparison: Comparison, rng: random.Random, rules: Sequence[Rule]
) -> EditStep | None:
    """Return the step of the first rule that applies."""
    for rule in rules:
        wanted = rule.function(comparison, rng)
        if wanted is not None:
            return EditStep(
                rule=rule.name,
                position=wanted.position,
                reference_position=wanted.reference_position,
                causes=wanted.causes,
            )
    return None


def _splice(
    items: tuple[T, ...], position: int, removes: bool, inserted: tuple[T, ...]
) -> tuple[T, ...]:
    """Put items at a position, in the place of the one that is there if that is removed."""
    return items[:position] + inserted + items[position + removes :]
