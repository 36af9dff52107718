"""The edit rules on reports written by hand; the expected step is read off paper, rule by rule."""

import random
from typing import Any

import pytest

from editgrpo.edits import Edit, EditRule, Origin, SentenceSource, edit_report
from editgrpo.errors import EditError
from editgrpo.reports.types import AnnotatedReport, EntityType
from tests.edits.reports import (
    ABSENT,
    ANATOMY,
    DISEASE,
    NO_DISEASE,
    PRESENT,
    entity,
    finding,
    report,
    sentence,
)

EFFUSION = sentence("There is an effusion.", finding(0))
NO_EFFUSION = sentence("No effusion.", finding(0, ABSENT))
TUBE = sentence("A tube is seen.", finding(1))
NODULE = sentence("A nodule is seen.", finding(2))
PROSE = sentence("Comparison is made to the prior.")


def all_edits(rollout: AnnotatedReport, reference: AnnotatedReport, **settings: Any) -> set[Edit]:
    """Collect what 60 seeds return."""
    return {
        edit_report(rollout, reference, rng=random.Random(seed), **settings) for seed in range(60)
    }


def only_edit(rollout: AnnotatedReport, reference: AnnotatedReport, **settings: Any) -> Edit:
    """Return the edit that all seeds agree on."""
    (edit,) = all_edits(rollout, reference, **settings)
    return edit


def texts(edit: Edit) -> tuple[str, ...]:
    return tuple(sentence.text for sentence in edit.report.sentences)


# Rule (a)


def test_a_sentence_that_states_the_opposite_is_replaced() -> None:
    edit = only_edit(report(PROSE, NO_EFFUSION), report(TUBE, EFFUSION))
    assert edit.rule is EditRule.MISLABELLED
    assert edit.report.sentences == (PROSE, EFFUSION)
    assert edit.report.sentences[0] is PROSE
    assert (edit.steps[0].position, edit.steps[0].reference_position) == (1, 1)
    assert edit.steps[0].causes == NO_EFFUSION.entities
    assert edit.sources == (
        SentenceSource(Origin.ROLLOUT, 0),
        SentenceSource(Origin.REFERENCE, 1),
    )


@pytest.mark.parametrize(("stated", "true"), [(PRESENT, NO_DISEASE), (ABSENT, DISEASE)])
def test_presence_decides_and_not_the_kind_of_finding(stated: EntityType, true: EntityType) -> None:
    rollout = report(sentence("Stated.", finding(0, stated)))
    reference = report(sentence("True.", finding(0, true)))
    assert only_edit(rollout, reference).rule is EditRule.MISLABELLED


@pytest.mark.parametrize(("stated", "true"), [(PRESENT, DISEASE), (ABSENT, NO_DISEASE)])
def test_abnormality_and_disease_are_counterparts(stated: EntityType, true: EntityType) -> None:
    rollout = report(sentence("Stated.", finding(0, stated)))
    reference = report(sentence("True.", finding(0, true)))
    assert only_edit(rollout, reference).rule is EditRule.NONE


def test_an_entity_that_also_has_a_same_presence_match_is_not_mislabelled() -> None:
    rollout = report(sentence("An effusion again.", finding(0)))
    edit = only_edit(rollout, report(EFFUSION, NO_EFFUSION))
    # The reference contradicts itself. The rollout's entity is right by its first sentence, so the
    # absence is merely missing.
    assert edit.rule is EditRule.AUGMENTATION
    assert edit.report.sentences == (rollout.sentences[0], NO_EFFUSION)


def test_a_sentence_verbatim_in_the_rollout_is_not_inserted_a_second_time() -> None:
    rollout = report(EFFUSION, sentence("Effusion is absent.", finding(0, ABSENT)))
    edit = only_edit(rollout, report(EFFUSION))
    # Rule (a) would insert what stands there; (b): covered; (c) deletes.
    assert edit.rule is EditRule.DELETION
    assert edit.report.sentences == (EFFUSION,)


@pytest.mark.slow
def test_rule_a_draws_uniformly_over_distinct_pairs() -> None:
    # Two contradicted entities of one sentence are one pair, not two.
    both = sentence("No effusion or tube.", finding(0, ABSENT), finding(1, ABSENT))
    truth = sentence("Effusion and tube.", finding(0), finding(1))
    rollout = report(both, sentence("No nodule.", finding(2, ABSENT)))
    count = sum(
        edit_report(rollout, report(truth, NODULE), rng=random.Random(seed)).positions == (0,)
        for seed in range(2000)
    )
    # Binomial(2000, 1/2): standard deviation 22.4; five of them are 112.
    assert abs(count - 1000) < 112


