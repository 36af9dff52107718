"""The same command twice gives the same bytes, and so does a run that was stopped and resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from editgrpo.config import PromptOrder, RolloutConfig, SFTConfig, TrainConfig
from editgrpo.data.study import Split
from editgrpo.errors import DataError, EditGRPOError, RunStoppedError, TrainingError
from editgrpo.files import read_jsonl
from editgrpo.recipes import dump_config, load_recipe
from editgrpo.training.generate import GenerationConfig, generate_predictions
from editgrpo.training.run.folder import last_checkpoint
from editgrpo.training.sft import run_sft
from editgrpo.training.train import run_training
from tests.training.compare_runs import assert_same_run
from tests.training.tiny_run import MAX_TOKENS, PLAIN, Tiny

pytestmark = pytest.mark.slow

# Runs a command of the CLI and dies by SIGKILL when one function is called for the n-th time.
DIE = """
import importlib, os, signal, sys
module, name, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
owner = importlib.import_module(module)
*path, name = name.split(".")
for part in path:
    owner = getattr(owner, part)
original, count = getattr(owner, name), 0
def counted(*args, **keywords):
    global count
    count += 1
    if count == calls:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **keywords)
setattr(owner, name, counted)
from editgrpo.cli import main
main(sys.argv[4:])
"""


def rl_config(tiny: Tiny, output: Path) -> TrainConfig:
    return tiny.train_config(output, steps=5)


def sft_config(tiny: Tiny, output: Path) -> SFTConfig:
    return SFTConfig(
        model=tiny.model(),
        data=tiny.data(validation_limit=4),
        epochs=2,
        batch_size=6,
        micro_batch_size=3,
        save_every=2,
        max_completion_tokens=8,
        output=str(output),
    )


@pytest.fixture(scope="module")
def whole_rl_run(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "rl"
    run_training(rl_config(tiny, run))
    return run


@pytest.fixture(scope="module")
def whole_sft_run(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "sft"
    run_sft(sft_config(tiny, run))
    return run


def die(command: str, config: Any, *, at: tuple[str, str, int]) -> None:
    """Run a command in a process of its own that is killed at the n-th call of a function."""
    recipe = Path(config.output).with_suffix(".yaml")
    recipe.write_text(dump_config(config), encoding="utf-8")
    words = [sys.executable, "-c", DIE, at[0], at[1], str(at[2]), command, str(recipe)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


def tear(run: Path, *names: str) -> None:
    """Leave half a line at the end of growing files, as a crash may."""
    for name in names:
        with (run / name).open("a") as stream:
            stream.write('{"step": 5, "loss"')


def test_the_same_run_twice_gives_the_same_bytes(
    tiny: Tiny, tmp_path: Path, whole_rl_run: Path
) -> None:
    run_training(rl_config(tiny, tmp_path / "again"))
    assert_same_run(whole_rl_run, tmp_path / "again")
    other = replace(rl_config(tiny, tmp_path / "other-seed"), seed=1, steps=1)
    run_training(other)
    one = (tmp_path / "other-seed/metrics.jsonl").read_bytes().splitlines()[0]
    assert one != (whole_rl_run / "metrics.jsonl").read_bytes().splitlines()[0]


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_run_stopped_by_sigterm_continues_as_if_it_had_not(
    tiny: Tiny, tmp_path: Path, whole_rl_run: Path, step: int
) -> None:
    run = tmp_path / "stopped"

    def stop(metrics: Mapping[str, float], _: Mapping[str, float]) -> None:
        if metrics["step"] == step:
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    # The signal comes between two steps; the one that begins is finished and saved.
    with pytest.raises(TrainingError, match=f"SIGTERM after step {step + 1}; continue with"):
        run_training(rl_config(tiny, run), on_step=stop)
    assert signal.getsignal(signal.SIGTERM) is before
    checkpoint = last_checkpoint(run)
    assert checkpoint is not None and checkpoint.name == f"checkpoint-{step + 1}"
    run_training(rl_config(tiny, run), resume=True)
    assert_same_run(whole_rl_run, run)


@pytest.fixture(scope="module")
def killed_rl_run(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed in step 4: rollouts written, loss not; its checkpoint is of step 2."""
    run = tmp_path_factory.mktemp("runs") / "killed"
    function = "tokens_of_passes"  # once a step, before the update
    die("train", rl_config(tiny, run), at=("editgrpo.training.trainer", function, 4))
    assert b'"step": 4' in (run / "rollouts.jsonl").read_bytes().replace(b'":4', b'": 4')
    tear(run, "metrics.jsonl", "timings.jsonl")
    return run


