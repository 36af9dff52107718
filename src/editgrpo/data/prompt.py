"""The question put to the model: images with their views, clinical context, and what to write.

The report's own sections, findings and impression, and the prior report never reach a template:
it sees which of them is asked for.
What turns messages into tokens is the model's chat template, which is not here.
"""

import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from editgrpo.config import DataConfig, Target
from editgrpo.data.rendering import render
from editgrpo.data.special_tokens import holds_special_token
from editgrpo.data.study import Study, StudyImage, Timepoint, View
from editgrpo.data.template_process import compile_template
from editgrpo.errors import ConfigError, DataError

_TEMPLATES = Path(__file__).parent / "templates"
_TEMPLATE_OF_TARGET = {
    Target.FINDINGS: _TEMPLATES / "findings.jinja",
    Target.IMPRESSION: _TEMPLATES / "impression.jinja",
    Target.BOTH: _TEMPLATES / "findings_and_impression.jinja",
}
IMAGE_MARKER = "<image>"
_LARGEST_FILE = 1_000_000  # bytes
_HINT = (
    "a template has images (number, timepoint, view), indication, technique, comparison and target"
)
_FRONTAL, _LATERAL = 0, 2
_RANK_OF_VIEW: dict[View, int] = {
    View.FRONTAL: _FRONTAL,
    View.PA: _FRONTAL,
    View.AP: _FRONTAL,
    View.UNKNOWN: 1,  # nine of ten unnamed ReXGradient views are frontal
    View.LATERAL: _LATERAL,
    View.OBLIQUE: 3,
    View.DECUBITUS: 3,
    View.OTHER: 4,
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is shown for one study.

    Attributes:
        messages: Chat messages; the content of each is a list of `{"type": "image"}` and
            `{"type": "text", "text": ...}` parts.
        images: The image of each image part, in order.
    """

    messages: list[dict[str, Any]]
    images: tuple[StudyImage, ...]


def default_template(target: Target) -> Path:
    """Return the built-in template that asks for a target."""
    return _TEMPLATE_OF_TARGET[target]


def template_of(data: DataConfig) -> Path:
    """Return the prompt template of a run: its own, or the built-in one of its target."""
    return Path(data.prompt_template or default_template(data.target))


def choose_images(study: Study, *, max_images: int) -> tuple[StudyImage, ...]:
    """Return at most `max_images` images in the order in which they are shown.

    Current images stand before prior ones, and within a time point frontal before unknown, lateral
    and other views; equals keep the order of the study. What is over the limit falls off the end.

    Args:
        study: A study.
        max_images: At least 1.

    Returns:
        The images; none if the study has none.

    Raises:
        ConfigError: `max_images` is below 1.
    """
    if max_images < 1:
        raise ConfigError(f"max_images is {max_images}; it must be at least 1")

    def rank(image: StudyImage) -> tuple[bool, int]:
        return image.timepoint is Timepoint.PRIOR, _RANK_OF_VIEW[image.view]

    return tuple(sorted(study.images, key=rank)[:max_images])


def build_messages(study: Study, *, max_images: int, template: Path | str | None = None) -> Prompt:
    """Build the prompt of a study.

    Args:
        study: A study; its findings and impression are not used, its target is.
        max_images: Most images shown; see `choose_images`.
        template: A Jinja file to use in place of the built-in one. It sees `images` (each with
            `number` from 1, `timepoint` and `view`), `indication`, `technique` and `comparison`
            (empty if not given) and `target` (`findings`, `impression` or `findings+impression`),
            and writes `<image>` once for each image, in order.

    Returns:
        One user message and its images.

    Raises:
        ConfigError: The template cannot be read or parsed, uses an unknown variable, or takes more
            time, memory or characters than it may; the message names the file.
        DataError: The markers do not match the images, or a section holds a marker or a special
            token of a chat template; the message names the study.
    """
    images = choose_images(study, max_images=max_images)
    context = {
        "indication": study.indication,
        "technique": study.technique,
        "comparison": study.comparison,
    }
    for name, section in context.items():
        if IMAGE_MARKER in section or holds_special_token(section):
            raise DataError(
                f"study {study.study_id!r}: field {name!r} holds {IMAGE_MARKER} or a special token "
                "such as <|...|>; remove it"
            )
    path = Path(template) if template is not None else default_template(study.target)
    text = _render(path, {**context, "target": study.target.value}, images)
    pieces = text.split(IMAGE_MARKER)
    if len(pieces) - 1 != len(images):
        raise DataError(
            f"study {study.study_id!r}: template {path} writes {IMAGE_MARKER} {len(pieces) - 1} "
            f"times for {len(images)} images; write it once for each"
        )
    return Prompt([{"role": "user", "content": _content(pieces)}], images)


def _content(pieces: list[str]) -> list[dict[str, str]]:
    content: list[dict[str, str]] = []
    for k, piece in enumerate(pieces):
        if k > 0:
            content.append({"type": "image"})
        if piece:
            content.append({"type": "text", "text": piece})
    return content


def _render(path: Path, context: dict[str, str], images: tuple[StudyImage, ...]) -> str:
    shown = [
        {"number": number, "timepoint": image.timepoint.value, "view": image.view.value}
        for number, image in enumerate(images, start=1)
    ]
    variables = {"images": shown, **context}
    if path in _TEMPLATE_OF_TARGET.values():  # ours, and so in need of no limits
        return compile_template(_source(path)).render(**variables).strip()
    return render(path, _source(path), variables, hint=_HINT).strip()


def _source(path: Path) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_FILE:
            raise ConfigError(
                f"{path}: is no file, or larger than {_LARGEST_FILE:,} bytes; name a prompt "
                "template"
            )
        return _read(path, status.st_mtime_ns)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the prompt template cannot be read as UTF-8 text") from error


@lru_cache(maxsize=8)
def _read(path: Path, _changed_ns: int) -> str:
    """Read a template; the time of change is part of the memo's key."""
    return path.read_text(encoding="utf-8")
