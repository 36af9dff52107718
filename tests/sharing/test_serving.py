"""Requests to a served model: the prompt and the images of training, and nothing else."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editgrpo.config import DataConfig
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.prompt import DEFAULT_TEMPLATE, build_messages
from editgrpo.data.study import Split, Study, StudyImage, Timepoint, View
from editgrpo.errors import DataError, ModelError
from editgrpo.recipes import load_section
from editgrpo.sharing.serve_page import vllm_command, wrapped
from editgrpo.sharing.serving import (
    PROMPT_FILE,
    SETTINGS_FILE,
    PromptSettings,
    chat_request,
    export_settings,
)
from tests.builders import SMALL_BUDGET, write_set

SETTINGS = PromptSettings(budget=SMALL_BUDGET, max_images=2, max_completion_tokens=60)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """The two files of an exported folder that requests are made from."""
    folder = tmp_path / "cxr"
    folder.mkdir()
    SETTINGS.write(folder)
    (folder / PROMPT_FILE).write_text(DEFAULT_TEMPLATE.read_text("utf-8"))
    return folder


@pytest.fixture
def studies(tmp_path: Path) -> StudySet:
    images = (
        StudyImage(image_id="old", view=View.PA, timepoint=Timepoint.PRIOR),
        StudyImage(image_id="side", view=View.LATERAL),
        StudyImage(image_id="front", view=View.PA),
    )
    study = Study(
        study_id="s1",
        patient_id="p1",
        split=Split.TEST,
        images=images,
        indication="Cough.",
        findings="Secret findings.",
    )
    return StudySet.load(write_set(tmp_path / "studies", [study]))


def test_a_request_shows_the_images_of_training_in_their_places(
    export: Path, studies: StudySet
) -> None:
    body = chat_request(export, studies, "s1")
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("cxr", 0, 60)
    (message,) = body["messages"]
    assert message["role"] == "user"
    expected = build_messages(studies[0], max_images=2).messages[0]["content"]
    texts = [part for part in message["content"] if part["type"] == "text"]
    assert texts == [part for part in expected if part["type"] == "text"]
    kinds = [part["type"].removesuffix("_url") for part in message["content"]]
    assert kinds == [part["type"] for part in expected]
    shown = []
    for part in message["content"]:
        if part["type"] == "image_url":
            start, _, content = part["image_url"]["url"].partition(",")
            assert start == "data:image/png;base64"
            picture = Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")
            shown.append(np.asarray(picture))
    # Frontal before lateral; the prior one is over the limit of two.
    for picture, name in zip(shown, ("front", "side"), strict=True):
        assert np.array_equal(picture, studies.images.pixels(name))


def test_a_request_holds_no_findings_and_is_json(export: Path, studies: StudySet) -> None:
    text = json.dumps(chat_request(export, studies, studies[0], model="other"))
    assert "Secret" not in text
    assert '"model": "other"' in text


def test_a_study_that_is_not_there_is_named(export: Path, studies: StudySet) -> None:
    with pytest.raises(DataError, match="no study 's2'"):
        chat_request(export, studies, "s2")


def test_images_of_another_size_are_refused(export: Path, studies: StudySet) -> None:
    budget = PixelBudget(min_pixels=784, max_pixels=6272)
    PromptSettings(budget=budget, max_images=2, max_completion_tokens=60).write(export)
    with pytest.raises(DataError, match="trained with --min-pixels 784 --max-pixels 6272 --mul"):
        chat_request(export, studies, "s1")


@pytest.mark.parametrize("content", [None, "{", "[]", '{"budget": 3}', '{"budget": {}}'])
def test_another_folder_is_refused(export: Path, studies: StudySet, content: str | None) -> None:
    (export / SETTINGS_FILE).unlink()
    if content is not None:
        (export / SETTINGS_FILE).write_text(content)
    with pytest.raises(ModelError, match="give a folder that `editgrpo export` wrote"):
        chat_request(export, studies, "s1")


def test_generate_takes_the_prompt_of_an_export(export: Path, tmp_path: Path) -> None:
    settings = export_settings(export)
    assert settings == SETTINGS
    data = load_section(None, "data", DataConfig, settings.overrides(export))
    assert (data.max_images, data.prompt_template) == (2, str(export / PROMPT_FILE))
    assert export_settings(tmp_path) is None


def test_the_command_names_limits_and_template_and_is_quoted() -> None:
    command = vllm_command("my exports/cxr", SETTINGS, dtype="bfloat16", max_tokens=2048)
    assert wrapped(command) == (
        "vllm serve 'my exports/cxr' \\\n"
        "    --served-model-name cxr \\\n"
        "    --dtype bfloat16 \\\n"
        "    --max-model-len 2048 \\\n"
        '    --limit-mm-per-prompt \'{"image": 2, "video": 0}\' \\\n'
        "    --chat-template-content-format openai \\\n"
        "    --chat-template 'my exports/cxr/chat_template.jinja' \\\n"
        "    --generation-config 'my exports/cxr'"
    )
