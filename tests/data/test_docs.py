import re
from pathlib import Path

import pytest

from editgrpo.data.prepared.store import StudySet
from editgrpo.data.prompt import build_messages
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from tests.builders import REPOSITORY, write_set

PAGE = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return [text for its_language, text in fenced if its_language == language]


def test_the_examples_of_the_data_page_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for code in blocks("python"):
        exec(compile(code, "docs/data.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "1 The lungs are clear. (560, 672, 3)"
    assert printed[1] == "24"
    assert "Cough. Findings:" in printed[2]


def test_the_columns_on_the_data_page_are_those_of_a_table(tmp_path: Path) -> None:
    study = Study(study_id="s", patient_id="p", split=Split.TRAIN, images=())
    columns = StudySet.load(write_set(tmp_path / "set", [study])).table.column_names
    (table,) = re.findall(r"^\| column of .*?\n\n", PAGE, flags=re.MULTILINE | re.DOTALL)
    named = [
        name for line in table.strip().splitlines()[2:] for name in line.split("|")[1].split(", ")
    ]
    assert [name.strip(" `") for name in named] == columns


def test_the_prompt_on_the_data_page_is_the_built_in_one() -> None:
    study = Study(
        study_id="s",
        patient_id="p",
        split=Split.TRAIN,
        images=(
            StudyImage(image_id="a", view=View.PA),
            StudyImage(image_id="b", view=View.LATERAL),
            StudyImage(image_id="c", view=View.AP, timepoint=Timepoint.PRIOR),
        ),
        indication="Cough for a week.",
    )
    (content,) = (message["content"] for message in build_messages(study, max_images=6).messages)
    text = "".join(part.get("text", "<image>") for part in content)
    assert text + "\n" in blocks("")
