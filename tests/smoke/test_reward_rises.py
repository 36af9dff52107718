"""Twenty steps on a toy reward: the policy must learn what it is paid for."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

import editgrpo.training.train as train_module
from editgrpo.config import EditConfig, ObjectiveConfig, OptimConfig, RolloutConfig
from editgrpo.rewards.types import RewardScores
from tests.training.tiny_run import MAX_TOKENS, PLAIN, Tiny

pytestmark = pytest.mark.slow


class EffusionReward:
    """Pays 1 for a report that speaks of an effusion, whatever the image shows."""

    name = "effusion"
    component_names = ("effusion",)

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> RewardScores:
        values = np.array([float("effusion" in text) for text in candidates])
        return RewardScores(total=values, components={"effusion": values})


def rewards_of(run: Path, kind: str) -> list[float]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)[f"reward/{kind}/mean"] for line in lines]


@pytest.mark.parametrize("edit", [PLAIN, EditConfig()], ids=["plain", "edited"])
def test_the_reward_rises(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: EditConfig
) -> None:
    monkeypatch.setattr(train_module, "configured_reward", lambda *_: EffusionReward())
    config = tiny.train_config(
        tmp_path / "run",
        edit=edit,
        optim=OptimConfig(learning_rate=2e-3),
        objective=ObjectiveConfig(beta=0.0),
        rollout=RolloutConfig(group_size=8, max_completion_tokens=MAX_TOKENS),
        steps=20,
        prompts_per_step=8,
        save_every=20,
    )
    train_module.run_training(config)
    rewards = rewards_of(tmp_path / "run", "sampled")
    assert len(rewards) == 20
    first, last = fmean(rewards[:3]), fmean(rewards[-3:])
    assert first < 0.8, "no room to rise"
    assert last > first + 0.25, rewards