# Rule (b)


def test_a_false_positive_is_replaced_by_the_nearest_sentence() -> None:
    # F = {axis 0, axis 1}. y_1 = (1, 0): mean (1 + 0)/2 = 0.5. y_2 = (0.8, 0.5): its cosines are
    # 0.8/0.943 = 0.848 and 0.5/0.943 = 0.530, mean 0.689 >= 0.6. axis 1 is in neither E[y_1] nor
    # E[y_2], so no single one covers F. Axis 0 is spurious only if no present e' is near: both are
    # ANATOMY, which lends similarity but no presence.
    rollout = report(PROSE, sentence("Both.", finding(0), finding(1)))
    y_1 = sentence("First.", entity([1, 0, 0, 0, 0, 0], ANATOMY))
    y_2 = sentence("Second.", entity([0.8, 0.5, 0, 0, 0, 0], ANATOMY))
    edit = only_edit(rollout, report(y_1, y_2))
    assert edit.rule is EditRule.REPLACEMENT
    assert edit.report.sentences == (PROSE, y_2)
    assert edit.steps[0].causes == rollout.sentences[1].entities


def test_a_mean_equal_to_the_threshold_replaces_but_a_cosine_equal_to_it_is_no_match() -> None:
    # cos((1, 0), (3, 4)) = 3/5 exactly; as a match it would need > 0.6, as a mean >= 0.6.
    rollout = report(sentence("Stated.", entity([1, 0])))
    reference = report(sentence("True.", entity([3, 4])))
    edit = only_edit(rollout, reference)
    assert edit.rule is EditRule.REPLACEMENT
    assert only_edit(rollout, reference, threshold=0.61).rule is EditRule.DELETION
    assert only_edit(rollout, reference, threshold=0.59).rule is EditRule.NONE


def test_a_covered_sentence_is_deleted_and_not_replaced() -> None:
    # The present finding is contradicted by a sentence that already stands in the rollout.
    rollout = report(NO_EFFUSION, EFFUSION)
    edit = only_edit(rollout, report(NO_EFFUSION, TUBE))
    assert edit.rule is EditRule.DELETION
    assert edit.report.sentences == (NO_EFFUSION,)


@pytest.mark.slow
def test_ties_in_rule_b_are_drawn_uniformly() -> None:
    rollout = report(sentence("Stated.", entity([1, 0, 0])))
    y_1, y_2 = sentence("One.", entity([3, 4, 0])), sentence("Two.", entity([3, 0, 4]))
    edits = [edit_report(rollout, report(y_1, y_2), rng=random.Random(s)) for s in range(2000)]
    assert {edit.rule for edit in edits} == {EditRule.REPLACEMENT}
    assert abs(sum(texts(edit) == ("One.",) for edit in edits) - 1000) < 112


# Rules (c) and (e)


def test_a_false_positive_without_likeness_is_deleted() -> None:
    edit = only_edit(report(EFFUSION, NODULE, PROSE), report(EFFUSION))
    assert edit.rule is EditRule.DELETION
    assert edit.report.sentences == (EFFUSION, PROSE)
    assert edit.steps[0].reference_position is None
    assert edit.sources == (SentenceSource(Origin.ROLLOUT, 0), SentenceSource(Origin.ROLLOUT, 2))


def test_a_deletion_that_empties_the_report_is_refilled_and_stays_a_deletion() -> None:
    edits = all_edits(report(NODULE), report(EFFUSION, PROSE, TUBE))
    assert {edit.rule for edit in edits} == {EditRule.DELETION}
    assert {texts(edit) for edit in edits} == {(EFFUSION.text,), (TUBE.text,)}
    for edit in edits:
        assert edit.sources == (
            SentenceSource(Origin.REFERENCE, edit.steps[0].reference_position or 0),
        )


def test_a_refill_holds_a_missing_entity_if_any_reference_sentence_does() -> None:
    """Nothing is left in the report, so that every entity that counts is missing: that of the
    deleted sentence too."""
    spine = sentence("The spine.", finding(3, ANATOMY))
    both = sentence("Effusion and a nodule.", finding(0), finding(2))
    assert {texts(edit) for edit in all_edits(report(both), report(EFFUSION, PROSE, TUBE))} == {
        (EFFUSION.text,),
        (TUBE.text,),
    }
    # A place is missing only if places count.
    assert {texts(edit) for edit in all_edits(report(NODULE), report(spine, TUBE))} == {
        (TUBE.text,)
    }
    counted = all_edits(report(NODULE), report(spine, TUBE), anatomy_counts=True)
    assert {texts(edit) for edit in counted} == {(spine.text,), (TUBE.text,)}


