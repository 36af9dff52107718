"""Which extras a command needs for what it was asked to do; said before it does anything."""

import os
from collections.abc import Sequence

from editgrpo.config import (
    ClinicalConfig,
    EditLevel,
    OptimizerState,
    RolloutEngine,
    SFTConfig,
    TrainConfig,
)
from editgrpo.extras import Extra, require_extras, require_tracker


def require_for_run(config: SFTConfig | TrainConfig) -> None:
    """Make sure that a run has what it needs besides the core.

    Args:
        config: The run.

    Raises:
        MissingExtraError: an extra is not installed; the message names all that are not.
        ConfigError: a part of the reward is unknown or not fit to train on.
    """
    from editgrpo.clinical.sources import models_here
    from editgrpo.reports.registry import annotator_models
    from editgrpo.rewards.registry import reward_models

    extras = [Extra.TRAIN]
    models = reward_models(config.reward)
    if isinstance(config, TrainConfig):
        if config.edit.level is EditLevel.SENTENCE:
            models += annotator_models(config.edit.annotator)
        if config.rollout.engine is not RolloutEngine.NATIVE:
            extras.append(Extra.VLLM)
    if models_here(models, config.clinical):
        extras.append(Extra.CLINICAL)
    if "tensorboard" in config.report_to:
        extras.append(Extra.TRACKERS)
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":  # set by accelerate's launcher
        extras.append(Extra.DEEPSPEED)
    if config.optim.state is OptimizerState.EIGHT_BIT or config.model.is_quantized:
        extras.append(Extra.EIGHT_BIT)
    require_extras(*extras)
    for tracker in config.report_to:
        require_tracker(tracker)


def runs_models(metrics: Sequence[str], clinical: ClinicalConfig) -> bool:
    """Say whether metrics run clinical models in this process.

    Args:
        metrics: Names of metrics and of sets of them.
        clinical: Where the models run.

    Returns:
        Whether they do; GREEN on a server does not.

    Raises:
        ConfigError: a metric is unknown.
    """
    from editgrpo.clinical.sources import models_here
    from editgrpo.evaluation.catalogue import select_metrics

    models = [model for metric in select_metrics(metrics) for model in metric.models]
    return bool(models_here(models, clinical))
