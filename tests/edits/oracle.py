"""Everything the edit rules allow, written down a second time: plain loops, exact arithmetic.

Nothing of the implementation is used here but the report types. Cosines are decimals of 40 digits
(the test embeddings are small integers); probabilities are fractions.
"""

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import NamedTuple

from editgrpo.edits import EditRule
from editgrpo.reports.types import AnnotatedReport, AnnotatedSentence, Entity

TAU = Decimal("0.6")
SAME = Decimal("1e-9")
"""Means closer than this tie; different means of the test embeddings lie further apart."""


class Outcome(NamedTuple):
    """One thing that an edit may do."""

    rule: EditRule
    position: int | None = None
    reference_position: int | None = None


def cosine(e: Entity, f: Entity) -> Decimal:
    with localcontext() as context:
        context.prec = 40
        dot = Decimal(0)
        length_e = Decimal(0)
        length_f = Decimal(0)
        for a, b in zip(e.embedding.tolist(), f.embedding.tolist(), strict=True):
            dot += Decimal(a) * Decimal(b)
            length_e += Decimal(a) ** 2
            length_f += Decimal(b) ** 2
        if length_e == 0 or length_f == 0:
            return Decimal(0)
        # Rational cosines come out exact: 3/5 is no more than 0.6.
        return (dot / (length_e * length_f).sqrt()).quantize(Decimal("1e-30"))


def matches(e: Entity, f: Entity) -> bool:
    return cosine(e, f) > TAU and e.type.presence == f.type.presence


def counts(e: Entity, anatomy_counts: bool) -> bool:
    return anatomy_counts or e.type.presence is not None


def without_counterpart(
    of: AnnotatedReport, against: AnnotatedReport, anatomy_counts: bool
) -> list[tuple[int, Entity]]:
    """List (sentence, entity) for the entities of one report that the other has nothing like."""
    found = []
    for position, sentence in enumerate(of.sentences):
        for e in sentence.entities:
            if not counts(e, anatomy_counts):
                continue
            partner = None
            for other in against.sentences:
                for f in other.entities:
                    if matches(e, f):
                        partner = f
            if partner is None:
                found.append((position, e))
    return found


def covers(sentence: AnnotatedSentence, wanted: list[Entity]) -> bool:
    """Whether E[y_j] holds all the wanted entities."""
    held = [e for e in wanted if any(cosine(e, f) > TAU for f in sentence.entities)]
    return len(held) == len(wanted)


def mean_likeness(sentence: AnnotatedSentence, wanted: list[Entity]) -> Decimal:
    total = Decimal(0)
    for e in wanted:
        total += max(cosine(e, f) for f in sentence.entities)
    return total / len(wanted)


def uniform(outcomes: list[Outcome]) -> dict[Outcome, Fraction]:
    shares: dict[Outcome, Fraction] = {}
    for outcome in outcomes:
        shares[outcome] = shares.get(outcome, Fraction(0)) + Fraction(1, len(outcomes))
    return shares


def allowed(
    x: AnnotatedReport, y: AnnotatedReport, anatomy_counts: bool = False
) -> dict[Outcome, Fraction]:
    """Return every allowed outcome of one edit with its probability."""
    standing = [s.text for s in x.sentences]
    free = [j for j, s in enumerate(y.sentences) if s.text not in standing]
    spurious = without_counterpart(x, y, anatomy_counts)
    missing = without_counterpart(y, x, anatomy_counts)
    return (
        _mislabelled(y, spurious, free)
        or _replacement(y, spurious, free)
        or _deletion(x, y, spurious, anatomy_counts)
        or uniform(
            [
                Outcome(EditRule.AUGMENTATION, len(x.sentences), j)
                for j in free
                if j in [position for position, _ in missing]
            ]
        )
        or {Outcome(EditRule.NONE): Fraction(1)}
    )


def _mislabelled(
    y: AnnotatedReport, spurious: list[tuple[int, Entity]], free: list[int]
) -> dict[Outcome, Fraction]:
    pairs = []
    for i, e in spurious:
        for j in free:
            for f in y.sentences[j].entities:
                presences = {e.type.presence, f.type.presence}
                opposite = len(presences) == 2 and None not in presences
                if opposite and cosine(e, f) > TAU and (i, j) not in pairs:
                    pairs.append((i, j))
    return uniform([Outcome(EditRule.MISLABELLED, i, j) for i, j in pairs])


def _replacement(
    y: AnnotatedReport, spurious: list[tuple[int, Entity]], free: list[int]
) -> dict[Outcome, Fraction]:
    options: dict[int, list[int]] = {}
    for i in {i for i, _ in spurious}:
        wanted = [e for position, e in spurious if position == i]
        if any(covers(sentence, wanted) for sentence in y.sentences):
            continue
        means = {j: mean_likeness(y.sentences[j], wanted) for j in free if y.sentences[j].entities}
        if means and max(means.values()) >= TAU - SAME:
            options[i] = [j for j, mean in means.items() if mean >= max(means.values()) - SAME]
    shares = {}
    for i, nearest in options.items():
        for j in nearest:
            shares[Outcome(EditRule.REPLACEMENT, i, j)] = Fraction(1, len(options) * len(nearest))
    return shares


def _deletion(
    x: AnnotatedReport,
    y: AnnotatedReport,
    spurious: list[tuple[int, Entity]],
    anatomy_counts: bool,
) -> dict[Outcome, Fraction]:
    refills: list[int | None] = [None]
    if len(x.sentences) == 1 and y.sentences:
        lacking = without_counterpart(y, AnnotatedReport(()), anatomy_counts)
        refills = sorted({j for j, _ in lacking}) or list(range(len(y.sentences)))
    return uniform(
        [Outcome(EditRule.DELETION, i, j) for i in {i for i, _ in spurious} for j in refills]
    )
