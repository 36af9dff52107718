"""A component of one's own: found by its import path, weighted, and guarded as the others are."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from editgrpo.config import ClinicalConfig, RewardConfig
from editgrpo.errors import ConfigError, RewardError
from editgrpo.rewards import load_reward
from editgrpo.rewards.custom import module_hash
from editgrpo.rewards.guard import GuardedReward
from editgrpo.rewards.registry import configured_reward, reward_models

MODULE = """\
def score(reports, references):
    assert isinstance(reports, list) and isinstance(references, list)
    return [len(report.split()) / len(reference.split())
            for report, reference in zip(reports, references, strict=True)]

def short(reports, references):
    return [1.0]

def broken(reports, references):
    raise ValueError(reports[0])

constant = 3
"""
REPORT, HALF = "There is no pleural effusion today.", "No pleural effusion."  # six words, three


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module in the current folder, which is not on the path of imports."""
    (tmp_path / "own_reward.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", ".")])
    yield tmp_path
    sys.modules.pop("own_reward", None)


def test_it_is_the_whole_reward_or_a_part_of_it() -> None:
    alone = load_reward("custom", custom="own_reward:score")
    scores = alone.score([HALF, REPORT], [REPORT, REPORT])
    assert scores.total.tolist() == [0.5, 1.0]
    both = load_reward("rules", {"own_reward:score": 2.0}, custom="own_reward:score")
    scores = both.score([REPORT], [REPORT])
    assert scores.components["own_reward:score"].tolist() == [1.0]
    assert scores.total.tolist() == [3 + 2.0]  # three components of `rules`, 1 each


def test_what_states_nothing_earns_nothing() -> None:
    reward = load_reward("custom", custom="own_reward:score")
    assert reward.score(["The the the the the the."], [REPORT]).total.tolist() == [0.0]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("own_reward", "it must be module:function"),
        (":score", "it must be module:function"),
        (
            "no_such_module:score",
            "module 'no_such_module': not found; give module:function",
        ),
        ("own_reward:scroe", "own_reward has no function 'scroe'"),
        ("own_reward:constant", "own_reward has no function 'constant'"),
    ],
)
def test_what_is_no_function_is_one_line(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_reward("custom", custom=path)


@pytest.mark.parametrize(
    ("name", "message"),
    [("short", "own_reward:short: gave 1 scores for 2 reports"), ("broken", "ValueError in own_")],
)
def test_a_faulty_one_never_pays_and_its_words_are_not_told(name: str, message: str) -> None:
    config = RewardConfig(name="custom", custom="own_reward:score", timeout_s=60)
    configured_reward(config, ClinicalConfig())  # the form of a run
    reward = load_reward("custom", custom=f"own_reward:{name}")
    with pytest.raises(RewardError, match=message) as caught:
        GuardedReward(reward, timeout_s=60).score([HALF, REPORT], [REPORT, REPORT])
    assert HALF not in str(caught.value)


def test_a_run_asks_for_no_models_of_it() -> None:
    assert reward_models(RewardConfig(name="custom", custom="own_reward:score")) == ()


def test_its_source_is_hashed_and_not_run(folder: Path) -> None:
    first = module_hash("own_reward:score")
    (folder / "own_reward.py").write_text(MODULE + "raise SystemExit\n")
    assert module_hash("own_reward:score") != first
    (folder / "own_reward.py").write_text(MODULE)
    assert module_hash("own_reward:score") == first
    with pytest.raises(ConfigError, match=r"reward\.custom: module 'mistyped': not found; give "):
        module_hash("mistyped:score")
