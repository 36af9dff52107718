"""How a step is cut into passes and shared by processes changes the cost, not the result."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from accelerate import PartialState
from safetensors.torch import load_file

from editgrpo.config import LossType, ObjectiveConfig, OptimConfig, TrainConfig
from editgrpo.errors import ConfigError
from editgrpo.recipes import dump_config
from editgrpo.training.run.arguments import training_arguments
from editgrpo.training.train import run_training
from tests.training.tiny_run import Tiny, largest_difference

pytestmark = pytest.mark.slow


def config_of(tiny: Tiny, output: Path, **changes: Any) -> TrainConfig:
    """Return a run of two steps with eight prompts."""
    settings = {"steps": 2, "prompts_per_step": 8, "tokens_per_pass": 100_000} | changes
    return tiny.train_config(output, optim=OptimConfig(learning_rate=1e-4), **settings)


def metrics_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_equal_runs(left: Path, right: Path) -> None:
    one, two = metrics_of(left), metrics_of(right)
    assert len(one) == len(two) >= 2
    for row, other in zip(one, two, strict=True):
        assert list(row) == list(other)
        # Sums in another order; the loss itself is near zero, so its tolerance is absolute.
        assert row == pytest.approx(other, rel=1e-4, abs=1e-5)
    if (left / "rollouts.jsonl").exists():
        assert (left / "rollouts.jsonl").read_text() == (right / "rollouts.jsonl").read_text()
    weights = [load_file(run / "model/model.safetensors") for run in (left, right)]
    difference, name = largest_difference(*weights)
    # Adam divides by the gradient's size: where it is noise, a step may differ by its length, 1e-4.
    assert difference < 2e-4, name
    moved = [(weights[0][n] - weights[1][n]).abs().mean() for n in weights[0]]
    assert max(float(value) for value in moved) < 2e-6


@pytest.fixture(scope="module", params=list(LossType))
def one_pass(
    tiny: Tiny, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LossType, Path]:
    run = tmp_path_factory.mktemp("one-pass") / "run"
    run_training(config_of(tiny, run, objective=ObjectiveConfig(loss=request.param)))
    return request.param, run


@pytest.mark.parametrize("tokens_per_pass", [1, 300, 600])
def test_the_token_budget_of_a_pass_changes_nothing(
    tiny: Tiny, tmp_path: Path, one_pass: tuple[LossType, Path], tokens_per_pass: int
) -> None:
    loss, expected = one_pass
    objective = ObjectiveConfig(loss=loss)
    run = tmp_path / "run"
    changes = {"tokens_per_pass": tokens_per_pass, "objective": objective}
    run_training(config_of(tiny, run, **changes))
    assert_equal_runs(expected, run)


def run_in_two_processes(config: TrainConfig) -> None:
    recipe = Path(config.output).with_suffix(".yaml")
    recipe.write_text(dump_config(config), encoding="utf-8")
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words += ["-m", "editgrpo", "train", str(recipe)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # Each process writes its generator's state: proof that there were two.
    assert list(Path(config.output).glob("checkpoints/*/rng_state_1.pth"))


def test_two_processes_train_as_one_does(tiny: Tiny, tmp_path: Path) -> None:
    one, two = (config_of(tiny, tmp_path / name, tokens_per_pass=300) for name in ("one", "two"))
    run_training(one)
    run_in_two_processes(two)
    assert_equal_runs(tmp_path / "one", tmp_path / "two")


def test_prompts_that_processes_cannot_share_are_refused(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PartialState._shared_state, "num_processes", 3)
    with pytest.raises(ConfigError, match=r"prompts_per_step is 8; .* number of processes \(3\)"):
        training_arguments(config_of(tiny, tmp_path / "run"))
