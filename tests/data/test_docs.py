import json
import re
from pathlib import Path

import pytest

from editgrpo.data.prompt import build_messages
from editgrpo.data.record import study_from_record
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from tests.builders import REPOSITORY

PAGE = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_data_page_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for code in blocks("python"):
        exec(compile(code, "docs/data.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "1 The lungs are clear. studies/by-hand/images/s1-front.png"
    assert printed[1] == "(560, 672, 3)"
    assert "Cough. Findings:" in printed[2]


def test_the_study_on_the_data_page_is_one() -> None:
    (text,) = blocks("json")
    assert study_from_record(json.loads(text), where="docs/data.md").study_id == "s1"


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
