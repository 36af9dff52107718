"""Entities that no rollout states, and edits that state them; read off paper."""

import random

import numpy as np
import pytest

from editgrpo.edits import EditRule, edit_report
from editgrpo.edits.comparison import compare
from editgrpo.edits.similarity import unsaid_entities
from editgrpo.reports.types import AnnotatedReport, Entity
from tests.edits.reports import ABSENT, ANATOMY, PRESENT, entity, finding, report, sentence

EFFUSION = sentence("There is an effusion.", finding(0))
NO_EFFUSION = sentence("No effusion.", finding(0, ABSENT))
TUBE = sentence("A tube is seen.", finding(1))
NODULE = sentence("A nodule is seen.", finding(2))
LUNGS = sentence("The lungs.", finding(3, ANATOMY))
REFERENCE = report(EFFUSION, TUBE, LUNGS)


@pytest.mark.parametrize(
    ("rollouts", "unsaid"),
    [
        ([], [True, True, False]),  # ANATOMY does not count
        ([report(NODULE), report()], [True, True, False]),
        ([report(EFFUSION), report(NODULE)], [False, True, False]),  # one of them is enough
        ([report(EFFUSION), report(TUBE, NODULE)], [False, False, False]),
        ([report(NO_EFFUSION, TUBE)], [True, False, False]),  # the opposite does not state it
    ],
)
def test_an_entity_is_unsaid_if_no_rollout_states_it(
    rollouts: list[AnnotatedReport], unsaid: list[bool]
) -> None:
    assert unsaid_entities(REFERENCE, rollouts, threshold=0.6).tolist() == unsaid


def test_anatomy_counts_where_it_is_told_to() -> None:
    found = unsaid_entities(REFERENCE, [report(TUBE)], threshold=0.6, anatomy_counts=True)
    assert found.tolist() == [True, False, True]
    found = unsaid_entities(REFERENCE, [report(LUNGS)], threshold=0.6, anatomy_counts=True)
    assert found.tolist() == [True, True, False]


def test_a_cosine_equal_to_the_threshold_states_nothing() -> None:
    """Cosines 0.6 and 0.8 with the axis."""
    reference = report(sentence("One.", entity([1, 0])))
    near, at = (report(sentence("Two.", entity(v))) for v in ([4, 3], [3, 4]))
    assert unsaid_entities(reference, [at], threshold=0.6).tolist() == [True]
    assert unsaid_entities(reference, [at, near], threshold=0.6).tolist() == [False]


def test_entities_without_embeddings_are_compared_by_their_words() -> None:
    words = [sentence(f"{w}.", Entity(w, PRESENT, None)) for w in ("Edema", "EDEMA", "tube")]
    found = unsaid_entities(report(words[0], words[2]), [report(words[1])], threshold=0.6)
    assert found.tolist() == [False, True]


def test_what_is_stated_or_stands_there_is_not_inserted_for_being_wanted() -> None:
    """The other words for an effusion would say nothing new, and the tube stands there."""
    fluid = sentence("Fluid is seen.", finding(0))
    reference = report(EFFUSION, TUBE, NODULE, fluid)
    compared = compare(report(fluid, TUBE), reference, threshold=0.6, anatomy_counts=False)
    assert compared.insertable == (0, 2)
    assert compared.inserting_only(wanting(True, True, True, True)).insertable == (2,)
    assert compared.inserting_only(wanting(True, True, False, True)).insertable == ()


def wanting(*wanted: bool) -> np.ndarray:
    return np.array(wanted, dtype=np.bool_)


@pytest.mark.parametrize("seed", range(20))
def test_the_edit_states_what_is_wanted_where_another_rule_would_come_first(seed: int) -> None:
    """By the rules alone the effusion would be mended, or without it the nodule deleted."""
    rng = random.Random(seed)
    rollout = report(NO_EFFUSION, NODULE)
    edit = edit_report(rollout, REFERENCE, rng=rng, wanted_Y=wanting(False, True, False))
    assert edit.rule is EditRule.AUGMENTATION
    assert edit.report.sentences == (NO_EFFUSION, NODULE, TUBE)
    assert edit_report(rollout, REFERENCE, rng=rng).rule is EditRule.MISLABELLED


def test_a_sentence_that_denies_what_is_wanted_is_replaced() -> None:
    edit = edit_report(
        report(NODULE, NO_EFFUSION),
        REFERENCE,
        rng=random.Random(0),
        wanted_Y=wanting(True, True, False),
    )
    assert edit.rule is EditRule.MISLABELLED
    assert edit.report.sentences == (NODULE, EFFUSION)


def test_of_several_wanted_each_is_chosen_and_nothing_else() -> None:
    wanted = wanting(True, False, True)
    reference = report(EFFUSION, TUBE, NODULE)
    chosen = {
        edit_report(report(), reference, rng=random.Random(seed), wanted_Y=wanted).report.text
        for seed in range(40)
    }
    assert chosen == {EFFUSION.text, NODULE.text}


def test_further_steps_say_the_rest_and_then_follow_the_rules() -> None:
    edit = edit_report(
        report(NODULE),
        report(EFFUSION, TUBE),
        rng=random.Random(0),
        max_edits=9,
        wanted_Y=wanting(True, True),
    )
    assert [step.rule for step in edit.steps] == [
        EditRule.AUGMENTATION,
        EditRule.AUGMENTATION,
        EditRule.DELETION,
    ]
    assert set(edit.report.sentences) == {EFFUSION, TUBE}


@pytest.mark.parametrize("wanted", [None, wanting(False, False, False)])
def test_where_nothing_is_wanted_the_rules_are_the_papers(wanted: np.ndarray | None) -> None:
    for seed in range(20):
        rollout = report(NO_EFFUSION, NODULE)
        found = edit_report(rollout, REFERENCE, rng=random.Random(seed), wanted_Y=wanted)
        assert found == edit_report(rollout, REFERENCE, rng=random.Random(seed))
