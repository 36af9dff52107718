"""The class for ms-swift, made and called as ms-swift 4.6.0 does."""

import pytest

from editgrpo.adapters import ms_swift
from editgrpo.adapters.ms_swift import outcome_reward
from editgrpo.errors import RewardError
from editgrpo.rewards import load_reward
from tests.adapters.fakes import LengthReward

CANDIDATES = ["The heart is enlarged.", "No pneumothorax."]
REFERENCES = ["The heart is enlarged. No pneumothorax."] * 2


def test_it_gives_the_package_s_reward() -> None:
    registered = {"editgrpo": outcome_reward(name="rules")}
    reward = registered["editgrpo"](args=object())
    columns = {"trainer_state": None, "messages": [[], []], "solution": REFERENCES}
    expected = load_reward("rules").score(CANDIDATES, REFERENCES).total.tolist()
    assert reward(CANDIDATES, **columns) == expected
    assert type(reward).__name__ == "EditGRPOReward"  # the name in ms-swift's logs


def test_the_reference_may_stand_in_another_column() -> None:
    reward = outcome_reward(column="findings")()
    assert len(reward(CANDIDATES, findings=REFERENCES, solution=None)) == 2


def test_what_cannot_be_scored_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = LengthReward(fails=REFERENCES)
    monkeypatch.setattr(ms_swift, "load_shared_reward", lambda: broken)
    with pytest.raises(RewardError):
        outcome_reward()()(CANDIDATES, solution=REFERENCES)
