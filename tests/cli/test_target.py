"""What is asked for by --target and --section reaches what the commands do."""

import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from editgrpo.cli import main
from editgrpo.data.prepared.store import StudySet
from editgrpo.files import write_jsonl
from tests.builders import REPOSITORY

BOTH = "FINDINGS: The heart is enlarged. IMPRESSION: {}"


def run(*words: str | Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert not stop.value.code


def test_an_edit_of_two_sections_is_as_the_page_shows_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (REPOSITORY / "docs" / "edit-rules.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```console\n\$ editgrpo (edit --target .*?)```", page, re.DOTALL)
    lines = block.splitlines()
    end = next(number for number, line in enumerate(lines) if not line.endswith("\\")) + 1
    command = " ".join(line.rstrip("\\") for line in lines[:end])
    run(*shlex.split(command))
    shown = capsys.readouterr().out
    assert shown.splitlines() == lines[end:]


def test_metrics_are_of_the_section_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {
        "study_id": "1",
        "target": "findings+impression",
        "prediction": BOTH.format("No pleural effusion."),
        "reference": BOTH.format("Small pleural effusion."),
    }
    write_jsonl(tmp_path / "p.jsonl", [row])
    scores = {}
    for section in ("findings", "impression"):
        out = tmp_path / f"{section}.csv"
        run("score", tmp_path / "p.jsonl", "--metrics", "rules", "--section", section,
            "--output", out)  # fmt: skip
        summary = json.loads(out.with_suffix(".summary.json").read_text())
        scores[section] = summary["systems"][0]["metrics"]["rules/micro-f1-14"]["value"]
    capsys.readouterr()
    assert scores == {"findings": 1.0, "impression": 0.0}


@pytest.mark.slow
def test_the_sheet_is_of_the_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    studies = tmp_path / "studies"
    run("prepare", "phantom", "--out", studies, "--studies", "6", "--size-px", "56")
    study = next(iter(StudySet.load(studies))).study_id
    run("data", "show", studies, study, "--target", "impression", "--output", tmp_path / "s.png")
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.width > 200
    capsys.readouterr()
