"""Curves and sayings of a run, from run folders made by hand."""

from pathlib import Path

import pytest
from experiments.curves import SAID, SECONDS, curve, sayings, spent_seconds

from editgrpo.files import write_jsonl
from editgrpo.reports.chexpert import FINDINGS
from editgrpo.training.run.folder import METRICS


def test_a_curve_is_of_means_over_windows(tmp_path: Path) -> None:
    rows = [{"step": step, "entropy": float(step), "advantage/std": 1.0} for step in range(1, 201)]
    rows[3]["edits/unused"] = 0.5
    write_jsonl(tmp_path / METRICS, rows)
    found = curve(tmp_path)
    # 200 steps are 100 windows of two; what is not kept is not there.
    assert set(found) == {"step", "entropy", "edits/unused"}
    assert found["step"][:3] == [2, 4, 6]
    assert found["entropy"][:3] == [1.5, 3.5, 5.5]
    assert found["edits/unused"][:3] == [None, 0.5, None]


def test_what_was_said_is_summed_over_windows_and_a_repeated_step_counts_once(
    tmp_path: Path,
) -> None:
    assert sayings(tmp_path) == {}

    def row(step: int, said: int) -> dict[str, object]:
        counts = [0] * len(FINDINGS)
        hit, present = counts.copy(), counts.copy()
        hit[FINDINGS.index("Fracture")], present[FINDINGS.index("Fracture")] = said, 10
        return {
            "step": step,
            "said_present": hit,
            "present": present,
            "said_absent": counts,
            "absent": [310] * len(FINDINGS),
        }

    # 40 steps are 20 windows of two; steps 1 and 2 ran twice.
    rows = [row(1, 9), row(2, 9), *(row(step, min(step, 10)) for step in range(1, 41))]
    write_jsonl(tmp_path / SAID, rows)
    found = sayings(tmp_path)
    assert found["step"] == list(range(2, 41, 2))
    assert list(found["findings"]) == ["Fracture"]
    assert found["findings"]["Fracture"]["said_present"][:3] == [3, 7, 11]
    assert found["findings"]["Fracture"]["present"][0] == 20
    assert found["findings"]["Fracture"]["absent"][0] == 620


def test_seconds_of_a_step_that_ran_twice_count_once(tmp_path: Path) -> None:
    assert spent_seconds(tmp_path) == 0
    ran = ((1, "step", 5.0), (2, "step", 3.0), (2, "step", 2.0), (2, "validation", 4.0))
    rows = [{"step": step, "part": part, "seconds": seconds} for step, part, seconds in ran]
    write_jsonl(tmp_path / SECONDS, rows)
    assert spent_seconds(tmp_path) == pytest.approx(11.0)
