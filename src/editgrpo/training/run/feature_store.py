"""The store of image features of a run: how much it may keep, and where."""

import copy
from typing import Any

from editgrpo.config import ModelConfig
from editgrpo.training.policy.families import family_of
from editgrpo.training.policy.feature_files import FeatureDisk
from editgrpo.training.policy.features import FeatureStore, required_tower
from editgrpo.training.policy.model import Policy
from editgrpo.training.run.folder import FEATURES
from editgrpo.training.run.setup import TrainingSetup


def make_feature_store(
    policy: Policy,
    config: ModelConfig,
    accelerator: Any,
    setup: TrainingSetup,
    *,
    is_sharded: bool,
) -> FeatureStore | None:
    """Make the store of image features of a run.

    Args:
        policy: The policy, out of its wrappers.
        config: How much is kept.
        accelerator: Of the trainer.
        setup: The run's folder and encoder.
        is_sharded: Whether the policy is about to be sharded: layers of its own tower would then
            have to be gathered by all processes at the same time, so that a copy is made.

    Returns:
        The store; None while the vision tower is trained, and on the plain path, where the stock
        model computes features itself.
    """
    if setup.encoder.processor.is_plain:
        return None
    family = family_of(policy)
    tower = required_tower(family, policy.model)
    if any(parameter.requires_grad for parameter in tower.parameters()):
        return None
    if is_sharded:
        tower = copy.deepcopy(tower).to(accelerator.device)
    mib = 2**20
    return FeatureStore(
        family,
        tower,
        autocast=accelerator.autocast,
        ram_bytes=config.feature_ram_mib * mib,
        disk=FeatureDisk(
            folder=setup.run / FEATURES,
            max_bytes=config.feature_disk_mib * mib * accelerator.num_processes,
            pixel_identity=setup.encoder.pixel_identity,
            processes=accelerator.num_processes,
        ),
    )
