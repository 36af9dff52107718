"""A whole study from the command line, killed on its way and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from experiments.__main__ import main
from experiments.places import REPOSITORY

from tests.experiments.small_study import STAGE, TABLE, write_study
from tests.training.tiny_run import Tiny

pytestmark = pytest.mark.slow


def _words(study: Path, work: Path) -> list[str]:
    return ["--study", str(study), "--work", str(work)]


def _start(*words: str) -> "subprocess.Popen[bytes]":
    source = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")])
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", *words],
        env={**os.environ, "PYTHONPATH": source},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*.json"))
    }


@pytest.mark.timeout(1800)
def test_a_table_from_nothing_to_its_differences(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, work = write_study(tmp_path / "study", tiny.checkpoint), tmp_path / "work"
    run = ["run", TABLE, "--seeds", "0", "1", "--jobs", "1", *_words(study, work)]
    main(run)
    results = study / "results" / STAGE
    for arm in ("dr-grpo", "editgrpo"):
        for seed in (0, 1):
            path = results / arm / f"seed-{seed}.json"
            result = json.loads(path.read_text())
            assert result["steps"] == 2
            assert result["seconds"]["training"] > 0
            assert result["curve"]["step"] == [1, 2]
            assert result["said"]["step"] == [1, 2]
            assert str(tmp_path) not in path.read_text()
            assert path.stat().st_size < 40_000
    # What is large is gone, but for the model that others start from.
    assert not list(work.rglob("checkpoint-*")) and not list(work.rglob("rollouts.jsonl"))
    models = [path.parent for path in (work / STAGE).rglob("model/config.json")]
    assert {path.parents[1].name for path in models} == {"sft"}
    before = _files(study)
    main(run)  # nothing is left to do
    assert _files(study) == before
    capsys.readouterr()
    main(["show", TABLE, "--stage", STAGE, "--json", *_words(study, work)])
    shown = capsys.readouterr().out
    found = json.loads(shown.splitlines()[-1])
    assert found["seeds"] == 2
    metric = found["paired"]["editgrpo-minus-dr-grpo"]["out-of-domain"]["rules/macro-f1-14"]
    assert set(metric) == {"value", "low", "high"}
    assert "differences, paired by seed and patient" in " ".join(shown.split())


@pytest.mark.timeout(1800)  # a dozen processes, each of which loads torch
def test_a_command_that_is_killed_goes_on_and_ends_with_the_same_results(
    tiny: Tiny, tmp_path: Path
) -> None:
    whole = write_study(tmp_path / "whole", tiny.checkpoint)
    main(["run", TABLE, "--seeds", "3", "--jobs", "1", *_words(whole, tmp_path / "work")])
    study, work = write_study(tmp_path / "study", tiny.checkpoint), tmp_path / "killed"
    words = ["run", TABLE, "--seeds", "3", "--jobs", "2", *_words(study, work)]
    for marker in ("sft/seed-3/metrics.jsonl", "*grpo/seed-3/metrics.jsonl"):
        command = _start(*words)
        try:
            _wait_for(work / STAGE, marker, command)
        finally:
            command.send_signal(signal.SIGKILL)
            command.wait()
            assert command.stderr is not None
            command.stderr.close()
    command = _start(*words)
    _, errors = command.communicate()
    assert command.returncode == 0, errors.decode()
    for arm in ("dr-grpo", "editgrpo"):
        name = f"results/{STAGE}/{arm}/seed-3.json"
        one, other = (json.loads((folder / name).read_text()) for folder in (whole, study))
        for key in ("curve", "said", "test_sets", "made_with"):
            assert one[key] == other[key], (arm, key)


def _wait_for(folder: Path, pattern: str, command: "subprocess.Popen[bytes]") -> None:
    for _ in range(1200):
        if list(folder.glob(pattern)):
            return
        assert command.poll() is None, "it ended before it was killed"
        time.sleep(0.1)
    raise AssertionError(f"{pattern} never came")


def test_a_job_that_fails_is_named_with_its_reason(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write_study(tmp_path / "study", tmp_path / "nowhere")
    with pytest.raises(SystemExit) as ended:
        main(["run", TABLE, "--seeds", "0", *_words(study, tmp_path / "work")])
    message = str(ended.value)
    assert "1 of 3 jobs failed" in message and "nowhere" in message
    assert "\n" not in message


def test_the_gate_of_a_stage_trains_its_model_and_writes_beside_the_results(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, work = write_study(tmp_path / "study", tiny.checkpoint), tmp_path / "work"
    main(["gate", STAGE, "--seed", "1", *_words(study, work)])
    found = json.loads((study / "results" / STAGE / "gate-seed-1.json").read_text())
    assert found["seed"] == 1 and found["findings"]
    assert str(tmp_path) not in json.dumps(found)


@pytest.mark.timeout(1800)
def test_learning_rates_are_tried_on_validation_alone(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, work = write_study(tmp_path / "study", tiny.checkpoint, rl_steps=1), tmp_path / "work"
    words = ["tune", STAGE, "--arms", "editgrpo", "--rates", "1e-5", "1e-3", *_words(study, work)]
    main(words)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    trials = ["tuning/editgrpo@1e-05", "tuning/editgrpo@0.001"]
    assert list(found["trials"]) == trials
    averages = [found["trials"][name]["average/clinical@rules"] for name in trials]
    assert found["best"] == {"editgrpo": 1e-3 if averages[1] >= averages[0] else 1e-5}
    result = json.loads((study / "results" / STAGE / trials[1] / "seed-0.json").read_text())
    assert list(result["test_sets"]) == ["validation"]
    assert result["made_with"]["config"]["optim"]["learning_rate"] == 1e-3
    assert not list(work.glob(f"{STAGE}/tuning/*/seed-0/predictions/*domain.jsonl"))
