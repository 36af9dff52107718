"""What reads no images is refused before a command writes or clears anything."""

import json
from pathlib import Path

import pytest

from editgrpo.cli import main
from editgrpo.data.prepared.store import FORM
from editgrpo.phantom import Site, write_phantom
from editgrpo.provenance import PROVENANCE_FILE
from tests.builders import bytes_of


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder that says it is a Qwen3, which reads text alone, and holds nothing else."""
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    return folder


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert stop.value.code == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "model_type 'qwen3' is not supported" in error
    assert "Gemma 3 (gemma3), Qwen2-VL (qwen2_vl), Qwen2.5-VL (qwen2_5_vl), Qwen3-VL" in error
    return error


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["", "--overwrite", "--resume"])
@pytest.mark.parametrize("command", ["sft", "train"])
def test_a_run_is_not_begun_and_an_earlier_one_not_cleared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: Path, command: str, flag: str
) -> None:
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(f"model: {{path: {other}}}\ndata: {{folder: {tmp_path / 'studies'}}}\n")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies/prepared.json").write_text(json.dumps({"form": FORM, "files": {}}))
    if flag:
        (run / "model").mkdir(parents=True)
        (run / PROVENANCE_FILE).write_text("{}")
        (run / "model/config.json").write_text("{}")
    before = bytes_of(tmp_path)
    refused(capsys, command, recipe, "--output", run, *([flag] if flag else []))
    assert bytes_of(tmp_path) == before
    assert run.exists() == bool(flag)


def test_nothing_is_generated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: Path
) -> None:
    out, studies = tmp_path / "predictions.jsonl", tmp_path / "studies"
    write_phantom(studies, studies=4, site=Site.A, seed=0, size_px=56, workers=1)
    before = bytes_of(tmp_path)
    words = ("--studies", studies, "--split", "train", "--output", out)
    refused(capsys, "generate", other, *words)
    assert bytes_of(tmp_path) == before