def test_a_run_killed_in_the_middle_of_a_step_continues_as_if_it_had_not(
    tiny: Tiny, tmp_path: Path, whole_rl_run: Path, killed_rl_run: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(killed_rl_run, run)
    with pytest.raises(TrainingError, match="pass --resume"):
        run_training(rl_config(tiny, run))
    run_training(rl_config(tiny, run), resume=True)
    assert_same_run(whole_rl_run, run)
    assert run_training(rl_config(tiny, run), resume=True) == run / "model"
    assert_same_run(whole_rl_run, run)


def test_a_killed_run_that_draws_by_results_continues_as_if_it_had_not_been(
    tiny: Tiny, tmp_path: Path
) -> None:
    """How many studies were drawn, and which lose turns, is in the checkpoint of step 2."""
    config = replace(
        rl_config(tiny, tmp_path / "whole"),
        edit=PLAIN,
        rollout=RolloutConfig(
            group_size=2, max_completion_tokens=MAX_TOKENS, dynamic_sampling=True, max_draws=3
        ),
        prompt_order=PromptOrder.BY_HARDNESS,
    )
    run_training(config)
    killed = replace(config, output=str(tmp_path / "killed"))
    die("train", killed, at=("editgrpo.training.trainer", "tokens_of_passes", 4))
    tear(tmp_path / "killed", "metrics.jsonl", "timings.jsonl")
    run_training(killed, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    rows = [row for _, row in read_jsonl(tmp_path / "killed/metrics.jsonl")]
    assert sum(row["prompts/drawn"] for row in rows[:2]) > 8, "nothing was refilled"


def test_a_checkpoint_without_its_marker_is_passed_over(
    tiny: Tiny, tmp_path: Path, whole_rl_run: Path, killed_rl_run: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(killed_rl_run, run)
    half = run / "checkpoints/checkpoint-3"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    (run / "checkpoints/checkpoint-2/complete").unlink()
    run_training(rl_config(tiny, run), resume=True)
    assert not half.exists()
    assert_same_run(whole_rl_run, run)


def test_a_run_is_lengthened_as_if_it_had_been_that_long(
    tiny: Tiny, tmp_path: Path, whole_rl_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    run_training(replace(rl_config(tiny, run), steps=3))
    model = (run / "model/model.safetensors").read_bytes()
    with caplog.at_level("INFO", "editgrpo"):
        assert run_training(replace(rl_config(tiny, run), steps=3), resume=True) == run / "model"
    assert "this run is finished; nothing is left to do" in caplog.text
    assert (run / "model/model.safetensors").read_bytes() == model
    with pytest.raises(TrainingError, match="was started with seed=0, not 1"):
        run_training(replace(rl_config(tiny, run), steps=3, seed=1), resume=True)
    run_training(rl_config(tiny, run), resume=True, command="editgrpo train --resume")
    for name in ("metrics.jsonl", "rollouts.jsonl", "model/model.safetensors"):
        assert (run / name).read_bytes() == (whole_rl_run / name).read_bytes(), name
    provenance = json.loads((run / "provenance.json").read_text())
    (resumed,) = provenance["resumed"]
    assert (resumed["step"], resumed["command"]) == (3, "editgrpo train --resume")
    assert resumed["git"] == provenance["git"] and resumed["versions"] == provenance["versions"]
    assert {"time", "launch", "editgrpo"} <= resumed.keys()
    assert load_recipe(run / "config.yaml", TrainConfig).steps == 5
    # A finished run is finished too for whoever asks for less, and without its checkpoints.
    assert run_training(replace(rl_config(tiny, run), steps=4), resume=True) == run / "model"
    shutil.rmtree(run / "checkpoints")
    assert run_training(rl_config(tiny, run), resume=True) == run / "model"
    with pytest.raises(TrainingError, match="finished; nothing to resume it from"):
        run_training(replace(rl_config(tiny, run), steps=6), resume=True)


@pytest.mark.parametrize("kind", ["rl", "sft"])
def test_a_run_does_not_go_on_from_another_model(tiny: Tiny, tmp_path: Path, kind: str) -> None:
    """The start model is the reference of RL, and with adapters the base of the policy."""
    shutil.copytree(tiny.checkpoint, tmp_path / "model")
    moving = replace(tiny, checkpoint=tmp_path / "model")
    make = {"rl": rl_config, "sft": sft_config}[kind]
    config: Any = make(moving, tmp_path / "run")
    run: Any = {"rl": run_training, "sft": run_sft}[kind]

    def stop(metrics: Mapping[str, float], *_: Any) -> None:
        if metrics["step"] == 1:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(RunStoppedError):
        run(config, **{"rl": {"on_step": stop}, "sft": {"on_metrics": stop}}[kind])
    weights = tmp_path / "model/model.safetensors"
    kept = weights.read_bytes()
    changed = {name: tensor + 0.01 for name, tensor in load_file(weights).items()}
    save_file(changed, weights, metadata={"format": "pt"})
    assert weights.stat().st_size == len(kept)
    with pytest.raises(TrainingError, match=r"run: model\.safetensors of model\.path has changed"):
        run(config, resume=True)
    shutil.move(tmp_path / "model", tmp_path / "moved")
    (tmp_path / "moved/model.safetensors").write_bytes(kept)
    moved = replace(config.model, path=str(tmp_path / "moved"))
    run(replace(config, model=moved), resume=True)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("checkpoints/{}/optimizer.pt", "optimizer.pt"),
        ("checkpoints/{}/scheduler.pt", "scheduler.pt"),
        ("checkpoints/{}/rng_state.pth", "state of the random generators"),
        ("checkpoints/{}/trainer_state.json", "trainer_state.json"),
        ("checkpoints/{}/model.safetensors", "weights"),
        ("config.yaml", "config.yaml"),
        ("provenance.json", "provenance.json"),
        ("inputs.json", "inputs.json"),
        ("metrics.jsonl", "metrics.jsonl, line 1"),
        ("rollouts.jsonl", "rollouts.jsonl, line 1"),
    ],
)
def test_a_damaged_file_of_a_run_is_one_line(
    tiny: Tiny, tmp_path: Path, stopped_rl_run: Path, name: str, named: str
) -> None:
    """Empty, and a few bytes of nothing: an EOFError here, a traceback there, or a silent loss."""
    for number, content in enumerate([b"", b"\x00\xff{[\n"]):
        run = tmp_path / str(number)
        shutil.copytree(stopped_rl_run, run)
        (run / name.format("checkpoint-2")).write_bytes(content)
        if content == b"" and name.endswith(".jsonl"):
            continue  # nothing is lost of what is empty
        with pytest.raises(EditGRPOError) as raised:
            run_training(rl_config(tiny, run), resume=True)
        assert named in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "trainer_state.json"])
