"""`editgrpo train --estimate`: what it prints, what it needs, what it refuses."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from editgrpo.cli import main

Run = Callable[..., str]
NAMED = ("train", "editgrpo-mimic-cxr", "--estimate", "--gpu", "h100-80gb")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command and return what it printed; `code` is the exit code to expect."""

    def call(*words: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as stop:
            main(list(words))
        captured = capsys.readouterr()
        assert stop.value.code == code, captured.err
        return captured.err if code else captured.out

    return call


def test_memory_by_part_and_seconds_by_stage_are_printed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # no run folder, no studies, no weights
    lines = run(*NAMED).splitlines()
    assert lines[0] == (
        "Qwen/Qwen2.5-VL-3B-Instruct: 3.75 billion parameters, 3.09 billion of them trained"
    )
    assert "is not there yet" in lines[1]
    cells = {line[:40].strip(): line[40:].split() for line in lines if line[40:].strip()}
    assert cells["reference policy"] == ["7.0", "7.0"]
    assert cells["gradients"] == ["-", "11.5"]
    assert cells["sum"][1] == "67.8"
    assert any(line.startswith("H100 SXM has 74.5 GiB: it is tight") for line in lines)
    assert any("--set optim.state=8bit" in line and "52.4 GiB" in line for line in lines)
    first = lines.index("Seconds a step on H100 SXM, edits and scores left out") + 1
    stages = [line.split() for line in lines[first : first + 4]]
    assert [one[0] for one in stages] == ["rollout", "reference", "update", "sum"]
    assert all(one[2] == "to" and float(one[1]) < float(one[3]) for one in stages)
    assert any(line.startswith("Calculated from shapes, not measured") for line in lines)
    assert max(map(len, lines)) < 120
    assert list(tmp_path.iterdir()) == []


def test_json_is_for_machines(run: Run) -> None:
    found = json.loads(run(*NAMED, "--gpus", "8", "--launch", "fsdp2", "--json"))
    assert (found["gpus"], found["launch"], found["fit"]) == (8, "fsdp2", "fits")
    assert found["changes"] == []
    tight = json.loads(run(*NAMED, "--json"))
    assert tight["changes"][0]["words"] == "--set tokens_per_pass=4096"


def test_studies_can_be_told(run: Run) -> None:
    found = json.loads(run(*NAMED, "--images", "2", "--report-tokens", "60", "--json"))
    assert found["assumed"]["prompt_tokens"] == 2 * 512 + 150
    assert found["assumed"]["report_tokens"] == 60


def test_without_a_gpu_memory_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("editgrpo.training.estimate.gpus.gpu_at_hand", lambda: None)
    shown = run("train", "editgrpo-lora", "--estimate")
    assert "Name a GPU for its memory and for seconds: --gpu h200-141gb, h100-80gb" in shown
    assert "7.4 million of them trained" in shown
    assert "it fits" not in shown and "Seconds" not in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "model.dtype=float32"], "No seconds: they are told for model.dtype=bfloat16"),
        (["--set", "rollout.engine=vllm_server"], "What the server's GPUs take is not counted."),
        (["--set", "rollout.compile=true"], "Compiled decoding is faster than is said here."),
        (["--set", "model.group_attention=dense"], "Masks of model.group_attention=dense are not"),
        (["--gpus", "2"], "What GPUs send one another is not in the seconds."),
        (["--gpus", "2", "--launch", "fsdp2"], "Buffers of FSDP2"),
        (["--set", "model.path=google/medgemma-4b-it"], "google/medgemma-4b-it: 4.30 billion"),
        (["--set", "optim.state=8bit"], "it fits"),
        ([], "would keep 89 GiB"),
        ([], "up to 2,048 MiB of image features"),
    ],
)
def test_what_is_left_out_is_said(run: Run, words: list[str], said: str) -> None:
    assert said in run(*NAMED, *words)


def test_what_cannot_be_told_is_refused_in_a_line(run: Run) -> None:
    assert run("train", "grpo", "--gpu", "l4", code=2) == (
        "error: --gpu has an effect with --estimate only; add it\n"
    )
    assert run("train", "grpo", "--json", code=2) == (
        "error: --json has an effect with --estimate only; add it\n"
    )
    message = run("train", "grpo", "--estimate", "--set", "model.path=my/model", code=2)
    assert message.startswith("error: model 'my/model' is no folder with a config.json")
    assert message.count("\n") == 1


@pytest.mark.slow
def test_no_slow_library_is_loaded() -> None:
    code = f"""
import sys
from editgrpo.cli import main
try:
    main({list(NAMED)!r})
except SystemExit as stop:
    assert stop.code == 0
print([name for name in ("torch", "transformers", "trl") if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
