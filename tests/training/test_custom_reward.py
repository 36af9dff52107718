"""A run whose reward holds a component of one's own."""

import sys
from pathlib import Path

import pytest

from editgrpo.config import RewardConfig, TrainConfig
from editgrpo.files import read_jsonl
from editgrpo.recipes import load_recipe
from editgrpo.training.train import run_training
from tests.training.tiny_run import Tiny


@pytest.mark.slow
def test_a_run_trains_on_it(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_length.py").write_text(
        "def score(reports, references):\n    return [len(report) / 100 for report in reports]\n"
    )
    monkeypatch.chdir(tmp_path)
    reward = RewardConfig(custom="own_length:score")
    run_training(tiny.train_config(tmp_path / "run", reward=reward, steps=1))
    sys.modules.pop("own_length", None)
    rows = [row for _, row in read_jsonl(tmp_path / "run/metrics.jsonl") if "loss" in row]
    assert any("own_length:score" in name for name in rows[0])
    loaded = load_recipe(tmp_path / "run/config.yaml", TrainConfig)
    assert loaded.reward.custom == "own_length:score"
