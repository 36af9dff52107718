"""Where an added sentence goes in the reference's order: by hand, and against all places tried."""

import random

import pytest
from hypothesis import given

from editgrpo.edits import EditRule, edit_report
from editgrpo.edits.comparison import compare
from editgrpo.edits.placement import place_in_reference_order
from editgrpo.reports.types import AnnotatedReport, AnnotatedSentence
from tests.edits.reports import ABSENT, ANATOMY, finding, report, sentence
from tests.edits.strategies import pairs

TUBE = sentence("A tube.", finding(0))
NODULE = sentence("A nodule.", finding(1))
EFFUSION = sentence("An effusion.", finding(2))
HEART = sentence("A large heart.", finding(3))
PROSE = sentence("As before.")
REFERENCE = report(TUBE, NODULE, PROSE, EFFUSION, HEART)


def place(rollout: AnnotatedReport, position: int) -> int:
    comparison = compare(rollout, REFERENCE, threshold=0.6, anatomy_counts=False)
    return place_in_reference_order(comparison, position)


@pytest.mark.parametrize(
    ("rollout", "position", "expected"),
    [
        ((NODULE, HEART), 0, 0),
        ((TUBE, HEART), 1, 1),
        ((TUBE, NODULE), 3, 2),
        ((), 1, 0),
        # Of several places that are as good, the last: behind what stands for nothing.
        ((TUBE, sentence("Prose."), HEART), 1, 2),
        ((sentence("Prose."),), 0, 1),
        # The text alone says what a sentence without entities stands for.
        ((PROSE, HEART), 1, 0),
        # The opposite finding stands for the same sentence; a place in the body does not.
        ((sentence("No nodule.", finding(1, ABSENT)), HEART), 3, 1),
        ((sentence("Here.", finding(4, ANATOMY)), HEART), 0, 1),
        # A sentence of two findings stands for the first of the sentences that it shares one with.
        ((sentence("Nodule, effusion.", finding(2), finding(1)), HEART), 3, 1),
        # The reverse order: one is on the wrong side at the front and at the end, both in between.
        ((HEART, TUBE), 1, 2),
        ((HEART, TUBE, NODULE), 3, 3),
    ],
)
def test_the_place_leaves_the_fewest_sentences_on_the_wrong_side(
    rollout: tuple[AnnotatedSentence, ...], position: int, expected: int
) -> None:
    assert place(report(*rollout), position) == expected


@pytest.mark.slow
@given(pairs())
def test_no_other_place_is_better(pair: tuple[AnnotatedReport, AnnotatedReport]) -> None:
    """Sentences of one's own text, or of one shared finding, are put on either side in turn."""
    rollout, reference = pair
    texts = [s.text for s in reference.sentences]
    # Only rollout sentences with a verbatim counterpart, so that no likeness has a say.
    rollout = report(*(s for s in rollout.sentences if s.text in texts and not s.entities))
    comparison = compare(rollout, reference, threshold=0.6, anatomy_counts=False)
    at = [texts.index(s.text) for s in rollout.sentences]
    for wanted in range(len(texts)):
        wrong = [
            sum(k > wanted for k in at[:p]) + sum(k < wanted for k in at[p:])
            for p in range(len(at) + 1)
        ]
        found = place_in_reference_order(comparison, wanted)
        assert wrong[found] == min(wrong)
        assert all(w > wrong[found] for w in wrong[found + 1 :])


def test_an_edit_adds_in_the_order_of_the_reference_where_it_is_told_to() -> None:
    rollout = report(NODULE, EFFUSION, HEART)
    at_end = edit_report(rollout, REFERENCE, rng=random.Random(0))
    in_order = edit_report(rollout, REFERENCE, rng=random.Random(0), in_reference_order=True)
    assert at_end.rule is in_order.rule is EditRule.AUGMENTATION
    assert at_end.report.text == "A nodule. An effusion. A large heart. A tube."
    assert in_order.report.text == "A tube. A nodule. An effusion. A large heart."
    assert in_order.positions == (0,)
    assert [s.position for s in in_order.sources] == [0, 0, 1, 2]


def test_the_other_rules_exchange_where_they_did() -> None:
    rollout = report(HEART, sentence("No nodule.", finding(1, ABSENT)))
    edits = [
        edit_report(rollout, REFERENCE, rng=random.Random(0), in_reference_order=in_order)
        for in_order in (False, True)
    ]
    assert edits[0] == edits[1]
    assert edits[0].report.text == "A large heart. A nodule."
