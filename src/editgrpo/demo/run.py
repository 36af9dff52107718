"""Runs the demo stage by stage; a stage that is done is not done again."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from editgrpo.data.prepared.store import PREPARED_FILE
from editgrpo.demo.lanes import train_side_by_side
from editgrpo.demo.named import NamedByEdit, named_by_edits
from editgrpo.demo.plan import (
    PATIENTS_OF_TEST_SET,
    SOURCES,
    UNCOMMON_FINDINGS,
    DemoPlan,
    System,
    TestSet,
)
from editgrpo.demo.testing import tested
from editgrpo.display.html import write_report
from editgrpo.display.terminal import ProgressBar, ProgressCallback
from editgrpo.evaluation.compare import compare
from editgrpo.evaluation.evaluate import Evaluation
from editgrpo.evaluation.outputs import write_comparison
from editgrpo.evaluation.types import Comparison
from editgrpo.phantom import write_phantom
from editgrpo.training.sft import run_sft

# Studies of a demo's seeds lie apart from those of the next.
_SEEDS_APART = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoOutcome:
    """What a demo found.

    Attributes:
        evaluations: For each test set the evaluation of each system.
        comparisons: For each test set EditGRPO against the others.
        seconds: For each stage that this call ran, how long it took.
        report: The HTML report.
        named: Studies of which an edit named an uncommon finding that no sample did.
    """

    evaluations: Mapping[TestSet, Sequence[Evaluation]]
    comparisons: Mapping[TestSet, Sequence[Comparison]]
    seconds: Mapping[str, float]
    report: Path
    named: Sequence[NamedByEdit]


def run_demo(plan: DemoPlan, *, command: str, progress_bar: ProgressBar) -> DemoOutcome:
    """Prepare phantom studies, train four systems, evaluate them at two sites and write the report.

    Args:
        plan: Folder, sizes and seed. Stages that are complete in the folder are not repeated, one
            that was interrupted goes on.
        command: What started it, for the provenance of the runs.
        progress_bar: Gives a progress callback for a stage's description.

    Returns:
        The results.

    Raises:
        EditGRPOError: as raised by a stage.
    """
    demo = _Demo(plan, command, progress_bar)
    demo.prepare()
    demo.train()
    evaluations = {test_set: demo.evaluate(test_set) for test_set in TestSet}
    comparisons = {
        test_set: compare_with_editgrpo(plan, test_set, found)
        for test_set, found in evaluations.items()
    }
    named = named_by_edits(plan.run(System.EDITGRPO))
    demo.report(named)
    return DemoOutcome(
        evaluations=evaluations,
        comparisons=comparisons,
        seconds=demo.seconds,
        report=plan.report,
        named=named,
    )


class _Demo:
    """The stages, in their order."""

    def __init__(self, plan: DemoPlan, command: str, progress_bar: ProgressBar) -> None:
        self._plan = plan
        self._command = command
        self._progress_bar = progress_bar
        self.seconds: dict[str, float] = {}

    def prepare(self) -> None:
        """Draw the sets of studies."""
        for patients, source in SOURCES.items():
            folder = self._plan.studies(patients)
            if (folder / PREPARED_FILE).is_file():
                continue
            with self._stage(f"Phantom studies, {patients.value}") as progress:
                write_phantom(
                    folder,
                    studies=self._plan.count(patients),
                    site=source.profile,
                    seed=source.seed + _SEEDS_APART * self._plan.seed,
                    split_shares=source.shares,
                    progress=progress,
                )

    def train(self) -> None:
        """Train the four systems."""
        self._train_sft(System.SFT, self._plan.size.sft_steps)
        self._train_rl(System.DR_GRPO, System.EDITGRPO)
        self._train_sft(System.SFT_CONTINUED, self._plan.size.rl_steps)

    def _train_rl(self, *systems: System) -> None:
        configs = {
            system.value: self._plan.rl_config(system)
            for system in systems
            if not _is_trained(self._plan, system)
        }
        if configs:
            with self._stage(f"Training {' and '.join(configs)}") as progress:
                train_side_by_side(configs, command=self._command, progress=progress)

    def _train_sft(self, system: System, steps: int) -> None:
        if _is_trained(self._plan, system):
            return
        with self._stage(f"Training {system.value}") as progress:
            run_sft(
                self._plan.sft_config(system, steps),
                resume=True,
                command=self._command,
                on_metrics=lambda metrics: progress(int(metrics["step"]), steps),
            )

    def evaluate(self, test_set: TestSet) -> list[Evaluation]:
        """Generate and score the reports of every system on one test set."""
        return [self._evaluate(system, test_set) for system in System]

    def _evaluate(self, system: System, test_set: TestSet) -> Evaluation:
        config = self._plan.rl_config(System.EDITGRPO)
        return tested(
            self._plan.model(system),
            self._plan.data(PATIENTS_OF_TEST_SET[test_set], config.data),
            self._plan.evaluation(system, test_set),
            system=system.value,
            max_tokens=config.rollout.max_completion_tokens,
            rare_findings=UNCOMMON_FINDINGS,
            stage=lambda: self._stage(f"Reports by {system.value}, {test_set.value}"),
        )

    def report(self, named: Sequence[NamedByEdit]) -> None:
        """Write the HTML report of all runs, with pages of what EditGRPO's edits named."""
        systems = [*System]
        place = systems.index(System.EDITGRPO)
        with self._stage("Report") as progress:
            write_report(
                [self._plan.run(system) for system in systems],
                self._plan.report,
                title="editgrpo demo: phantom studies",
                remark=self._plan.remark,
                tested_on={
                    test_set.value: self._plan.studies(patients)
                    for test_set, patients in PATIENTS_OF_TEST_SET.items()
                },
                wanted=[(place, one.step, one.study_id) for one in named],
                progress=progress,
            )

    @contextmanager
    def _stage(self, description: str) -> Iterator[ProgressCallback]:
        start = time.perf_counter()
        with self._progress_bar(description) as progress:
            yield progress
        self.seconds[description] = time.perf_counter() - start


def _is_trained(plan: DemoPlan, system: System) -> bool:
    return (plan.model(system) / "config.json").is_file()


def compare_with_editgrpo(
    plan: DemoPlan, test_set: TestSet, evaluations: Sequence[Evaluation]
) -> list[Comparison]:
    """Compare EditGRPO with every other system on one test set and write the comparisons.

    Args:
        plan: The demo.
        test_set: Where they were tested.
        evaluations: One for each system.

    Returns:
        A comparison for each other system, EditGRPO first in each.
    """
    by_system = {evaluation.system: evaluation for evaluation in evaluations}
    comparisons = []
    for system in System:
        if system is not System.EDITGRPO:
            comparison = compare(by_system[System.EDITGRPO.value], by_system[system.value])
            # It lies with the other system, so that each folder holds one.
            write_comparison(plan.evaluation(system, test_set), comparison)
            comparisons.append(comparison)
    return comparisons
