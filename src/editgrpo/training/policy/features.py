"""Features of images: what the vision tower makes of them, and a store that computes them once.

Images are encoded one at a time, so that the features of an image never depend on its neighbours
in a batch: kept ones and computed ones are the same to the bit. While the tower is frozen,
`FeatureStore` computes the features of an image once for rollout, reference and update, and keeps
them for later steps. A tower that is trained gives other features after every step: `encode_images`
computes them for sampling, and every pass of an update again for all of its groups, with gradients
(group_pass.py).
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor

from editgrpo.errors import TrainingError
from editgrpo.training.policy.families import family_of
from editgrpo.training.policy.family import PolicyFamily
from editgrpo.training.policy.feature_files import FeatureDisk, FeatureFiles
from editgrpo.training.policy.model import Backbone, Policy, VisionTower
from editgrpo.training.policy.processor import EncodedPrompt, join_images

Autocast = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureCounts:
    """Where the features of images came from."""

    memory: int
    """From memory, or from another prompt of the same call."""
    disk: int
    computed: int


def encode_images(model: Policy, prompt: EncodedPrompt) -> Tensor | None:
    """Encode the images of one prompt, one at a time, under whatever autocast is active.

    Gradients flow into a vision tower that is trained, unless they are off (`torch.no_grad`).

    Args:
        model: The vision-language model, unwrapped.
        prompt: The prompt, with the patches of all of its images.

    Returns:
        (N, D) features in the order of the prompt's image tokens, on the tower's device; None
        without images.

    Raises:
        DataError: patches of an image were left out (the message names the study).
    """
    images = join_images([prompt])
    if not images:
        return None
    family, grids = family_of(model), images["image_grid_thw"]
    parts = torch.split(images["pixel_values"], grids.prod(dim=-1).tolist())
    tower = required_tower(family, model.model)
    return torch.cat(
        [
            encoded_images(family, tower, part, grid[None])
            for part, grid in zip(parts, grids, strict=True)
        ]
    )


def required_tower(family: PolicyFamily, backbone: Backbone) -> VisionTower:
    """Return the tower of a model with images.

    Args:
        family: Of the model.
        backbone: The model without its head.

    Returns:
        The tower.

    Raises:
        TrainingError: it has none.
    """
    tower = family.tower(backbone)
    if tower is None:
        raise TrainingError(f"{type(backbone).__name__} is of text alone; give no images")
    return tower


class FeatureStore:
    """Features of the images of one study set under a frozen vision tower, each computed once.

    What comes first stays, in memory until that is full and then on disk; what comes later is
    computed whenever it is asked for. A store that put the newest in the place of the oldest would
    find nothing: an epoch visits every image once, in a new order, so the oldest are no less
    likely to be needed next than the newest. And as nothing is ever dropped, an image that the
    store says it holds may be encoded without its pixels (`PromptEncoder.encode_all(known=store)`).

    Args:
        family: Of the model.
        tower: Its vision tower, frozen, its weights final; a copy of its own where the policy's
            is sharded.
        autocast: Gives the context in which the tower computes, the trainer's own.
        ram_bytes: Most bytes of features in memory; 0 keeps none.
        disk: What lies on disk besides; None for nothing.

    Raises:
        TrainingError: the tower has parameters that are trained.
    """

    def __init__(
        self,
        family: PolicyFamily,
        tower: VisionTower,
        *,
        autocast: Autocast,
        ram_bytes: int,
        disk: FeatureDisk | None = None,
    ) -> None:
        if any(parameter.requires_grad for parameter in tower.parameters()):
            raise TrainingError(
                "features can be kept for a frozen vision tower only; set model.freeze_vision_tower"
            )
        self._family, self._tower = family, tower
        self._autocast = autocast
        self._room = ram_bytes
        self._memory: dict[str, Tensor] = {}
        self._files: FeatureFiles | None = None
        if disk is not None and disk.max_bytes > 0:
            identity = _identity(tower, autocast, disk.pixel_identity)
            self._files = FeatureFiles(disk, identity)
        self._counts: Counter[str] = Counter()

    def __contains__(self, image_id: object) -> bool:
        if not isinstance(image_id, str):
            return False
        return image_id in self._memory or (self._files is not None and image_id in self._files)

    def of(self, prompts: Sequence[EncodedPrompt]) -> list[Tensor | None]:
        """Return the features of the images of each prompt, without gradients.

        Args:
            prompts: Prompts of the set. Images that the store holds need no patches; those of a
                prompt without image ids are computed and not kept.

        Returns:
            For each prompt (N, D) in the order of its image tokens, on the tower's device and in
            the number format that it computes in; None without images.

        Raises:
            TrainingError: an image has neither patches nor features (the message names study and
                image).
        """
        # An image shown in two of the prompts must not be computed twice because memory is full.
        uses = Counter(image_id for prompt in prompts for image_id in prompt.image_ids)
        shared: dict[str, Tensor | None] = {
            image_id: None for image_id in uses if uses[image_id] > 1
        }
        with torch.no_grad(), self._autocast():
            return [self._of_prompt(prompt, shared) for prompt in prompts]

    def take_counts(self) -> FeatureCounts:
        """Return where the features asked for since the last call came from."""
        counts, self._counts = self._counts, Counter()
        return FeatureCounts(
            memory=counts["memory"], disk=counts["disk"], computed=counts["computed"]
        )

    def _of_prompt(self, prompt: EncodedPrompt, shared: dict[str, Tensor | None]) -> Tensor | None:
        parts = [self._of_image(image, shared) for image in _images(prompt)]
        return torch.cat(parts) if parts else None

    def _of_image(self, image: "_Image", shared: dict[str, Tensor | None]) -> Tensor:
        if image.image_id is None:
            return self._compute(image)
        features = shared.get(image.image_id)
        if features is not None:
            self._counts["memory"] += 1
            return features
        features = self._find(image.image_id)
        if features is None:
            features = self._compute(image)
            self._keep(image.image_id, features)
        if image.image_id in shared:
            shared[image.image_id] = features
        return features

    def _find(self, image_id: str) -> Tensor | None:
        source, features = "memory", self._memory.get(image_id)
        if features is None and self._files is not None:
            source, features = "disk", self._files.read(image_id)
        if features is None:
            return None
        self._counts[source] += 1
        return features.to(self._tower.device)

    def _compute(self, image: "_Image") -> Tensor:
        if image.patches is None:
            raise TrainingError(
                f"study {image.study_id}: image {image.image_id!r} was encoded without pixels, but "
                "its features are no longer held; resume the run, which computes them again"
            )
        self._counts["computed"] += 1
        return encoded_images(self._family, self._tower, image.patches, image.grid[None])

    def _keep(self, image_id: str, features: Tensor) -> None:
        has_room = features.nbytes <= self._room
        if not has_room and (self._files is None or features.nbytes > self._files.room):
            return
        # A copy of its own: nothing larger stays alive behind it, so the bytes counted are all.
        kept = features.to("cpu", copy=True).contiguous()
        if has_room:
            self._memory[image_id] = kept
            self._room -= kept.nbytes
        elif self._files is not None:
            self._files.write(image_id, kept)


@dataclass(frozen=True, slots=True)
class _Image:
    study_id: str
    image_id: str | None
    grid: Tensor
    patches: Tensor | None


def _images(prompt: EncodedPrompt) -> list[_Image]:
    if prompt.image_grid_thw is None:
        return []
    grids = list(prompt.image_grid_thw)
    ids: Sequence[str | None] = prompt.image_ids or [None] * len(grids)
    return [
        _Image(prompt.study_id, image_id, grid, patches)
        for image_id, grid, patches in zip(ids, grids, prompt.patches(), strict=True)
    ]


def encoded_images(
    family: PolicyFamily, tower: VisionTower, patches_ND: Tensor, grid_I3: Tensor
) -> Tensor:
    """Encode images in one call of the tower.

    Args:
        family: Of the model.
        tower: Its tower.
        patches_ND: (N, D), of all images.
        grid_I3: (I, 3) int64, the grid of each.

    Returns:
        (N', F), the features of their tokens, on the tower's device.
    """
    patches_ND = patches_ND.to(tower.device).to(tower.dtype)
    return family.features(tower(patches_ND, grid_thw=grid_I3.to(tower.device)))


def _identity(tower: VisionTower, autocast: Autocast, pixel_identity: str) -> str:
    """Name everything that decides the features: weights, number formats, pixels and versions."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tower.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(content.numpy().data)
    device = tower.device
    with autocast():
        is_on = torch.is_autocast_enabled(device.type)
        computes_in = torch.get_autocast_dtype(device.type) if is_on else tower.dtype
    facts = (
        digest.hexdigest(),
        tower.config.to_json_string(use_diff=False),
        tower.config._attn_implementation,
        computes_in,
        torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        torch.__version__,
        transformers.__version__,
        pixel_identity,
    )
    return "\n".join(map(str, facts))
