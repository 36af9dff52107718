"""Entities without embeddings, as RadGraph gives them: equal words, three presence labels."""

import random

import numpy as np
import pytest

from editgrpo.edits import EditRule, edit_report
from editgrpo.edits.similarity import (
    contradiction_matrix,
    match_matrix,
    missing_entities,
    similarity_matrix,
    spurious_entities,
)
from editgrpo.errors import EditError
from editgrpo.reports import (
    AnnotatedReport,
    AnnotatedSentence,
    Entity,
    EntityType,
    Presence,
    RadGraphLabel,
)

PRESENT = RadGraphLabel("Observation::definitely present")
ABSENT = RadGraphLabel("Observation::definitely absent")
UNCERTAIN = RadGraphLabel("Observation::uncertain")
ANATOMY = RadGraphLabel("Anatomy::definitely present")
ALL = [PRESENT, ABSENT, UNCERTAIN, ANATOMY]


def report(*sentences: tuple[str, list[tuple[str, RadGraphLabel]]]) -> AnnotatedReport:
    return AnnotatedReport(
        tuple(
            AnnotatedSentence(text, tuple(Entity(words, label) for words, label in entities))
            for text, entities in sentences
        )
    )


@pytest.mark.parametrize(
    ("label", "presence"),
    [
        (PRESENT, Presence.PRESENT),
        (ABSENT, Presence.ABSENT),
        (UNCERTAIN, Presence.UNCERTAIN),
        (ANATOMY, None),
        (RadGraphLabel("Observation::measurement::definitely present"), Presence.PRESENT),
        (RadGraphLabel("Anatomy::measurement::definitely present"), None),
    ],
)
def test_a_label_says_its_presence(label: RadGraphLabel, presence: Presence | None) -> None:
    assert label.presence is presence


def test_words_are_alike_if_equal_but_for_case_and_spacing() -> None:
    rows = [Entity("Pleural  effusion", PRESENT), Entity("effusion", PRESENT)]
    columns = [Entity("pleural effusion", ABSENT), Entity("opacity", PRESENT)]
    assert similarity_matrix(rows, columns).tolist() == [[1, 0], [0, 0]]
    assert similarity_matrix(rows, []).shape == (2, 0)


def test_presences_contradict_when_both_are_told_and_differ() -> None:
    entities = [Entity("x", label) for label in ALL]
    expected = [  # present, absent, uncertain, anatomy
        [False, True, True, False],
        [True, False, True, False],
        [True, True, False, False],
        [False, False, False, False],
    ]
    assert contradiction_matrix(entities, entities).tolist() == expected
    # Counterparts are alike in words and in presence: here, each only with itself.
    assert np.array_equal(match_matrix(entities, entities, threshold=0.6), np.eye(4, dtype=bool))


def test_an_uncertain_finding_does_not_cover_a_certain_one() -> None:
    rollout = report(("Possible opacity.", [("opacity", UNCERTAIN)]))
    reference = report(("Opacity.", [("opacity", PRESENT), ("lung", ANATOMY)]))
    assert spurious_entities(rollout, reference, threshold=0.6) == rollout.entities
    assert missing_entities(rollout, reference, threshold=0.6) == reference.entities[:1]
    edit = edit_report(rollout, reference, rng=random.Random(0))
    assert edit.rule is EditRule.MISLABELLED
    assert edit.report.text == "Opacity."


def test_other_words_are_deleted_or_appended_not_replaced() -> None:
    rollout = report(("Nodule.", [("nodule", PRESENT)]), ("Opacity.", [("opacity", PRESENT)]))
    reference = report(("Opacity.", [("opacity", PRESENT)]), ("Edema.", [("edema", PRESENT)]))
    first = edit_report(rollout, reference, rng=random.Random(0))
    # No reference sentence is like a nodule: rule (b) finds a mean likeness of 0, so (c) deletes.
    assert (first.rule, first.report.text) == (EditRule.DELETION, "Opacity.")
    second = edit_report(first.report, reference, rng=random.Random(0))
    assert (second.rule, second.report.text) == (EditRule.AUGMENTATION, "Opacity. Edema.")


def test_annotators_are_not_mixed() -> None:
    with_vector = Entity("x", EntityType.DISEASE, np.ones(2, dtype=np.float32))
    with pytest.raises(EditError, match="annotate rollout and reference with one annotator"):
        similarity_matrix([Entity("x", PRESENT)], [with_vector])
