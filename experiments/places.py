"""Where the study reads and writes."""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Two folders: one that may be thrown away, and one that is kept."""

    work: Path = Path("runs/experiments")
    """Data sets and runs; not committed."""
    study: Path = HERE
    """Stages, arms, tables and results; committed."""

    @property
    def results(self) -> Path:
        """Results, a folder a stage."""
        return self.study / "results"

    @property
    def studies(self) -> Path:
        """Data sets, each under its own name."""
        return self.work / "studies"

    def run(self, stage: str, arm: str, seed: int) -> Path:
        """Return the run folder of an arm."""
        return self.work / stage / arm / f"seed-{seed}"

    def result(self, stage: str, arm: str, seed: int) -> Path:
        """Return the result file of an arm."""
        return self.results / stage / arm / f"seed-{seed}.json"

    def gate(self, stage: str, seed: int) -> Path:
        """Return what the gate found of the model that RL starts from."""
        return self.results / stage / f"gate-seed-{seed}.json"

    def test_sets(self, stage: str) -> Path:
        """Return the references of a stage's test sets."""
        return self.results / stage / "test-sets.json"
