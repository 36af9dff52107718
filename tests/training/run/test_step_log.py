"""What a step writes, and what processes must tell each other for it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from editgrpo.config import RewardConfig, TrainConfig
from editgrpo.files import read_jsonl
from editgrpo.metrics.judges.costs import count, take_costs
from editgrpo.training.run.step_log import StepLog


@pytest.mark.parametrize(
    ("reward", "is_gathered"),
    [
        (RewardConfig(name="rules"), False),
        (RewardConfig(name="paper"), False),
        (RewardConfig(name="rules", weights={"crimson@judge": 1.0}), True),
        (RewardConfig(name="rules", weights={"green@radllama2-7b-guarded": 0.0}), True),
        (RewardConfig(name="rules", custom="mine:score"), True),  # it may ask whom it likes
    ],
    ids=["rules", "paper", "crimson", "green, only reported", "of one's own"],
)
def test_processes_add_up_the_cost_of_judges_only_where_there_may_be_one(
    reward: RewardConfig, is_gathered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def gather(own: list[Any]) -> list[Any]:
        asked.append(own)
        return own * 2  # another process with the same cost

    monkeypatch.setattr("editgrpo.training.run.step_log.gather_object", gather)
    take_costs()
    if is_gathered:
        count("crimson", calls=3)
    setup: Any = SimpleNamespace(run=tmp_path, on_step=None)
    schedule: Any = None
    log = StepLog(TrainConfig(reward=reward), setup, schedule, is_main_process=True)
    log.write({"step": 1.0}, {"seconds/step": 2.0})
    assert len(asked) == is_gathered
    ((_, timings),) = read_jsonl(tmp_path / "timings.jsonl")
    calls = {"judge/crimson/calls": 6.0} if is_gathered else {}
    assert {name: value for name, value in timings.items() if value} == {
        "seconds/step": 2.0,
        **calls,
    }
