"""From a prompt with images to what the model reads: token ids, patches, and the grid of every
image.

`Qwen2_5_VLProcessor` needs torchvision, because it insists on a video processor. This one needs the
tokenizer and the PIL image processor only, and gives the same ids and the same pixels
(tests/training/policy/test_processor.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from editgrpo.data.prompt import Prompt
from editgrpo.errors import DataError, ModelError
from editgrpo.training.policy.chat_template import report_keywords
from editgrpo.training.policy.model import Tokenizer

IMAGE_TOKEN = "<|image_pad|>"


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedPrompt:
    """One prompt as the model reads it, without padding.

    Attributes:
        study_id: The study, for error messages.
        input_ids_T: (T,) int64.
        is_image_token_T: (T,) bool, True at image placeholders.
        pixel_values: (N, D) float32 patches of all images in order but for those left out, N = sum
            of their grids' products; None if that leaves none.
        image_grid_thw: (I, 3) int64, frames, rows and columns of patches of every image, left out
            or not; None without images.
        image_ids: The image of each row of image_grid_thw in the study set's store; empty if the
            images are not of a store.
        left_out: Numbers of the images without patches, because their features are known.
        is_plain: Whether responses are sampled and scored by the stock model, a row each
            (packed/plain.py), and not in a packed row.
    """

    study_id: str
    input_ids_T: torch.Tensor
    is_image_token_T: torch.Tensor
    pixel_values: torch.Tensor | None
    image_grid_thw: torch.Tensor | None
    image_ids: tuple[str, ...] = ()
    left_out: frozenset[int] = frozenset()
    is_plain: bool = False

    def stock_inputs(self) -> dict[str, torch.Tensor]:
        """Return what the model's own forward takes besides token ids, for one row.

        Returns:
            By name; see `stands_for_tokens`.

        Raises:
            DataError: patches of an image were left out (the message names the study).
        """
        return {"mm_token_type_ids": self.is_image_token_T[None].int()} | join_images([self])

    def without_patches(self) -> "EncodedPrompt":
        """Return the same prompt with the patches of all images left out, which are by far its
        largest part."""
        images = 0 if self.image_grid_thw is None else self.image_grid_thw.shape[0]
        return replace(self, pixel_values=None, left_out=frozenset(range(images)))

    def patches(self) -> list[torch.Tensor | None]:
        """Return the (N, D) patches of each image in order, None for one that is left out."""
        if self.image_grid_thw is None:
            return []
        counts: list[int] = self.image_grid_thw.prod(dim=-1).tolist()
        images = range(len(counts))
        if self.pixel_values is None:
            return [None for _ in images]
        present = [counts[number] for number in images if number not in self.left_out]
        parts = iter(torch.split(self.pixel_values, present))
        return [None if number in self.left_out else next(parts) for number in images]


class PromptProcessor(Protocol):
    """Writes prompts for a model."""

    is_plain: bool
    """What its prompts say of themselves."""
    tokenizer: Tokenizer
    image_processor: Any

    @property
    def factor(self) -> int:
        """Sides of images must be multiples of so many pixels."""

    def patches(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """Cut one (H, W, 3) image into what a prompt holds of it."""

    def assemble(
        self,
        study_id: str,
        prompt: Prompt,
        sizes: Sequence[tuple[int, int]],
        patches: Sequence[torch.Tensor | None],
        *,
        image_ids: Sequence[str] = (),
    ) -> EncodedPrompt:
        """Encode one prompt whose images are cut already, or need not be.

        Args:
            study_id: The study, for error messages.
            prompt: Chat messages with one image part for each image.
            sizes: (height, width) of each image in the order shown, in pixels.
            patches: What `patches` gives for each image; None leaves an image out.
            image_ids: The images in the study set's store; empty if they are not of one.

        Returns:
            The encoded prompt, ending where the assistant's answer begins.

        Raises:
            DataError: the prompt's image parts and the images differ in number (the message names
                the study).
            ModelError: the model's own processor cannot write it (the message names the study).
        """

    def save(self, folder: Path) -> None:
        """Save all its files next to a model's weights."""


