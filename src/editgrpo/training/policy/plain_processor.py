"""Prompts for a model of any family, written by the family's own processor.

Left out on purpose: what knows a family better (processor.py). Such prompts go to the stock model,
a row a response.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from editgrpo.data.prompt import Prompt
from editgrpo.errors import ModelError
from editgrpo.foreign import reading
from editgrpo.training.policy.chat_template import report_keywords, require_template_limits
from editgrpo.training.policy.model import Tokenizer
from editgrpo.training.policy.processor import EncodedPrompt

_SAID = "Clear."
_ANSWER = {"role": "assistant", "content": [{"type": "text", "text": _SAID}]}
_REMEDY = "use an instruct checkpoint whose processor takes text and images"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainPrompt(EncodedPrompt):
    """One prompt as a family's own processor writes it.

    Attributes:
        inputs: What the processor made of it besides token ids, for one row.
    """

    inputs: Mapping[str, Tensor]

    def stock_inputs(self) -> dict[str, Tensor]:
        """Return what the processor made; see `EncodedPrompt`."""
        return dict(self.inputs)


class PlainProcessor:
    """Encodes prompts for any model that transformers has a processor of text and images for.

    Args:
        processor: From `AutoProcessor`. Its tokenizer gets the token that ends an answer in the
            chat template as its end-of-sequence token.
        folder: Of the model, for error messages.
        is_plain: What its prompts say of themselves.

    Raises:
        ModelError: it is no processor of text and images, or its chat template cannot be used or
            takes more than it may.
    """

    factor = 1
    """Pixels along one side of what images are resized to multiples of: none, the processor
    resizes."""

    def __init__(self, processor: Any, folder: Path, *, is_plain: bool = True) -> None:
        self.is_plain = is_plain
        self._processor = processor
        self._folder = folder
        if not all(hasattr(processor, name) for name in ("tokenizer", "image_processor")):
            raise ModelError(f"{folder}: no processor of text and images; {_REMEDY}")
        self.tokenizer: Tokenizer = processor.tokenizer
        self.image_processor: Any = processor.image_processor
        template = processor.chat_template
        for answers in ((), (_ANSWER,)):  # what is rendered here, and for prompts
            require_template_limits(folder, template, self.tokenizer, answers=answers)
        self._end_with_the_turn()

    def patches(self, image: NDArray[np.uint8]) -> Tensor:
        """Hand an image on: the processor cuts it when the prompt is put together.

        Args:
            image: (H, W, 3) uint8.

        Returns:
            A copy.
        """
        return torch.tensor(image)

    def assemble(
        self,
        study_id: str,
        prompt: Prompt,
        sizes: Sequence[tuple[int, int]],
        patches: Sequence[Tensor | None],
        *,
        image_ids: Sequence[str] = (),
    ) -> EncodedPrompt:
        """Encode one prompt; see `PromptProcessor`. Sizes are not used."""
        images = iter(patches)
        messages = [
            {
                "role": message["role"],
                "content": [
                    {"type": "image", "image": _pillow(next(images))}
                    if part["type"] == "image"
                    else part
                    for part in message["content"]
                ],
            }
            for message in prompt.messages
        ]
        encoded = self._encode(messages, f"study {study_id}: {self._folder}: processor")
        ids_T = encoded.pop("input_ids")[0]
        encoded.pop("attention_mask", None)
        return PlainPrompt(
            study_id=study_id,
            input_ids_T=ids_T,
            is_image_token_T=torch.zeros_like(ids_T, dtype=torch.bool),
            pixel_values=None,
            image_grid_thw=None,
            image_ids=tuple(image_ids),
            is_plain=True,
            inputs=encoded,
        )

    def save(self, folder: Path) -> None:
        """Save the processor next to a model's weights."""
        self._processor.save_pretrained(folder)

    def _encode(self, messages: Sequence[Mapping[str, Any]], place: str) -> dict[str, Tensor]:
        with reading(place, _REMEDY, error=ModelError):
            return dict(
                self._processor.apply_chat_template(
                    messages,
                    tokenize=True,
                    return_dict=True,
                    return_tensors="pt",
                    **report_keywords(self._processor.chat_template),
                )
            )

    def _end_with_the_turn(self) -> None:
        """Let a report end as the template ends an answer: Gemma's turns end in another token than
        its texts do."""
        with reading(f"{self._folder}: chat template", _REMEDY, error=ModelError):
            text: str = self._processor.apply_chat_template(
                [
                    {"role": "user", "content": [{"type": "text", "text": "Describe."}]},
                    _ANSWER,
                ],
                tokenize=False,
            )
        behind = self.tokenizer(text.rpartition(_SAID)[2], add_special_tokens=False)["input_ids"]
        special = {
            token_id
            for token_id, token in self.tokenizer.added_tokens_decoder.items()
            if token.special
        }
        ends = [token_id for token_id in behind if token_id in special]
        if ends:
            self.tokenizer.eos_token = self.tokenizer.decode([ends[0]])


def own_processor(folder: Path, remedy: str) -> Any:
    """Load the processor that transformers has for the model of a folder.

    Args:
        folder: Of the model.
        remedy: What to do if it cannot be loaded; ends the message.

    Returns:
        It.

    Raises:
        ModelError: a file is missing or damaged.
    """
    from transformers import AutoProcessor

    with reading(f"{folder}: processor", remedy, error=ModelError):
        return AutoProcessor.from_pretrained(folder, trust_remote_code=False)


def _pillow(image: Tensor | None) -> Any:
    from PIL import Image

    assert image is not None  # such a model has no features that could be known
    return Image.fromarray(image.numpy())
