"""How features of images reach the text layers.

Qwen2-VL and Qwen2.5-VL put them in the place of the embeddings of image tokens. Qwen3-VL has K more
levels of them (DeepStack), which it adds to the hidden states behind its first K text layers. Here
all levels of an image token stand beside each other in one row, so that features are one tensor for
every family, wherever they are kept or computed.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from editgrpo.training.policy.model import ImageFeatures, TowerOutput


def joined_levels(encoded: TowerOutput | ImageFeatures) -> Tensor:
    """Lay the levels of features side by side.

    Args:
        encoded: What a vision tower, or a backbone, makes of images.

    Returns:
        (N, D (1 + K)), the level that stands for the embedding first; K is 0 but for Qwen3-VL.
    """
    deeper: Sequence[Tensor | Sequence[Tensor]] = getattr(encoded, "deepstack_features", ())
    return torch.cat([_whole(level) for level in (encoded.pooler_output, *deeper)], dim=1)


def _whole(level: Tensor | Sequence[Tensor]) -> Tensor:
    """Join what a backbone gives image by image."""
    return level if isinstance(level, Tensor) else torch.cat(tuple(level))


def put_images(
    embeddings_1LD: Tensor, columns_N: Tensor, features_NF: Tensor
) -> tuple[Tensor, dict[str, Any]]:
    """Put features in the place of image tokens.

    Args:
        embeddings_1LD: (1, L, D), of all tokens.
        columns_N: (N,) int64, the columns of image tokens, ascending.
        features_NF: (N, D (1 + K)), their features, from `joined_levels`.

    Returns:
        (1, L, D), a tensor of its own, and what to pass to the text layers besides.
    """
    width = embeddings_1LD.shape[2]
    first, *deeper = torch.split(features_NF.to(embeddings_1LD), width, dim=1)
    columns_N = columns_N.to(embeddings_1LD.device)
    embedded = embeddings_1LD.index_copy(1, columns_N, first[None])
    if not deeper:
        return embedded, {}
    is_image_1L = torch.zeros(embedded.shape[:2], dtype=torch.bool, device=embedded.device)
    is_image_1L[0, columns_N] = True
    return embedded, {"visual_pos_masks": is_image_1L, "deepstack_visual_embeds": deeper}
