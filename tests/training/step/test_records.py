"""Metrics of a step and rows of rollouts.jsonl, against values worked out by hand."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from editgrpo.edits import Edit, EditRule, EditStep, Origin, SentenceSource
from editgrpo.reports.types import AnnotatedReport, AnnotatedSentence, Entity, EntityType
from editgrpo.training.step.groups import Group, Kind, Response
from editgrpo.training.step.records import UnusedEdits, group_rows, rollout_records, step_metrics
from editgrpo.training.step.scoring import ScoredGroup

CAUSE = Entity("enlarged", EntityType.ABNORMALITY, np.zeros(2, dtype=np.float32))
HEART = AnnotatedSentence("The heart is enlarged.", (CAUSE,))
LUNGS = AnnotatedSentence("The lungs are clear.")
FLUID = AnnotatedSentence("There is a left pleural effusion.")
BEFORE = AnnotatedReport((HEART, LUNGS))


def edit_of(rule: EditRule) -> Edit:
    """Return an edit of BEFORE: its heart deleted, or replaced by, or followed by, the fluid."""
    kept, new = SentenceSource(Origin.ROLLOUT, 1), SentenceSource(Origin.REFERENCE, 3)
    if rule is EditRule.NONE:
        sources = (SentenceSource(Origin.ROLLOUT, 0), kept)
        return Edit(report=BEFORE, steps=(), sources=sources)
    step = EditStep(rule=rule, position=0, reference_position=3, causes=(CAUSE,))
    if rule is EditRule.DELETION:
        step = replace(step, reference_position=None)
        return Edit(report=AnnotatedReport((LUNGS,)), steps=(step,), sources=(kept,))
    return Edit(report=AnnotatedReport((FLUID, LUNGS)), steps=(step,), sources=(new, kept))


def sampled(length: int, *, truncated: bool = False) -> Response:
    return Response(
        kind=Kind.SAMPLED, token_ids=(5,) * length, text=BEFORE.text, is_truncated=truncated
    )


def edited(source: int, rule: EditRule, *, unused: bool = False) -> Response:
    edit = edit_of(rule)
    return Response(
        kind=Kind.EDITED,
        token_ids=(5,) * 6,
        text=edit.report.text,
        source=source,
        edit=edit,
        before=BEFORE,
        is_unused_edit=unused,
    )


def scored(study: str, responses: list[Response], totals: list[float]) -> ScoredGroup:
    mean = sum(totals) / max(len(totals), 1)
    return ScoredGroup(
        group=Group(study_id=study, reference="Reference.", responses=tuple(responses)),
        totals_G=tuple(totals),
        components={"a": tuple(t / 2 for t in totals), "b": tuple(t / 2 for t in totals)},
        advantages_G=tuple(t - mean for t in totals),
        failure=None if totals else "no score",
    )


SPREAD = scored(
    "spread",
    [sampled(3), sampled(5), edited(0, EditRule.DELETION), edited(1, EditRule.NONE)],
    [1.0, 2.0, 1.5, 2.0],  # mean 1.625: advantages -0.625, 0.375, -0.125, 0.375
)
FLAT = scored(
    "flat",
    [
        sampled(4),
        sampled(4, truncated=True),
        edited(0, EditRule.AUGMENTATION, unused=True),
        edited(1, EditRule.REPLACEMENT),
    ],
    [0.5, 0.5, 0.5, 0.5],
)
DROPPED = scored("dropped", [sampled(9), sampled(9)], [])


def test_the_metrics_of_a_step_are_those_worked_out_by_hand() -> None:
    metrics = step_metrics([group_rows(group) for group in (SPREAD, FLAT, DROPPED)])
    assert metrics == pytest.approx(
        {
            "errors/dropped_groups": 1.0,
            "reward/all/mean": 8.5 / 8,
            "reward/sampled/mean": 4.0 / 4,
            # Prompts' means 1.5 and 0.5: standard deviation 1 / sqrt(2), divided by sqrt(2).
            "reward/sampled/se": 0.5,
            "reward/sampled/a": 0.5,
            "reward/sampled/b": 0.5,
            "advantage/sampled/mean": (-0.625 + 0.375) / 4,
            "length/sampled/mean": (3 + 5 + 4 + 4) / 4,
            "truncated_share": 0.25,
            "reward/edited/mean": 4.5 / 4,
            # 1.75 and 0.5: 1.25 / sqrt(2) / sqrt(2).
            "reward/edited/se": 0.625,
            "reward/edited/a": 4.5 / 8,
            "reward/edited/b": 4.5 / 8,
            "advantage/edited/mean": (-0.125 + 0.375) / 4,
            "length/edited/mean": 6.0,
            "zero_advantage_groups": 0.5,
            # Squares 0.390625 + 0.140625 + 0.015625 + 0.140625 = 0.6875, over 7.
            "advantage/std": (0.6875 / 7) ** 0.5,
            "edits/mislabelled": 0.0,
            "edits/replacement": 0.25,
            "edits/deletion": 0.25,
            "edits/augmentation": 0.25,
            "edits/shortened": 0.0,
            "edits/none": 0.25,
            "edit_gain/replacement": 0.0,
            "edit_gain/deletion": 0.5,
            "edit_gain/augmentation": 0.0,
            "edits/raised": 1 / 3,
            "edits/unused": 0.25,
        }
    )


def test_a_step_of_dropped_groups_has_no_other_metric() -> None:
    assert step_metrics([group_rows(DROPPED)]) == {"errors/dropped_groups": 1.0}


def test_best_and_worst_of_a_group_are_written_with_the_edit() -> None:
    best, worst = rollout_records(7, SPREAD)
    assert (best["rank"], best["index"], best["kind"]) == ("best", 1, "sampled")
    assert best["reward"] == {"total": 2.0, "a": 1.0, "b": 1.0}
    assert best["advantage"] == 0.375 and best["edit"] is None
    assert (worst["rank"], worst["index"], worst["step"]) == ("worst", 0, 7)
    assert worst["study_id"] == "spread" and worst["reference"] == "Reference."


def test_an_edit_is_written_with_its_source_and_cause() -> None:
    responses = [sampled(3), edited(0, EditRule.REPLACEMENT)]
    best, _ = rollout_records(1, scored("s", responses, [0.5, 1.5]))
    assert best["kind"] == "edited"
    assert best["edit"] == {
        "rule": "replacement",
        "source_report": "The heart is enlarged. The lungs are clear.",
        "source_reward": {"total": 0.5, "a": 0.25, "b": 0.25},
        "removed": [{"position": 0, "text": "The heart is enlarged."}],
        "inserted": [{"position": 0, "text": "There is a left pleural effusion."}],
        "entities": [{"text": "enlarged", "type": "ABNORMALITY"}],
    }


def test_a_truncated_rollout_that_only_lost_its_end_is_no_rollout_without_an_edit() -> None:
    """Half of the edited responses; it gained 1.5 - 1.0. Its row says which end is gone."""
    cut = replace(edited(0, EditRule.NONE), is_shortened=True, unfinished="There is a")
    source = replace(sampled(9, truncated=True), text=f"{BEFORE.text} There is a")
    group = scored("s", [source, sampled(4), cut, edited(1, EditRule.NONE)], [1.0, 1.2, 1.5, 1.2])
    metrics = step_metrics([group_rows(group)])
    assert (metrics["edits/shortened"], metrics["edits/none"]) == (0.5, 0.5)
    assert metrics["edit_gain/shortened"] == pytest.approx(0.5)
    assert metrics["edits/raised"] == 1.0
    best, worst = rollout_records(1, group)
    assert (best["kind"], worst["kind"]) == ("edited", "sampled")
    assert best["edit"] == {
        "rule": "shortened",
        "source_report": "The heart is enlarged. The lungs are clear. There is a",
        "source_reward": {"total": 1.0, "a": 0.5, "b": 0.5},
        "removed": [{"position": 2, "text": "There is a"}],
        "inserted": [],
        "entities": [],
    }


def test_an_edit_by_a_rule_also_names_the_end_that_the_limit_cut() -> None:
    cut = replace(edited(0, EditRule.DELETION), unfinished="There is a")
    group = scored("s", [sampled(9, truncated=True), cut], [1.0, 1.5])
    assert step_metrics([group_rows(group)])["edits/deletion"] == 1.0
    (best, _) = rollout_records(1, group)
    assert best["edit"]["removed"] == [
        {"position": 0, "text": "The heart is enlarged."},
        {"position": 2, "text": "There is a"},
    ]


def test_a_flat_group_has_one_row_and_a_dropped_one_none() -> None:
    assert [row["rank"] for row in rollout_records(1, FLAT)] == ["best"]
    assert rollout_records(1, DROPPED) == []


def test_an_edit_that_was_not_used_is_not_shown_as_one() -> None:
    responses = [sampled(3), edited(0, EditRule.DELETION, unused=True)]
    best, _ = rollout_records(1, scored("s", responses, [0.5, 1.5]))
    assert best["edit"] is None


def unused_group(*rules: EditRule, used: int = 0) -> ScoredGroup:
    """Return a group of which all edits but the first `used` were not used."""
    rollouts = [sampled(3) for _ in rules]
    edits = [edited(i, rule, unused=i >= used) for i, rule in enumerate(rules)]
    return scored("s", [*rollouts, *edits], [1.0] * 2 * len(rules))


def test_a_cut_rollout_that_could_not_be_shortened_is_no_unused_edit() -> None:
    metrics = step_metrics([group_rows(unused_group(EditRule.NONE, EditRule.DELETION))])
    assert (metrics["edits/none"], metrics["edits/unused"]) == (0.5, 0.5)


def test_most_edits_unused_is_said_once_a_run(caplog: pytest.LogCaptureFixture) -> None:
    two = (EditRule.DELETION, EditRule.REPLACEMENT)
    watch = UnusedEdits(24)
    with caplog.at_level(logging.WARNING):
        watch.look([group_rows(unused_group(*two, used=1)), group_rows(DROPPED)])
        watch.look([])
        assert caplog.messages == []  # half is not most
        for _ in range(2):
            watch.look([group_rows(unused_group(*two, EditRule.NONE))])
    assert caplog.messages == [
        "2 of 2 edits pass the limit of 24 tokens and were not used; raise "
        "rollout.max_completion_tokens"
    ]
