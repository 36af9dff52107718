"""The demo from beginning to end, very small: what it writes, and that no work is done twice."""

import json
import multiprocessing
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from editgrpo.config import SFTConfig, TrainConfig
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split
from editgrpo.demo import plan as plan_module
from editgrpo.demo.lanes import train_side_by_side
from editgrpo.demo.named import NamedByEdit, named_by_edits
from editgrpo.demo.plan import PATIENTS_OF_TEST_SET, DemoPlan, DemoSize, Patients, System
from editgrpo.demo.plan import TestSet as Place
from editgrpo.demo.run import DemoOutcome, run_demo
from editgrpo.display.terminal import ProgressCallback
from editgrpo.errors import DataError
from editgrpo.files import read_jsonl, write_jsonl
from editgrpo.recipes import load_recipe

RL = (System.DR_GRPO, System.EDITGRPO)
SIZE = DemoSize(training_studies=48, test_studies=6, sft_steps=3, rl_steps=2)
# A checkpoint after every step, so that an interrupted run has something to go on from.
SMALL: Mapping[type, list[str]] = {
    SFTConfig: [
        "batch_size=4", "micro_batch_size=4", "max_completion_tokens=16", "save_every=1",
        "data.validation_limit=4", "epochs=1",
    ],
    TrainConfig: [
        "rollout.group_size=4", "rollout.max_completion_tokens=24", "prompts_per_step=4",
        "save_every=1", "keep_checkpoints=1",
    ],
}  # fmt: skip


class InterruptionError(Exception):
    """Stands for Ctrl-C: no part of the demo expects it."""


@dataclass
class Bar:
    """Notes every stage and how far it came; raises when a stage comes to a given step."""

    stop_at: tuple[str, int] | None = None
    stages: dict[str, list[int]] = field(default_factory=dict)

    @contextmanager
    def __call__(self, description: str) -> Iterator[ProgressCallback]:
        steps = self.stages.setdefault(description, [])

        def show(done: int, total: int) -> None:
            assert 0 <= done <= total
            steps.append(done)
            # Runs side by side are looked at now and then: a step may be passed over.
            stage, least = self.stop_at or ("", 0)
            if description == stage and done >= least:
                raise InterruptionError

        yield show


def small_recipe(path: Path, kind: type) -> Any:
    return load_recipe(path, kind, SMALL[kind])


