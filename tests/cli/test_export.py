"""`editgrpo export` from the command line: what it replaces, and what it leaves alone."""

from pathlib import Path

import pytest

from editgrpo.cli import main
from tests.sharing.run_folders import sft_run, write_studies


def code_of(*words: str) -> object:
    with pytest.raises(SystemExit) as stop:
        main(["export", *words])
    return stop.value.code


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "shown"),
    [([], "not empty; add --overwrite"), (["--overwrite"], "holds no editgrpo.json")],
)
def test_a_folder_of_somebody_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], shown: str
) -> None:
    run = sft_run(tmp_path, write_studies(tmp_path / "studies"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert code_of(str(run), str(tmp_path / "out"), *more) == 2
    assert shown in capsys.readouterr().err
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_a_run_without_weights_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = sft_run(tmp_path, write_studies(tmp_path / "studies"))
    assert code_of(str(run), str(tmp_path / "out")) == 2
    assert "no config.json with weights; give the folder of a saved model" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()
