"""Comparing two run folders, byte by byte where they are bytes."""

import json
from pathlib import Path
from typing import Any

import torch

# What a checkpoint says about the machine and the clock, not about the run.
_TIMES = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos")


def assert_same_run(left: Path, right: Path) -> None:
    """Compare metrics, rollouts, final weights and the last checkpoint of two runs.

    Args:
        left: A run folder.
        right: Another one, of an equal run.
    """
    for name in ("metrics.jsonl", "rollouts.jsonl", "epochs.json"):
        assert _bytes(left / name) == _bytes(right / name), name
    for folder in ("model", "model-for-rl", "adapter"):
        name = f"{folder}/model.safetensors"
        assert _bytes(left / name) == _bytes(right / name), name
    one, two = _last_checkpoint(left), _last_checkpoint(right)
    assert one.name == two.name
    for name in ("model.safetensors", "adapter_model.safetensors", "prompts.json"):
        assert _bytes(one / name) == _bytes(two / name), name
    for name in ("optimizer.pt", "scheduler.pt"):
        assert_same_values(_load(one / name), _load(two / name), where=name)
    states = [json.loads((folder / "trainer_state.json").read_text()) for folder in (one, two)]
    for state in states:
        for row in state["log_history"]:
            for key in _TIMES:
                row.pop(key, None)
    assert states[0]["log_history"] == states[1]["log_history"]


def assert_same_values(left: Any, right: Any, *, where: str) -> None:
    """Compare nested dictionaries and lists of tensors and numbers exactly.

    Args:
        left: A value.
        right: Another one.
        where: For the message.
    """
    assert type(left) is type(right), where
    if isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            assert_same_values(left[key], right[key], where=f"{where}.{key}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), where
        for index, (one, two) in enumerate(zip(left, right, strict=True)):
            assert_same_values(one, two, where=f"{where}[{index}]")
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right), where
    else:
        assert left == right, where


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _load(path: Path) -> Any:
    return torch.load(path, weights_only=True)


def _last_checkpoint(run: Path) -> Path:
    return max(run.glob("checkpoints/checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
