"""Asking a served model: requests whose prompt and images are those of training.

A request goes to any server that speaks OpenAI's chat API. Nothing here needs torch or the model.
"""

import base64
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from editgrpo.config import Target
from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.data.prepared.store import StudySet, read_prepared
from editgrpo.data.prompt import build_messages
from editgrpo.data.study import Study
from editgrpo.errors import DataError, ModelError
from editgrpo.files import read_json_object, real_path, write_json
from editgrpo.foreign import reading
from editgrpo.recipes import text_override

SETTINGS_FILE = "editgrpo.json"
"""In an exported folder: how its prompts are made."""
PROMPT_FILE = "prompt.jinja"
"""In an exported folder: the prompt template."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptSettings:
    """What decides the prompt of a study besides the study."""

    budget: PixelBudget
    """How large images of training were."""
    max_images: int
    """Most images shown for a study."""
    max_completion_tokens: int
    """Longest report, its end included."""
    target: Target = Target.FINDINGS
    """Which sections are written."""

    def write(self, folder: Path) -> None:
        """Write the settings into an exported folder."""
        write_json(folder / SETTINGS_FILE, asdict(self), shared=True)

    @classmethod
    def read(cls, folder: Path) -> "PromptSettings":
        """Read the settings of an exported folder; a missing or damaged file is a ModelError."""
        path = folder / SETTINGS_FILE
        remedy = "give a folder that `editgrpo export` wrote"
        values = read_json_object(path, remedy, error=ModelError)
        with reading(path, remedy, error=ModelError):
            budget, target = PixelBudget(**values.pop("budget")), Target(values.pop("target"))
            return cls(budget=budget, target=target, **values)

    def overrides(self, folder: Path) -> list[str]:
        """Return the settings of prompts as `--set` takes them.

        Args:
            folder: The exported folder that they are of.

        Returns:
            `data.key=value` texts.
        """
        return [
            f"data.max_images={self.max_images}",
            f"data.target={self.target.value}",
            text_override("data.prompt_template", str(folder / PROMPT_FILE)),
        ]


def export_settings(folder: Path) -> PromptSettings | None:
    """Return the settings of an exported folder; None of another, a damaged one is a ModelError."""
    return PromptSettings.read(folder) if (folder / SETTINGS_FILE).is_file() else None


def chat_request(
    folder: Path | str, studies: StudySet, study: Study | str, *, model: str | None = None
) -> dict[str, Any]:
    """Make the request for the report of one study.

    Args:
        folder: What `editgrpo export` wrote.
        studies: A prepared set of images of the size that the model was trained with.
        study: A study of the set, or its id.
        model: Name under which the model is served; None takes the name of the folder.

    Returns:
        The body of `POST /v1/chat/completions`, and the arguments of `chat.completions.create` of
        OpenAI's client: one user message with the images as PNG, and greedy decoding.

    Raises:
        DataError: there is no such study, or the set's images have other sizes than in training.
        ModelError: it is no exported folder.
    """
    folder = Path(folder)
    settings = PromptSettings.read(folder)
    found = studies.find(study) if isinstance(study, str) else study
    if found is None:
        raise DataError(f"{studies.folder}: no study {study!r}; see `editgrpo data show`")
    budget = PixelBudget(**read_prepared(studies.folder)["budget"])
    if budget != settings.budget and len(studies.images):
        raise DataError(
            f"{studies.folder}: its images have {_sizes(budget)}, and the model was trained with "
            f"{_sizes(settings.budget)}; prepare the set again with these"
        )
    prompt = build_messages(
        replace(found, target=settings.target),
        max_images=settings.max_images,
        template=folder / PROMPT_FILE,
    )
    pictures = iter([_data_url(studies.images.png(image.image_id)) for image in prompt.images])
    parts = [
        {"type": "image_url", "image_url": {"url": next(pictures)}}
        if part["type"] == "image"
        else part
        for part in prompt.messages[0]["content"]
    ]
    return request_body(parts, settings, model or real_path(folder).name)


def request_body(
    parts: list[dict[str, Any]], settings: PromptSettings, model: str
) -> dict[str, Any]:
    """Put a request together.

    Args:
        parts: Content of the user's message.
        settings: Of the exported folder.
        model: Name under which it is served.

    Returns:
        The body of a chat completion.
    """
    return {
        "model": model,
        "messages": [{"role": "user", "content": parts}],
        # vLLM does not read `do_sample` of generation_config.json and would sample.
        "temperature": 0,
        "max_tokens": settings.max_completion_tokens,
    }


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _sizes(budget: PixelBudget) -> str:
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in asdict(budget).items())
