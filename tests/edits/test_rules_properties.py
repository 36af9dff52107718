"""The edit rules against an exhaustive enumeration of what they allow, and what follows from it."""

import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from editgrpo.edits import Edit, EditRule, Origin, edit_report
from editgrpo.edits.similarity import missing_entities, spurious_entities
from editgrpo.reports.types import AnnotatedReport
from tests.edits.oracle import Outcome, allowed, counts, without_counterpart
from tests.edits.reports import (
    ABSENT,
    ANATOMY,
    entity,
    finding,
    report,
    sentence,
)
from tests.edits.strategies import annotated_pairs, distribution, pairs, reports

DRAWS = {
    EditRule.MISLABELLED: {1},
    EditRule.REPLACEMENT: {2},
    EditRule.DELETION: {1, 2},
    EditRule.AUGMENTATION: {1},
    EditRule.NONE: {0},
}


def outcome_of(edit: Edit) -> Outcome:
    if not edit.steps:
        return Outcome(EditRule.NONE)
    (step,) = edit.steps
    return Outcome(step.rule, step.position, step.reference_position)


def apply(x: AnnotatedReport, y: AnnotatedReport, outcome: Outcome) -> AnnotatedReport:
    """Do to a report what an outcome says."""
    sentences = list(x.sentences)
    inserted = outcome.reference_position
    if outcome.rule in (EditRule.MISLABELLED, EditRule.REPLACEMENT):
        sentences[outcome.position] = y.sentences[inserted]
    elif outcome.rule is EditRule.DELETION:
        del sentences[outcome.position]
    if outcome.rule is EditRule.AUGMENTATION or (not sentences and inserted is not None):
        sentences.append(y.sentences[inserted])
    return AnnotatedReport(tuple(sentences))


@pytest.mark.slow
@settings(max_examples=200)
@given(pairs(), st.booleans())
def test_outcomes_are_those_allowed_each_with_its_share(
    pair: tuple[AnnotatedReport, AnnotatedReport], anatomy_counts: bool
) -> None:
    x, y = pair
    found: dict[Outcome, Fraction] = {}
    for edit, share, draws in distribution(
        lambda rng: edit_report(x, y, rng=rng, anatomy_counts=anatomy_counts)
    ):
        outcome = outcome_of(edit)
        found[outcome] = found.get(outcome, Fraction(0)) + share
        assert edit.report == apply(x, y, outcome)
        assert draws in DRAWS[outcome.rule]
    assert found == allowed(x, y, anatomy_counts)


@pytest.mark.slow
@settings(max_examples=100)
@given(reports(), reports(), st.integers(0, 2**32))
def test_a_seed_gives_one_allowed_edit_always_the_same(
    x: AnnotatedReport, y: AnnotatedReport, seed: int
) -> None:
    edit = edit_report(x, y, rng=random.Random(seed))
    assert outcome_of(edit) in allowed(x, y)
    assert edit == edit_report(x, y, rng=random.Random(seed))


@pytest.mark.slow
def test_over_seeds_every_outcome_comes_up_as_often_as_it_should() -> None:
    x = report(
        sentence("None of three.", finding(0, ABSENT), finding(1, ABSENT)),
        sentence("No third.", finding(2, ABSENT)),
    )
    y = report(*(sentence(f"Axis {axis}.", finding(axis)) for axis in range(3)))
    shares = allowed(x, y)
    assert len(shares) == 3
    seen = dict.fromkeys(shares, 0)
    for seed in range(3000):
        seen[outcome_of(edit_report(x, y, rng=random.Random(seed)))] += 1
    # Binomial(3000, 1/3): standard deviation 25.8; five of them are 129.
    assert max(abs(count - 1000) for count in seen.values()) < 129


@settings(max_examples=120)
@given(reports(), reports(), st.booleans())
def test_spurious_and_missing_agree_with_the_plain_loops(
    x: AnnotatedReport, y: AnnotatedReport, anatomy_counts: bool
) -> None:
    found = spurious_entities(x, y, threshold=0.6, anatomy_counts=anatomy_counts)
    assert list(found) == [e for _, e in without_counterpart(x, y, anatomy_counts)]
    found = missing_entities(x, y, threshold=0.6, anatomy_counts=anatomy_counts)
    assert list(found) == [e for _, e in without_counterpart(y, x, anatomy_counts)]


