"""Files in, files out, with the real reward `rules` on reports of our own."""

import csv
import json
import re
from pathlib import Path

import pytest

from editgrpo.data.readers.table import read_table
from editgrpo.errors import ConfigError, DataError
from editgrpo.evaluation import scoring_plan
from editgrpo.evaluation.files import (
    SystemFiles,
    compare_files,
    evaluate_file,
    evaluate_systems,
    system_names,
)
from editgrpo.evaluation.outputs import (
    partials_beside,
    summary_record,
    write_outcome,
    write_scores,
)
from editgrpo.evaluation.predictions import write_predictions
from editgrpo.evaluation.types import EvaluationOptions, Prediction
from tests.evaluation.builders import predictions

NORMAL = "The heart is normal in size. The lungs are clear. No effusion or pneumothorax."
EFFUSION = "Small left pleural effusion. The heart is normal in size."
FRACTURE = "Acute fracture of the left sixth rib. The lungs are clear."
REFERENCES = [NORMAL, EFFUSION, NORMAL, FRACTURE, EFFUSION, NORMAL]
OPTIONS = EvaluationOptions(samples=50)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    texts = [NORMAL, EFFUSION, NORMAL, NORMAL, EFFUSION, NORMAL]
    path = tmp_path / "good" / "predictions.jsonl"
    write_predictions(path, predictions(list(zip(texts, REFERENCES, strict=True))))
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad" / "predictions.jsonl"
    write_predictions(path, predictions([(NORMAL, reference) for reference in REFERENCES]))
    return path


def test_an_evaluation_is_written_in_four_files(good: Path, tmp_path: Path) -> None:
    output = tmp_path / "evaluation" / "test"
    evaluation = evaluate_file(good, output=output, options=OPTIONS)
    names = {"predictions.jsonl", "scores.json", "scores.csv", "per_study.jsonl"}
    assert {path.name for path in output.iterdir()} == names
    assert (output / "predictions.jsonl").read_bytes() == good.read_bytes()

    scores = json.loads((output / "scores.json").read_text())
    assert (scores["system"], scores["predictions"]) == ("good", str(good))
    assert (scores["n_studies"], scores["n_seeds"], scores["bootstrap_samples"]) == (6, 1, 50)
    estimate = evaluation.metrics["rules/micro-f1-14"]
    assert scores["metrics"]["rules/micro-f1-14"] == {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "direction": "higher",
    }
    assert scores["per_finding"]["Pleural Effusion"]["support"] == 2
    assert scores["per_finding"]["Fracture"]["recall"] == 0

    with (output / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["metric"] for row in rows] == list(evaluation.metrics)
    assert all(float(row["value"]) == evaluation.metrics[row["metric"]].value for row in rows)
    assert {"n_studies", "n_seeds", "commit", "command", "confidence"} <= set(rows[0])

    studies = [json.loads(line) for line in (output / "per_study.jsonl").read_text().splitlines()]
    assert [row["study_id"] for row in studies] == [f"s{k:03}" for k in range(6)]
    assert studies[0]["reward/total@rules"] == pytest.approx(3.0)


