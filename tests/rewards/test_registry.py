"""Names and weights, and that a mistyped one is met with the nearest."""

import math

import pytest

from editgrpo.errors import ConfigError
from editgrpo.rewards import load_reward
from editgrpo.rewards.registry import complete_weights

NAMES = ("label/micro-f1-14@rules", "entity_f1/partial@rules", "entity_similarity@rules")


@pytest.mark.parametrize(
    ("name", "message"),
    [("rule", "did you mean 'rules'"), ("radcliq", "choose one of rules")],
)
def test_unknown_reward_suggests(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_reward(name)


def test_left_out_components_weigh_one() -> None:
    assert complete_weights(NAMES, {"entity_similarity@rules": 0}) == {
        "label/micro-f1-14@rules": 1.0,
        "entity_f1/partial@rules": 1.0,
        "entity_similarity@rules": 0.0,
    }


def test_unknown_component_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'entity_similarity@rules'\?"):
        complete_weights(NAMES, {"entity_similarity": 1.0})


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_weights_must_be_finite_and_not_negative(weight: float) -> None:
    with pytest.raises(ConfigError, match="finite and 0 or more"):
        complete_weights(NAMES, {"entity_similarity@rules": weight})