def test_a_checkpoint_that_lacks_a_file_is_not_passed_over(
    tiny: Tiny, tmp_path: Path, stopped_rl_run: Path, name: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(stopped_rl_run, run)
    (run / "checkpoints/checkpoint-2" / name).unlink()
    with pytest.raises(TrainingError, match=name):
        run_training(rl_config(tiny, run), resume=True)


@pytest.fixture(scope="module")
def stopped_rl_run(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a checkpoint of step 2 that has not come to its end."""
    run = tmp_path_factory.mktemp("runs") / "stopped"

    def stop(metrics: Mapping[str, float], _: Mapping[str, float]) -> None:
        if metrics["step"] == 1:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(RunStoppedError):
        run_training(rl_config(tiny, run), on_step=stop)
    return run


def test_fine_tuning_twice_gives_the_same_bytes(
    tiny: Tiny, tmp_path: Path, whole_sft_run: Path
) -> None:
    run_sft(sft_config(tiny, tmp_path / "again"))
    assert_same_run(whole_sft_run, tmp_path / "again")


# 18 studies in batches of 6: an epoch is three steps, checkpoints stand after 2, 4 and 6.
@pytest.mark.parametrize("step", [1, 2, 3])
def test_fine_tuning_stopped_by_sigterm_continues_as_if_it_had_not(
    tiny: Tiny, tmp_path: Path, whole_sft_run: Path, step: int
) -> None:
    run = tmp_path / "stopped"

    def stop(metrics: Mapping[str, float]) -> None:
        if metrics["step"] == step:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(TrainingError, match="SIGTERM after step"):
        run_sft(sft_config(tiny, run), on_metrics=stop)
    run_sft(sft_config(tiny, run), resume=True)
    assert_same_run(whole_sft_run, run)


# Two passes a step, two for four validation studies: the 8th call is in the evaluation of epoch 1,
# whose checkpoint stands; the 9th in step 4; the 16th in the last evaluation, after all steps.
@pytest.mark.parametrize("call", [8, 9, 16])
def test_fine_tuning_killed_in_the_middle_of_a_step_continues_as_if_it_had_not(
    tiny: Tiny, tmp_path: Path, whole_sft_run: Path, call: int
) -> None:
    run = tmp_path / "killed"
    place = ("editgrpo.training.sft", "FindingsCollator.__call__", call)
    die("sft", sft_config(tiny, run), at=place)
    tear(run, "metrics.jsonl")
    run_sft(sft_config(tiny, run), resume=True)
    assert_same_run(whole_sft_run, run)


class CrashError(Exception):
    """Stands for a crash."""


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_generation_continues_where_it_was_stopped(
    tiny: Tiny, tmp_path: Path, temperature: float
) -> None:
    settings = GenerationConfig(max_completion_tokens=8, batch_size=4, temperature=temperature)

    def generate(
        name: str, stop_after: int | None = None, settings: GenerationConfig = settings
    ) -> Path:
        def progress(done: int, _: int) -> None:
            if done == stop_after:
                raise CrashError

        return generate_predictions(
            model=str(tiny.checkpoint),
            data=tiny.data(),
            split=Split.TRAIN,
            output=tmp_path / name,
            config=settings,
            progress=progress,
        )

    whole = generate("whole.jsonl").read_bytes()
    assert whole.count(b"\n") == 18
    with pytest.raises(CrashError):
        generate("parts.jsonl", stop_after=10)
    partial = tmp_path / "parts.jsonl.partial"
    assert partial.is_file() and not (tmp_path / "parts.jsonl").exists()
    with partial.open("a") as stream:
        stream.write('{"study_id": "half')
    with pytest.raises(
        DataError,
        match=r"begun with another model, .* \(max_completion_tokens of the settings has changed\)",
    ):
        generate("parts.jsonl", settings=replace(settings, max_completion_tokens=9))
    assert generate("parts.jsonl").read_bytes() == whole
    assert not partial.exists()


def test_generation_does_not_go_on_with_another_model_of_the_same_size(
    tiny: Tiny, tmp_path: Path
) -> None:
    shutil.copytree(tiny.checkpoint, tmp_path / "model")
    settings = GenerationConfig(max_completion_tokens=8, batch_size=4)

    def generate(stop_after: int | None = None) -> Path:
        def progress(done: int, _: int) -> None:
            if done == stop_after:
                raise CrashError

        return generate_predictions(
            model=str(tmp_path / "model"),
            data=tiny.data(),
            split=Split.TRAIN,
            output=tmp_path / "p.jsonl",
            config=settings,
            progress=progress,
        )

    with pytest.raises(CrashError):
        generate(stop_after=4)
    weights = tmp_path / "model/model.safetensors"
    changed = {name: tensor + 0.01 for name, tensor in load_file(weights).items()}
    facts = weights.stat()
    save_file(changed, weights, metadata={"format": "pt"})
    os.utime(weights, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as a copy that keeps times
    assert weights.stat().st_size == facts.st_size
    with pytest.raises(DataError, match=r"model\.safetensors of the model has changed"):
        generate()


def test_each_prediction_says_whether_it_reached_the_limit(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tiny.encoder()[1].processor.tokenizer
    words = tokenizer("No pneumothorax.")["input_ids"]
    ended = [*words, tokenizer.eos_token_id]

    def sample(_: Any, prompts: list[Any], *__: Any) -> list[list[list[int]]]:
        return [[ended if number % 2 else words] for number in range(len(prompts))]

    monkeypatch.setattr("editgrpo.training.generate.sample_responses", sample)
    output = generate_predictions(
        model=str(tiny.checkpoint),
        data=tiny.data(),
        split=Split.TRAIN,
        output=tmp_path / "p.jsonl",
        config=GenerationConfig(batch_size=18),
    )
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    keys = ["study_id", "patient_id", "prediction", "reference", "truncated"]
    assert all(list(row) == keys for row in rows)
    assert [row["truncated"] for row in rows] == [True, False] * 9
    assert {row["prediction"] for row in rows} == {"No pneumothorax."}