def test_evaluating_twice_writes_the_same_bytes(good: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        evaluate_file(good, output=tmp_path / name, system="s", options=OPTIONS)
    for name in ("scores.json", "scores.csv", "per_study.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_predictions_may_lie_in_the_output_folder(good: Path) -> None:
    before = good.read_bytes()
    evaluate_file(good, output=good.parent, options=OPTIONS)
    assert good.read_bytes() == before
    assert (good.parent / "scores.json").exists()


def test_seeds_are_pooled(good: Path, bad: Path, tmp_path: Path) -> None:
    output = tmp_path / "pooled"
    calls: list[tuple[int, int]] = []
    pooled = evaluate_file(
        [good, bad],
        output=output,
        system="both",
        options=OPTIONS,
        progress=lambda done, whole: calls.append((done, whole)),
    )
    assert calls == [(6, 12), (12, 12)]
    scores = json.loads((output / "scores.json").read_text())
    assert scores["predictions"] == [str(good), str(bad)]
    assert scores["n_seeds"] == 2
    metric = scores["metrics"]["reward/total@rules"]
    assert metric["value"] == pytest.approx(sum(metric["seed_values"]) / 2)
    assert pooled.system == "both"
    assert not (output / "predictions.jsonl").exists()


def test_two_files_are_compared(good: Path, bad: Path, tmp_path: Path) -> None:
    systems = [SystemFiles(paths=(good,)), SystemFiles(paths=(bad,))]
    outcome = evaluate_systems(systems, options=OPTIONS)
    comparison = outcome.comparison
    assert comparison is not None
    assert comparison == compare_files(good, bad, options=OPTIONS)
    write_outcome(tmp_path / "out", outcome)
    record = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert (record["a"], record["b"], record["n_studies"]) == ("good", "bad", 6)
    row = record["metrics"]["rules/micro-f1-14"]
    assert row["difference"] == comparison.metrics["rules/micro-f1-14"].difference
    # good: TP 3 normal + 2 effusion, FP 1 (No Finding), FN 1 (fracture): 10/12;
    # bad: TP 3, FP 3, FN 3: 1/2.
    assert row["difference"] == pytest.approx(5 / 6 - 1 / 2)
    assert set(row) == {"a", "b", "difference", "low", "high", "p", "direction"}
    evaluate_file(good, output=tmp_path / "out", options=OPTIONS)
    assert not (tmp_path / "out" / "comparison.json").exists(), "of scores that are gone"


@pytest.mark.parametrize(
    ("paths", "given", "by_file", "expected"),
    [
        (("x/a.jsonl", "x/b.jsonl"), (None, None), True, ["a", "b"]),
        (("x/p.jsonl", "y/p.jsonl"), (None, None), True, ["x/p", "y/p"]),
        (("x/p.jsonl", "x/p.csv"), (None, "other"), True, ["p", "other"]),
        (("x/p.jsonl", "y/p.jsonl"), (None, None), False, ["x", "y"]),
        (("x/test/p.jsonl", "y/test/p.jsonl"), (None, None), False, ["x/test", "y/test"]),
        (("x/a.jsonl", "x/b.jsonl"), (None, None), False, ["a", "b"]),
        (("x/a.jsonl", "x/b.jsonl"), ("S", "S"), False, ["S (1)", "S (2)"]),
        (("x/a.jsonl", "x/b.jsonl"), ("b", None), True, ["b", "x/b"]),
    ],
)
def test_no_two_systems_have_one_name(
    paths: tuple[str, str],
    given: tuple[str | None, str | None],
    by_file: bool,
    expected: list[str],
) -> None:
    systems = [
        SystemFiles(paths=(Path("/r") / path,), name=name)
        for path, name in zip(paths, given, strict=True)
    ]
    assert system_names(systems, by_file=by_file) == expected


def test_what_lies_in_a_run_has_the_name_of_the_run(tmp_path: Path) -> None:
    for folder, settings in (("a", "seed: 1\n"), ("b", "run_name: EditGRPO\n")):
        (tmp_path / folder / "evaluation/test").mkdir(parents=True)
        (tmp_path / folder / "config.yaml").write_text(settings)
    paths = (tmp_path / run / "evaluation/test/predictions.jsonl" for run in "ab")
    systems = [SystemFiles(paths=(path,)) for path in paths]
    assert system_names(systems) == ["a", "EditGRPO"]


def test_a_file_beside_itself_is_numbered(good: Path) -> None:
    comparison = compare_files(good, good, options=OPTIONS)
    assert comparison.a.endswith(" (1)")
    assert {row.p for row in comparison.metrics.values()} == {1.0}


def test_a_comparison_names_its_files_and_direction(good: Path, bad: Path) -> None:
    systems = [SystemFiles(paths=(good,), name="G"), SystemFiles(paths=(bad, good), name="B")]
    outcome = evaluate_systems(systems, options=OPTIONS)
    record = summary_record(outcome)["comparison"]
    assert record["difference"] == "G - B"
    assert record["predictions"] == {"a": [str(good)], "b": [str(bad), str(good)]}


def test_files_that_do_not_match_are_refused_before_anything_is_scored(
    good: Path, bad: Path, tmp_path: Path
) -> None:
    scored: list[int] = []
    lines = bad.read_text().splitlines()
    bad.write_text("\n".join(lines[:4]))
    message = f"{good} and {bad}: 2 studies are in one of them only, such as s004 in {good};"
    with pytest.raises(DataError, match=re.escape(message)):
        compare_files(good, bad, options=OPTIONS, progress=lambda done, _: scored.append(done))
    patients = [f'{{"patient_id": {k // 2}, {line[1:]}' for k, line in enumerate(lines)]
    bad.write_text("\n".join(patients))
    good.write_text("\n".join([patients[0].replace("0,", "9,", 1), *patients[1:]]))
    with pytest.raises(DataError, match="1 studies have another patient_id, such as s000"):
        evaluate_file([good, bad], options=OPTIONS, progress=lambda done, _: scored.append(done))
    assert scored == []


def test_one_file_is_not_two_seeds(good: Path) -> None:
    again = good.parent / ".." / good.parent.name / good.name
    with pytest.raises(DataError, match="appears twice; give one file for each training seed"):
        evaluate_file([good, again], options=OPTIONS)


def test_cells_of_written_tables_are_not_run(tmp_path: Path) -> None:
    rows = [
        Prediction(study_id=study, prediction=NORMAL, reference=NORMAL, patient_id=patient)
        for study, patient in (("=cmd", "+p"), ("-7", "@q"))
    ]
    path = tmp_path / "given.jsonl"
    write_predictions(path, rows)
    outcome = evaluate_systems([SystemFiles(paths=(path,), name="=1+1")], options=OPTIONS)
    write_outcome(tmp_path / "out", outcome)
    write_scores(tmp_path / "each.csv", outcome)
    for table in (tmp_path / "out" / "scores.csv", tmp_path / "each.csv"):
        with table.open(newline="") as stream:
            for row in csv.reader(stream):
                for cell in row:
                    assert cell[:1] not in ("=", "+", "@")
                    assert cell[:1] != "-" or float(cell) <= 0
    read = read_table(tmp_path / "each.csv")
    assert [(row.cells["study_id"], row.cells["patient_id"]) for row in read.rows] == [
        ("-7", "@q"),
        ("=cmd", "+p"),
    ]
    assert read_table(tmp_path / "out" / "scores.csv").rows[0].cells["system"] == "=1+1"


class StopError(Exception):
    """Stands for a kill."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scores.jsonl", "scores.csv"])
def test_a_stopped_comparison_goes_on_and_gives_the_same_bytes(
    good: Path, bad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(scoring_plan, "BATCH", 2)
    systems = [SystemFiles(paths=(good,)), SystemFiles(paths=(bad,))]

    def scored(output: Path, stop: int | None) -> list[int]:
        done: list[int] = []

        def progress(now: int, whole: int) -> None:
            done.append(now)
            if now == stop:
                raise StopError

        hidden = partials_beside(output)
        outcome = evaluate_systems(systems, options=OPTIONS, partials=hidden, progress=progress)
        write_scores(output, outcome)
        return done

    straight, stopped = tmp_path / "straight" / name, tmp_path / "stopped" / name
    assert scored(straight, None) == [2, 4, 6, 8, 10, 12]
    with pytest.raises(StopError):
        scored(stopped, 10)  # the first system is done, the second on its way
    assert [path.name for path in stopped.parent.iterdir()] == [f".{name}.scoring"]
    assert scored(stopped, None) == [12]
    written = {path.name: path.read_bytes() for path in straight.parent.iterdir()}
    assert {path.name: path.read_bytes() for path in stopped.parent.iterdir()} == written
    assert sorted(written) == sorted([name, "scores.summary.json"])


def test_nothing_is_written_when_scoring_is_impossible(good: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with pytest.raises(ConfigError, match="did you mean 'rules'"):
        evaluate_file(good, output=output, options=EvaluationOptions(metrics=("rule",)))
    with pytest.raises(DataError, match="give a readable file"):
        evaluate_file(tmp_path / "absent.jsonl", output=output)
    assert not output.exists()
