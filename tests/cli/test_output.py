"""Outputs that exist are refused, continued or cleared away; nothing else is touched."""

import json
from pathlib import Path

import pytest

from editgrpo.cli import main
from editgrpo.cli.demo import claim_demo_folder
from editgrpo.cli.output import claim_output, claim_run_folder, spare_inputs
from editgrpo.errors import ConfigError
from tests.builders import bytes_of


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An earlier run with a file of the user's beside its own."""
    folder = tmp_path / "run"
    (folder / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    (folder / "annotations" / "process-0").mkdir(parents=True)
    for name in ("provenance.json", "metrics.jsonl", "notes.txt"):
        (folder / name).write_text("{}")
    return folder


def test_a_new_or_empty_run_folder_is_free(tmp_path: Path) -> None:
    claim_run_folder(tmp_path / "new", resume=False, overwrite=False)
    claim_run_folder(tmp_path, resume=False, overwrite=False)


def test_a_run_is_not_overwritten_unasked(run: Path) -> None:
    with pytest.raises(ConfigError, match=r"run: not empty; add --resume to .*--overwrite to"):
        claim_run_folder(run, resume=False, overwrite=False)
    assert len(list(run.iterdir())) == 5


def test_a_start_that_failed_before_its_first_step_leaves_the_folder_free(tmp_path: Path) -> None:
    for name in ("provenance.json", "config.yaml"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "annotations" / "process-0").mkdir(parents=True)  # of the trial of the models
    claim_run_folder(tmp_path, resume=False, overwrite=False)
    (tmp_path / "metrics.jsonl").write_text("{}")
    with pytest.raises(ConfigError, match="not empty"):
        claim_run_folder(tmp_path, resume=False, overwrite=False)


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    inputs = [tmp_path / "a.csv", tmp_path / "b.csv"]
    spare_inputs([tmp_path / "scores.csv"], inputs)
    with pytest.raises(ConfigError, match=r"b\.csv: this command reads it; name another output"):
        spare_inputs([tmp_path / "scores.csv", tmp_path / "x" / ".." / "b.csv"], inputs)


def test_resuming_leaves_everything(run: Path) -> None:
    claim_run_folder(run, resume=True, overwrite=False)
    assert len(list(run.iterdir())) == 5


def test_overwriting_removes_the_run_and_nothing_else(run: Path) -> None:
    claim_run_folder(run, resume=False, overwrite=True)
    assert [path.name for path in run.iterdir()] == ["notes.txt"]


def test_overwriting_spares_a_folder_that_is_no_run(run: Path) -> None:
    (run / "provenance.json").unlink()
    with pytest.raises(ConfigError, match="nothing here to replace"):
        claim_run_folder(run, resume=False, overwrite=True)
    assert (run / "metrics.jsonl").exists()


def test_resume_and_overwrite_exclude_each_other(run: Path) -> None:
    with pytest.raises(ConfigError, match="contradict"):
        claim_run_folder(run, resume=True, overwrite=True)


def test_only_the_first_process_looks(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    claim_run_folder(run, resume=False, overwrite=True)
    assert len(list(run.iterdir())) == 5


def test_a_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    claim_output(path, overwrite=False)
    path.write_text("{}")
    with pytest.raises(ConfigError, match=r"scores\.json: already there; add --overwrite"):
        claim_output(path, overwrite=False)
    with pytest.raises(ConfigError, match="not empty; add --overwrite"):
        claim_output(tmp_path, overwrite=False)
    claim_output(path, overwrite=True)
    assert path.exists()


def test_a_demo_is_continued_only_with_the_same_options(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    claim_demo_folder(folder, {"quick": True, "seed": 0}, overwrite=False)
    (folder / "sft").mkdir()
    claim_demo_folder(folder, {"quick": True, "seed": 0}, overwrite=False)
    assert (folder / "sft").is_dir()
    with pytest.raises(ConfigError, match="holds a demo with other options"):
        claim_demo_folder(folder, {"quick": False, "seed": 0}, overwrite=False)
    claim_demo_folder(folder, {"quick": False, "seed": 0}, overwrite=True)
    assert [path.name for path in folder.iterdir()] == ["demo.json"]


def test_a_demo_of_another_base_model_is_not_continued(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an earlier version trained from its own model would count as trained."""
    demo = tmp_path / "demo"
    (demo / "sft" / "model").mkdir(parents=True)
    (demo / "sft" / "model" / "config.json").write_text("{}")
    (demo / "demo.json").write_text(json.dumps({"quick": True, "seed": 0}))
    before = bytes_of(demo)
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--quick", "--seed", "0", "--output", str(demo)])
    assert stop.value.code == 2
    assert "of another version" in capsys.readouterr().err
    assert bytes_of(demo) == before


def test_a_demo_spares_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ConfigError):
            claim_demo_folder(tmp_path, {"quick": True, "seed": 0}, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
