"""Commands from end to end on small phantom data: what they write, what they refuse."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from editgrpo.cli import main
from editgrpo.data.prepared.store import StudySet
from editgrpo.files import read_jsonl, write_jsonl
from tests.builders import write_model_config

Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command and return what it printed; `code` is the exit code to expect."""

    def call(*words: str | Path, code: int = 0) -> str:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        assert stop.value.code == code, captured.err
        return captured.err if code else captured.out

    return call


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty phantom studies of site A, written by the command."""
    folder = tmp_path_factory.mktemp("data") / "studies"
    words = ["prepare", "phantom", "--output", str(folder), "--studies", "30", "--size-px", "56"]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def counted(shown: str, name: str) -> int:
    """Return the last number of the flow's line of a name."""
    (line,) = (line for line in shown.splitlines() if line.strip().startswith(name))
    return int(line.split()[-1].replace(",", ""))


def rows(path: Path) -> list[dict[str, object]]:
    return [row for _, row in read_jsonl(path)]


@pytest.fixture
def predictions(studies: Path, tmp_path: Path) -> Path:
    """Predictions that are right for every second study and the first study's report otherwise."""
    written = list(StudySet.load(studies))
    path = tmp_path / "system" / "predictions.jsonl"
    write_jsonl(
        path,
        (
            {
                "study_id": study.study_id,
                "prediction": written[0 if number % 2 else number].findings,
                "reference": study.findings,
            }
            for number, study in enumerate(written)
        ),
    )
    return path


@pytest.mark.slow
def test_phantom_studies_are_not_written_over_unasked(studies: Path, run: Run) -> None:
    again = ["prepare", "phantom", "--output", studies, "--studies", "30", "--size-px", "56"]
    before = contents(studies)
    assert "not empty; add --overwrite" in run(*again, code=2)
    assert "       30  studies\n" in run(*again, "--overwrite")
    assert contents(studies) == before, "same seed, other bytes"


def test_an_interrupted_preparation_is_not_replaced_unasked(tmp_path: Path, run: Run) -> None:
    (tmp_path / "iu").mkdir()
    (tmp_path / "iu" / "unfinished.json").write_text('{"fingerprint": "0"}')
    words = ["prepare", "iu-xray", "--root", tmp_path, "--out", tmp_path / "iu"]
    assert "interrupted here; add --resume to continue it" in run(*words, code=2)


def test_an_unknown_site_is_named(tmp_path: Path, run: Run) -> None:
    words = ["prepare", "phantom", "--output", tmp_path / "new", "--site", "C"]
    assert run(*words, code=2) == "error: --site is 'C'; it must be one of A, B\n"
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_table_becomes_studies(studies: Path, tmp_path: Path, run: Run) -> None:
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["Study", "Patient", "File", "Text"])
        everything = StudySet.load(studies)
        for study in everything:
            image = tmp_path / f"{study.study_id}.png"
            image.write_bytes(everything.images.png(study.images[0].image_id))
            writer.writerow([study.study_id, study.patient_id, image, study.findings])
    columns = ["study_id=Study", "patient_id=Patient", "image=File", "findings=Text", "view==PA"]
    words = [word for column in columns for word in ("--column", column)]
    shown = run("prepare", "folder", table, "--output", tmp_path / "mine", *words)
    assert counted(shown, "studies kept") == 30
    assert counted(shown, "PA images") == 30
    assert len(StudySet.load(tmp_path / "mine")) == 30
    assert rows(tmp_path / "mine" / "rejected.jsonl") == []
    words[-1] = "vew==PA"
    message = run("prepare", "folder", table, "--output", tmp_path / "new", *words, code=2)
    assert "unknown field; did you mean 'view'?" in message


def test_iu_xray_needs_its_files(tmp_path: Path, run: Run) -> None:
    words = ["prepare", "iu-xray", "--root", tmp_path, "--reports", tmp_path / "absent.tgz"]
    words += ["--out", tmp_path / "iu"]
    assert "absent.tgz" in run(*words, "--without-images", code=2)


