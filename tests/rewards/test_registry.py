"""Names and weights, and that a mistyped one is met with the nearest."""

import math

import pytest

from editgrpo.errors import ConfigError
from editgrpo.rewards import load_reward
from editgrpo.rewards.registry import complete_weights

NAMES = ("rules/report-micro-f1-14", "entity_f1/partial@rules", "entity_similarity@rules")


@pytest.mark.parametrize(
    ("name", "message"),
    [("rule", "did you mean 'rules'"), ("radcliq", "choose one of rules, paper, custom")],
)
def test_unknown_reward_suggests(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_reward(name)


def test_left_out_components_weigh_one() -> None:
    assert complete_weights(NAMES, {"entity_similarity@rules": 0}) == {
        "rules/report-micro-f1-14": 1.0,
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


def test_a_component_that_is_named_is_added_to_the_sum() -> None:
    reward = load_reward("custom", {"entity_f1/partial@rules": 0.5})
    assert reward.component_names == ("entity_f1/partial@rules",)
    report = "Small left pleural effusion."
    assert reward.score([report], [report]).total.tolist() == [0.5]  # weight 0.5 times an F1 of 1


def test_a_reward_without_components_is_refused() -> None:
    with pytest.raises(ConfigError, match="name at least one component"):
        load_reward("custom")
