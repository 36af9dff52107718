"""What the families share whose images are resized to squares of one size, whatever their shape,
and have a fixed number of tokens each: those of LLaVA's kind."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from editgrpo.data.prompt import Prompt
from editgrpo.errors import ModelError
from editgrpo.foreign import reading
from editgrpo.training.policy.chat_template import report_keywords
from editgrpo.training.policy.family import PolicyFamily
from editgrpo.training.policy.model import Backbone, VisionTower
from editgrpo.training.policy.plain_processor import PlainProcessor, own_processor
from editgrpo.training.policy.processor import (
    EncodedPrompt,
    check_placeholders,
    present_patches,
)


class SquareImages(PolicyFamily, ABC):
    """An image is one row of pixel values, (1, 3 * S * S), and a grid of (1, 1, 1).

    Attributes:
        token_types: Under which name the stock forward is told the tokens of images; None if it is
            not.
    """

    token_types: str | None = None

    @abstractmethod
    def tower_parts(self, backbone: Any) -> tuple[nn.Module, ...]:
        """Return the modules that turn pixels into features, the projector included."""

    @abstractmethod
    def encode(self, parts: Sequence[nn.Module], config: Any, pixels: Tensor) -> Tensor:
        """Encode images.

        Args:
            parts: From `tower_parts`.
            config: Of the model.
            pixels: (I, 3, S, S).

        Returns:
            (I, n, D), n features an image.
        """

    @abstractmethod
    def tokens_of_image(self, config: Any) -> int:
        """Return n, how many tokens an image has."""

    @abstractmethod
    def written_images(self, processor: Any) -> tuple[str, str, int]:
        """Say how images are written.

        Args:
            processor: The family's own, of transformers.

        Returns:
            What the template writes for an image, what the processor makes of it, and the id of the
            token that a feature takes the place of.
        """

    def load_processor(self, folder: Path, *, is_plain: bool) -> PlainProcessor:
        """Load the family's own processor."""
        processor = own_processor(folder, _remedy(self))
        return _SquareProcessor(self, processor, folder, is_plain=is_plain)

    def tower(self, backbone: Backbone) -> VisionTower:
        """Return what holds the parts."""
        return _Tower(self, backbone)

    def blank_image(self, tower: VisionTower) -> tuple[Tensor, Tensor]:
        """Make an image of zeros."""
        side = tower.config.vision_config.image_size
        return (
            torch.zeros(1, 3 * side * side, device=tower.device),
            torch.ones(1, 3, dtype=torch.long, device=tower.device),
        )

    def image_tokens(self, config: Any, grid_I3: Tensor) -> int:
        """Count images."""
        return grid_I3.shape[0] * self.tokens_of_image(config)


@dataclass(frozen=True, slots=True)
class _Encoded:
    pooler_output: Tensor


class _Tower(nn.Module):
    """The parts, which hold the weights: this has none of its own."""

    def __init__(self, family: SquareImages, backbone: Any) -> None:
        super().__init__()
        self.parts = nn.ModuleList(family.tower_parts(backbone))
        self.config = backbone.config
        self._family = family

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def forward(self, images_ID: Tensor, *, grid_thw: Tensor) -> _Encoded:
        """Encode images; their grids say nothing more."""
        features = self._family.encode(list(self.parts), self.config, _squares(images_ID))
        return _Encoded(features.flatten(0, 1))


def _squares(images_ID: Tensor) -> Tensor:
    side = math.isqrt(images_ID.shape[1] // 3)
    return images_ID.view(-1, 3, side, side)


@dataclass(frozen=True, kw_only=True, slots=True)
class SquarePrompt(EncodedPrompt):
    """A prompt whose images are squares; `token_types` as in `SquareImages`."""

    token_types: str | None

    def stock_inputs(self) -> dict[str, Tensor]:
        """Return what the stock forward takes; see `EncodedPrompt`."""
        inputs = EncodedPrompt.stock_inputs(self)
        types = inputs.pop("mm_token_type_ids")
        inputs.pop("image_grid_thw", None)
        if "pixel_values" in inputs:
            inputs["pixel_values"] = _squares(inputs["pixel_values"])
        return inputs if self.token_types is None else {self.token_types: types, **inputs}


class _SquareProcessor(PlainProcessor):
    """Writes the tokens that the family's own processor writes, and needs no pixels of images whose
    features are known."""

    def __init__(
        self, family: SquareImages, processor: Any, folder: Path, *, is_plain: bool
    ) -> None:
        super().__init__(processor, folder, is_plain=is_plain)
        self._family = family
        self._remedy = _remedy(family)

    def patches(self, image: NDArray[np.uint8]) -> Tensor:
        """Resize an image.

        Args:
            image: (H, W, 3) uint8.

        Returns:
            (1, 3 * S * S) float32.
        """
        pixels: Tensor = self.image_processor(
            images=[image], input_data_format="channels_last", return_tensors="pt"
        )["pixel_values"]
        if pixels.shape[0] != 1 or pixels.shape[2] != pixels.shape[3]:
            raise ModelError(
                f"{self._folder}: the image processor makes {tuple(pixels.shape)} of one image, "
                "not one square; set model.group_pass=plain"
            )
        return pixels.flatten(1)

    def assemble(
        self,
        study_id: str,
        prompt: Prompt,
        sizes: Sequence[tuple[int, int]],
        patches: Sequence[Tensor | None],
        *,
        image_ids: Sequence[str] = (),
    ) -> EncodedPrompt:
        """Encode one prompt; see `PromptProcessor`."""
        with reading(
            f"study {study_id}: {self._folder}: processor", self._remedy, error=ModelError
        ):
            text: str = self._processor.apply_chat_template(
                prompt.messages, tokenize=False, **report_keywords(self._processor.chat_template)
            )
        place, written, image_token = self._family.written_images(self._processor)
        check_placeholders(study_id, text.count(place), len(sizes))
        tokenizer: Any = self.tokenizer  # with a token for the beginning
        # As transformers' `apply_chat_template`: a template may write that token itself.
        has_start = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)
        encoded = tokenizer(text.replace(place, written), add_special_tokens=not has_start)
        ids_T = torch.tensor(encoded["input_ids"], dtype=torch.long)
        pixel_values, left_out = present_patches(patches)
        return SquarePrompt(
            study_id=study_id,
            input_ids_T=ids_T,
            is_image_token_T=ids_T == image_token,
            pixel_values=pixel_values,
            image_grid_thw=torch.ones(len(sizes), 3, dtype=torch.long) if sizes else None,
            image_ids=tuple(image_ids),
            left_out=left_out,
            is_plain=self.is_plain,
            token_types=self._family.token_types,
        )


def _remedy(family: PolicyFamily) -> str:
    return f"give the folder of a complete checkpoint of {family.name}"
