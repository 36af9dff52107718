from pathlib import Path

import pytest
from benchmarks.mimic_tree import SPLIT, write_tree

from editgrpo.cli import main
from editgrpo.data.prepared.store import StudySet
from tests.data.trees.mimic import COURSES


def test_the_command_prints_the_flow_and_says_in_one_line_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = write_tree(tmp_path / "mimic", COURSES), tmp_path / "out"
    words = ["prepare", "mimic-cxr", "--root", str(root), "--out", str(out), "--workers", "1"]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--max-pixels", "3136", "--min-pixels", "784"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out.splitlines()

    def counts(name: str) -> list[str]:
        (line,) = (line for line in shown if line.strip().startswith(name))
        return line.split()[-4:]

    # train, validation, test, all; see COURSES.
    assert counts("studies in the source") == ["6", "1", "2", "9"]
    assert counts("- left out: no report") == ["0", "0", "1", "1"]
    assert counts("studies kept") == ["5", "1", "1", "7"]
    assert len(StudySet.load(out)) == 7

    (root / SPLIT).write_bytes(b"")
    with pytest.raises(SystemExit) as stop:
        main([*words, "--overwrite"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        f"error: {root / SPLIT}: is empty; download the file again\n"
    )
    assert len(StudySet.load(out)) == 7, "what was there before is gone"
