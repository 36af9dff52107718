"""A reward from plain settings, and groups that cannot be scored."""

import logging
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from editgrpo.adapters import load_shared_reward
from editgrpo.adapters.reward import score_or_none
from editgrpo.config import ClinicalConfig, Target
from editgrpo.errors import ConfigError
from editgrpo.metrics.class_rates import class_rates, write_class_rates
from editgrpo.reports.chexpert import FINDINGS
from editgrpo.rewards import load_reward
from tests.adapters.fakes import LengthReward

CANDIDATE, REFERENCE = "The heart is enlarged. No pneumothorax.", "The heart is enlarged."


def test_it_is_the_package_s_reward() -> None:
    weights = {"entity_f1/partial@rules": 2.0}
    ours = load_shared_reward(name="rules", weights=weights).score([CANDIDATE], [REFERENCE])
    expected = load_reward("rules", weights).score([CANDIDATE], [REFERENCE])
    assert ours.total == expected.total
    assert dict(ours.components) == dict(expected.components)


def test_equal_requests_share_one_reward_and_others_do_not() -> None:
    # A configuration may come as a mapping of any kind, as OmegaConf's sections do.
    section = MappingProxyType({"device": "cpu", "sources": MappingProxyType({"chexbert": "/m"})})
    config = ClinicalConfig(device="cpu", sources={"chexbert": "/m"})
    first = load_shared_reward(name="rules", clinical=section)
    assert load_shared_reward(name="rules", clinical=config) is first
    assert load_shared_reward(clinical=config) is first
    assert load_shared_reward(clinical=config, timeout_s=5.0) is not first
    assert load_shared_reward() is not first


def test_class_rates_of_an_impression_are_taken_though_no_trainer_says_what_is_written(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rates.json"
    labels_NF = np.eye(4, len(FINDINGS), dtype=np.uint8)
    write_class_rates(
        path, replace(class_rates(labels_NF, labeler="rules"), target=Target.IMPRESSION)
    )
    weights = {"rules/report-inverse-frequency-14": 1.0}
    reward = load_shared_reward(name="rules", weights=weights, class_rates=str(path))
    assert reward.score([REFERENCE], [REFERENCE]).total.tolist() == [pytest.approx(4.0)]  # 1 a part


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": {}}, "unknown key reward.weight; .*weights"),
        ({"name": "rule"}, "did you mean 'rules'"),
        ({"weights": {"green@radllama2-7b": 1.0}}, "green"),
        ({"clinical": {"devise": "cpu"}}, "clinical.devise"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_shared_reward(**settings)  # type: ignore[arg-type]


def test_only_the_group_that_cannot_be_scored_has_no_scores(
    caplog: pytest.LogCaptureFixture,
) -> None:
    references = ["one", "one", "two", "two", "three"]
    with caplog.at_level(logging.WARNING):
        scores = score_or_none(
            LengthReward(fails=["two"]), ["a", "bb", "c", "dd", "eee"], references
        )
    assert scores == [1.0, 2.0, None, None, 3.0]
    assert [record.getMessage() for record in caplog.records] == [
        "a group is dropped, scoring failed: the scorer is broken"
    ]


def test_groups_are_scored_together_where_nothing_fails() -> None:
    reward = LengthReward()
    assert score_or_none(reward, ["a", "bb"], ["one", "two"]) == [1.0, 2.0]
    assert reward.calls == [2]
    assert score_or_none(reward, [], []) == []


def test_a_bug_is_not_taken_for_a_failure() -> None:
    with pytest.raises(TypeError):
        score_or_none(LengthReward(fails=["one"], error=TypeError()), ["a"], ["one"])
