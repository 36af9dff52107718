"""Rewards by name: which components they sum, and with which weights.

Nothing is loaded before it is asked for, so that importing this costs nothing.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from editgrpo.clinical.catalogue import ClinicalModel
from editgrpo.config import ClinicalConfig, RewardConfig, Target
from editgrpo.errors import ConfigError, nearest_name
from editgrpo.metrics.class_rates import check_target
from editgrpo.metrics.loading import rules_annotator
from editgrpo.rewards.components import (
    component_models,
    is_judged,
    load_component,
    needs_class_rates,
    require_trainable,
)
from editgrpo.rewards.composite import CompositeReward
from editgrpo.rewards.custom import CustomScore
from editgrpo.rewards.guard import GuardedReward
from editgrpo.rewards.sectioned import reward_of_target
from editgrpo.rewards.types import Reward

REWARDS: Mapping[str, tuple[str, ...]] = {
    "rules": ("rules/report-micro-f1-14", "entity_f1/partial@rules", "entity_similarity@rules"),
    # EditGRPO, section 3: R = RadGraph-F1 + CheXbert-micro-F1-14 + RaTEScore, unweighted.
    # Deviation from paper: the 0.5 that RaTEScore gives a report without entities is withheld.
    "paper": (
        "radgraph/partial@radgraph-xl",
        "chexbert/report-micro-f1-14",
        "ratescore@0.5.0-guarded",
    ),
    "custom": (),
}
"""Reward name to the components that it sums."""

REWARD_NAMES: tuple[str, ...] = tuple(REWARDS)
"""Names that `load_reward` knows; `custom` sums only what its weights name."""

_ANY_REPORT = "No pleural effusion."


def load_reward(
    name: str,
    weights: Mapping[str, float] | None = None,
    *,
    custom: str | None = None,
    clinical: ClinicalConfig | None = None,
    class_rates: Path | None = None,
) -> Reward:
    """Load a reward.

    Args:
        name: One of `REWARD_NAMES`.
        weights: Component name to weight, finite and 0 or more. A component of the reward that is
            left out keeps 1; one with weight 0 is computed and reported but not paid; any other
            component that is named is added to the sum.
        custom: A component of one's own, `module:function`; see `CustomScore`.
        clinical: Where the models lie and how they run; None takes the defaults.
        class_rates: File of class rates, for components weighted by inverse frequency.

    Returns:
        A reward with its own bounded memory of texts. A candidate that states nothing earns nothing
        from any of its components (`metrics/silence.py`).

    Raises:
        ConfigError: the name or a component of `weights` is unknown or not fit to train on, a
            weight is out of range, there is no component, or no function of the name `custom`.
    """
    complete = _complete(name, weights or {}, custom)
    components = [
        CustomScore(part)
        if part == custom
        else load_component(part, clinical, class_rates=class_rates)
        for part in complete
    ]
    return CompositeReward(name, components, weights=complete, statements=rules_annotator())


def configured_reward(
    config: RewardConfig, clinical: ClinicalConfig, target: Target | None = None
) -> Reward:
    """Load the reward of a run with all its models, under its time limit.

    Args:
        config: Which reward.
        clinical: Where the models lie and how they run.
        target: What is written: both sections are scored one by one, see `SectionedReward`. None
            where another trainer keeps it to itself: texts are scored as they are, and class rates
            are taken on trust.

    Returns:
        The reward; whatever goes wrong while it scores is a RewardError.

    Raises:
        ConfigError: see `load_reward`; or the class rates were counted in other sections.
        ModelError: weights are missing; it names the command that gets them.
        DataError: the annotation store or the file of class rates cannot be used.
    """
    rates = None if config.class_rates is None else Path(config.class_rates)
    reward = load_reward(
        config.name,
        config.weights,
        custom=config.custom,
        clinical=clinical,
        class_rates=rates,
    )
    if rates and target and needs_class_rates(reward.component_names):
        check_target(rates, target)
    # Models load when they first read; a run must learn before its first step that one is missing.
    reward.score([_ANY_REPORT], [_ANY_REPORT])
    return GuardedReward(
        reward_of_target(reward, target or Target.FINDINGS), timeout_s=config.timeout_s
    )


def reward_models(config: RewardConfig) -> tuple[ClinicalModel, ...]:
    """Return the models that a reward reads with; nothing is loaded.

    Args:
        config: Which reward.

    Returns:
        The models, each once; none for what works by rules.

    Raises:
        ConfigError: see `load_reward`.
    """
    names = _complete(config.name, config.weights, config.custom)
    known = [name for name in names if name != config.custom]
    return tuple(dict.fromkeys(model for name in known for model in component_models(name)))


def may_ask_judges(config: RewardConfig) -> bool:
    """Say whether a reward may ask a language model for its judgement.

    Args:
        config: Which reward.

    Returns:
        Whether it has a component that does, or one of one's own, which may do anything.

    Raises:
        ConfigError: see `load_reward`.
    """
    names = _complete(config.name, config.weights, config.custom)
    return any(name == config.custom or is_judged(name) for name in names)


def _complete(name: str, weights: Mapping[str, float], custom: str | None) -> dict[str, float]:
    if name not in REWARDS:
        raise ConfigError(f"reward {name!r} is unknown{nearest_name(name, REWARD_NAMES)}")
    return complete_weights(REWARDS[name], weights, custom)


def complete_weights(
    default: Sequence[str], weights: Mapping[str, float], custom: str | None = None
) -> dict[str, float]:
    """Give every component its weight.

    Args:
        default: The components of a reward.
        weights: Weights that differ from 1, and components that are added.
        custom: A component of one's own, which comes after those of `default`.

    Returns:
        Component name to weight: those of `default` in their order, then the added ones.

    Raises:
        ConfigError: a name is unknown or not fit to train on, a weight is negative, NaN or
            infinite, or there is no component at all.
    """
    for component, weight in weights.items():
        if component != custom:
            require_trainable(component)
        if not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(
                f"reward.weights: {component} is {weight}; it must be finite and 0 or more"
            )
    own = () if custom is None else (custom,)
    complete = dict.fromkeys((*default, *own), 1.0) | {
        component: float(weight) for component, weight in weights.items()
    }
    if not complete:
        raise ConfigError("reward.weights is empty; name at least one component of reward custom")
    return complete
