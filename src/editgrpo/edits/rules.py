"""The edit rules (a) to (e) of EditGRPO (arXiv:2509.22812, Algorithm 1): all that is said of them.

A rule is a function and a row of `RULES`. The function looks at a `Comparison`, draws with the
generator it is given, and returns the correction it wants, or None if it does not apply; `edit.py`
tries the rules in their order and takes the first correction. docs/edit-rules.md explains each rule
with an example and lists what we decided beyond the paper.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from editgrpo.edits.comparison import Comparison
from editgrpo.edits.similarity import DECIMALS
from editgrpo.reports.types import AnnotatedReport, Entity


class EditRule(StrEnum):
    """The rules by name, in the order in which they are tried."""

    MISLABELLED = "mislabelled"
    REPLACEMENT = "replacement"
    DELETION = "deletion"
    AUGMENTATION = "augmentation"
    NONE = "none"


class Cause(StrEnum):
    """Which entities make a rule apply."""

    SPURIOUS = "spurious"
    """Those of a rollout sentence, which is replaced or deleted."""

    MISSING = "missing"
    """Those of a reference sentence, which is added."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Correction:
    """What a rule wants done to one sentence.

    Attributes:
        position: Index of the sentence replaced or deleted, or at which one is added, in the
            report as it stands.
        reference_position: Index of the reference sentence inserted; None for a plain deletion.
        causes: The entities that made the rule apply, see `Rule.cause`.
    """

    position: int
    reference_position: int | None
    causes: tuple[Entity, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """All that there is to say of one edit rule."""

    name: EditRule
    """In files, metrics and tables."""

    function: Callable[[Comparison, random.Random], Correction | None]
    """What it wants; None if it does not apply."""

    cause: Cause = Cause.SPURIOUS
    """Which entities make it apply, and so whether a sentence goes or one is added."""

    inserts: bool = True
    """Whether it always inserts a sentence. Such rules are tried alone, and before the others,
    where an entity is wanted."""

    sentence: str
    """When it applies and what it does, for readers of an edit."""

    colour: tuple[str, str]
    """On light and on dark ground."""

    @property
    def removes(self) -> bool:
        """Whether it takes a sentence of the rollout away: one that is spurious."""
        return self.cause is Cause.SPURIOUS


def rule_a_mislabelled(comparison: Comparison, rng: random.Random) -> Correction | None:
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
    return Correction(
        position=position,
        reference_position=reference_position,
        causes=_entities(comparison.rollout, causes),
    )


def rule_b_replacement(comparison: Comparison, rng: random.Random) -> Correction | None:
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
    return Correction(
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


def rule_c_deletion(comparison: Comparison, rng: random.Random) -> Correction | None:
    """Delete a sentence that holds a false positive; refill a report that this leaves empty (e).

    Draws once: the sentence, uniform; and once more if the report is refilled.
    """
    positions = comparison.spurious_sentences()
    if not positions:
        return None
    position = rng.choice(positions)
    is_only_sentence = len(comparison.rollout.sentences) == 1
    return Correction(
        position=position,
        reference_position=rule_e_refill(comparison, rng) if is_only_sentence else None,
        causes=_spurious_in(comparison, position),
    )


def rule_d_augmentation(comparison: Comparison, rng: random.Random) -> Correction | None:
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
    return Correction(
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
    Rule(
        name=EditRule.MISLABELLED,
        function=rule_a_mislabelled,
        sentence="a sentence asserts the opposite of the reference, and is exchanged",
        colour=("#c2255c", "#f783ac"),
    ),
    Rule(
        name=EditRule.REPLACEMENT,
        function=rule_b_replacement,
        sentence="a sentence holds false positives, and gives way to the closest of the reference",
        colour=("#6741d9", "#b197fc"),
    ),
    Rule(
        name=EditRule.DELETION,
        function=rule_c_deletion,
        inserts=False,
        sentence="a sentence holds a false positive that nothing in the reference answers, and "
        "goes",
        colour=("#b7791f", "#f0c05a"),
    ),
    Rule(
        name=EditRule.AUGMENTATION,
        function=rule_d_augmentation,
        cause=Cause.MISSING,
        sentence="the reference has a finding that the rollout lacks, and its sentence is added",
        colour=("#0b7f5f", "#3fcf9f"),
    ),
)
"""In the order in which they are tried; (e) is that none of them applies."""

RULE_OF: Mapping[EditRule, Rule] = {rule.name: rule for rule in RULES}
"""Each rule by its name; NONE is not among them."""

NO_RULE_SENTENCE = "nothing to edit"
NO_RULE_COLOUR = ("#94a3b8", "#64748b")
"""What `EditRule.NONE` has in the place of a rule's sentence and colour."""


def _entities(report: AnnotatedReport, indices: list[int]) -> tuple[Entity, ...]:
    """Return a report's entities at the given indices in reading order."""
    entities = report.entities
    return tuple(entities[index] for index in indices)


def _spurious_in(comparison: Comparison, position: int) -> tuple[Entity, ...]:
    """Return the spurious entities of a rollout sentence."""
    return _entities(comparison.rollout, comparison.spurious_rows(position).tolist())
