"""Entity F1 on hand-made sets and reports."""

import pytest

from editgrpo.metrics.entity_f1 import (
    EntityF1,
    EntityItem,
    entity_f1,
    normalised_tokens,
    report_items,
)
from editgrpo.reports.types import EntityType
from tests.rewards.fakes import FakeAnnotator, report

A, B, C = (EntityItem((word,), "present", False) for word in "abc")


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        ({A, B}, {A, B}, 1.0),
        ({A}, {A, B, C}, 0.5),  # P 1, R 1/3: 2*1 / (1+3)
        ({A, B}, {B, C}, 0.5),  # P 1/2, R 1/2
        ({A}, {B}, 0.0),
        (set(), {A}, 0.0),
        ({A}, set(), 0.0),
        (set(), set(), 0.0),  # 0 if either is empty
    ],
)
def test_entity_f1_of_sets(
    candidate: set[EntityItem], reference: set[EntityItem], expected: float
) -> None:
    assert entity_f1(frozenset(candidate), frozenset(reference)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Pleural  Effusion,", ("pleural", "effusion")),
        ("air-space", ("air", "space")),
        ("T8", ("t8",)),
        ("…", ()),
    ],
)
def test_tokens_are_lower_case_words(text: str, expected: tuple[str, ...]) -> None:
    assert normalised_tokens(text) == expected


def test_items_hold_presence_and_the_relation_flag() -> None:
    found = report(
        [("fracture", EntityType.DISEASE), ("rib", EntityType.ANATOMY)],
        [("effusion", EntityType.NON_ABNORMALITY)],
    )
    assert report_items(found) == {
        EntityItem(("fracture",), "present", True),  # an anatomy stands in its sentence
        EntityItem(("rib",), "anatomy", False),
        EntityItem(("effusion",), "absent", False),
    }


def test_disease_and_abnormality_of_equal_presence_are_the_same_item() -> None:
    one = report([("effusion", EntityType.DISEASE)])
    other = report([("effusion", EntityType.ABNORMALITY)])
    assert report_items(one) == report_items(other)


def test_a_negated_finding_is_another_item() -> None:
    metric = EntityF1(FakeAnnotator())
    assert metric.name == "entity_f1/partial@fake"
    facts = metric.read(["effusion", "no effusion"])
    assert metric.compare(facts[:1], facts[1:]).tolist() == [0.0]


def test_repeating_a_sentence_gains_nothing() -> None:
    metric = EntityF1(FakeAnnotator())
    once, often, reference = metric.read(
        ["effusion. fracture.", "effusion. " * 9 + "fracture.", "effusion. cardiomegaly."]
    )
    assert metric.compare([once, often], [reference] * 2).tolist() == [0.5, 0.5]
