"""Tables as plain data: what display and the result pages read."""

import io
import json

import pytest
from rich.console import Console

import editgrpo
from editgrpo.display.comparison import ComparisonTable
from editgrpo.display.tables import ResultsTable, findings_table
from editgrpo.evaluation.compare import compare
from editgrpo.evaluation.evaluate import pool_seeds
from editgrpo.evaluation.tables import (
    comparison_record,
    metric_rows,
    scores_record,
    study_rows,
)
from tests.evaluation.builders import evaluate, random_predictions


def test_records_are_json_and_state_where_they_come_from() -> None:
    one = evaluate(random_predictions(1), system="one")
    other = evaluate(random_predictions(2), system="other")
    for record in (scores_record(one), comparison_record(compare(one, other))):
        assert json.loads(json.dumps(record, allow_nan=False)) == record
        stated = {"n_studies", "n_seeds", "confidence", "bootstrap_samples", "command", "commit"}
        assert stated <= set(record)
        assert record["scored_with"] == {"fake": "sha256:0"}
        assert record["editgrpo"] == editgrpo.__version__


def test_display_takes_the_records() -> None:
    one = evaluate(random_predictions(1), system="one")
    record = scores_record(one)
    ResultsTable([record])
    assert findings_table([record]).row_count == 14
    comparison = comparison_record(compare(one, one))
    console = Console(file=io.StringIO(), width=120)
    console.print(ComparisonTable(comparison))
    assert isinstance(console.file, io.StringIO)
    shown = {line.split()[0] for line in console.file.getvalue().splitlines() if line.strip()}
    assert set(one.metrics) <= shown


def test_study_rows_of_seeds_are_means() -> None:
    runs = [evaluate(random_predictions(seed)) for seed in (1, 2)]
    pooled = study_rows(pool_seeds(runs, system="pooled"))
    first, second = (study_rows(run) for run in runs)
    name = "reward/total@fake"
    expected = (first[5][name] + second[5][name]) / 2
    assert pooled[5]["study_id"] == "s005"
    assert pooled[5][name] == pytest.approx(expected)


def test_rows_hold_one_metric() -> None:
    one = evaluate(random_predictions(1), system="one")
    rows = metric_rows(scores_record(one))
    assert len(rows) == len(one.metrics)
    assert rows[0]["metric"] == "average/clinical@fake"
