"""However a run is shared by processes, with whole copies or with shards, it trains as one process
does."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from editgrpo.config import (
    EditConfig,
    EditLevel,
    EditWhen,
    OptimConfig,
    PromptOrder,
    RolloutConfig,
    SFTConfig,
    TrainConfig,
)
from editgrpo.errors import ConfigError
from editgrpo.recipes import dump_config
from editgrpo.recipes.published_files import find_published
from editgrpo.training.policy.load import load_for_inference
from editgrpo.training.sft import run_sft
from editgrpo.training.train import run_training
from tests.smoke.test_accumulation import metrics_of
from tests.training.tiny_run import Tiny, largest_difference

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
NEEDS_DEEPSPEED = pytest.mark.skipif(
    find_spec("deepspeed") is None, reason="DeepSpeed is not installed"
)
KINDS = ["ddp", "fsdp2", pytest.param("zero3", marks=NEEDS_DEEPSPEED)]


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


def sft_config_of(tiny: Tiny, output: Path, *, frozen: bool) -> SFTConfig:
    """Return three steps of eight studies, in passes of two studies."""
    return SFTConfig(
        model=tiny.model(freeze_vision_tower=frozen, gradient_checkpointing=True),
        data=tiny.data(validation_limit=4),
        optim=OptimConfig(learning_rate=1e-4),
        max_steps=3,
        batch_size=8,
        micro_batch_size=2,
        max_completion_tokens=8,
        output=str(output),
    )


def launch(launcher: str, config: TrainConfig | SFTConfig, *words: str, processes: int = 2) -> None:
    """Run the command line under one of the shipped launch files, on processes of this CPU."""
    kind = "sft" if isinstance(config, SFTConfig) else "train"
    recipe = Path(config.output).with_suffix(".yaml")
    recipe.write_text(dump_config(config), encoding="utf-8")
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--config_file", str(find_published(launcher).path)]
    command += ["--num_processes", str(processes)]
    command += ["--mixed_precision", "no", "--main_process_port", "0"]
    command += [str(Path(__file__).with_name("on_cpu.py")), kind, str(recipe), *words]
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
    assert len(rows) == len(others) >= 3
    for row, other in zip(rows, others, strict=True):
        # Sums in another order; the loss itself is near zero, so its tolerance is absolute.
        assert row == pytest.approx(other, rel=1e-4, abs=1e-5)
    # A group that crossed processes would have other companions, and so other advantages.
    if (one / "rollouts.jsonl").exists():
        assert (one / "rollouts.jsonl").read_text() == (two / "rollouts.jsonl").read_text()
    weights = [
        dict(load_for_inference(run / "model", dtype=None).named_parameters()) for run in (one, two)
    ]
    difference, name = largest_difference(*weights)
    # Adam divides by the gradient's size: where it is noise, a step may differ by its length, 1e-4.
    assert difference < 3e-4, name
    start = dict(tiny.load().named_parameters())
    moved = max(float((weights[0][n] - start[n]).detach().abs().mean()) for n in start)
    apart = max(float((weights[0][n] - weights[1][n]).detach().abs().mean()) for n in start)
    assert apart < moved / 100


@pytest.fixture(scope="module", params=[False, True], ids=["tower trained", "tower frozen"])
def one_process(
    mixed: Tiny, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bool, Path]:
    run = tmp_path_factory.mktemp("one-process") / "run"
    run_training(config_of(mixed, run, frozen=request.param))
    return request.param, run


@pytest.fixture(scope="module", params=KINDS)
def two_processes(
    mixed: Tiny,
    one_process: tuple[bool, Path],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    run = tmp_path_factory.mktemp("two-processes") / "run"
    launch(request.param, config_of(mixed, run, frozen=one_process[0]))
    return request.param, run


def test_two_processes_train_as_one_does(
    mixed: Tiny, one_process: tuple[bool, Path], two_processes: tuple[str, Path]
) -> None:
    assert_trains_as(mixed, one_process[1], two_processes[1])


@pytest.mark.parametrize("launcher", KINDS)
def test_two_processes_edit_on_demand_as_one_does(
    mixed: Tiny, tmp_path: Path, launcher: str
) -> None:
    """Also where one process has studies to sample a second time and the other has none."""
    runs = [
        replace(
            config_of(mixed, tmp_path / name, frozen=True),
            edit=EditConfig(when=EditWhen.UNSAID),
            rollout=RolloutConfig(group_size=8, max_completion_tokens=24),
        )
        for name in ("one", "two")
    ]
    run_training(runs[0])
    shares = [row["edits/groups"] for row in metrics_of(tmp_path / "one")]
    assert any(0 < share < 1 for share in shares), shares
    launch(launcher, runs[1])
    assert_trains_as(mixed, tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize("one_process", [False], indirect=True, ids=["tower trained"])
def test_their_run_is_resumed_as_if_it_had_not_been_stopped(
    mixed: Tiny, tmp_path: Path, one_process: tuple[bool, Path], two_processes: tuple[str, Path]
) -> None:
    """Whole copies and FSDP's shards on another number of processes; DeepSpeed wants the same."""
    launcher, whole = two_processes
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for late in ("model", "checkpoints/checkpoint-2", "checkpoints/checkpoint-3"):
        shutil.rmtree(run / late)
    config = config_of(mixed, run, frozen=False)
    processes = {"ddp": 1, "fsdp2": 4, "zero3": 2}[launcher]
    if processes == 1:
        run_training(config, resume=True)
    else:
        launch(launcher, config, "--resume", processes=processes)
    assert_trains_as(mixed, one_process[1], run)
    # Each process writes its generator's state: proof of their number.
    states = len(list((run / "checkpoints/checkpoint-3").glob("rng_state*.pth")))
    assert states == processes


