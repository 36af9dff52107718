"""Which chat template a model folder means, and whether it shows images.

Qwen2.5-VL is published with two: one for text and tools in `tokenizer_config.json`, which takes a
message's content for a string, and one for images in `chat_template.json`, which tokenizers do not
read.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from editgrpo.data.rendering import require_limits
from editgrpo.errors import ModelError
from editgrpo.foreign import reading
from editgrpo.model_files import read_json_object
from editgrpo.training.policy.model import Tokenizer

_PROBE = "Describe the film."
_MANY = 8  # images of the trial message; a study shows six as a rule


def report_keywords(template: Any) -> dict[str, bool]:
    """Return what a chat template is told so that a report is what comes next.

    Args:
        template: The template.

    Returns:
        Keywords. A model that can think before it answers (Qwen3.5) is asked not to. A template
        that knows nothing of it is not told: processors take for their own, with a warning, what
        their template does not name.
    """
    thinks = isinstance(template, str) and "enable_thinking" in template
    return {"add_generation_prompt": True} | ({"enable_thinking": False} if thinks else {})


def use_folder_template(tokenizer: Tokenizer, folder: Path, *, image_token: str) -> None:
    """Give a tokenizer the chat template of its model folder, after trying it on one image.

    Args:
        tokenizer: Of the folder.
        folder: Its `chat_template.jinja` counts, else its `chat_template.json`, else what the
            tokenizer has read from its own files.
        image_token: What the template must write once for an image.

    Raises:
        ModelError: there is no template, or it cannot be read, takes more time, memory or
            characters than it may, or does not show an image.
    """
    template, source = _template(tokenizer, folder)
    if template is None:
        raise ModelError(f"{folder}: no chat template; use an instruct checkpoint")
    remedy = (
        "use an instruct checkpoint whose chat_template.jinja or chat_template.json writes a "
        "placeholder for each image"
    )
    place = folder / source
    tokenizer.chat_template = template
    parts = [{"type": "image"}, {"type": "text", "text": _PROBE}]
    require_template_limits(place, template, tokenizer)
    with reading(f"{place}: chat template", remedy, error=ModelError):
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": parts}], tokenize=False, **report_keywords(template)
        )
    if text.count(image_token) != 1 or text.count(_PROBE) != 1:
        raise ModelError(
            f"{place}: the chat template does not write {image_token} once for a message with one "
            f"image, and its text once; {remedy}"
        )


def require_template_limits(
    place: Path,
    template: Any,
    tokenizer: Tokenizer,
    *,
    answers: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Try a chat template on a message with many images, within limits.

    Args:
        place: Where it stands, for the message.
        template: The template.
        tokenizer: Whose special tokens it may write.
        answers: Messages that follow.

    Raises:
        ModelError: it takes more time, memory or characters than it may.
    """
    if not isinstance(template, str):
        return  # several by name: transformers takes the one named default, or says what is wrong
    parts = [*({"type": "image"} for _ in range(_MANY)), {"type": "text", "text": _PROBE}]
    variables = {
        "messages": [{"role": "user", "content": parts}, *answers],
        "tools": None,
        "documents": None,
        **report_keywords(template),
        **{name: str(token) for name, token in tokenizer.special_tokens_map.items()},
    }
    require_limits(place, template, variables)


def _template(tokenizer: Tokenizer, folder: Path) -> tuple[Any, str]:
    """Return the template and the name of the file that it is in."""
    raw, wrapped = folder / "chat_template.jinja", folder / "chat_template.json"
    if raw.is_file():
        with reading(raw, "save it as UTF-8", error=ModelError):
            return raw.read_text(encoding="utf-8-sig"), raw.name
    if wrapped.is_file():
        template = read_json_object(wrapped).get("chat_template")
        if not isinstance(template, str):
            raise ModelError(f"{wrapped}: holds no text named chat_template; write one there")
        return template, wrapped.name
    return tokenizer.chat_template, "tokenizer_config.json"