@contextmanager
def made_small() -> Iterator[pytest.MonkeyPatch]:
    """Shrink batches and groups; the stages, their order and the base model stay as they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr(plan_module, "load_recipe", small_recipe)
        yield patch


@dataclass(frozen=True, slots=True)
class Finished:
    """A demo that ran without interruption."""

    plan: DemoPlan
    outcome: DemoOutcome
    bar: Bar


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    plan = DemoPlan(folder=tmp_path_factory.mktemp("demo"), size=SIZE, seed=0)
    bar = Bar()
    with made_small():
        outcome = run_demo(plan, command="editgrpo demo", progress_bar=bar)
    return Finished(plan, outcome, bar)


@pytest.fixture
def small() -> Iterator[pytest.MonkeyPatch]:
    with made_small() as patch:
        yield patch


def copy_demo(finished: Finished, folder: Path, *, without: tuple[str, ...]) -> DemoPlan:
    """Copy a finished demo, less some of its folders: as if these stages had not begun."""
    shutil.copytree(finished.plan.folder, folder, ignore=shutil.ignore_patterns(*without))
    return replace(finished.plan, folder=folder)


# From beginning to end -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_demo_trains_four_systems_for_the_planned_steps(finished: Finished) -> None:
    steps = {
        System.SFT: SIZE.sft_steps,
        System.SFT_CONTINUED: SIZE.rl_steps,
        System.DR_GRPO: SIZE.rl_steps,
        System.EDITGRPO: SIZE.rl_steps,
    }
    for system, count in steps.items():
        run = finished.plan.run(system)
        rows = [row for _, row in read_jsonl(run / "metrics.jsonl") if "loss" in row]
        assert [row["step"] for row in rows] == list(range(1, count + 1)), system
        assert json.loads((run / "provenance.json").read_text())["command"] == "editgrpo demo"
        assert (run / "model" / "model.safetensors").is_file()
        assert (run / "config.yaml").is_file()


@pytest.mark.slow
def test_both_test_sets_are_as_large_as_planned(finished: Finished) -> None:
    for place, patients in PATIENTS_OF_TEST_SET.items():
        studies = StudySet.load(finished.plan.studies(patients))
        assert {study.split for study in studies} == {Split.TEST}
        expected = [(study.study_id, study.findings) for study in studies]
        assert len(expected) == SIZE.test_studies
        for system in System:
            path = finished.plan.evaluation(system, place) / "predictions.jsonl"
            rows = [row for _, row in read_jsonl(path)]
            assert [(row["study_id"], row["reference"]) for row in rows] == expected


@pytest.mark.slow
def test_every_system_is_scored_and_compared_at_both_sites(finished: Finished) -> None:
    outcome = finished.outcome
    for place in Place:
        assert [e.system for e in outcome.evaluations[place]] == [s.value for s in System]
        pairs = [(c.a, c.b) for c in outcome.comparisons[place]]
        assert pairs == [("editgrpo", s.value) for s in System if s is not System.EDITGRPO]
        for system in System:
            folder = finished.plan.evaluation(system, place)
            scores = json.loads((folder / "scores.json").read_text())
            assert (scores["system"], scores["n_studies"]) == (system.value, SIZE.test_studies)
            compared = folder / "comparison.json"
            assert compared.is_file() == (system is not System.EDITGRPO)
            if compared.is_file():
                assert json.loads(compared.read_text())["b"] == system.value


@pytest.mark.slow
def test_the_page_shows_every_system(finished: Finished) -> None:
    assert finished.outcome.report == finished.plan.report
    page = finished.plan.report.read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")
    assert all(system.value in page for system in System)
    assert "data:image/" in page
    assert "have no images" not in page
    assert "no timings.jsonl" not in page


@pytest.mark.slow
def test_every_stage_shows_its_progress_and_its_time(finished: Finished) -> None:
    stages = finished.bar.stages
    assert set(stages) == set(finished.outcome.seconds)
    assert all(seconds >= 0 for seconds in finished.outcome.seconds.values())
    assert all(stages.values()), "a stage without progress"
    assert list(stages)[:7] == [
        *(f"Phantom studies, {patients.value}" for patients in Patients),
        "Training sft",
        "Training dr-grpo and editgrpo",
        "Training sft-continued",
    ]


# Again, and after an interruption --------------------------------------------------------------


@pytest.mark.slow
def test_a_finished_demo_only_reads_when_it_is_run_again(
    finished: Finished, small: pytest.MonkeyPatch
) -> None:
    written = {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for pattern in ("*.safetensors", "metrics.jsonl", "*.arrow")
        for path in finished.plan.folder.rglob(pattern)
    }
    predicted = {p: p.read_bytes() for p in finished.plan.folder.rglob("predictions.jsonl")}
    bar = Bar()
    again = run_demo(finished.plan, command="again", progress_bar=bar)
    assert list(bar.stages) == list(again.seconds) == ["Report"]
    for path, state in written.items():
        assert (path.stat().st_mtime_ns, path.read_bytes()) == state, path
    assert {path: path.read_bytes() for path in predicted} == predicted
    assert again.comparisons == finished.outcome.comparisons


@pytest.mark.slow
def test_interrupted_reinforcement_runs_go_on_from_their_checkpoints(
    finished: Finished, small: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = copy_demo(finished, tmp_path / "demo", without=("dr-grpo", "editgrpo", "sft-continued"))
    stage = "Training dr-grpo and editgrpo"
    with pytest.raises(InterruptionError):
        run_demo(plan, command="", progress_bar=Bar(stop_at=(stage, 1)))
    assert not multiprocessing.active_children()
    begun = [system for system in RL if plan.run(system).is_dir()]
    assert begun
    assert not all(plan.model(system).is_dir() for system in RL)
    with pytest.raises(InterruptionError):
        run_demo(plan, command="", progress_bar=Bar(stop_at=("Training sft-continued", 1)))
    for system in RL:
        for name in ("metrics.jsonl", "rollouts.jsonl", "model/model.safetensors"):
            ended, whole = (p.run(system) / name for p in (plan, finished.plan))
            assert ended.read_bytes() == whole.read_bytes(), (system, name)


@pytest.mark.slow
def test_a_run_that_fails_ends_the_other_and_says_why(
    finished: Finished, small: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = copy_demo(finished, tmp_path / "demo", without=("dr-grpo", "editgrpo", "sft-continued"))
    configs = {system.value: replace(plan.rl_config(system), steps=10_000) for system in RL}
    lost = replace(configs["editgrpo"].data, folder=str(tmp_path / "lost"))
    configs["editgrpo"] = replace(configs["editgrpo"], data=lost)
    with pytest.raises(DataError, match="lost"):
        train_side_by_side(configs, command="", progress=lambda done, total: None)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_an_interrupted_fine_tuning_goes_on(
    finished: Finished, small: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = copy_demo(finished, tmp_path / "demo", without=tuple(s.value for s in System))
    with pytest.raises(InterruptionError):
        run_demo(plan, command="", progress_bar=Bar(stop_at=("Training sft", 2)))
    bar = Bar(stop_at=("Training dr-grpo and editgrpo", 0))
    with pytest.raises(InterruptionError):
        run_demo(plan, command="", progress_bar=bar)
    assert set(bar.stages["Training sft"]) == {2, 3}
    for name in ("metrics.jsonl", "model/model.safetensors"):
        ended, whole = (p.run(System.SFT) / name for p in (plan, finished.plan))
        assert ended.read_bytes() == whole.read_bytes(), name


@pytest.mark.slow
def test_an_interrupted_generation_goes_on_where_it_was(
    finished: Finished, small: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = copy_demo(finished, tmp_path / "demo", without=("in-domain",))
    stage = "Reports by sft, in-domain"
    with pytest.raises(InterruptionError):
        run_demo(plan, command="", progress_bar=Bar(stop_at=(stage, 3)))
    assert not (plan.evaluation(System.SFT, Place.IN_DOMAIN) / "predictions.jsonl").exists()
    bar = Bar(stop_at=("Report", 1))
    with pytest.raises(InterruptionError):
        run_demo(plan, command="", progress_bar=bar)
    assert list(bar.stages) == [*(f"Reports by {s}, in-domain" for s in System), "Report"]
    for system in System:
        ended, whole = (
            p.evaluation(system, Place.IN_DOMAIN) / "predictions.jsonl"
            for p in (plan, finished.plan)
        )
        assert ended.read_bytes() == whole.read_bytes(), system


def test_a_step_that_was_taken_twice_counts_once(tmp_path: Path) -> None:
    def row(step: int, gain: float) -> NamedByEdit:
        return NamedByEdit(
            step=step,
            study_id="s",
            finding="Fracture",
            reference="r",
            sampled="a",
            edited="b",
            gain=gain,
        )

    assert named_by_edits(tmp_path) == []
    rows = [row(1, 0.5), row(2, 0.25), row(2, 0.75)]
    write_jsonl(tmp_path / "named-by-edits.jsonl", [asdict(one) for one in rows])
    assert named_by_edits(tmp_path) == [row(1, 0.5), row(2, 0.75)]
