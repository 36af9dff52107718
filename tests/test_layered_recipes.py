"""Mappings that are laid over a recipe, one after another."""

from pathlib import Path

import pytest

from editgrpo.config import TrainConfig
from editgrpo.errors import ConfigError
from editgrpo.recipes import layered_recipe


def test_later_layers_win_and_what_none_names_stays(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("optim: {learning_rate: 0.1, warmup_steps: 7}\nsteps: 5\n")
    layers = [
        ("below", {"optim": {"learning_rate": 0.2}, "edit": {"level": "none"}}),
        ("above", {"optim": {"learning_rate": 0.3}}),
    ]
    config = layered_recipe(recipe, TrainConfig, layers)
    assert (config.optim.learning_rate, config.optim.warmup_steps) == (0.3, 7)
    assert (config.steps, config.edit.level) == (5, "none")
    assert layered_recipe(recipe, TrainConfig, []).optim.learning_rate == 0.1


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"optim": {"learning_rat": 1}}, "arm x: unknown key optim.learning_rat"),
        ({"optim": {"learning_rate": "fast"}}, "arm x: optim.learning_rate is 'fast'"),
        ({"optim": {"learning_rate": -1}}, "arm x: optim.learning_rate is -1"),
    ],
)
def test_a_wrong_layer_is_named(tmp_path: Path, layer: dict[str, object], words: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("steps: 5\n")
    with pytest.raises(ConfigError, match=words):
        layered_recipe(recipe, TrainConfig, [("arm x", layer)])
