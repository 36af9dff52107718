"""The judge as a component: pairs asked once, answers counted, order kept."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from editgrpo.config import ClinicalConfig
from editgrpo.errors import ConfigError, RewardError
from editgrpo.metrics.green import GreenJudge

SECTIONS = "[Clinically Significant Errors]:\n(a) x: {}.\n\n[Matched Findings]:\n1. A."


class Scripted:
    """Answers with as many errors as the candidate has words, or as told."""

    identity = "scripted"

    def __init__(self, *answers: str, fails_at: int | None = None) -> None:
        self.asked: list[str] = []
        self.calls = 0
        self._answers = iter(answers)
        self._fails_at = fails_at

    def answer(self, prompts: Sequence[str]) -> list[str]:
        self.calls += 1
        if self.calls == self._fails_at:
            raise RewardError("the server went away")
        self.asked.extend(prompts)
        return [next(self._answers, SECTIONS.format(words_of_candidate(one))) for one in prompts]


def words_of_candidate(prompt: str) -> int:
    return len(prompt.partition("3. Candidate Report:\n    ")[2].partition("\n\n")[0].split())


def make(backend: Scripted, config: ClinicalConfig | None = None) -> GreenJudge:
    return GreenJudge(config or ClinicalConfig(), backend=backend)


def test_scores_come_in_the_order_of_the_pairs_and_equal_pairs_are_asked_once() -> None:
    backend = Scripted()
    judge = make(backend)
    texts = judge.read(["one", "one two three", "one"])
    scores_N = judge.compare(texts, ["r", "r", "r"])
    np.testing.assert_array_equal(scores_N, [0.5, 0.25, 0.5])  # 1 / (1 + words)
    assert scores_N.dtype == np.float64
    judge.compare(["one"], ["r"])
    assert len(backend.asked) == 2
    assert judge.name == "green@radllama2-7b"


def test_candidate_and_reference_are_not_confused() -> None:
    backend = Scripted()
    make(backend).judge([("the candidate", "the reference")])
    assert "2. Reference Report:\n    the reference\n" in backend.asked[0]
    assert "3. Candidate Report:\n    the candidate\n" in backend.asked[0]


def test_answers_in_another_form_are_counted_and_said_once_a_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    judge = make(Scripted("I cannot tell.", SECTIONS.format(0), "Hm."))
    with caplog.at_level(logging.WARNING):
        scores_N = judge.compare(["a", "b", "c"], ["r", "r", "r"])
    np.testing.assert_array_equal(scores_N, [0.0, 1.0, 0.0])
    assert judge.incomplete == 2
    (message,) = [record.getMessage() for record in caplog.records]
    assert "2 of 3 answers" in message
    assert "cannot tell" not in message


def test_as_it_is_paid_an_answer_in_another_form_is_no_score() -> None:
    config = ClinicalConfig()
    judge = GreenJudge(config, backend=Scripted(SECTIONS.format(1), "Hm."), guarded=True)
    assert judge.compare(["a"], ["r"]).tolist() == [0.5]
    with pytest.raises(RewardError, match="answer at index 1 lacks a section"):
        judge.compare(["a", "b"], ["r", "r"])


def test_what_was_answered_before_a_failure_is_not_asked_again() -> None:
    backend = Scripted(fails_at=2)
    judge = make(backend)
    pairs = [(f"candidate {k}", "r") for k in range(300)]
    with pytest.raises(RewardError, match="went away"):
        judge.judge(pairs)
    assert len(judge.judge(pairs)) == 300
    assert len(backend.asked) == len(set(backend.asked)) == 300


def test_answers_are_kept_on_disk(tmp_path: Path) -> None:
    config = ClinicalConfig(store=str(tmp_path), store_writes=True)
    first, second = Scripted(), Scripted()
    scores_N = make(first, config).compare(["one two"], ["r"])
    np.testing.assert_array_equal(make(second, config).compare(["one two"], ["r"]), scores_N)
    assert len(first.asked) == 1
    assert not second.asked


def test_no_pairs_have_no_scores() -> None:
    backend = Scripted()
    assert make(backend).compare([], []).shape == (0,)
    assert not backend.asked


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("green_endpoint", "localhost:8000/v1"),
        ("green_endpoint", "https://me:secret@host/v1"),
        ("green_concurrency", 0),
        ("green_timeout_s", 0.0),
        ("green_retries", -1),
    ],
)
def test_settings_are_checked_and_a_password_is_never_shown(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"clinical.{field}") as error:
        ClinicalConfig(**{field: value})  # type: ignore[arg-type]
    assert "secret" not in str(error.value)
