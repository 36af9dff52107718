"""Entity similarity: values worked out by hand on orthogonal embeddings, and what cannot be
farmed."""

import numpy as np
import pytest

from editgrpo.metrics.entity_similarity import (
    CONTRADICTION_FACTOR,
    EntitySimilarity,
    entity_similarity,
    entity_vectors,
)
from editgrpo.reports.types import AnnotatedReport, Entity, EntityType
from tests.rewards.fakes import FakeAnnotator, report

DISEASE, NO_DISEASE = EntityType.DISEASE, EntityType.NON_DISEASE
ANATOMY = EntityType.ANATOMY


def similarity(candidate: AnnotatedReport, reference: AnnotatedReport) -> float:
    return entity_similarity(entity_vectors(candidate), entity_vectors(reference))


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        # The same entities: both directions 1.
        ([("effusion", DISEASE)], [("effusion", DISEASE)], 1.0),
        # Synonyms: cosine 0.96 both ways.
        ([("cardiomegaly", DISEASE)], [("enlarged heart", DISEASE)], 0.96),
        # Contradiction: cosine 1 times the factor, both ways.
        ([("effusion", DISEASE)], [("effusion", NO_DISEASE)], CONTRADICTION_FACTOR),
        # Nothing alike.
        ([("effusion", DISEASE)], [("fracture", DISEASE)], 0.0),
        # One of two: S(c->r) = 1, S(r->c) = 1/2, F1 = 2*1*.5/1.5.
        ([("effusion", DISEASE)], [("effusion", DISEASE), ("fracture", DISEASE)], 2 / 3),
        # Anatomy weighs half: S(r->c) = 1/1.5 = 2/3, F1 = 2*(2/3)/(5/3) = 4/5.
        ([("fracture", DISEASE)], [("fracture", DISEASE), ("rib", ANATOMY)], 0.8),
        # Both presences stand in the reference: the match that does not contradict counts.
        # S(c->r) = 1, S(r->c) = (1 + .3612)/2 = .6806; F1 = 2*.6806/1.6806 = .80995.
        ([("effusion", DISEASE)], [("effusion", NO_DISEASE), ("effusion", DISEASE)], 0.80995),
    ],
)
def test_entity_similarity_by_hand(
    candidate: list[tuple[str, EntityType]],
    reference: list[tuple[str, EntityType]],
    expected: float,
) -> None:
    assert similarity(report(candidate), report(reference)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("empty", [report(), report([])])
def test_a_report_without_entities_earns_nothing(empty: AnnotatedReport) -> None:
    full = report([("effusion", DISEASE)])
    assert similarity(empty, full) == 0.0
    assert similarity(full, empty) == 0.0
    assert similarity(empty, empty) == 0.0


def test_similarity_is_symmetric_and_bounded() -> None:
    rng = np.random.default_rng(3)
    types = list(EntityType)

    def random_vectors() -> tuple[Entity, ...]:
        return tuple(
            Entity(str(k), types[rng.integers(5)], rng.normal(size=4).astype(np.float32))
            for k in range(rng.integers(1, 6))
        )

    def one(entities: tuple[Entity, ...]) -> AnnotatedReport:
        empty = report([("rib", ANATOMY)])
        sentence = type(empty.sentences[0])("words.", entities)
        return AnnotatedReport((sentence,))

    pairs = [(one(random_vectors()), one(random_vectors())) for _ in range(50)]
    forward = np.array([similarity(a, b) for a, b in pairs])
    backward = np.array([similarity(b, a) for a, b in pairs])
    np.testing.assert_allclose(forward, backward, rtol=1e-12)
    assert ((forward >= 0) & (forward <= 1)).all()


def test_repeating_a_sentence_gains_nothing() -> None:
    metric = EntitySimilarity(FakeAnnotator())
    assert metric.name == "entity_similarity@fake"
    once, often, reference = metric.read(
        ["effusion. fracture.", "effusion. " * 9 + "fracture.", "effusion."]
    )
    # S(c->r) = 1/2, S(r->c) = 1: 2/3, however often the right sentence stands there.
    assert metric.compare([once, often], [reference] * 2) == pytest.approx([2 / 3, 2 / 3])


def test_saying_the_same_in_other_words_gains_nothing() -> None:
    metric = EntitySimilarity(FakeAnnotator())
    once, twice, reference = metric.read(
        [
            "cardiomegaly. fracture.",
            "cardiomegaly. enlarged heart. fracture.",
            "cardiomegaly.",
        ]
    )
    plain, padded = metric.compare([once, twice], [reference] * 2)
    # Both synonyms share the weight 1: S(c->r) = (1/2 + .96/2 + 0) / 2 = .49 < 1/2.
    assert plain == pytest.approx(2 / 3)
    assert padded == pytest.approx(2 * 0.49 / 1.49, abs=1e-6)


def test_repetition_gains_nothing_where_likeness_is_not_transitive() -> None:
    # Directions at 0, 30 and 60 degrees: neighbours have cosine .87, the outer two .5.
    angles = np.deg2rad([0, 30, 60])
    words = ["left", "middle", "right"]
    entities = [
        Entity(word, DISEASE, np.array([np.cos(angle), np.sin(angle)], dtype=np.float32))
        for word, angle in zip(words, angles, strict=True)
    ]
    sentence = type(report([]).sentences[0])
    once = AnnotatedReport((sentence("words.", tuple(entities)),))
    often = AnnotatedReport((sentence("words.", (*entities, *entities[:1] * 5)),))
    reference = AnnotatedReport((sentence("words.", tuple(entities[:1])),))
    # Weights 1/2, 1/3, 1/2: S(c->r) = (1/2 + .8660/3 + .5/2) / (4/3) = .7790, S(r->c) = 1.
    assert similarity(once, reference) == pytest.approx(2 * 0.779006 / 1.779006, abs=1e-5)
    assert similarity(often, reference) == similarity(once, reference)


def test_zero_embeddings_match_nothing() -> None:
    blank = Entity("x", DISEASE, np.zeros(5, dtype=np.float32))
    empty = report([("rib", ANATOMY)])
    lone = AnnotatedReport((type(empty.sentences[0])("x.", (blank,)),))
    assert similarity(lone, lone) == 0.0
