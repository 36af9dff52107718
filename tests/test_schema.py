"""The JSON schemas of recipes, and what a configuration refuses from Python."""

import json
from typing import Any

import pytest

from editgrpo.cli import main
from editgrpo.config import (
    ClinicalConfig,
    DataConfig,
    EditConfig,
    EditLevel,
    ModelConfig,
    RewardConfig,
    SFTConfig,
    TrainConfig,
)
from editgrpo.errors import ConfigError
from editgrpo.recipes.schema import recipe_schema
from editgrpo.recipes.values import plain_value


def properties(kind: type, *sections: str) -> dict[str, Any]:
    found = recipe_schema(kind)["properties"]
    for name in sections:
        found = found[name].get("anyOf", [found[name]])[0]["properties"]
    return found  # type: ignore[no-any-return]


def test_a_key_has_its_type_limits_default_and_meaning() -> None:
    optim = properties(SFTConfig, "optim")
    assert optim["learning_rate"] == {
        "type": "number",
        "exclusiveMinimum": 0,
        "default": 1e-5,  # of its place: by itself the section has 1e-6
        "description": "Peak learning rate. Paper: 1e-6 for reinforcement learning.",
    }
    assert optim["schedule"]["enum"] == ["constant", "constant_with_warmup", "linear", "cosine"]
    assert properties(TrainConfig)["seed"]["maximum"] == 2**32 - 1
    assert "maximum" not in properties(TrainConfig)["steps"]
    limit = properties(TrainConfig, "data")["train_limit"]
    assert limit["anyOf"] == [{"type": "integer", "minimum": 1}, {"type": "null"}]
    assert limit["description"].endswith("null uses all.")
    assert properties(TrainConfig, "model", "lora")["rank"]["default"] == 16


@pytest.mark.parametrize("kind", [SFTConfig, TrainConfig])
def test_the_defaults_of_a_schema_are_the_configuration(kind: type) -> None:
    def defaults(schema: dict[str, Any]) -> Any:
        if "properties" not in schema:
            return schema["default"]
        assert schema["additionalProperties"] is False
        return {name: defaults(one) for name, one in schema["properties"].items()}

    schema = recipe_schema(kind)
    assert schema["properties"].pop("extends")["type"] == "string"
    assert defaults(schema) == plain_value(kind())
    assert "$ref" not in json.dumps(schema)


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["recipes", "schema", "train"])
    assert stop.value.code == 0
    assert json.loads(capsys.readouterr().out) == recipe_schema(TrainConfig)


@pytest.mark.parametrize(
    ("kind", "values", "complaint"),
    [
        (TrainConfig, {"steps": "3"}, "steps is '3'; it must be a whole number"),
        (TrainConfig, {"steps": 2**63}, f"steps is {2**63}; it must be a whole number"),
        (TrainConfig, {"steqs": 3}, "unknown key steqs; did you mean steps?"),
        (DataConfig, {"train_limit": True}, "data.train_limit is True; it must be a whole number"),
        (ModelConfig, {"freeze_vision_tower": 1}, "model.freeze_vision_tower is 1; it must be tr"),
        (RewardConfig, {"timeout_s": "9"}, "reward.timeout_s is '9'; it must be a finite number"),
        (RewardConfig, {"weights": {"a": True}}, "reward.weights.a is True; it must be a finite"),
        (RewardConfig, {"weights": {3: 1.0}}, "reward.weights.3 is 3; it must be text"),
        (
            EditConfig,
            {"level": "non"},
            "edit.level is 'non'; it must be one of sentence, report",
        ),
        (TrainConfig, {"edit": None}, "edit is None; it must be a section with keys level, "),
    ],
)
def test_a_configuration_made_in_python_is_checked_like_a_recipe(
    kind: type, values: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        kind(**values)
    assert str(caught.value).startswith(complaint)


def test_no_password_of_a_judge_is_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        ClinicalConfig(green_endpoint="http://me:secret@host")
    assert caught.value.__cause__ is None
    assert "secret" not in str(caught.value)


def test_values_take_the_types_of_their_fields() -> None:
    assert EditConfig(level="none").level is EditLevel.NONE  # type: ignore[arg-type]
    weight = RewardConfig(weights={"a": 1}).weights["a"]
    assert isinstance(weight, float)
