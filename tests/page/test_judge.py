"""What the page says of a report against a reference: the edit, the reward, the metrics."""

from pathlib import Path

import pytest

from editgrpo.config import ClinicalConfig, Target
from editgrpo.display.diff import Change
from editgrpo.page.judge import SCORINGS, Judge, available_scorings
from editgrpo.rewards import load_reward
from editgrpo.rewards.sectioned import SectionedReward

REFERENCE = "Moderate cardiomegaly. No pleural effusion."
REPORT = "Heart size is normal. There is a small left pleural effusion."
EDITED = "Heart size is normal. No pleural effusion."


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(SCORINGS["rules"], ClinicalConfig())


def test_a_report_is_edited_once_and_the_cause_is_named(judge: Judge) -> None:
    (found,) = judge.judge([REPORT], REFERENCE)
    assert (found.rule, found.cause) == ("mislabelled", "spurious")
    assert found.entities == (("pleural effusion", "ABNORMALITY"),)
    assert [(one.change, one.text) for one in found.sentences] == [
        (Change.KEPT, "Heart size is normal."),
        (Change.REMOVED, "There is a small left pleural effusion."),
        (Change.INSERTED, "No pleural effusion."),
    ]


def test_both_versions_are_paid_as_in_training(judge: Judge) -> None:
    (found,) = judge.judge([REPORT], REFERENCE)
    paid = load_reward("rules").score([REPORT, EDITED], [REFERENCE] * 2)
    assert (found.reward.report, found.reward.edited) == tuple(paid.total)
    assert {row.name: (row.report, row.edited) for row in found.components} == {
        name: tuple(values) for name, values in paid.components.items()
    }
    assert found.reward.edited > found.reward.report


def test_metrics_of_a_single_report_are_shown_and_those_of_a_test_set_are_not(
    judge: Judge,
) -> None:
    (found,) = judge.judge([REPORT], REFERENCE)
    rows = {row.name: row for row in found.metrics}
    assert rows["text/words"].report == 11  # 4 and 7 of REPORT
    assert rows["text/words"].edited == 7
    assert "rules/micro-f1-14" not in rows
    assert not {row.name for row in found.components} & rows.keys()


def test_both_sections_are_edited_and_paid_one_by_one() -> None:
    judge = Judge(SCORINGS["rules"], ClinicalConfig(), Target.BOTH)
    reference = "FINDINGS: Moderate cardiomegaly. IMPRESSION: No pleural effusion."
    report = "FINDINGS: Moderate cardiomegaly. IMPRESSION: Small left pleural effusion."
    (found,) = judge.judge([report], reference)
    paid = SectionedReward(load_reward("rules")).score([report, reference], [reference] * 2)
    assert (found.reward.report, found.reward.edited) == tuple(paid.total)
    assert found.reward.edited > found.reward.report
    rows = {row.name: row for row in found.metrics}
    assert rows["text/words"].report == 6  # headings are no words of a report


def test_equal_and_empty_reports_are_judged_too(judge: Judge) -> None:
    same, empty = judge.judge([REFERENCE, ""], REFERENCE)
    assert (same.rule, same.sentences, same.entities) == ("none", (), ())
    assert same.reward.report == same.reward.edited == pytest.approx(3.0)  # three components of 1
    assert (empty.rule, empty.reward.report) == ("augmentation", 0.0)


def test_the_models_of_the_paper_are_offered_where_they_are_fetched(tmp_path: Path) -> None:
    assert available_scorings(ClinicalConfig(models=str(tmp_path))) == ["rules"]
