"""A pass without images runs the vision tower all the same, on one blank image.

Processes that train together wait for one another: DDP for a gradient of every parameter, shards
until all processes gather the same layer. So the tower must not be left out by the process whose
studies have no image. Of the blank image's features none is used: results stay as they are, and the
tower's gradients are zeros instead of missing. One process does the same as several, since an
optimiser treats the two differently.
"""

import functools
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from editgrpo.training.policy.families import family_of
from editgrpo.training.policy.family import PolicyFamily
from editgrpo.training.policy.features import encoded_images, required_tower
from editgrpo.training.policy.model import Backbone, Policy, VisionTower


def no_features(family: PolicyFamily, tower: VisionTower) -> Tensor:
    """Run the vision tower on one blank image and keep none of its features.

    Args:
        family: Of the model.
        tower: Its tower.

    Returns:
        (0, F) features that depend on every parameter of the tower.
    """
    return encoded_images(family, tower, *family.blank_image(tower))[:0]


def run_tower_always(model: Policy) -> None:
    """Let a model's stock forward run the vision tower when it is given no images, too.

    Args:
        model: The model, not yet wrapped by PEFT, DDP, FSDP or DeepSpeed. One without a tower stays
            as it is.
    """
    backbone, family = model.model, family_of(model)
    if family.tower(backbone) is None:
        return
    stock = type(backbone).forward  # of no model: a copy of this one computes with its own weights

    # Not the forward of the whole model: TRL's fused head calls the backbone itself.
    @functools.wraps(stock)
    def forward(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if keywords.get("pixel_values") is not None or keywords.get("input_ids") is None:
            return stock(self, *arguments, **keywords)
        # The embedding is the one place that every family takes token ids to: Qwen3-VL takes ids or
        # embeddings, not both, and places tokens by their ids.
        hook = self.get_input_embeddings().register_forward_hook(
            lambda _module, _arguments, embeddings: _beside_nothing(family, self, embeddings)
        )
        try:
            return stock(self, *arguments, **keywords)
        finally:
            hook.remove()

    backbone.forward = MethodType(forward, backbone)


def _beside_nothing(family: PolicyFamily, backbone: Backbone, embeddings_BLD: Tensor) -> Tensor:
    """Return the same embeddings, which now depend on every parameter of the tower."""
    rows, _, width = embeddings_BLD.shape
    # Cut to the width of one level, all of them have gradients still.
    nothing = no_features(family, required_tower(family, backbone))
    nothing = nothing.to(embeddings_BLD.dtype)[:, :width]
    return torch.cat([embeddings_BLD, nothing.expand(rows, -1, -1)], dim=1)
