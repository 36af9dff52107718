"""A loss that is no number is said, and ends the run; transformers would log the mean instead."""

import math
from pathlib import Path

import pytest

from editgrpo.config import OptimConfig, SFTConfig
from editgrpo.errors import TrainingError
from editgrpo.files import read_jsonl
from editgrpo.training.run.divergence import check_finite
from editgrpo.training.sft import run_sft
from editgrpo.training.train import run_training
from tests.training.tiny_run import Tiny

pytestmark = pytest.mark.slow

# Weights of the size of the learning rate: the next forward pass overflows float32.
TOO_LARGE = OptimConfig(learning_rate=1e30)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_named(value: float) -> None:
    check_finite({"step": 3, "loss": 1.0})
    with pytest.raises(TrainingError, match=rf"^step 3: grad_norm is {value}, .*learning_rate"):
        check_finite({"step": 3, "loss": 1.0, "grad_norm": value})


def test_fine_tuning_that_diverges_ends_in_one_line(tiny: Tiny, tmp_path: Path) -> None:
    config = SFTConfig(
        model=tiny.model(),
        data=tiny.data(validation_limit=2),
        optim=TOO_LARGE,
        max_steps=4,
        batch_size=4,
        output=str(tmp_path / "run"),
    )
    with pytest.raises(TrainingError, match=r"^step 2: loss is nan, the run has diverged"):
        run_sft(config)
    rows = [row for _, row in read_jsonl(tmp_path / "run/metrics.jsonl")]
    assert [row["step"] for row in rows] == [1]


def test_reinforcement_learning_that_diverges_ends_too(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.train_config(tmp_path / "run", optim=TOO_LARGE)
    with pytest.raises(TrainingError, match=r"^step 2: "):
        run_training(config)
