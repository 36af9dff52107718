"""`editgrpo data` from end to end: what it shows, writes, finds and refuses."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from editgrpo.cli import main
from editgrpo.data.prepared.store import table_path
from editgrpo.data.study import Split
from tests.builders import write_set
from tests.data.described import STUDIES

Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `editgrpo data` and return what it printed; `code` is the exit code to expect."""

    def call(*words: str | Path, code: int = 0) -> str:
        with pytest.raises(SystemExit) as stop:
            main(["data", *(str(word) for word in words)])
        captured = capsys.readouterr()
        assert stop.value.code == code, captured.err
        return captured.err if code == 2 else captured.out

    return call


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set", STUDIES)


def test_stats_print_the_tables(studies: Path, run: Run) -> None:
    printed = run("stats", studies)
    assert "Data (the paper's Table 3)" in printed
    assert "33.33 % / 0.00 %" in printed
    assert "Label prevalence" in printed
    assert "Labeler: rules" in printed


@pytest.mark.slow
def test_stats_write_files_on_request(studies: Path, tmp_path: Path, run: Run) -> None:
    files = [tmp_path / f"set.{kind}" for kind in ("json", "csv", "html")]
    words = ("stats", studies, "--json", files[0], "--csv", files[1], "--html", files[2])
    printed = run(*words)
    assert all(f"Written: {path}" in printed for path in files)
    assert json.loads(files[0].read_text())["splits"]["train"]["studies"] == 3
    assert files[1].read_text().startswith("split,measure,value")
    assert files[2].read_text("utf-8").startswith("<!doctype html>")
    assert "already there; add --overwrite" in run(*words, code=2)
    run(*words, "--overwrite")


def test_labels_may_be_sampled_or_left_out(studies: Path, tmp_path: Path, run: Run) -> None:
    assert "Label prevalence" not in run("stats", studies, "--labeler", "none")
    run("stats", studies, "--label-sample", "2", "--seed", "5", "--json", tmp_path / "a.json")
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["labels"] == {"labeler": "rules", "most": 2, "seed": 5}
    assert record["splits"]["train"]["prevalence"]["reports"] == 2


def test_show_draws_a_study(studies: Path, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "sheet.png"
    printed = run("show", studies, "s2", "--output", path)
    with Image.open(path) as sheet:
        assert printed == f"The sheet is in {path} (1600 × {sheet.height} pixels)\n"
        assert (sheet.format, sheet.width) == ("PNG", 1600)
    assert "already there; add --overwrite" in run("show", studies, "s2", "--output", path, code=2)


def test_a_sheet_that_is_no_png_file_is_refused(studies: Path, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "sheet.jpg"
    message = run("show", studies, "s2", "--output", path, code=2)
    assert message == f"error: {path}: the sheet is a PNG file; name one that ends in .png\n"
    assert not path.exists()


def test_an_output_that_cannot_be_written_is_named_as_it_was_given(
    studies: Path, tmp_path: Path, run: Run
) -> None:
    folder = tmp_path / "set.json"
    (folder / "inside").mkdir(parents=True)
    message = run("stats", studies, "--json", folder, "--overwrite", code=2)
    assert message.splitlines()[-1] == f"error: {folder}: Is a directory"


def test_show_names_the_file_after_the_study(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = write_set(tmp_path / "set", [replace(STUDIES[2], study_id="a/../b c")])
    monkeypatch.chdir(tmp_path)
    assert "a_.._b_c.png" in run("show", studies, "a/../b c")
    assert (tmp_path / "a_.._b_c.png").is_file()


def test_a_mistyped_study_is_one_line(studies: Path, tmp_path: Path, run: Run) -> None:
    message = run("show", studies, "s22", "--output", tmp_path / "x.png", code=2)
    assert message.startswith(f"error: {studies}: has no study 's22'; did you mean 's2'")
    assert message.count("\n") == 1
    assert not (tmp_path / "x.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("words", [["stats"], ["show", "s1"], ["check"]])
def test_a_folder_that_is_no_prepared_set_is_one_line(
    tmp_path: Path, run: Run, words: list[str]
) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file", tmp_path / "absent"):
        printed = run(words[0], place, *words[1:], code=2)
        assert "give a folder written by `editgrpo prepare`" in printed
        assert printed.count("\n") == 1


def test_an_unknown_labeler_is_named(studies: Path, run: Run) -> None:
    assert "labeler 'rule' is unknown; did you mean 'rules'?" in run(
        "stats", studies, "--labeler", "rule", code=2
    )


def test_a_whole_set_is_in_order(studies: Path, run: Run) -> None:
    printed = run("check", studies)
    assert printed.startswith(f"{studies}: all in order (")
    assert "4 studies, 5 images" in printed


def test_a_file_that_changed_is_found(studies: Path, tmp_path: Path, run: Run) -> None:
    path = table_path(studies, Split.TRAIN)
    content = bytearray(path.read_bytes())
    content[content.index(b"lungs")] ^= 1
    path.write_bytes(content)
    printed = run("check", studies, "--json", tmp_path / "found.json", code=1)
    assert "studies/train.arrow" in printed
    assert f"{studies}: 1 problem (" in printed
    record = json.loads((tmp_path / "found.json").read_text())
    assert [one["file"] for one in record["problems"]] == ["studies/train.arrow"]


def test_a_warning_leaves_the_set_in_order(studies: Path, run: Run) -> None:
    (studies / "note.txt").write_text("kept beside the set")
    printed = run("check", studies)
    assert "warning: file that is not of the set" in printed
    assert f"{studies}: all in order, 1 warning (" in printed
