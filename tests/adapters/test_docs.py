"""The examples of docs/adapters.md run as they stand, each in at most twenty lines."""

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import datasets
import pytest

from tests.adapters.tiny_text import MAX_TOKENS, STUDIES
from tests.builders import REPOSITORY

PAGE = (REPOSITORY / "docs" / "adapters.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:python|bash)\n(.*?)```", PAGE, flags=re.DOTALL)
TRL, _PAIRS, _DPO, VERL, MS_SWIFT, MS_SWIFT_COMMAND, ANY = BLOCKS


def run(block: str, **names: Any) -> dict[str, Any]:
    exec(compile(block, "docs/adapters.md", "exec"), names)
    return names


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split()[1])
def test_examples_are_short(block: str) -> None:
    assert len([line for line in block.splitlines() if line.strip()]) <= 20


@pytest.mark.slow
def test_the_example_for_trl(
    tmp_path: Path, model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    model.save_pretrained(tmp_path / "model")  # where the reference policy is loaded from
    rows = {"prompt": list(STUDIES), "findings": list(STUDIES.values())}
    arguments = {
        "output_dir": str(tmp_path),
        "max_steps": 1,
        "max_completion_length": MAX_TOKENS,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
    }
    trainer = run(
        TRL,
        model=type(model).from_pretrained(tmp_path / "model"),
        tokenizer=tokenizer,
        dataset=datasets.Dataset.from_dict(rows),
        more_arguments=arguments,
    )["trainer"]
    assert trainer.state.global_step == 1
    (logged,) = [row for row in trainer.state.log_history if "reward" in row]
    assert 0 < logged["reward"] < 3


@pytest.mark.slow
def test_the_command_for_verl_names_what_is_there() -> None:
    settings = dict(word.lstrip("+").split("=", 1) for word in VERL.split() if "=" in word)
    reward = {
        key.removeprefix("reward.custom_reward_function."): value
        for key, value in settings.items()
        if key.startswith("reward.custom_reward_function.")
    }
    module = importlib.import_module(reward.pop("path").removeprefix("pkg://"))
    score = getattr(module, reward.pop("name"))
    assert reward == {"reward_kwargs.name": "rules", "reward_kwargs.clinical.device": "cpu"}
    text = "The heart is enlarged."
    kwargs = {"name": "rules", "clinical": {"device": "cpu"}}
    answer = score(data_source="", solution_str=text, ground_truth=text, extra_info={}, **kwargs)
    assert answer["score"] == 3


def test_the_plugin_for_ms_swift(monkeypatch: pytest.MonkeyPatch) -> None:
    # ms-swift is not installed: its registry is a dictionary of this name.
    swift, rewards = ModuleType("swift"), ModuleType("swift.rewards")
    rewards.orms = {}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "swift", swift)
    monkeypatch.setitem(sys.modules, "swift.rewards", rewards)
    run(MS_SWIFT)
    reward = rewards.orms["editgrpo"](args=None)
    text = "The heart is enlarged."
    assert reward([text], solution=[text], trainer_state=None) == [3]
    assert "--reward_funcs editgrpo" in MS_SWIFT_COMMAND


def test_the_example_for_any_trainer(tokenizer: Any) -> None:
    run(ANY, tokenizer=tokenizer)
