"""Result tables carry their values, intervals and provenance at every width."""

import io
from typing import Any

import pytest
from rich.console import Console, RenderableType

from editgrpo.display.comparison import ComparisonTable
from editgrpo.display.tables import (
    ResultsTable,
    Verdict,
    best_value,
    findings_table,
    provenance_line,
    verdict,
)
from editgrpo.evaluation.catalogue import METRICS


def _scores(system: str, value: float) -> dict[str, Any]:
    return {
        "system": system,
        "n_studies": 120,
        "seed": 7,
        "bootstrap_samples": 1000,
        "confidence": 0.95,
        "commit": "0123456789abcdef",
        "command": "editgrpo evaluate predictions.jsonl",
        "metrics": {"rules/report-micro-f1-14": {"value": value, "low": 0.41, "high": 0.62}},
        "per_finding": {
            "Fracture": {"f1": value, "support": 3},
            "No Finding": {"f1": 0.9, "support": 70},
        },
    }


def _shown(renderable: RenderableType, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_wide_table_puts_the_interval_beside_the_value() -> None:
    text = _shown(ResultsTable([_scores("sft", 0.5), _scores("editgrpo", 0.6)]), 120)
    assert "0.500 [0.410, 0.620]" in text
    assert "0.600 [0.410, 0.620]" in text


def test_kinds_of_findings_have_their_mean_above_them() -> None:
    findings = {
        "Fracture": {"f1": 0.2, "support": 3},
        "Edema": {"f1": 0.5, "support": 8},
        "Pneumonia": {"f1": 0.0, "support": 0},  # nowhere: not in the mean
        "No Finding": {"f1": 0.9, "support": 70},
    }
    one = {**_scores("sft", 0.5), "per_finding": findings}
    kinds = {"seen": ("Fracture", "Edema", "Pneumonia"), "unseen": ("Lung Lesion",)}
    text = _shown(findings_table([one], kinds=kinds), 80)
    rows = [line.split() for line in text.splitlines()]
    named = [row for row in rows if row and row[0] in ("seen", "unseen", *findings, "No")]
    assert named == [
        ["seen", "0.350"],
        ["Edema", "8", "0.500"],
        ["Fracture", "3", "0.200"],
        ["Pneumonia", "0", "–"],
        ["unseen", "–"],
        ["No", "Finding", "70", "0.900"],
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_four_systems_fit(width: int) -> None:
    names = ["sft", "sft-continued", "dr-grpo", "editgrpo"]
    text = _shown(ResultsTable([_scores(name, 0.5) for name in names]), width)
    assert all(name in text for name in names)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "0.41–0.62" in text or "[0.410, 0.620]" in text


@pytest.mark.parametrize(
    ("direction", "best"), [("higher", 0.6), ("lower", 0.5), ("neither", None), (None, None)]
)
def test_the_best_value_follows_the_direction(direction: str | None, best: float | None) -> None:
    values = [{"value": value, "direction": direction} for value in (0.5, 0.6)]
    assert best_value([*values, {}]) == best
    assert best_value([values[0], values[0]]) is None


def test_less_is_better_is_marked() -> None:
    scores = _scores("sft", 0.5)
    scores["metrics"] = {"radcliq-v1": {"value": 1.2, "direction": "lower"}}
    assert "radcliq-v1 ↓" in _shown(ResultsTable([scores]), 80)


@pytest.mark.parametrize(
    ("low", "high", "direction", "expected"),
    [
        (0.1, 0.2, "higher", Verdict.BETTER),
        (0.1, 0.2, "lower", Verdict.WORSE),
        (-0.2, -0.1, "lower", Verdict.BETTER),
        (-0.2, -0.1, "higher", Verdict.WORSE),
        (0.1, 0.2, "neither", Verdict.OTHER),
        (-0.1, 0.2, "higher", Verdict.UNCLEAR),
        (None, None, "higher", Verdict.UNCLEAR),
    ],
)
def test_verdicts(low: float | None, high: float | None, direction: str, expected: Verdict) -> None:
    assert verdict({"low": low, "high": high, "direction": direction}) is expected


def test_findings_that_neither_occur_nor_are_predicted_show_a_dash() -> None:
    scores = _scores("sft", 0.25)
    scores["per_finding"] = {"Fracture": {"f1": 0.0, "support": 0, "predicted": 0}}
    assert "–" in _shown(findings_table([scores]), 80)


def test_seeds_and_uncommitted_changes_are_stated() -> None:
    line = provenance_line([_scores("sft", 0.5) | {"n_seeds": 3, "commit": "0123456789ab-dirty"}])
    assert "mean of 3 training seeds" in line
    assert "commit 0123456789-dirty" in line


def test_tables_state_version_and_weights() -> None:
    weights = {"chexbert": 6 * "0123456789" + "abcd", "dtype": "float32", "green": "served/name"}
    scores = _scores("sft", 0.5) | {"editgrpo": "0.1.0", "scored_with": weights}
    line = provenance_line([scores])
    assert "editgrpo 0.1.0 · commit 0123456789 · chexbert 0123456789 · dtype float32" in line
    assert "green served/name" in line
    comparison = scores | {"a": "a", "b": "b", "metrics": {}}
    assert "chexbert 0123456789" in " ".join(_shown(ComparisonTable(comparison), 120).split())


def test_system_names_with_brackets_are_not_markup() -> None:
    assert "[bold]odd" in _shown(ResultsTable([_scores("run", 0.5)], title="[bold]odd"), 80)


def test_findings_stand_in_order_of_support() -> None:
    text = _shown(findings_table([_scores("sft", 0.25)]), 80)
    assert text.index("No Finding") < text.index("Fracture")
    assert "0.250" in text


def test_comparison_names_its_columns() -> None:
    row = {"a": 0.54, "b": 0.5, "difference": 0.04, "low": 0.01, "high": 0.07, "p": 0.004}
    comparison = {"a": "editgrpo", "b": "[sft]", "n_studies": 120, "metrics": {"micro": row}}
    comparison["predictions"] = {"a": ["runs/e.jsonl"], "b": ["runs/s.jsonl"]}
    lines = _shown(ComparisonTable(comparison), 120).splitlines()
    heading = next(line for line in lines if "metric" in line)
    columns = ("metric", "editgrpo", "[sft]", "editgrpo − [sft]", "95 % interval", "p")
    assert heading.split() == " ".join(columns).split()
    (values,) = (line for line in lines if "micro" in line)
    assert values.split() == ["micro", "0.540", "0.500", "+0.040", "[0.010,", "0.070]", "0.004"]
    caption = " ".join(" ".join(lines).split())
    assert "editgrpo: runs/e.jsonl · [sft]: runs/s.jsonl" in caption
    assert "95 % interval over 120 studies (patients not known" in caption
    assert "p for these runs" in caption


@pytest.mark.parametrize("name", [name for name in METRICS if len(name) > 20])
@pytest.mark.parametrize("other", ["sft", "sft-continued"])
def test_comparison_fits_80_columns(name: str, other: str) -> None:
    row = {"a": 0.54, "b": 0.5, "difference": -1.04, "low": -1.634, "high": -0.183, "p": 0.004}
    metrics = {name: row, "text/words": {**row, "a": 102.345, "direction": "lower"}}
    comparison = {"a": "editgrpo", "b": other, "n_studies": 120, "metrics": metrics}
    text = _shown(ComparisonTable(comparison), 80)
    assert max(map(len, text.splitlines())) <= 80
    for part in (f"{name} ", "0.540", "0.500", "-1.040", "[-1.634, -0.183]", "0.004"):
        assert part in text


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_can_be_searched_for_in_the_results_of_four_systems(name: str) -> None:
    names = ["sft", "sft-continued", "dr-grpo", "editgrpo"]
    value = {"value": 0.5, "low": 0.41, "high": 0.62}
    scores = [{**_scores(system, 0.5), "metrics": {name: value}} for system in names]
    text = _shown(ResultsTable(scores), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert name in text
    assert "0.41–0.62" in text


def test_findings_of_four_systems_stay_on_one_line() -> None:
    names = ["sft", "sft-continued", "dr-grpo", "editgrpo"]
    row = {"f1": 0.5, "support": 3}
    findings = {"per_finding": {"Enlarged Cardiomediastinum": row}}
    text = _shown(findings_table([{**_scores(name, 0.5), **findings} for name in names]), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "Enlarged Cardiomediastinum " in text


def test_a_name_is_broken_only_where_there_is_no_room() -> None:
    row = {"a": 0.54, "b": 0.5, "difference": 0.04, "low": 0.01, "high": 0.07, "p": 0.004}
    metrics = {"rules/report-micro-f1-14": row}
    comparison = {"a": "a", "b": "b", "n_studies": 120, "metrics": metrics}
    text = _shown(ComparisonTable(comparison), 50)
    assert "rules/report-micro-f1-14" not in text
    firsts = [line.split()[0] for line in text.splitlines() if line.split()]
    assert "rules/report-micro-f1-14" in "".join(firsts)


def test_an_interval_that_is_not_known_is_left_out() -> None:
    row = {"a": 0.5, "b": 0.5, "difference": 0.0, "low": None, "high": None, "p": 1.0}
    known = {"n_studies": 3, "n_patients": 1}
    comparison = {"a": "a", "b": "b", "metrics": {"micro": row}} | known
    text = " ".join(_shown(ComparisonTable(comparison), 100).split())
    assert "no interval: 1 patient (3 studies) cannot be resampled" in text
    scores = _scores("sft", 0.5) | known
    scores["metrics"] = {"micro": {"value": 0.5, "low": None, "high": None}}
    assert "no interval: 1 patient" in " ".join(_shown(ResultsTable([scores]), 100).split())


def test_single_seeds_and_what_was_drawn_are_shown() -> None:
    scores = _scores("sft", 0.5) | {"n_seeds": 2, "n_patients": 40}
    scores["metrics"]["rules/report-micro-f1-14"]["seed_values"] = [0.48, 0.52]
    text = " ".join(_shown(ResultsTable([scores]), 100).split())
    assert "seeds 0.480 0.520" in text
    assert "95 % interval over 2 training seeds, then 40 patients (120 studies)" in text
    row = {"difference": 0.01, "low": -0.01, "high": 0.07, "p": 0.4}
    row["seed_differences"] = [-0.01, 0.03]
    seeds = {"n_seeds": {"a": 2, "b": 2}, "n_studies": 120, "n_patients": 40}
    comparison = {"a": "a", "b": "b", "metrics": {"micro": row}} | seeds
    assert "seeds -0.010 +0.030" in " ".join(_shown(ComparisonTable(comparison), 100).split())


def test_every_table_states_where_its_numbers_come_from() -> None:
    line = provenance_line([_scores("sft", 0.5)])
    for part in ("120", "seed 7", "95 %", "0123456789", "editgrpo evaluate predictions.jsonl"):
        assert part in line


def test_systems_keep_their_names_at_80_columns() -> None:
    row = {"a": 0.605, "b": 0.161, "difference": 0.444, "low": 0.347, "high": 0.524, "p": 0.001}
    metrics = {"rules/report-micro-f1-14": {**row, "direction": "higher"}}
    comparison = {"a": "careful", "b": "plain", "metrics": metrics}
    lines = [
        " ".join(line.split()) for line in _shown(ComparisonTable(comparison), 80).splitlines()
    ]
    assert lines[0] == "careful − plain, paired"
    assert any(line.startswith("metric careful plain") for line in lines), lines
