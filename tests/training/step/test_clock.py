"""Seconds go to the phase in which they passed, each once."""

import pytest

from editgrpo.training.step import clock as clock_module
from editgrpo.training.step.clock import PHASES, StepClock


class Time:
    """A clock that tests turn by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    hands = Time()
    monkeypatch.setattr(clock_module, "time", hands)
    return hands


def test_phases_and_the_optimizer_make_the_step(time: Time) -> None:
    clock = StepClock()
    for name, seconds in (("vision", 1), ("rollout", 2), ("rollout", 3), ("update", 4)):
        with clock.phase(name):
            time.now += seconds
    clock.end_update()
    time.now += 5
    taken = clock.take()
    # 1 + (2 + 3) + 4 + 5 = 15; nothing ran beside anything.
    expected = {"vision": 1, "rollout": 5, "update": 4, "optimizer": 5, "hidden": 0, "step": 15}
    assert taken == {f"seconds/{name}": 0 for name in PHASES} | {
        f"seconds/{name}": seconds for name, seconds in expected.items()
    }


def test_what_nobody_waited_for_counts_once(time: Time) -> None:
    clock = StepClock()
    with clock.phase("score"):  # in the thread beside the rollout
        time.now += 7
    with clock.phase("rollout"):
        time.now += 1
    with clock.waiting_for_scores():
        time.now += 3
    clock.end_update()
    taken = clock.take()
    # Of 7 s of scoring 3 were waited for: 4 passed beside the rollout.
    assert taken["seconds/hidden"] == 4
    assert taken["seconds/step"] == 1 + 7 - 4


def test_each_step_begins_at_nothing(time: Time) -> None:
    clock = StepClock()
    for _ in range(2):
        with clock.phase("edit"):
            time.now += 2
        with clock.waiting_for_scores():
            time.now += 2
        clock.end_update()
        taken = clock.take()
        assert taken["seconds/edit"] == taken["seconds/step"] == 2
        assert taken["seconds/hidden"] == 0


def test_every_wait_of_a_step_counts(time: Time) -> None:
    """What the first wait saw was not hidden, nor what the second saw."""
    clock = StepClock()
    for seconds in (2, 3):
        with clock.phase("edit"):
            time.now += seconds
        with clock.waiting_for_scores():
            time.now += seconds
    clock.end_update()
    taken = clock.take()
    assert taken["seconds/hidden"] == 0 and taken["seconds/step"] == 5
