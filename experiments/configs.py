"""From an arm at a stage to the configuration of its run."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from editgrpo.config import SFTConfig, TrainConfig
from editgrpo.demo.places import RECIPES
from editgrpo.demo.plan import TestSet
from editgrpo.recipes import layered_recipe
from editgrpo.recipes.values import plain_value
from experiments.corpora import shown_data
from experiments.definitions import BASE, Arm, Data, Method, Stage
from experiments.places import REPOSITORY, Places

_RECIPE_OF_METHOD = {Method.SFT: "sft.yaml", Method.RL: "editgrpo.yaml"}
# Where things lie says nothing about a result.
_PLACES = ("model.path", "data.folder", "data.prompt_template", "output", "reward.class_rates")


def run_config(
    stage: Stage, arms: Mapping[str, Arm], name: str, seed: int, places: Places
) -> SFTConfig | TrainConfig:
    """Return the configuration of an arm's run.

    The demo's recipe of the method lies at the bottom; above it the stage's settings of the method,
    those of the arm, and those of the arm at this stage.

    Args:
        stage: The stage.
        arms: All arms.
        name: Which of them.
        seed: Of the run.
        places: Where studies and runs are.

    Returns:
        The configuration.

    Raises:
        ConfigError: a setting is unknown or out of range; the message names stage and arm.
    """
    arm = arms[name]
    recipe, layers = RECIPES / _RECIPE_OF_METHOD[arm.method], _layers(stage, arm, name)
    config: SFTConfig | TrainConfig
    if arm.method is Method.SFT:
        config = layered_recipe(recipe, SFTConfig, layers)
    else:
        config = layered_recipe(recipe, TrainConfig, layers)
    shown = shown_data(places.studies / stage.training_corpus(arm.data, seed).folder_name())
    rates = str(places.run(stage.name, name, seed) / "class-rates.json")
    return replace(
        config,
        model=replace(config.model, path=start_model(stage, arm, seed, places)),
        data=replace(config.data, folder=shown.folder, prompt_template=shown.prompt_template),
        reward=replace(config.reward, class_rates=rates if arm.class_rates else None),
        seed=seed,
        output=str(places.run(stage.name, name, seed)),
    )


def start_model(stage: Stage, arm: Arm, seed: int, places: Places) -> str:
    """Return the folder of the model that an arm starts from."""
    if arm.start == BASE:
        return str(REPOSITORY / stage.base)
    return str(places.run(stage.name, arm.start, seed) / stage.start_folder)


def _layers(stage: Stage, arm: Arm, name: str) -> list[tuple[str, Mapping[str, Any]]]:
    of_method = stage.sft if arm.method is Method.SFT else stage.rl
    return [
        (f"stage {stage.name}, {arm.method.value}", of_method),
        (f"arm {name}", arm.settings),
        (f"stage {stage.name}, arm {name}", stage.arms.get(name, {})),
    ]


def recorded_config(config: SFTConfig | TrainConfig) -> dict[str, Any]:
    """Return a configuration for a result file, without the names of folders."""
    record: dict[str, Any] = plain_value(config)
    for key in _PLACES:
        *sections, last = key.split(".")
        section = record
        for one in sections:
            section = section[one]
        section.pop(last, None)
    return record


def fingerprint(stage: Stage, arms: Mapping[str, Arm], name: str) -> str:
    """Name all that decides an arm's results at a stage, its seed and the code apart.

    Args:
        stage: The stage.
        arms: All arms.
        name: Which of them.

    Returns:
        16 hexadecimal digits; other settings, data sets or starts give others.
    """
    arm = arms[name]
    facts = [
        (RECIPES / _RECIPE_OF_METHOD[arm.method]).read_text(encoding="utf-8"),
        [layer for _, layer in _layers(stage, arm, name)],
        [
            arm.method,
            arm.class_rates,
            stage.redraw,
            stage.start_folder,
            *(["validation"] * arm.validates),
        ],
        asdict(stage.corpora[stage.sft_corpus if arm.data is Data.SFT else stage.rl_corpus]),
        [asdict(stage.test_corpus(test_set)) for test_set in TestSet],
        stage.base if arm.start == BASE else fingerprint(stage, arms, arm.start),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
