"""Whole runs whose reward asks CRIMSON's judge: a server on this machine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from editgrpo.config import ClinicalConfig, RewardConfig, TrainConfig
from editgrpo.errors import RewardError
from editgrpo.training.train import run_training
from tests.metrics.crimson.judgements import URGENT, judgement
from tests.metrics.judges.chat_server import ChatServer
from tests.training.compare_runs import assert_same_run
from tests.training.tiny_run import Tiny

pytestmark = pytest.mark.slow

RIGHT = json.dumps(judgement({"R1": URGENT}, {"P1": URGENT}, matched="R1-P1"))


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as server:
        server.answer = lambda _: RIGHT
        yield server


def config(tiny: Tiny, output: Path, server: ChatServer, **changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "reward": RewardConfig(name="rules", weights={"crimson@judge": 1.0}),
        "clinical": ClinicalConfig(crimson_endpoint=server.url, crimson_retries=0),
        "steps": 2,
        **changes,
    }
    return tiny.train_config(output, **settings)


def rows(run: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / f"{name}.jsonl").read_text().splitlines()]


def test_a_judge_is_paid_for_once_and_its_cost_stands_with_the_seconds(
    tiny: Tiny, server: ChatServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="editgrpo")
    run_training(config(tiny, tmp_path / "run", server))
    asked = len(server.requests)
    timings, metrics = rows(tmp_path / "run", "timings"), rows(tmp_path / "run", "metrics")
    assert sum(row["judge/crimson/calls"] for row in timings) == asked > 2
    assert sum(row["judge/crimson/answer_tokens"] for row in timings) == 7 * asked
    assert not any(key.startswith("judge/") for row in metrics for key in row)
    # Random reports state nothing in most cases, and are then not paid.
    assert all(0 <= row["reward/sampled/crimson@judge"] <= 1 for row in metrics)
    said = [one for one in caplog.messages if one.startswith("step 1: crimson: ")]
    assert len(said) == 1
    # Answers lie in the run folder, so that a resumed run does not ask for them again.
    run_training(config(tiny, tmp_path / "run", server, steps=2), resume=True)
    assert len(server.requests) == asked


def test_an_unreadable_judge_drops_groups_and_pays_nothing(
    tiny: Tiny, server: ChatServer, tmp_path: Path
) -> None:
    answers = iter([RIGHT])  # to the question before step 0
    server.answer = lambda _: next(answers, "I cannot tell.")
    run_training(config(tiny, tmp_path / "run", server, steps=1, max_dropped_share=0.99))
    (row,) = rows(tmp_path / "run", "metrics")
    assert row["errors/dropped_groups"] > 0
    assert "reward/sampled/mean" not in row


def test_a_judge_that_is_not_there_stops_a_run_before_its_first_step(
    tiny: Tiny, server: ChatServer, tmp_path: Path
) -> None:
    nowhere = ClinicalConfig(crimson_endpoint="http://127.0.0.1:9/v1", crimson_retries=0)
    with pytest.raises(RewardError, match=r"127.0.0.1:9/v1: cannot be reached"):
        run_training(config(tiny, tmp_path / "run", server, clinical=nowhere))
    assert not (tmp_path / "run/metrics.jsonl").exists()


def test_two_runs_are_the_same_to_the_byte(tiny: Tiny, server: ChatServer, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run_training(config(tiny, tmp_path / name, server, steps=1))
    assert_same_run(tmp_path / "one", tmp_path / "two")
