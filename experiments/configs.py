"""From an arm at a stage to the configuration of its run."""

from collections.abc import Mapping
from dataclasses import replace
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
# Where things lie says nothing about a result, and seeds belong together.
_APART = (
    "seed",
    "model.path",
    "data.folder",
    "data.prompt_template",
    "output",
    "reward.class_rates",
)


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


def made_with(stage: Stage, arms: Mapping[str, Arm], name: str) -> dict[str, Any]:
    """State all that decides an arm's results at a stage, its seed and the code apart.

    Args:
        stage: The stage.
        arms: All arms.
        name: Which of them.

    Returns:
        What a result file records, as JSON has it: the whole configuration, data, tests, start.
    """
    arm = arms[name]
    return {
        "config": _recorded(run_config(stage, arms, name, 0, Places())),
        "class_rates": arm.class_rates,
        "redraw": stage.redraw,
        "training_set": plain_value(
            stage.corpora[stage.sft_corpus if arm.data is Data.SFT else stage.rl_corpus]
        ),
        "test_sets": ["validation"]
        if arm.validates
        else [plain_value(stage.test_corpus(test_set)) for test_set in TestSet],
        "start": stage.base
        if arm.start == BASE
        else {"model": stage.start_folder, "made_with": made_with(stage, arms, arm.start)},
    }


def _recorded(config: SFTConfig | TrainConfig) -> dict[str, Any]:
    record: dict[str, Any] = plain_value(config)
    for key in _APART:
        *sections, last = key.split(".")
        section = record
        for one in sections:
            section = section[one]
        section.pop(last, None)
    return record


def departure(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Say in what a result was made differently than its arm would be now.

    A setting that one of them does not know is no difference as long as it has its default: it came
    between them.

    Args:
        recorded: `made_with` of the result.
        now: `made_with` of its stage and arm, or of another seed's result.

    Returns:
        The first dotted key that differs, with both values; None if nothing does.
    """
    then, today = _leaves(recorded), _leaves(now)
    for key in [*today, *(key for key in then if key not in today)]:
        default = _DEFAULTS.get(key.rpartition("config.")[2], _NONE)
        old, new = then.get(key, default), today.get(key, default)
        if old != new:
            return f"{key} {_shown(old)}, now {_shown(new)}"
    return None


_NONE = object()


def _shown(value: object) -> str:
    return "absent" if value is _NONE else repr(value)


def _leaves(record: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found = {}
    for key, value in record.items():
        if isinstance(value, Mapping) and value:
            found |= _leaves(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = value
    return found


_DEFAULTS = _leaves(plain_value(SFTConfig())) | _leaves(plain_value(TrainConfig()))