class StudyProcessor:
    """Encodes prompts for one model family of Qwen2-VL's kind.

    Args:
        tokenizer: A transformers tokenizer with a chat template that writes one image placeholder
            for an image.
        image_processor: A `Qwen2VLImageProcessor` of either back end.
        is_plain: What its prompts say of themselves.
    """

    def __init__(
        self, tokenizer: Tokenizer, image_processor: Any, *, is_plain: bool = False
    ) -> None:
        self.tokenizer = tokenizer
        self.is_plain = is_plain
        self.image_processor = image_processor
        self.image_token_id: int = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        if self.image_token_id in (None, tokenizer.unk_token_id):
            raise ModelError(
                f"the tokenizer has no {IMAGE_TOKEN} token; use a model of the Qwen2-VL family"
            )

    @property
    def factor(self) -> int:
        """Pixels along one side of an image token: images are resized to multiples of it."""
        return int(self.image_processor.patch_size * self.image_processor.merge_size)

    def patches(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """Cut one image into the patches that the vision tower reads.

        Args:
            image: (H, W, 3) uint8, sides already multiples of `factor`.

        Returns:
            (N, D) float32, N = H * W / patch_size**2.
        """
        features = self.image_processor(
            images=[image], do_resize=False, input_data_format="channels_last", return_tensors="pt"
        )
        patches: torch.Tensor = features["pixel_values"]
        return patches

    def assemble(
        self,
        study_id: str,
        prompt: Prompt,
        sizes: Sequence[tuple[int, int]],
        patches: Sequence[torch.Tensor | None],
        *,
        image_ids: Sequence[str] = (),
    ) -> EncodedPrompt:
        """Encode one prompt; see `PromptProcessor`."""
        text = self.tokenizer.apply_chat_template(
            prompt.messages, tokenize=False, **report_keywords(self.tokenizer.chat_template)
        )
        check_placeholders(study_id, text.count(IMAGE_TOKEN), len(sizes))
        for height, width in sizes:
            tokens = height * width // self.factor**2
            text = text.replace(IMAGE_TOKEN, "<|placeholder|>" * tokens, 1)
        text = text.replace("<|placeholder|>", IMAGE_TOKEN)
        input_ids_T = torch.tensor(
            self.tokenizer(text, add_special_tokens=False)["input_ids"], dtype=torch.long
        )
        pixel_values, left_out = present_patches(patches)
        return EncodedPrompt(
            study_id=study_id,
            input_ids_T=input_ids_T,
            is_image_token_T=input_ids_T == self.image_token_id,
            pixel_values=pixel_values,
            image_grid_thw=self._grid(sizes),
            image_ids=tuple(image_ids),
            left_out=left_out,
            is_plain=self.is_plain,
        )

    def save(self, folder: Path) -> None:
        """Save tokenizer and image processor next to a model's weights."""
        self.tokenizer.save_pretrained(folder)
        self.image_processor.save_pretrained(folder)

    def _grid(self, sizes: Sequence[tuple[int, int]]) -> torch.Tensor | None:
        if not sizes:
            return None
        patch = int(self.image_processor.patch_size)
        return torch.tensor([(1, height // patch, width // patch) for height, width in sizes])


def check_placeholders(study_id: str, placeholders: int, images: int) -> None:
    """Check that a template has placed each image once.

    Args:
        study_id: The study.
        placeholders: How many it wrote.
        images: How many there are.

    Raises:
        DataError: they differ; the message names the study.
    """
    if placeholders != images:
        raise DataError(
            f"study {study_id}: the prompt has {placeholders} image placeholders for {images} "
            "images; the template must place each image once"
        )


def present_patches(
    patches: Sequence[torch.Tensor | None],
) -> tuple[torch.Tensor | None, frozenset[int]]:
    """Join the patches of a prompt's images.

    Args:
        patches: Of each image, None for one that is left out.

    Returns:
        All that are there, None if none is, and the numbers of the images that are left out.
    """
    present = [part for part in patches if part is not None]
    left_out = frozenset(number for number, part in enumerate(patches) if part is None)
    return torch.cat(present) if present else None, left_out


def stands_for_tokens(value: torch.Tensor, tokens: int) -> bool:
    """Say what an element of one of a row's stock inputs stands for.

    Args:
        value: From `EncodedPrompt.stock_inputs`.
        tokens: How many tokens the prompt has.

    Returns:
        True for a token; False for images, or for the row.
    """
    return value.shape == (1, tokens)


def check_image_tokens(prompt: EncodedPrompt, features: int) -> None:
    """Check that a prompt holds one image token for every feature that the vision tower will give.

    Args:
        prompt: The prompt.
        features: How many features.

    Raises:
        DataError: they differ; the message names the study. The model's own check cannot: it sees a
            whole batch.
    """
    tokens = int(prompt.is_image_token_T.sum())
    if tokens != features:
        raise DataError(
            f"study {prompt.study_id}: the prompt holds {tokens} image tokens for {features} image "
            "features; was it cut or changed after it was encoded?"
        )


def join_images(prompts: Sequence[EncodedPrompt]) -> dict[str, torch.Tensor]:
    """Join the images of several prompts, as the model takes them.

    Args:
        prompts: The prompts, in order.

    Returns:
        `pixel_values` (N, D) and `image_grid_thw` (I, 3) of all images; empty if there is none.

    Raises:
        DataError: patches of an image were left out (the message names the study).
    """
    for prompt in prompts:
        if prompt.left_out:
            raise DataError(
                f"study {prompt.study_id}: {len(prompt.left_out)} of its images were encoded "
                "without pixels; give their features, or encode the study with all pixels"
            )
    patches = [p.pixel_values for p in prompts if p.pixel_values is not None]
    grids = [p.image_grid_thw for p in prompts if p.image_grid_thw is not None]
    if not patches:
        return {}
    return {"pixel_values": torch.cat(patches), "image_grid_thw": torch.cat(grids)}
