"""The edit rules (a) to (e) of EditGRPO (arXiv:2509.22812, Algorithm 1), one function a rule.

A rule looks at a `Comparison`, draws with the generator it is given, and returns the step it wants
taken, or None if it does not apply. `edit_report` tries them in order and takes the first step.
docs/edit-rules.md explains each rule with an example and lists what we decided beyond the paper.
"""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from editgrpo.edits.comparison import Comparison, compare
from editgrpo.edits.similarity import DECIMALS
from editgrpo.edits.types import Edit, EditRule, EditStep, Origin, SentenceSource
from editgrpo.errors import EditError
from editgrpo.reports.types import AnnotatedReport, Entity

T = TypeVar("T")
Rule = Callable[[Comparison, random.Random], EditStep | None]


def rule_a_mislabelled(comparison: Comparison, rng: random.Random) -> EditStep | None:
    """Replace a sentence that states the opposite of a reference sentence.

    Draws once: a pair of sentences (i, j), uniform over the distinct pairs.
    """
    is_mislabelled_XY = comparison.is_spurious_X[:, None] & comparison.contradicts_XY
    rows, columns = np.nonzero(is_mislabelled_XY)
    of_x, of_y = comparison.sentence_of_X[rows].tolist(), comparison.sentence_of_Y[columns].tolist()
    pairs = {pair for pair in zip(of_x, of_y, strict=True) if pair[1] in comparison.insertable}
    if not pairs:
        return None
    position, reference_position = rng.choice(sorted(pairs))
    in_reference_sentence = comparison.sentence_of_Y == reference_position
    is_cause_X = is_mislabelled_XY[:, in_reference_sentence].any(axis=1)
    causes = np.flatnonzero(is_cause_X & (comparison.sentence_of_X == position)).tolist()
    return EditStep(
        rule=EditRule.MISLABELLED,
        position=position,
        reference_position=reference_position,
        causes=_entities(comparison.rollout, causes),
    )


def rule_b_replacement(comparison: Comparison, rng: random.Random) -> EditStep | None:
    """Replace a sentence whose false positives no reference sentence covers by the nearest one.

    Draws twice: the sentence, uniform over those the rule applies to; then the reference sentence,
    uniform over the nearest ones (several only if their mean cosines tie).
    """
    nearest = {
        position: nearest_reference_sentences(comparison, position)
        for position in comparison.spurious_sentences()
        if not is_covered(comparison, position)
    }
    applicable = [position for position, candidates in nearest.items() if candidates]
    if not applicable:
        return None
    position = rng.choice(applicable)
    return EditStep(
        rule=EditRule.REPLACEMENT,
        position=position,
        reference_position=rng.choice(nearest[position]),
        causes=_spurious_in(comparison, position),
    )


def is_covered(comparison: Comparison, position: int) -> bool:
    """Say whether a single reference sentence has an entity like each spurious one of a sentence.

    Presence plays no part here, nor does it matter whether that sentence could be inserted.
    """
    best_Fn = comparison.best_cosine_Xn[comparison.spurious_rows(position)]
    return bool((best_Fn > comparison.threshold).all(axis=0).any())


def nearest_reference_sentences(comparison: Comparison, position: int) -> list[int]:
    """Return the insertable reference sentences whose mean best cosine with the spurious entities
    of a sentence is largest, ascending; none if that mean is below the threshold."""
    best_Fn = comparison.best_cosine_Xn[comparison.spurious_rows(position)]
    means_n = np.round(best_Fn.mean(axis=0), DECIMALS)
    candidates = [j for j in comparison.insertable if means_n[j] >= comparison.threshold]
    if not candidates:
        return []
    largest = max(means_n[j] for j in candidates)
    return [j for j in candidates if means_n[j] == largest]


def rule_c_deletion(comparison: Comparison, rng: random.Random) -> EditStep | None:
    """Delete a sentence that holds a false positive; refill a report that this leaves empty (e).

    Draws once: the sentence, uniform; and once more if the report is refilled.
    """
    positions = comparison.spurious_sentences()
    if not positions:
        return None
    position = rng.choice(positions)
    is_only_sentence = len(comparison.rollout.sentences) == 1
    return EditStep(
        rule=EditRule.DELETION,
        position=position,
        reference_position=rule_e_refill(comparison, rng) if is_only_sentence else None,
        causes=_spurious_in(comparison, position),
    )


