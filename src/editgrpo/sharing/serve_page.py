"""How to serve an exported model and ask it, as a page in its folder."""

import json
import shlex
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from editgrpo.data.prompt import Prompt
from editgrpo.markdown_pages import render_page
from editgrpo.sharing.serving import PROMPT_FILE, SETTINGS_FILE, PromptSettings, request_body

_CHAT_TEMPLATE = "chat_template.jinja"
_PICTURE = "data:image/png;base64,..."
WORDS_OF_A_STUDY = 1024
"""Tokens for clinical context: no section that models are shown comes near it."""


def vllm_command(
    folder: str, settings: PromptSettings, *, dtype: str, max_tokens: int
) -> list[str]:
    """Return the command that serves an exported folder with vLLM, under the folder's name.

    Args:
        folder: The folder.
        settings: How its prompts are made.
        dtype: Number format of its weights.
        max_tokens: Longest prompt and report together.

    Returns:
        Its words. The pixel budget is in the folder's `preprocessor_config.json`, the end tokens
        in its `generation_config.json`.
    """
    limits = json.dumps({"image": settings.max_images, "video": 0})
    return [
        *("vllm", "serve", folder),
        *("--served-model-name", PurePath(folder).name),
        *("--dtype", dtype),
        *("--max-model-len", str(max_tokens)),
        *("--limit-mm-per-prompt", limits),
        # The template sees where each image stands in the message, as it did in training.
        *("--chat-template-content-format", "openai"),
        *("--chat-template", f"{folder}/{_CHAT_TEMPLATE}"),
        *("--generation-config", folder),
    ]


def serve_page(prompt: Prompt, settings: PromptSettings, command: Sequence[str]) -> str:
    """Write the page.

    Args:
        prompt: Of an example study.
        settings: How prompts are made.
        command: From `vllm_command`.

    Returns:
        Markdown.
    """
    name = command[command.index("--served-model-name") + 1]
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": _PICTURE}} if part["type"] == "image" else part
        for part in prompt.messages[0]["content"]
    ]
    return render_page(
        "editgrpo.sharing",
        "serve.jinja",
        name=name,
        command=wrapped(command),
        settings=settings,
        words=WORDS_OF_A_STUDY,
        request=json.dumps(request_body(parts, settings, name), indent=2, ensure_ascii=False),
        prompt_file=PROMPT_FILE,
        settings_file=SETTINGS_FILE,
    )


def wrapped(words: Sequence[str]) -> str:
    """Lay a command out for a shell, an option a line."""
    lines: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--"):
            lines.append([])
        lines[-1].append(word)
    return " \\\n    ".join(shlex.join(line) for line in lines)
