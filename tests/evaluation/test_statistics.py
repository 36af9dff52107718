"""Scoring study by study: each text is read once, and a stopped run goes on where it was."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from editgrpo.errors import RewardError
from editgrpo.evaluation.scoring_plan import ScoringPlan, component_scorer
from editgrpo.evaluation.statistics import study_statistics
from editgrpo.evaluation.types import Prediction
from editgrpo.metrics.metric import Source, SourceKind
from tests.builders import REPOSITORY
from tests.evaluation.builders import fake_plan, predictions, random_predictions
from tests.rewards.fakes import FakeLabeler

GIVEN = random_predictions(1, studies=5)


class StopError(Exception):
    """Stands for a kill."""


@pytest.fixture
def plan() -> ScoringPlan:
    return fake_plan(batch=2)


def stop_after(studies: int, plan: ScoringPlan, partials: Path) -> None:
    def progress(done: int, whole: int) -> None:
        if done >= studies:
            raise StopError

    with pytest.raises(StopError):
        study_statistics(GIVEN, plan, partials=partials, progress=progress)


def scored_from(
    given: Sequence[Prediction], plan: ScoringPlan, partials: Path
) -> tuple[list[int], NDArray[np.float64]]:
    done: list[int] = []
    statistics = study_statistics(
        given, plan, partials=partials, progress=lambda k, _: done.append(k)
    )
    return done, statistics.values_NK


def test_a_stopped_run_goes_on_behind_its_last_batch(plan: ScoringPlan, tmp_path: Path) -> None:
    straight = study_statistics(GIVEN, plan).values_NK
    stop_after(4, plan, tmp_path)
    done, values = scored_from(GIVEN, plan, tmp_path)
    assert done == [5]
    assert values.tobytes() == straight.tobytes()


@pytest.mark.parametrize(
    ("cut", "expected"), [(1, [5]), (2, [4, 5]), (20, [4, 5]), (10_000, [2, 4, 5])]
)
def test_a_batch_that_was_cut_off_is_scored_again_whole(
    plan: ScoringPlan, tmp_path: Path, cut: int, expected: list[int]
) -> None:
    straight = study_statistics(GIVEN, plan).values_NK
    stop_after(4, plan, tmp_path)
    (partial,) = tmp_path.iterdir()
    partial.write_bytes(partial.read_bytes()[:-cut])
    done, values = scored_from(GIVEN, plan, tmp_path)
    assert done == expected
    assert values.tobytes() == straight.tobytes()


def test_a_complete_file_is_not_scored_again(plan: ScoringPlan, tmp_path: Path) -> None:
    straight = study_statistics(GIVEN, plan, partials=tmp_path).values_NK
    done, values = scored_from(GIVEN, plan, tmp_path)
    assert done == []
    assert values.tobytes() == straight.tobytes()


@pytest.mark.parametrize("change", ["prediction", "weights", "sources"])
def test_another_run_does_not_take_up_the_rest(
    plan: ScoringPlan, tmp_path: Path, change: str
) -> None:
    stop_after(4, plan, tmp_path)
    given = list(GIVEN)
    if change == "prediction":
        given[0] = replace(given[0], prediction="fracture.")
    elif change == "weights":
        plan = replace(plan, scored_with={"fake": "sha256:1"})
    else:
        plan = replace(plan, scorers=dict(list(plan.scorers.items())[::-1]))
    assert scored_from(given, plan, tmp_path)[0] == [2, 4, 5]


def test_other_metrics_of_the_same_numbers_take_up_the_rest(
    plan: ScoringPlan, tmp_path: Path
) -> None:
    stop_after(4, plan, tmp_path)
    assert scored_from(GIVEN, replace(plan, metrics=plan.metrics[:2]), tmp_path)[0] == [5]


KILLED = """
import os, signal, sys
from pathlib import Path
from editgrpo.evaluation.statistics import study_statistics
from tests.evaluation.builders import fake_plan
from tests.evaluation.test_statistics import GIVEN

def kill(done, whole):
    if done == 4:
        os.kill(os.getpid(), signal.SIGKILL)

study_statistics(GIVEN, fake_plan(batch=2), partials=Path(sys.argv[1]), progress=kill)
"""


@pytest.mark.slow
def test_a_killed_process_loses_no_whole_batch(plan: ScoringPlan, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=REPOSITORY)
    assert done.returncode == -9
    progress, values = scored_from(GIVEN, plan, tmp_path)
    assert progress == [5]
    assert values.tobytes() == study_statistics(GIVEN, plan).values_NK.tobytes()


def test_each_source_scores_a_batch_once(plan: ScoringPlan) -> None:
    calls: dict[Source, int] = dict.fromkeys(plan.scorers, 0)

    def counted(source: Source) -> object:
        def score(texts: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
            calls[source] += 1
            return plan.scorers[source](texts, references)

        return score

    study_statistics(GIVEN, replace(plan, scorers={s: counted(s) for s in plan.scorers}))  # type: ignore[arg-type]
    # Micro, macro, of 14, of 5, of the rare and balanced accuracy need the labels, and share them.
    assert set(calls.values()) == {3}


def test_nan_names_the_study_and_what_gave_it(plan: ScoringPlan) -> None:
    def broken(texts: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
        return np.where(np.array(texts)[:, None] == "bad", np.nan, 0.0)

    source = Source(SourceKind.COMPONENT, "semb@chexbert")
    given = predictions([("a", "b"), ("a", "b"), ("a", "b"), ("bad", "b")])
    with pytest.raises(RewardError, match=r"study s003: semb@chexbert is NaN or infinite"):
        study_statistics(given, replace(plan, scorers={source: broken}))


class _Company:
    """Reads from a text how many others stood in the batch with it, as a model's last bits do."""

    name = "company"

    def read(self, texts: Sequence[str]) -> list[int]:
        return [len(texts)] * len(texts)

    def compare(self, candidates: Sequence[int], references: Sequence[int]) -> NDArray[np.float64]:
        return np.array(candidates, dtype=np.float64) + 0.1 * np.array(references)


def test_what_was_scored_before_changes_nothing(plan: ScoringPlan, tmp_path: Path) -> None:
    given = predictions([("a", "b"), ("c", "d"), ("a", "e"), ("f", "g")])
    source = Source(SourceKind.COMPONENT, "company")

    def fresh() -> ScoringPlan:
        return replace(plan, scorers={source: component_scorer(_Company())})

    # Four distinct texts stand in each batch; "a" is not remembered from the first.
    straight = study_statistics(given, fresh()).values_NK
    assert straight.ravel() == pytest.approx([4.4, 4.4, 4.4, 4.4])
    used = fresh()
    study_statistics(given, used)
    assert study_statistics(given, used).values_NK.tobytes() == straight.tobytes()


class _CountingLabeler(FakeLabeler):
    """Counts the texts that it labels."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def label(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        self.texts.extend(texts)
        return super().label(texts)


def test_components_read_equal_texts_of_a_batch_once() -> None:
    labeler = _CountingLabeler()
    same = predictions([("effusion.", "effusion.")] * 4)
    study_statistics(same, fake_plan(batch=2, labeler=labeler))
    # In each batch the counts label 4 texts (whoever labels remembers them), the component one.
    assert labeler.texts == ["effusion."] * 10
