"""Which processes may start a run, and which may go on with it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from accelerate import DistributedType, PartialState

from editgrpo.config import LoraConfig, ModelConfig, RolloutConfig, SFTConfig, TrainConfig
from editgrpo.errors import ConfigError, DataError, TrainingError
from editgrpo.ownership import is_lock
from editgrpo.provenance import write_provenance
from editgrpo.training.run.folder import append_line, mark_complete
from editgrpo.training.run.inputs import run_inputs, write_inputs
from editgrpo.training.run.launch import begin_run, processes_of_launch
from editgrpo.training.sft import run_sft
from editgrpo.training.train import run_training
from tests.training.tiny_run import Tiny

KINDS = {
    "copies": {},
    "fsdp": {"ACCELERATE_USE_FSDP": "true"},
    "deepspeed": {"ACCELERATE_USE_DEEPSPEED": "true"},
}


def begin(
    monkeypatch: pytest.MonkeyPatch,
    run: Path,
    launch: tuple[int, str],
    *,
    resume: bool,
    **settings: Any,
) -> Path | None:
    processes, kind = launch
    assert processes_of_launch() == 1
    with monkeypatch.context() as patch:
        patch.setitem(PartialState._shared_state, "num_processes", processes)
        patch.setitem(PartialState._shared_state, "distributed_type", DistributedType.MULTI_CPU)
        for name, value in KINDS[kind].items():
            patch.setenv(name, value)
        config = TrainConfig(output=str(run), **settings)
        return begin_run(config, resume=resume, command="")


def started(monkeypatch: pytest.MonkeyPatch, run: Path, launch: tuple[int, str]) -> Path:
    """Start a run and leave a checkpoint."""
    assert begin(monkeypatch, run, launch, resume=False) is None
    checkpoint = run / "checkpoints/checkpoint-1"
    checkpoint.mkdir(parents=True)
    mark_complete(checkpoint)
    return checkpoint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "now"),
    [
        ((2, "copies"), (1, "copies")),
        ((1, "copies"), (4, "copies")),
        ((2, "fsdp"), (4, "fsdp")),
        ((2, "deepspeed"), (2, "deepspeed")),
        ((2, "fsdp"), (1, "fsdp")),
    ],
)
def test_processes_that_can_read_the_checkpoints_go_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[int, str],
    now: tuple[int, str],
) -> None:
    """tests/smoke/test_sharded.py shows that they go on as if they had not stopped."""
    checkpoint = started(monkeypatch, tmp_path, before)
    assert begin(monkeypatch, tmp_path, now, resume=True) == checkpoint


def test_a_run_that_resumes_nothing_says_that_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "absent"
    with caplog.at_level("INFO", logger="editgrpo"):
        assert begin(monkeypatch, run, (1, "copies"), resume=True) is None
        started(monkeypatch, tmp_path / "new", (1, "copies"))
        begin(monkeypatch, tmp_path / "new", (1, "copies"), resume=True)
    assert caplog.messages == [f"nothing to resume in {run}; starting"]


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        (
            (2, "deepspeed"),
            (4, "deepspeed"),
            "DeepSpeed shards on 2 processes; .* DeepSpeed shards on 4 processes: launch it as it",
        ),
        ((2, "fsdp"), (1, "copies"), "FSDP shards on 2 processes; .* whole copies on 1 process:"),
        ((2, "copies"), (2, "fsdp"), "whole copies on 2 processes; .* FSDP shards on 2 processes"),
    ],
)
def test_processes_that_cannot_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[int, str],
    now: tuple[int, str],
    message: str,
) -> None:
    started(monkeypatch, tmp_path, before)
    with pytest.raises(TrainingError, match=message) as raised:
        begin(monkeypatch, tmp_path, now, resume=True)
    assert str(raised.value).startswith(f"{tmp_path}: was started")


def test_a_run_whose_provenance_does_not_say_may_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of version 0.1 do not say who started them."""
    checkpoint = started(monkeypatch, tmp_path, (2, "copies"))
    (tmp_path / "provenance.json").write_text('{"seed": 0}')
    assert begin(monkeypatch, tmp_path, (2, "fsdp"), resume=True) == checkpoint


