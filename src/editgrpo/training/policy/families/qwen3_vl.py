"""Qwen3-VL (arXiv 2511.21631), dense: image features enter its first text layers, too."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editgrpo.data.pixels.resize import PixelBudget
from editgrpo.files import write_json
from editgrpo.model_files import read_json_object
from editgrpo.training.policy.families._published import take_rope
from editgrpo.training.policy.families._qwen_vl import QwenVL
from editgrpo.training.policy.model import TowerOutput
from editgrpo.training.policy.processor import PromptProcessor


class Qwen3VL(QwenVL):
    """Qwen2-VL's kind with K more levels of features (DeepStack), which are added to the hidden
    states after the first K text layers. All levels of an image token are side by side in one row,
    (N, D (1 + K)), wherever they are kept or computed."""

    def features(self, encoded: TowerOutput) -> Tensor:
        """Lay the levels side by side, the one that takes the embedding's place first."""
        deeper: Any = encoded
        return torch.cat([encoded.pooler_output, *deeper.deepstack_features], dim=1)

    def put_images(
        self, embeddings_1LD: Tensor, columns_N: Tensor, features_NF: Tensor
    ) -> tuple[Tensor, dict[str, Any]]:
        """Put the first level in the place of image tokens, and hand the others on."""
        first, *deeper = torch.split(features_NF.to(embeddings_1LD), embeddings_1LD.shape[2], dim=1)
        embedded, _ = super().put_images(embeddings_1LD, columns_N, first)
        is_image_1L = torch.zeros(embedded.shape[:2], dtype=torch.bool, device=embedded.device)
        is_image_1L[0, columns_N.to(embedded.device)] = True
        return embedded, {"visual_pos_masks": is_image_1L, "deepstack_visual_embeds": deeper}

    def published_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """Keep settings of the text layers apart; transformers 4.57 looks for a tied head there
        alone."""
        shared = {key: config[key] for key in ("dtype", "tie_word_embeddings")}
        text = config["text_config"] | shared | {"use_cache": True}
        rope = take_rope(text)
        if rope is not None:
            text["rope_scaling"] = rope
        vision = config["vision_config"] | {"model_type": config["model_type"]}
        return {**config, "text_config": text, "vision_config": vision}

    def publish_files(self, folder: Path, processor: PromptProcessor, budget: PixelBudget) -> None:
        """Name the video processor, too. A reader makes one with the image processor, videos or
        not, and without this file takes that of Qwen2-VL."""
        super().publish_files(folder, processor, budget)
        shared = ("image_mean", "image_std", "merge_size", "patch_size", "temporal_patch_size")
        images = read_json_object(folder / "preprocessor_config.json")
        settings = {key: images[key] for key in shared}
        settings["video_processor_type"] = "Qwen3VLVideoProcessor"
        write_json(folder / "video_preprocessor_config.json", settings, shared=True)


FAMILY = Qwen3VL("Qwen3-VL")