@pytest.mark.slow
@settings(max_examples=120)
@given(reports(), reports(), st.integers(0, 2**32), st.integers(1, 4))
def test_sources_name_the_very_objects_of_the_edited_report(
    x: AnnotatedReport, y: AnnotatedReport, seed: int, max_edits: int
) -> None:
    edit = edit_report(x, y, rng=random.Random(seed), max_edits=max_edits)
    assert len(edit.steps) <= max_edits
    for found, source in zip(edit.report.sentences, edit.sources, strict=True):
        origin = x if source.origin is Origin.ROLLOUT else y
        assert found is origin.sentences[source.position]


@pytest.mark.slow
@settings(max_examples=120)
@given(pairs(), st.integers(0, 2**32), st.integers(1, 4))
def test_each_of_several_steps_is_allowed_where_it_is_taken(
    pair: tuple[AnnotatedReport, AnnotatedReport], seed: int, max_edits: int
) -> None:
    x, y = pair
    edit = edit_report(x, y, rng=random.Random(seed), max_edits=max_edits)
    standing = x
    for step in edit.steps:
        outcome = Outcome(step.rule, step.position, step.reference_position)
        assert outcome in allowed(standing, y)
        standing = apply(standing, y, outcome)
    assert edit.report == standing
    assert len(edit.steps) == max_edits or Outcome(EditRule.NONE) in allowed(standing, y)


@pytest.mark.slow
@settings(max_examples=120)
@given(annotated_pairs(), st.integers(0, 2**32), st.booleans())
def test_editing_until_none_ends_with_nothing_spurious_and_nothing_missing(
    pair: tuple[AnnotatedReport, AnnotatedReport], seed: int, anatomy_counts: bool
) -> None:
    x, y = pair
    edit = edit_report(x, y, rng=random.Random(seed), max_edits=1000, anatomy_counts=anatomy_counts)
    # Each step clears one rollout sentence of its spurious entities or adds one reference sentence.
    assert len(edit.steps) <= len(x.sentences) + len(y.sentences)
    assert without_counterpart(edit.report, y, anatomy_counts) == []
    assert without_counterpart(y, edit.report, anatomy_counts) == []
    again = edit_report(edit.report, y, rng=random.Random(0), anatomy_counts=anatomy_counts)
    assert again.report is edit.report


@pytest.mark.slow
@settings(max_examples=150)
@given(pairs(), st.integers(0, 2**32))
def test_only_anatomy_makes_a_replacement_possible(
    pair: tuple[AnnotatedReport, AnnotatedReport], seed: int
) -> None:
    # A likeness of the same presence is a counterpart, one of the opposite presence is rule (a)'s,
    # unless its sentence may not be inserted, and then rule (b) may not insert it either. No
    # cosine of the test directions equals 0.61.
    x, y = (
        report(
            *(sentence(s.text, *(e for e in s.entities if e.type.presence)) for s in each.sentences)
        )
        for each in pair
    )
    edit = edit_report(x, y, rng=random.Random(seed), threshold=0.61)
    assert edit.rule is not EditRule.REPLACEMENT


# Does an edit ever lower the entity score? See docs/edit-rules.md, "What an edit can cost".


def unmatched(x: AnnotatedReport, y: AnnotatedReport, anatomy_counts: bool = False) -> int:
    return len(without_counterpart(x, y, anatomy_counts)) + len(
        without_counterpart(y, x, anatomy_counts)
    )


def entity_f1(x: AnnotatedReport, y: AnnotatedReport, anatomy_counts: bool = False) -> Fraction:
    of_x = sum(counts(e, anatomy_counts) for e in x.entities)
    of_y = sum(counts(e, anatomy_counts) for e in y.entities)
    if not of_x or not of_y:
        return Fraction(of_x == of_y)
    precision = 1 - Fraction(len(without_counterpart(x, y, anatomy_counts)), of_x)
    recall = 1 - Fraction(len(without_counterpart(y, x, anatomy_counts)), of_y)
    return 2 * precision * recall / (precision + recall) if precision + recall else Fraction(0)


def test_an_edit_can_lower_the_entity_score() -> None:
    # x_1 is right about two findings and wrong about a third; nothing in y is like the third, so
    # the sentence is deleted, and the two that were right are lost.
    x = report(
        sentence("Two right, one wrong.", finding(0), finding(1), finding(2)), sentence("Prose.")
    )
    y = report(sentence("One.", finding(0)), sentence("Two.", finding(1)))
    edit = edit_report(x, y, rng=random.Random(0))
    assert edit.rule is EditRule.DELETION
    assert (unmatched(x, y), unmatched(edit.report, y)) == (1, 2)
    # Before: precision 2/3, recall 1, F1 = 4/5. After: no finding is left.
    assert (entity_f1(x, y), entity_f1(edit.report, y)) == (Fraction(4, 5), 0)


