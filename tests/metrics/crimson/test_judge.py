"""CRIMSON's judge on a server of this machine: what is sent, what is counted, what is no reward."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editgrpo.config import ClinicalConfig, RewardConfig
from editgrpo.errors import ConfigError, RewardError
from editgrpo.metrics.crimson import CrimsonJudge
from editgrpo.metrics.crimson.judge import crimson_backend, crimson_identity
from editgrpo.metrics.judges.costs import take_costs
from editgrpo.rewards.registry import configured_reward
from tests.metrics.crimson.judgements import URGENT, judgement
from tests.metrics.judges.chat_server import ChatServer

RIGHT = json.dumps(judgement({"R1": URGENT}, {"P1": URGENT}, matched="R1-P1"))
MISSED = json.dumps(judgement({"R1": URGENT}, missing="R1"))
SECRET_REPORT = "a report that no message may show"


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as server:
        take_costs()
        yield server


def config(server: ChatServer, **more: Any) -> ClinicalConfig:
    settings = {"crimson_endpoint": server.url, "crimson_model": "judge", "crimson_retries": 2}
    return ClinicalConfig(**{**settings, **more})


def make(server: ChatServer, **more: Any) -> CrimsonJudge:
    settings = config(server, **more)
    return CrimsonJudge(settings, backend=crimson_backend(settings, first_wait_s=0.01))


def test_both_messages_are_sent_greedily_and_scores_come_in_order(server: ChatServer) -> None:
    server.answer = lambda question: MISSED if "Candidate report:\nnothing" in question else RIGHT
    scores_N = make(server).compare(["nothing", "all", "nothing"], ["r", "r", "r"])
    np.testing.assert_array_equal(scores_N, [0.0, 1.0, 0.0])
    assert len(server.requests) == 2  # equal pairs are asked once
    first = server.requests[0]
    assert [one["role"] for one in first["messages"]] == ["system", "user"]
    assert "Reference report:\nr\n" in first["messages"][1]["content"]
    assert (first["model"], first["temperature"], first["seed"]) == ("judge", 0, 42)
    assert first["response_format"] == {"type": "json_object"}


def test_an_answer_without_a_judgement_is_asked_for_again(server: ChatServer) -> None:
    answers = iter(["I cannot tell.", "{}", RIGHT])
    server.answer = lambda _: next(answers)
    np.testing.assert_array_equal(make(server).compare(["c"], ["r"]), [1.0])
    assert [one["seed"] for one in server.requests] == [42, 43, 44]


def test_no_judgement_at_all_is_no_score(server: ChatServer) -> None:
    server.answer = lambda _: "I cannot tell."
    with pytest.raises(RewardError, match="not in the form asked for, 2 retries") as error:
        make(server).compare([SECRET_REPORT], [SECRET_REPORT])
    assert SECRET_REPORT not in str(error.value)
    assert "does clinical.crimson_model name a model that can judge?" in str(error.value)
    assert len(server.requests) == 3


def test_what_was_answered_before_a_failure_is_not_paid_for_again(server: ChatServer) -> None:
    server.answer = lambda question: "?" if "Candidate report:\nbad" in question else RIGHT
    judge = make(server, crimson_concurrency=1, crimson_retries=0)
    with pytest.raises(RewardError):
        judge.compare(["good", "bad", "more"], ["r", "r", "r"])
    np.testing.assert_array_equal(judge.compare(["good", "more"], ["r", "r"]), [1.0, 1.0])
    questions = [one["messages"][-1]["content"] for one in server.requests]
    assert sum("Candidate report:\ngood" in one for one in questions) == 1


def test_cost_is_counted_once_for_what_was_asked(server: ChatServer) -> None:
    answers = iter(["I cannot tell.", RIGHT])
    server.answer = lambda _: next(answers)
    judge = make(server)
    for _ in range(2):
        judge.compare(["c"], ["r"])
    costs = take_costs()
    # Two answers of 100 + 7 tokens, one of them for a question that was put again.
    assert costs.pop("judge/crimson/seconds") > 0
    assert costs == {
        "judge/crimson/calls": 2,
        "judge/crimson/retries": 1,
        "judge/crimson/prompt_tokens": 200,
        "judge/crimson/answer_tokens": 14,
    }


def test_answers_are_kept_on_disk_by_wording(server: ChatServer, tmp_path: Path) -> None:
    server.answer = lambda _: RIGHT
    store = {"store": str(tmp_path / "store"), "store_writes": True}
    for _ in range(2):
        make(server, **store).compare(["c"], ["r"])
    assert len(server.requests) == 1
    wording = tmp_path / "prompt.txt"
    wording.write_text("Compare $candidate with $reference.", "utf-8")
    make(server, crimson_prompt=str(wording), **store).compare(["c"], ["r"])
    assert server.requests[1]["messages"] == [{"role": "user", "content": "Compare c with r."}]


def test_a_server_that_has_moved_is_not_asked_again(server: ChatServer, tmp_path: Path) -> None:
    """What answers is the model; of another, nothing is taken."""
    server.answer = lambda _: RIGHT
    store = {"store": str(tmp_path / "store"), "store_writes": True}
    make(server, **store).compare(["c"], ["r"])
    with ChatServer() as moved:
        moved.answer = lambda _: RIGHT
        make(moved, **store).compare(["c"], ["r"])
        assert moved.requests == []
        make(moved, crimson_model="other", **store).compare(["c"], ["r"])
        assert [request["model"] for request in moved.requests] == ["other"]


def test_numbers_name_judge_and_wording(server: ChatServer) -> None:
    assert crimson_identity(config(server)).startswith("judge, prompt own:")


def test_without_a_server_the_setting_is_named() -> None:
    for ask in (
        lambda: CrimsonJudge(ClinicalConfig()).compare(["c"], ["r"]),
        lambda: crimson_identity(ClinicalConfig()),
    ):
        with pytest.raises(ConfigError, match=r"clinical\.crimson_endpoint"):
            ask()


def test_as_a_reward_a_failure_is_an_error_and_silence_earns_nothing(server: ChatServer) -> None:
    server.answer = lambda _: RIGHT
    weights = {"crimson@judge": 2.0}
    settings = config(server, crimson_retries=0)
    reward = configured_reward(RewardConfig(name="custom", weights=weights), settings)
    scores = reward.score(["Cardiomegaly.", ""], ["Cardiomegaly.", "Cardiomegaly."])
    assert scores.total.tolist() == [2.0, 0.0]
    server.answer = lambda _: "{}"
    with pytest.raises(RewardError, match="not in the form"):
        reward.score(["Edema."], ["Cardiomegaly."])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("crimson_endpoint", "localhost:8000/v1"),
        ("crimson_endpoint", "https://me:secret@host/v1"),
        ("crimson_concurrency", 0),
        ("crimson_timeout_s", 0.0),
        ("crimson_retries", -1),
    ],
)
def test_settings_are_checked_and_a_password_is_never_shown(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"clinical.{field}") as error:
        ClinicalConfig(**{field: value})  # type: ignore[arg-type]
    assert "secret" not in str(error.value)