def test_scores_are_written_study_by_study(predictions: Path, tmp_path: Path, run: Run) -> None:
    output = tmp_path / "scores.jsonl"
    words = ["score", predictions, "--output", output, "--samples", "20"]
    shown = run(*words, "--metrics", "reward/total@rules,rules/micro-f1-14,text/empty")
    assert "rules/micro-f1-14" in shown
    assert shown.endswith(f"are in {output}, the summary is in {tmp_path}/scores.summary.json\n")
    scores = rows(output)
    assert len(scores) == 30
    assert list(scores[0]) == ["study_id", "reward/total@rules", "text/empty"]
    summary = json.loads((tmp_path / "scores.summary.json").read_text())
    (system,) = summary["systems"]
    total = [score["reward/total@rules"] for score in scores]
    mean = sum(total) / 30  # type: ignore[arg-type]
    assert system["metrics"]["reward/total@rules"]["value"] == pytest.approx(mean)
    assert list(system["metrics"]) == ["reward/total@rules", "rules/micro-f1-14", "text/empty"]
    assert summary["comparison"] is None
    assert sorted(path.name for path in tmp_path.glob(".*")) == []
    assert "already there" in run(*words, code=2)
    wrong = run("score", predictions, "--output", tmp_path / "a", "--metrics", "papr", code=2)
    assert "metric 'papr' is unknown; did you mean 'paper'?" in wrong


def test_without_an_output_scores_are_shown_and_nothing_is_written(
    predictions: Path, run: Run
) -> None:
    before = sorted(predictions.parent.iterdir())
    words = ["score", predictions, "--samples", "20", "--metrics", "rules/micro-f1-14"]
    shown = run(*words)
    assert "rules/micro-f1-14" in shown
    assert "are in" not in shown
    (system,) = json.loads(run(*words, "--json"))["systems"]
    assert list(system["metrics"]) == ["rules/micro-f1-14"]
    assert sorted(predictions.parent.iterdir()) == before
    assert "--overwrite has an effect with --output only" in run(*words, "--overwrite", code=2)


@pytest.mark.slow
def test_a_table_is_scored_beside_another_system(
    predictions: Path, tmp_path: Path, run: Run
) -> None:
    table = tmp_path / "mine.csv"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["study_id", "prediction", "reference"])
        writer.writeheader()
        writer.writerows({**row, "prediction": row["reference"]} for row in rows(predictions))
    words = ["score", table, "--metrics", "rules/micro-f1-14,text/bleu-2,text/words"]
    words += ["--compare", predictions, "--compare-system", "other", "--samples", "20", "--json"]
    output = tmp_path / "scores.csv"
    printed = json.loads(run(*words, "--output", output))
    assert printed == json.loads((tmp_path / "scores.summary.json").read_text())
    assert [system["system"] for system in printed["systems"]] == ["mine", "other"]
    assert printed["comparison"]["metrics"]["rules/micro-f1-14"]["difference"] > 0
    with output.open(newline="") as stream:
        scores = list(csv.DictReader(stream))
    assert list(scores[0]) == ["study_id", "text/words"]
    assert len(scores) == 30
    table.write_text(table.read_text().replace("prediction", "generated"))
    message = run(*words, "--output", tmp_path / "new.csv", code=2)
    assert "line 1: no column prediction; name the columns study_id, prediction" in message


def test_the_metrics_are_listed(run: Run) -> None:
    shown = run("score", "--list")
    assert "↓ radcliq-v1" in shown
    assert "(needs radgraph, distilroberta-base, chexbert)" in shown
    assert "\n  paper " in shown


def test_weights_that_are_missing_are_named_before_scoring(
    predictions: Path, tmp_path: Path, run: Run
) -> None:
    words = ["score", predictions, "--output", tmp_path / "s.jsonl"]
    words += ["--metrics", "chexbert/micro-f1-14"]
    message = run(*words, "--offline", "--models", tmp_path / "models", code=2)
    assert "editgrpo models fetch chexbert" in message
    assert not (tmp_path / "s.jsonl").exists()
    message = run(*words, "--source", "chexbert", code=2)
    assert message == ("error: --source chexbert: write it as model=folder, or as model=hub-id\n")
    message = run(*words, "--device", "gpu", code=2)
    assert "clinical.device is 'gpu'; it must be auto, cpu, cuda or cuda:N" in message


@pytest.mark.slow
def test_two_systems_are_compared(predictions: Path, tmp_path: Path, run: Run) -> None:
    other = tmp_path / "other.jsonl"
    perfect = [{**row, "prediction": row["reference"]} for row in rows(predictions)]
    write_jsonl(other, perfect)
    words = ["evaluate", other, "--system", "perfect", "--compare", predictions, "--samples", "50"]
    folder = tmp_path / "comparison"
    shown = run(*words, "--output", folder)
    assert "perfect − system" in shown
    assert shown.endswith(f"Written to {folder}\n")
    comparison = json.loads((folder / "comparison.json").read_text())
    assert comparison["metrics"]["reward/total@rules"]["difference"] > 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "comparison.json",
        "per_study.jsonl",
        "predictions.jsonl",
        "scores.csv",
        "scores.json",
    ]
    assert "already there" in run(*words, "--output", folder, code=2)
    printed = json.loads(run(*words, "--output", folder, "--overwrite", "--json"))
    assert [system["system"] for system in printed["systems"]] == ["perfect", "system"]
    assert printed["comparison"] == json.loads((folder / "comparison.json").read_text())