def test_one_right_finding_beside_the_wrong_one_is_enough_to_lower_f1() -> None:
    x = report(sentence("One right, one wrong.", finding(0), finding(2)), sentence("Prose."))
    y = report(sentence("One.", finding(0)))
    edit = edit_report(x, y, rng=random.Random(0))
    # Before: precision 1/2, recall 1, F1 = 2/3. After: 0. The count of unmatched stays 1.
    assert (entity_f1(x, y), entity_f1(edit.report, y)) == (Fraction(2, 3), 0)
    assert (unmatched(x, y), unmatched(edit.report, y)) == (1, 1)


@pytest.mark.slow
@settings(max_examples=120)
@given(annotated_pairs(), st.integers(0, 2**32), st.booleans())
def test_an_edit_removes_spurious_entities_and_adds_none(
    pair: tuple[AnnotatedReport, AnnotatedReport], seed: int, anatomy_counts: bool
) -> None:
    x, y = pair
    edit = edit_report(x, y, rng=random.Random(seed), anatomy_counts=anatomy_counts)
    before = len(without_counterpart(x, y, anatomy_counts))
    after = len(without_counterpart(edit.report, y, anatomy_counts))
    removed = 0
    if edit.rule not in (EditRule.AUGMENTATION, EditRule.NONE):
        position = edit.steps[0].position
        removed = sum(i == position for i, _ in without_counterpart(x, y, anatomy_counts))
        assert removed > 0
    assert after == before - removed


@pytest.mark.slow
@settings(max_examples=120)
@given(annotated_pairs(), st.integers(0, 2**32), st.booleans())
def test_the_score_falls_exactly_if_more_lone_counterparts_go_than_false_positives(
    pair: tuple[AnnotatedReport, AnnotatedReport], seed: int, anatomy_counts: bool
) -> None:
    x, y = pair
    edit = edit_report(x, y, rng=random.Random(seed), anatomy_counts=anatomy_counts)
    before = [id(e) for _, e in without_counterpart(y, x, anatomy_counts)]
    after = [id(e) for _, e in without_counterpart(y, edit.report, anatomy_counts)]
    lost = len(set(after) - set(before))
    found = len(set(before) - set(after))
    removed = len(without_counterpart(x, y, anatomy_counts)) - len(
        without_counterpart(edit.report, y, anatomy_counts)
    )
    fell = unmatched(edit.report, y, anatomy_counts) > unmatched(x, y, anatomy_counts)
    assert fell == (lost > removed + found)
    if edit.rule is EditRule.AUGMENTATION:
        assert lost == 0
        assert found >= 1
        assert entity_f1(edit.report, y, anatomy_counts) >= entity_f1(x, y, anatomy_counts)


@pytest.mark.slow
@settings(max_examples=120)
@given(annotated_pairs(1), st.integers(0, 2**32), st.booleans())
def test_with_one_finding_a_sentence_no_edit_lowers_the_score(
    pair: tuple[AnnotatedReport, AnnotatedReport], seed: int, anatomy_counts: bool
) -> None:
    x, y = pair
    edit = edit_report(x, y, rng=random.Random(seed), anatomy_counts=anatomy_counts)
    if edit.rule is not EditRule.NONE:
        assert unmatched(edit.report, y, anatomy_counts) < unmatched(x, y, anatomy_counts)
    assert entity_f1(edit.report, y, anatomy_counts) >= entity_f1(x, y, anatomy_counts)


# Where the conditions matter


@pytest.mark.parametrize("max_edits", [1, 2, 7])
def test_a_zero_embedding_matches_nothing_so_that_only_the_limit_ends_the_edits(
    max_edits: int,
) -> None:
    same = sentence("Unembedded.", entity([0, 0]))
    edit = edit_report(report(same), report(same), rng=random.Random(0), max_edits=max_edits)
    assert [step.rule for step in edit.steps] == [EditRule.DELETION] * max_edits


def test_anatomy_lends_likeness_but_is_not_corrected() -> None:
    x = report(sentence("Stated.", finding(0), finding(3, ANATOMY)))
    y = report(sentence("True.", finding(0)))
    assert edit_report(x, y, rng=random.Random(0)).report is x
