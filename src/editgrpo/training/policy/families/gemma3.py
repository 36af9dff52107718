"""Gemma 3 (arXiv 2503.19786) with images, and MedGemma (arXiv 2507.05201), which is trained from
it.

The tokens of an image see each other both ways. Most text layers see a window of the last tokens
alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from editgrpo.training.policy.families._square import SquareImages
from editgrpo.training.policy.processor import EncodedPrompt


class Gemma3(SquareImages):
    """SigLIP at 896 x 896 pixels, 256 tokens an image, line breaks around them."""

    name = "Gemma 3"
    token_types = "token_type_ids"

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        """Refuse what no published model has, and the packed pass does not compute."""
        text = config.get("text_config") or {}
        if text.get("final_logit_softcapping") is not None:
            return "its logits are capped"
        if text.get("use_bidirectional_attention"):
            return "its text layers see both ways"
        return None

    def tower_parts(self, backbone: Any) -> tuple[nn.Module, ...]:
        """Return the image encoder and the projector."""
        return backbone.vision_tower, backbone.multi_modal_projector

    def encode(self, parts: Sequence[nn.Module], config: Any, pixels: Tensor) -> Tensor:
        """Encode and project images."""
        encoder, projector = parts
        features: Tensor = projector(encoder(pixel_values=pixels).last_hidden_state)
        return features

    def tokens_of_image(self, config: Any) -> int:
        """Return what the configuration says."""
        return int(config.mm_tokens_per_image)

    def written_images(self, processor: Any) -> tuple[str, str, int]:
        """Put tokens of an image between tokens for its beginning and end."""
        written, token = processor.full_image_sequence, processor.tokenizer.image_token_id
        return processor.boi_token, written, token

    def blocks(self, prompt: EncodedPrompt) -> tuple[tuple[int, int], ...]:
        """Find the tokens of each image: no two images are without a token between them."""
        # The last token of a prompt is text, so that every block has an end.
        is_image_T = prompt.is_image_token_T.int()
        edges = torch.diff(is_image_T, prepend=is_image_T.new_zeros(1)).nonzero()[:, 0].tolist()
        return tuple(zip(edges[::2], edges[1::2], strict=True))


FAMILY = Gemma3()
