"""What the families of Qwen2-VL's kind share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.errors import ModelError
from editgrpo.foreign import reading
from editgrpo.model_files import CONFIG, read_json_object
from editgrpo.training.policy.chat_template import use_folder_template
from editgrpo.training.policy.families._published import (
    publish_image_sizes,
    publish_tokenizer,
    take_rope,
)
from editgrpo.training.policy.family import PolicyFamily
from editgrpo.training.policy.model import Backbone, Policy, Tokenizer, VisionTower
from editgrpo.training.policy.processor import (
    IMAGE_TOKEN,
    EncodedPrompt,
    PromptProcessor,
    StudyProcessor,
)
from editgrpo.training.policy.window_attention import use_window_batches


class QwenVL(PolicyFamily):
    """Patches of images of any size, merged to image tokens; positions of three axes (M-RoPE).

    Args:
        name: As people know the family.
    """

    axes = 3

    def __init__(self, name: str) -> None:
        self.name = name

    def load_processor(self, folder: Path, *, is_plain: bool) -> StudyProcessor:
        """Load tokenizer and image processor, without the video processor that transformers' own
        needs torchvision for."""
        from transformers import AutoTokenizer, Qwen2VLImageProcessorPil

        remedy = f"give the folder of a complete checkpoint of {self.name}"
        settings = folder / "tokenizer_config.json"
        read_json_object(settings, remedy)  # without it another token would end a report
        with reading(f"{folder}: tokenizer", remedy, error=ModelError):
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        if tokenizer.eos_token_id is None:
            raise ModelError(f"{settings}: names no eos_token; {remedy}")
        with reading(f"{folder}: image processor", remedy, error=ModelError):
            images = Qwen2VLImageProcessorPil.from_pretrained(folder, trust_remote_code=False)
        processor = StudyProcessor(tokenizer, images, is_plain=is_plain)
        _check_patches(folder, processor, remedy)
        use_folder_template(tokenizer, folder, image_token=IMAGE_TOKEN)
        return processor

    def forbidden_tokens(
        self, config: Any, tokenizer: Tokenizer, ends: tuple[int, ...]
    ) -> list[int | None]:
        """List what stands for images and videos; other special tokens may be drawn, as stock
        `generate` does."""
        return [config.image_token_id, config.video_token_id]

    def prepare(self, model: Policy) -> None:
        """Let a tower with windows compute those of one length together."""
        use_window_batches(model)

    def tower(self, backbone: Backbone) -> VisionTower:
        """Return the tower, its merger included."""
        tower: VisionTower = _whole(backbone).visual
        return tower

    def blank_image(self, tower: VisionTower) -> tuple[Tensor, Tensor]:
        """Make an image of one token."""
        side, patch = _whole(tower).spatial_merge_size, _whole(tower).patch_embed
        values = patch.in_channels * patch.temporal_patch_size * patch.patch_size**2
        return (
            torch.zeros(side * side, values, device=tower.device),
            torch.tensor([[1, side, side]], device=tower.device),
        )

    def image_tokens(self, config: Any, grid_I3: Tensor) -> int:
        """Count patches, several of which make a token."""
        merged = int(config.vision_config.spatial_merge_size) ** 2
        return int(grid_I3.prod(dim=-1).sum()) // merged

    def positions(self, backbone: Backbone, prompt: EncodedPrompt) -> Tensor:
        """Ask the model; without images positions count from 0."""
        if prompt.image_grid_thw is None:
            return super().positions(backbone, prompt)
        positions_3BT: Tensor
        positions_3BT, _ = _whole(backbone).get_rope_index(
            prompt.input_ids_T[None],
            mm_token_type_ids=prompt.is_image_token_T[None].int(),
            image_grid_thw=prompt.image_grid_thw,
        )
        return positions_3BT[:, 0]

    def published_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """Put settings of the text layers next to the others."""
        inner = ("architectures", "dtype", "model_type", "transformers_version")
        text: Mapping[str, Any] = config.get("text_config", {})
        flat = {key: text[key] for key in text if key not in inner} | config
        flat.pop("text_config", None)
        flat["use_cache"] = True
        rope = take_rope(flat)
        if rope is not None:
            if rope.get("rope_type", "default") == "default":
                rope = {"type": "mrope", "mrope_section": rope["mrope_section"]}
            flat["rope_scaling"] = rope
        return flat

    def publish_files(self, folder: Path, processor: PromptProcessor, budget: PixelBudget) -> None:
        """Rewrite the files of tokenizer and image processor."""
        publish_tokenizer(folder, processor.tokenizer)
        publish_image_sizes(folder, budget)


def _whole(part: Backbone | VisionTower) -> Any:
    """Let a type checker see the members that this kind has."""
    return part


def _check_patches(folder: Path, processor: StudyProcessor, remedy: str) -> None:
    """Refuse an image processor that cuts other patches than the model's tower reads."""
    from transformers import AutoConfig

    config = read_json_object(folder / CONFIG)
    with reading(f"{folder}: image processor", remedy, error=ModelError):
        side = processor.factor
        cut = tuple(processor.patches(np.zeros((side, side, 3), dtype=np.uint8)).shape)
    with reading(f"{folder / CONFIG}: vision_config", remedy, error=ModelError):
        vision = AutoConfig.for_model(**config).vision_config
        read = (
            vision.spatial_merge_size**2,
            vision.in_channels * vision.temporal_patch_size * vision.patch_size**2,
        )
    if cut != read:
        raise ModelError(
            f"{folder}: the image processor cuts an image token into {cut[0]} patches of {cut[1]} "
            f"values, and the model reads {read[0]} of {read[1]}; {remedy}"
        )