def rule_d_augmentation(comparison: Comparison, rng: random.Random) -> EditStep | None:
    """Append a reference sentence that holds a false negative.

    Draws once: the reference sentence, uniform.
    """
    holds_missing = set(comparison.sentence_of_Y[comparison.is_missing_Y].tolist())
    candidates = [position for position in comparison.insertable if position in holds_missing]
    if not candidates:
        return None
    reference_position = rng.choice(candidates)
    in_sentence_Y = comparison.sentence_of_Y == reference_position
    causes = np.flatnonzero(comparison.is_missing_Y & in_sentence_Y).tolist()
    return EditStep(
        rule=EditRule.AUGMENTATION,
        position=len(comparison.rollout.sentences),
        reference_position=reference_position,
        causes=_entities(comparison.reference, causes),
    )


def rule_e_refill(comparison: Comparison, rng: random.Random) -> int | None:
    """Choose a sentence for a report that a deletion emptied.

    Draws once: uniform over the reference sentences that hold a missing entity, those of the
    deleted sentence included, as nothing is left; over all of them if none does. None, and no draw,
    if the reference is empty too.
    """
    every = range(len(comparison.reference.sentences))
    candidates = comparison.sentences_missing_from_an_empty_report() or every
    return rng.choice(candidates) if candidates else None


RULES: tuple[Rule, ...] = (
    rule_a_mislabelled,
    rule_b_replacement,
    rule_c_deletion,
    rule_d_augmentation,
)
"""In the order in which they are tried; (e) is that none of them applies."""

SAYING_RULES: tuple[Rule, ...] = (rule_a_mislabelled, rule_b_replacement, rule_d_augmentation)
"""Those that insert a sentence. They are tried alone, and before the others, where an entity is
wanted."""


def edit_report(
    rollout: AnnotatedReport,
    reference: AnnotatedReport,
    *,
    rng: random.Random,
    threshold: float = 0.6,
    max_edits: int = 1,
    anatomy_counts: bool = False,
    wanted_Y: NDArray[np.bool_] | None = None,
) -> Edit:
    """Correct a rollout minimally with sentences of its reference report.

    Args:
        rollout: The report to edit; it may have no sentences.
        reference: The report that corrections are taken from; it may have no sentences.
        rng: The only source of randomness. A step calls `rng.choice` once, rule (b) and a deletion
            that is refilled twice; a report with nothing to edit draws nothing.
        threshold: Tau; two entities are alike if their cosine is above it.
        max_edits: Most steps taken; editing stops earlier when nothing is left to edit.
        anatomy_counts: Whether an ANATOMY entity can itself be spurious or missing.
        wanted_Y: (Y,) bool, True for reference entities that the edit is to state. As long as one
            is missing, a step takes the first of (a), (b) and (d) that inserts a sentence with it.
            None, and where nothing is wanted, tries all rules in their order.

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
        comparison = compare(report, reference, threshold=threshold, anatomy_counts=anatomy_counts)
        step = None
        if wanted_Y is not None:
            step = _first_step(comparison.inserting_only(wanted_Y), rng, SAYING_RULES)
        step = step or _first_step(comparison, rng, RULES)
        if step is None:
            break
        steps.append(step)
        inserted = step.reference_position
        sentence = () if inserted is None else (reference.sentences[inserted],)
        source = () if inserted is None else (SentenceSource(Origin.REFERENCE, inserted),)
        report = AnnotatedReport(_splice(report.sentences, step.position, sentence))
        sources = _splice(sources, step.position, source)
    return Edit(report=report, steps=tuple(steps), sources=sources)


def _first_step(
    comparison: Comparison, rng: random.Random, rules: Sequence[Rule]
) -> EditStep | None:
    """Return the step of the first rule that applies."""
    for rule in rules:
        step = rule(comparison, rng)
        if step is not None:
            return step
    return None


def _splice(items: tuple[T, ...], position: int, inserted: tuple[T, ...]) -> tuple[T, ...]:
    """Put items in the place of the one at a position, or at the end if it is one past it."""
    return items[:position] + inserted + items[position + 1 :]


def _entities(report: AnnotatedReport, indices: list[int]) -> tuple[Entity, ...]:
    """Return a report's entities at the given indices in reading order."""
    entities = report.entities
    return tuple(entities[index] for index in indices)


def _spurious_in(comparison: Comparison, position: int) -> tuple[Entity, ...]:
    """Return the spurious entities of a rollout sentence."""
    return _entities(comparison.rollout, comparison.spurious_rows(position).tolist())
