"""Commands that run clinical models, on small random checkpoints."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from editgrpo.cli import main
from editgrpo.data.study import Split, Study, StudyImage, View
from editgrpo.files import read_jsonl, write_jsonl
from editgrpo.reports.chexpert import FINDINGS
from tests.builders import write_set
from tests.checkpoints.chexbert import build_chexbert
from tests.checkpoints.corpus import SENTENCES
from tests.checkpoints.rate import build_biolord, build_rate_ner

Run = Callable[..., str]

REPORTS = [" ".join(SENTENCES[k : k + 3]) for k in range(0, 12, 2)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build_chexbert(folder / "chexbert")
    build_rate_ner(folder / "rate-ner")
    build_biolord(folder / "biolord")
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], models: Path) -> Run:
    """Run a command with the models and return what it printed; `code` is what to expect."""

    def call(*words: str | Path, code: int = 0) -> str:
        with pytest.raises(SystemExit) as stop:
            main([*(str(word) for word in words), "--models", str(models), "--device", "cpu"])
        captured = capsys.readouterr()
        assert stop.value.code == code, captured.err
        return captured.err if code else captured.out

    return call


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    images = (StudyImage(image_id="a", view=View.PA),)
    splits = [Split.TRAIN] * 4 + [Split.TEST] * 2
    return write_set(
        tmp_path / "studies",
        [
            Study(study_id=f"s{k}", patient_id=f"p{k}", split=split, images=images, findings=text)
            for k, (split, text) in enumerate(zip(splits, REPORTS, strict=True))
        ],
    )


def test_references_are_annotated_once(studies: Path, tmp_path: Path, run: Run) -> None:
    rates = tmp_path / "rates.json"
    words = ["annotate", studies, "--annotators", "chexbert"]
    shown = run(*words, "--class-rates", rates)
    assert "        4  reports, 4 of them distinct\n" in shown
    assert "        4  values added by chexbert\n" in shown
    assert f"The store is in {studies}/annotations (" in shown
    counted = json.loads(rates.read_text())
    assert counted["n"] == 4
    assert counted["labeler"].startswith("chexbert@")
    assert counted["target"] == "findings"
    assert list(counted["rates"]) == list(FINDINGS)
    assert "        0  values added by chexbert\n" in run(*words)
    assert "        2  values added by chexbert\n" in run(*words, "--split", "test")
    assert "already there" in run(*words, "--class-rates", rates, code=2)


@pytest.mark.slow
def test_annotate_refuses_what_it_cannot_do(studies: Path, tmp_path: Path, run: Run) -> None:
    words = ["annotate", studies, "--annotators", "rate", "--class-rates", tmp_path / "r.json"]
    assert "add chexbert to --annotators" in run(*words, code=2)
    message = run("annotate", studies, "--split", "validation", code=2)
    assert "no study of split validation has findings; name another --split or --t" in message
    message = run("annotate", studies, "--annotators", "chexbart", code=2)
    assert "annotator 'chexbart' is unknown; did you mean 'chexbert'?" in message
    message = run("annotate", studies, "--annotators", "rate,rules", code=2)
    assert "'rules' needs no annotations ahead of time; choose among rate, radgraph, che" in message
    assert "no annotator is named" in run("annotate", studies, "--annotators", ",", code=2)
    assert not (studies / "annotations").exists(), "an empty store would be taken for a full one"


def test_a_file_is_scored_by_models_and_says_which(studies: Path, tmp_path: Path, run: Run) -> None:
    predictions, rates = tmp_path / "predictions.jsonl", tmp_path / "rates.json"
    rows = [
        {"study_id": str(k), "prediction": REPORTS[k // 2], "reference": text}
        for k, text in enumerate(REPORTS)
    ]
    write_jsonl(predictions, rows)
    run("annotate", studies, "--annotators", "chexbert", "--class-rates", rates)
    names = [
        "chexbert/micro-f1-14",
        "chexbert/report-micro-f1-14",
        "chexbert/report-inverse-frequency-14",
    ]
    words = ["score", predictions, "--metrics", ",".join(names), "--samples", "20"]
    words += ["--output", tmp_path / "scores.jsonl"]
    assert "needs the class rates of a training set" in run(*words, code=2)
    words += ["--class-rates", rates, "--store", studies / "annotations"]
    (system,) = json.loads(run(*words, "--json"))["systems"]
    assert list(system["metrics"]) == names
    assert set(system["scored_with"]) == {"chexbert", "dtype", "class-rates"}
    assert len(system["scored_with"]["chexbert"]) == 64
    scores = [row for _, row in read_jsonl(tmp_path / "scores.jsonl")]
    assert scores[0] == {"study_id": "0", names[1]: 1.0, names[2]: 1.0}


@pytest.mark.slow
def test_an_edit_takes_the_annotator_of_the_paper(run: Run) -> None:
    words = ["edit", "--rollout", REPORTS[0], "--reference", REPORTS[1], "--annotator", "rate"]
    shown = json.loads(run(*words, "--json"))
    assert shown["report"]
    # The judge takes no part in edits.
    message = run(*words, "--green-endpoint", "http://localhost:8000/v1", code=2)
    assert "No such option" in message


@pytest.mark.slow
def test_annotate_leaves_no_store_where_weights_are_missing(
    studies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["annotate", str(studies), "--models", str(tmp_path / "none"), "--offline"]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert "editgrpo models fetch rate-ner" in capsys.readouterr().err
    assert not (studies / "annotations").exists()


def test_a_set_is_described_by_the_labels_of_a_model(
    studies: Path, tmp_path: Path, run: Run
) -> None:
    output = tmp_path / "set.json"
    printed = run("data", "stats", studies, "--labeler", "chexbert", "--json", output)
    assert "Labeler: chexbert" in printed
    prevalence = json.loads(output.read_text())["splits"]["train"]["prevalence"]
    assert prevalence["reports"] == 4
    assert list(prevalence["counts"]) == list(FINDINGS)