def test_predictions_are_not_written_over(predictions: Path, tmp_path: Path, run: Run) -> None:
    before = predictions.read_bytes()
    words = ["score", predictions, "--output", predictions, "--overwrite"]
    assert "this command reads it; name another output" in run(*words, code=2)
    other = tmp_path / "other.jsonl"
    other.write_bytes(before)
    # The copy of `other` would take the place of the system that it is compared with.
    words = ["evaluate", other, "--compare", predictions, "--output", predictions.parent]
    assert "this command reads it; name another output" in run(*words, "--overwrite", code=2)
    assert predictions.read_bytes() == before


@pytest.mark.slow
def test_interrupted_writing_is_taken_up(predictions: Path, tmp_path: Path, run: Run) -> None:
    folder, scores = tmp_path / "out", tmp_path / "scores.jsonl"
    evaluating = ["evaluate", predictions, "--output", folder, "--samples", "20"]
    scoring = ["score", predictions, "--output", scores, "--samples", "20"]
    run(*evaluating)
    run(*scoring)
    # As a kill just before the last file would have left them.
    (folder / "scores.json").unlink()
    (folder / ".scoring").mkdir()
    (tmp_path / "scores.summary.json").unlink()
    (tmp_path / ".scores.jsonl.scoring").mkdir()
    run(*evaluating)
    run(*scoring)
    assert (folder / "scores.json").is_file()
    assert (tmp_path / "scores.summary.json").is_file()
    assert "already there" in run(*evaluating, code=2)
    assert "already there" in run(*scoring, code=2)


def test_an_evaluation_lies_beside_its_predictions(predictions: Path, run: Run) -> None:
    words = ["evaluate", predictions, "--samples", "20", "--json"]
    printed = json.loads(run(*words))["systems"][0]
    assert printed == json.loads((predictions.parent / "scores.json").read_text())
    assert (printed["system"], printed["bootstrap_samples"]) == ("system", 20)


@pytest.mark.slow
def test_a_report_is_one_html_file(
    predictions: Path, studies: Path, tmp_path: Path, run: Run
) -> None:
    folder = tmp_path / "runs" / "first" / "evaluation" / "test"
    run("evaluate", predictions, "--output", folder, "--samples", "20")
    words = ["report", tmp_path / "runs" / "first", "--output", tmp_path / "page.html"]
    shown = run(*words, "--studies", studies, "--title", "A <title>")
    assert "Runs: 1; evaluations: 1" in shown
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "A &lt;title&gt;" in page
    assert "already there" in run(*words, code=2)
    words[1] = tmp_path / "absent"
    assert "absent" in run(*words, "--overwrite", code=2)


def test_generate_takes_its_data_settings_from_the_run(tmp_path: Path, run: Run) -> None:
    (tmp_path / "config.yaml").write_text("seed: 1\ndata: {max_imges: 1}\n")
    words = ["generate", tmp_path / "model", "--output", tmp_path / "predictions.jsonl"]
    message = run(*words, code=2)
    assert "config.yaml: unknown key data.max_imges; did you mean data.max_images?" in message
    (tmp_path / "config.yaml").unlink()
    message = run(*words, "--set", "optim.beta2=1", code=2)
    assert "--set optim.beta2=1: only data.key=value has an effect here" in message
    write_model_config(tmp_path / "model")
    message = run(*words, "--studies", tmp_path / "no'where", code=2)
    assert message.startswith(f"error: --studies: no folder {tmp_path}/no'where")


def test_edit_says_that_it_cannot_read_the_reference(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    rollout = "No pleural effusion."
    run("edit", "--rollout", rollout, "--reference", "Derrame pleural izquierdo.")
    (message,) = caplog.messages
    assert message.startswith("annotator rules finds nothing in 1 of 1 references")
    caplog.clear()
    run("edit", "--rollout", rollout, "--reference", "Left pleural effusion.")
    assert not caplog.messages