@pytest.mark.parametrize(
    ("launcher", "frozen"),
    # A missing gradient stops whole copies, a layer that is not gathered shards.
    [("ddp", False), ("fsdp2", True), pytest.param("zero3", True, marks=NEEDS_DEEPSPEED)],
)
def test_two_processes_fine_tune_as_one_does(
    mixed: Tiny, tmp_path: Path, launcher: str, frozen: bool
) -> None:
    run_sft(sft_config_of(mixed, tmp_path / "one", frozen=frozen))
    launch(launcher, sft_config_of(mixed, tmp_path / "two", frozen=frozen))
    assert_trains_as(mixed, tmp_path / "one", tmp_path / "two")


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
    config = load_config_from_file(str(find_published(name).path))
    assert config.distributed_type == kinds[name]
    assert config.mixed_precision == "bf16"


def test_prompts_that_are_drawn_by_results_are_shared_by_two_processes(
    tiny: Tiny, tmp_path: Path
) -> None:
    """By hardness each step has the studies of one process; a refill is of equally many in each."""
    rollout = RolloutConfig(group_size=2, max_completion_tokens=24)
    config = replace(
        config_of(tiny, tmp_path / "one", frozen=True),
        edit=EditConfig(level=EditLevel.NONE),
        rollout=rollout,
        prompt_order=PromptOrder.BY_HARDNESS,
    )
    run_training(config)
    launch("ddp", replace(config, output=str(tmp_path / "two")))
    assert_trains_as(tiny, tmp_path / "one", tmp_path / "two")

    dynamic = replace(rollout, dynamic_sampling=True, max_draws=3)
    launch("ddp", replace(config, rollout=dynamic, output=str(tmp_path / "dynamic")))
    rows = metrics_of(tmp_path / "dynamic")
    assert [row["prompts/drawn"] % 2 for row in rows] == [0, 0, 0]
    assert sum(row["prompts/drawn"] for row in rows) > 24, "nothing was refilled"
    assert all(8 <= row["prompts/drawn"] <= 18 for row in rows)
    assert all(row["prompts/draws"] == 3 or not row["prompts/without_signal"] for row in rows)
