"""ms-swift itself imports the plugin of docs/adapters.md, and trains a small model with it."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from editgrpo.errors import EditGRPOError
from editgrpo.rewards import load_reward
from tests.trainers.conftest import REFERENCE, REPORTS

pytest.importorskip("swift", reason="needs an environment with ms-swift: make trainers")

import torch
from swift.rewards import orms
from swift.rl_core.data import GRPOSample
from swift.rl_core.grpo_algorithm import compute_rewards_per_func
from swift.utils import import_external_file
from transformers import Qwen2Config, Qwen2ForCausalLM


@pytest.fixture
def plugin(examples: dict[str, str], tmp_path: Path) -> Path:
    """Write the page's plugin file."""
    path = tmp_path / "plugin.py"
    path.write_text(examples["from swift.rewards"], encoding="utf-8")
    return path


def sample(report: str, reference: object = REFERENCE) -> Any:
    """Return one rollout as the trainer holds it: the data set's columns beside the messages."""
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": report}]
    return GRPOSample(messages=messages, extra={"solution": reference})


def test_its_rewards_are_the_package_s(plugin: Path) -> None:
    import_external_file(str(plugin))
    reward = orms["editgrpo"](args=None)
    rows = [sample(report) for report in REPORTS]
    found = compute_rewards_per_func(rows, [reward], [None], torch.device("cpu"))
    expected = load_reward("rules").score(REPORTS, [REFERENCE] * len(REPORTS)).total
    assert found[:, 0].tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    assert found[2, 0] == 3, "three parts, each 1 for the reference itself"


def test_a_report_that_cannot_be_scored_ends_the_run(plugin: Path) -> None:
    import_external_file(str(plugin))
    reward = orms["editgrpo"](args=None)
    with pytest.raises(EditGRPOError):
        compute_rewards_per_func([sample("x", None)], [reward], [None], torch.device("cpu"))


@pytest.fixture
def model(tokenizer: Any, tmp_path: Path) -> Path:
    """Write a small Qwen2."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path / "model"
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_command_trains_with_it(
    examples: dict[str, str], plugin: Path, model: Path, tmp_path: Path
) -> None:
    row = {"messages": [{"role": "user", "content": "?"}], "solution": REFERENCE}
    data = tmp_path / "data.jsonl"
    data.write_text(f"{json.dumps(row)}\n" * 2, encoding="utf-8")
    settings = {
        "model": model,
        "model_type": "qwen2",
        "template": "qwen2_5",
        "dataset": data,
        "output_dir": tmp_path / "run",
        "num_generations": 2,
        "per_device_train_batch_size": 4,
        "max_steps": 1,
        "max_completion_length": 8,
        "learning_rate": 0.1,
        "tuner_type": "full",
        "torch_dtype": "float32",
        "use_cpu": "true",
        "add_version": "false",
        "logging_steps": 1,
        "report_to": "none",
    }
    words = shlex.split(examples["swift rlhf"].replace("\\\n", " "))
    assert words[:2] == ["swift", "rlhf"]
    more = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    result = subprocess.run(
        [sys.executable, "-m", "swift.cli.rlhf", *words[2:], *more],
        cwd=plugin.parent,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "USE_HF": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    (log,) = tmp_path.glob("run/**/logging.jsonl")
    first = json.loads(log.read_text(encoding="utf-8").splitlines()[0])
    assert "rewards/EditGRPOReward/mean" in first, first