def test_the_launchers_variables_alone_shard_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may stand in a shell from which a single process is started as usual."""
    assert processes_of_launch() == 1
    monkeypatch.setitem(PartialState._shared_state, "distributed_type", DistributedType.NO)
    for variables in KINDS.values():
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
    begin_run(TrainConfig(output=str(tmp_path / "run")), resume=False, command="")
    noted = json.loads((tmp_path / "run/provenance.json").read_text())["launch"]
    assert noted == {"processes": 1, "sharding": "whole copies"}


@pytest.mark.parametrize("launch", [(2, "fsdp"), (2, "deepspeed")])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("model.lora", {"model": ModelConfig(lora=LoraConfig())}),
        ("rollout.compile", {"rollout": RolloutConfig(compile=True)}),
    ],
)
def test_what_wants_whole_copies_is_not_sharded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    launch: tuple[int, str],
    name: str,
    settings: dict[str, Any],
) -> None:
    run = tmp_path / "run"
    with pytest.raises(ConfigError, match=f"{name} needs whole copies of the model"):
        begin(monkeypatch, run, launch, resume=False, **settings)
    assert not run.exists()
    assert begin(monkeypatch, run, (2, "copies"), resume=False, **settings) is None


def left_by_a_crash(run: Path, config: TrainConfig | SFTConfig, model: Path) -> dict[str, bytes]:
    """Write what a run has after checkpoint 1, two further steps and half of checkpoint 3."""
    launch = {"processes": 1, "sharding": "whole copies"}
    write_provenance(run, config=config, seed=config.seed, command="", launch=launch)
    write_inputs(run, run_inputs(config, model), None)
    for name in ("metrics.jsonl", "timings.jsonl", "rollouts.jsonl"):
        for step in (1, 2, 3):
            append_line(run / name, {"step": step})
    for step in (1, 3):
        (run / f"checkpoints/checkpoint-{step}").mkdir(parents=True)
        (run / f"checkpoints/checkpoint-{step}/trainer_state.json").write_text("{}")
    mark_complete(run / "checkpoints/checkpoint-1")
    return content(run)


def content(run: Path) -> dict[str, bytes]:
    files = (path for path in run.rglob("*") if path.is_file() and not is_lock(path))
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in files}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["train", "sft"])
@pytest.mark.parametrize(
    "reason", ["another setting", "another input", "a damaged record", "no settings", "{}"]
)
def test_a_run_that_may_not_go_on_keeps_all_it_has_written(
    tiny: Tiny, tmp_path: Path, kind: str, reason: str
) -> None:
    template = tmp_path / "prompt.jinja"
    template.write_text("Describe the images.")
    run = tmp_path / "run"
    data = tiny.data(prompt_template=str(template))
    rl = tiny.train_config(run)
    config: TrainConfig | SFTConfig = replace(rl, data=data)
    if kind == "sft":
        config = SFTConfig(data=data, output=str(run), model=rl.model)
    before = left_by_a_crash(run, config, tiny.checkpoint)
    message = "the template of data.prompt_template has changed"
    if reason == "another setting":
        config, message = replace(config, seed=config.seed + 1), "the run was started with seed="
    elif reason == "another input":
        template.write_text("Say what is there.")
    elif reason == "a damaged record":
        (run / "inputs.json").write_text("{")
        before, message = content(run), r"inputs\.json"
    elif reason == "no settings":
        (run / "config.yaml").unlink()
        before, message = content(run), r"no config\.yaml"
    else:
        (run / "config.yaml").write_text(reason)
        before, message = content(run), r"config\.yaml: holds no settings"
    with pytest.raises((TrainingError, DataError), match=message):
        if isinstance(config, TrainConfig):
            run_training(config, resume=True)
        else:
            run_sft(config, resume=True)
    assert content(run) == before