def test_without_a_missing_entity_any_reference_sentence_refills() -> None:
    spine = sentence("The spine.", finding(3, ANATOMY))
    edits = all_edits(report(NODULE), report(PROSE, spine))
    assert {texts(edit) for edit in edits} == {(PROSE.text,), (spine.text,)}


def test_against_an_empty_reference_everything_is_deleted_and_nothing_refilled() -> None:
    edit = only_edit(report(NODULE), report())
    assert edit.rule is EditRule.DELETION
    assert edit.report == report()
    assert edit.sources == ()


# Rule (d)


def test_a_false_negative_is_appended() -> None:
    edit = only_edit(report(EFFUSION), report(PROSE, TUBE, EFFUSION))
    assert edit.rule is EditRule.AUGMENTATION
    assert edit.report.sentences == (EFFUSION, TUBE)
    assert (edit.steps[0].position, edit.steps[0].reference_position) == (1, 1)
    assert edit.steps[0].causes == TUBE.entities


def test_an_empty_rollout_is_augmented_only_with_a_sentence_that_holds_an_entity() -> None:
    assert texts(only_edit(report(), report(PROSE, TUBE))) == (TUBE.text,)


# Nothing to edit


@pytest.mark.parametrize(
    ("rollout", "reference"),
    [
        (report(), report()),
        (report(), report(PROSE)),
        (report(EFFUSION), report(EFFUSION)),
        (report(PROSE), report()),
    ],
)
def test_with_nothing_to_edit_the_report_is_the_same_object(
    rollout: AnnotatedReport, reference: AnnotatedReport
) -> None:
    rng = random.Random(0)
    before = rng.getstate()
    edit = edit_report(rollout, reference, rng=rng)
    assert edit.report is rollout
    assert edit.rule is EditRule.NONE
    assert edit.steps == ()
    assert rng.getstate() == before


# ANATOMY


def test_anatomy_is_spurious_and_missing_only_if_it_counts() -> None:
    rollout = report(sentence("The spine.", finding(0, ANATOMY)))
    reference = report(sentence("The ribs.", finding(1, ANATOMY)))
    assert only_edit(rollout, reference).rule is EditRule.NONE
    edit = only_edit(rollout, reference, anatomy_counts=True)
    assert edit.rule is EditRule.DELETION
    edit = only_edit(report(), reference, anatomy_counts=True)
    assert edit.rule is EditRule.AUGMENTATION


def test_anatomy_matches_anatomy_only_and_contradicts_nothing() -> None:
    rollout = report(sentence("The spine.", finding(0, ANATOMY)))
    same = report(sentence("A spine.", finding(0, ANATOMY)))
    assert only_edit(rollout, same, anatomy_counts=True).rule is EditRule.NONE
    # A present e' is no counterpart and no contradiction, but it covers: deletion.
    present = report(sentence("Spine disease.", finding(0)))
    assert only_edit(rollout, present, anatomy_counts=True).rule is EditRule.DELETION


# Several edits


def test_editing_goes_on_until_the_limit_and_sources_follow() -> None:
    edit = only_edit(report(NO_EFFUSION, NODULE), report(EFFUSION, TUBE), max_edits=9)
    assert [step.rule for step in edit.steps] == [
        EditRule.MISLABELLED,
        EditRule.DELETION,
        EditRule.AUGMENTATION,
    ]
    assert edit.report.sentences == (EFFUSION, TUBE)
    assert edit.sources == (
        SentenceSource(Origin.REFERENCE, 0),
        SentenceSource(Origin.REFERENCE, 1),
    )


# What is refused


@pytest.mark.parametrize(
    "settings", [{"threshold": 1.1}, {"threshold": float("nan")}, {"max_edits": 0}]
)
def test_settings_out_of_range_are_named(settings: dict[str, float]) -> None:
    with pytest.raises(EditError, match=next(iter(settings))):
        edit_report(report(), report(), rng=random.Random(0), **settings)


def test_embeddings_of_two_lengths_are_refused() -> None:
    with pytest.raises(EditError, match=r"\(2,\)"):
        only_edit(report(sentence("Two.", entity([1, 0]))), report(EFFUSION))
