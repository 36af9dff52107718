"""However a run is shared by processes, with whole copies or with shards, it trains as one process
does."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from editgrpo.config import OptimConfig, TrainConfig
from editgrpo.errors import ConfigError
from editgrpo.recipes import dump_config
from editgrpo.training.models import load_for_inference
from editgrpo.training.train import run_training
from tests.smoke.test_accumulation import metrics_of
from tests.training.tiny_run import Tiny, largest_difference

REPOSITORY = Path(__file__).resolve().parents[2]
LAUNCHERS = REPOSITORY / "recipes/accelerate"
NEEDS_DEEPSPEED = pytest.mark.skipif(
    find_spec("deepspeed") is None, reason="DeepSpeed is not installed"
)


def config_of(tiny: Tiny, output: Path, *, frozen: bool) -> TrainConfig:
    """Return three steps of eight prompts, in some three passes a process."""
    return tiny.train_config(
        output,
        model=tiny.model(freeze_vision_tower=frozen, gradient_checkpointing=True),
        optim=OptimConfig(learning_rate=1e-4),
        steps=3,
        save_every=1,
        keep_checkpoints=3,
        prompts_per_step=8,
        tokens_per_pass=400,
    )


def run_in_two_processes(launcher: str, config: TrainConfig, *words: str) -> None:
    """Run the command line under one of the shipped launch files, on two processes of this CPU."""
    recipe = Path(config.output).with_suffix(".yaml")
    recipe.write_text(dump_config(config), encoding="utf-8")
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--config_file", str(LAUNCHERS / f"{launcher}.yaml"), "--num_processes", "2"]
    command += ["--mixed_precision", "no", "--main_process_port", "0"]
    command += [str(Path(__file__).with_name("on_cpu.py")), "train", str(recipe), *words]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "DS_ACCELERATOR": "cpu",
    }
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=150, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr[-3000:]


def assert_trains_as(tiny: Tiny, one: Path, two: Path) -> None:
    """Compare metrics, rollouts and weights of a run of one process with one of two."""
    rows, others = metrics_of(one), metrics_of(two)
    assert len(rows) == len(others) == 3
    for row, other in zip(rows, others, strict=True):
        # Sums in another order; the loss itself is near zero, so its tolerance is absolute.
        assert row == pytest.approx(other, rel=1e-4, abs=1e-5)
    # A group that crossed processes would have other companions, and so other advantages.
    assert (one / "rollouts.jsonl").read_text() == (two / "rollouts.jsonl").read_text()
    weights = [
        dict(load_for_inference(run / "model", dtype=None).named_parameters()) for run in (one, two)
    ]
    difference, name = largest_difference(*weights)
    # Adam divides by the gradient's size: where it is noise, a step may differ by its length, 1e-4.
    assert difference < 3e-4, name
    start = dict(tiny.load().named_parameters())
    moved = max(float((weights[0][n] - start[n]).abs().mean()) for n in start)
    apart = max(float((weights[0][n] - weights[1][n]).abs().mean()) for n in start)
    assert apart < moved / 100


@pytest.fixture(scope="module", params=[False, True], ids=["tower trained", "tower frozen"])
def one_process(
    tiny: Tiny, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bool, Path]:
    run = tmp_path_factory.mktemp("one-process") / "run"
    run_training(config_of(tiny, run, frozen=request.param))
    return request.param, run


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["ddp", "fsdp2", pytest.param("zero3", marks=NEEDS_DEEPSPEED)])
def test_two_processes_train_as_one_does(
    tiny: Tiny, tmp_path: Path, one_process: tuple[bool, Path], launcher: str
) -> None:
    frozen, one = one_process
    two = config_of(tiny, tmp_path / "two", frozen=frozen)
    run_in_two_processes(launcher, two)
    assert_trains_as(tiny, one, tmp_path / "two")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["fsdp2", pytest.param("zero3", marks=NEEDS_DEEPSPEED)])
def test_shards_are_resumed(tiny: Tiny, tmp_path: Path, launcher: str) -> None:
    run_training(config_of(tiny, tmp_path / "one", frozen=False))
    two = config_of(tiny, tmp_path / "two", frozen=False)
    run_in_two_processes(launcher, two)
    for late in ("model", "checkpoints/checkpoint-2", "checkpoints/checkpoint-3"):
        shutil.rmtree(tmp_path / "two" / late)
    run_in_two_processes(launcher, two, "--resume")
    assert_trains_as(tiny, tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, "add --mixed_precision no"),
        (
            {"ACCELERATE_USE_FSDP": "true", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"},
            "without the weights of the vision tower",
        ),
    ],
)
def test_a_launch_that_does_not_fit_is_refused(
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    message: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        run_training(config_of(tiny, tmp_path / "run", frozen=True))


@pytest.mark.parametrize("name", ["ddp", "fsdp2", "zero3"])
def test_accelerate_reads_every_launch_file(name: str) -> None:
    kinds = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero3": "DEEPSPEED"}
    config = load_config_from_file(str(LAUNCHERS / f"{name}.yaml"))
    assert config.distributed_type == kinds[name]
    assert config.mixed_precision == "bf16"
