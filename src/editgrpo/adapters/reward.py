"""A reward by name, one copy a process, from the plain values that other trainers' settings are."""

import logging
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar

from editgrpo.clinical.shared import clinical_key, shared
from editgrpo.config import ClinicalConfig, RewardConfig
from editgrpo.config.validation import validated
from editgrpo.errors import ConfigError, RewardError
from editgrpo.rewards import Reward
from editgrpo.rewards.guard import checked_scores
from editgrpo.rewards.registry import configured_reward

_LOG = logging.getLogger(__name__)
ConfigT = TypeVar("ConfigT")


def load_shared_reward(
    *, clinical: ClinicalConfig | Mapping[str, Any] | None = None, **settings: Any
) -> Reward:
    """Load a reward with its models; equal requests share one object and its memory of texts.

    Args:
        clinical: Where the clinical models lie and how they run: a configuration, or a mapping with
            its keys as a recipe has them.
        **settings: Keys of `RewardConfig` as a recipe has them: `name`, `weights`, `class_rates`,
            `custom`, `timeout_s`.

    Returns:
        A reward that either scores every report or raises RewardError, within the time limit.

    Raises:
        ConfigError: a key or value is wrong.
        ModelError: weights are missing; it names the command that gets them.
    """
    config = _read(RewardConfig, settings)
    models = (
        clinical if isinstance(clinical, ClinicalConfig) else _read(ClinicalConfig, clinical or {})
    )
    weights = tuple(sorted(config.weights.items()))
    key = ("adapters", config.name, weights, config.custom, config.class_rates, config.timeout_s)
    return shared((*key, clinical_key(models)), lambda: configured_reward(config, models))


def score_or_none(
    reward: Reward, candidates: Sequence[str], references: Sequence[str]
) -> list[float | None]:
    """Score reports all in one call; if that fails, each group on its own.

    Args:
        reward: What scores.
        candidates: N reports.
        references: N reference reports; neighbours with the same one are a group.

    Returns:
        N totals; None for every report of a group that cannot be scored (the reason is logged).
    """
    try:
        return list(checked_scores(reward, candidates, references).total.tolist())
    except RewardError as error:
        groups = [list(rows) for _, rows in groupby(range(len(references)), references.__getitem__)]
        if len(groups) == 1:
            _LOG.warning("a group is dropped, scoring failed: %s", error)
            return [None] * len(candidates)
    return [
        total
        for rows in groups
        for total in score_or_none(
            reward, [candidates[row] for row in rows], [references[row] for row in rows]
        )
    ]


def _read(kind: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """Build a configuration from a mapping, such as a section of an OmegaConf tree."""
    try:
        config: ConfigT = validated(kind, _plain(values))
    except ConfigError as error:
        raise ConfigError(f"settings: {error}") from None
    return config


def _plain(value: Any) -> Any:
    """Turn mappings of any kind into dictionaries."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
