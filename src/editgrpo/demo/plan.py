"""What the demo trains and on what: sizes, systems and where everything lies in its folder.

It is the stage *unsaid* of the repository's experiments, in fewer steps: the model is fine-tuned on
outpatients, who hardly ever have an uncommon finding, and reinforcement learning is given
inpatients, who do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from editgrpo.config import DataConfig, SFTConfig, TrainConfig
from editgrpo.demo.places import BASE_MODEL, PROMPT, RECIPES
from editgrpo.demo.sites import INPATIENTS_A, INPATIENTS_B, OUTPATIENTS_A, UNCOMMON
from editgrpo.phantom import CHEXPERT_CLASS, SiteProfile
from editgrpo.recipes import load_recipe

UNCOMMON_FINDINGS = tuple(CHEXPERT_CLASS[kind] for kind in UNCOMMON)
FINDING_KINDS: Mapping[str, tuple[str, ...]] = {
    "visible and said": (
        "Cardiomegaly",
        "Edema",
        "Consolidation",
        "Pneumothorax",
        "Pleural Effusion",
        "Support Devices",
    ),
    "visible and unsaid": UNCOMMON_FINDINGS,
    "unseen": ("Lung Opacity", "Lung Lesion", "Pneumonia"),
}
"""What the fine-tuned model does with each finding, as the gate of the experiments measured it."""


class System(StrEnum):
    """The systems that the demo compares, in the order of its tables."""

    SFT = "sft"
    SFT_CONTINUED = "sft-continued"
    DR_GRPO = "dr-grpo"
    EDITGRPO = "editgrpo"


class Patients(StrEnum):
    """The sets of phantom studies."""

    OUTPATIENTS = "outpatients"
    """What SFT learns from."""
    INPATIENTS = "inpatients"
    """What everything after it learns from."""
    OWN_SITE = "own-site"
    """Other inpatients of that site, for testing."""
    OTHER_SITE = "other-site"
    """Inpatients of another site, for testing."""


class TestSet(StrEnum):
    """Where the systems are tested: the site they were trained at, and another one."""

    IN_DOMAIN = "in-domain"
    OUT_OF_DOMAIN = "out-of-domain"


PATIENTS_OF_TEST_SET = {
    TestSet.IN_DOMAIN: Patients.OWN_SITE,
    TestSet.OUT_OF_DOMAIN: Patients.OTHER_SITE,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class StudySource:
    """How a set is drawn."""

    profile: SiteProfile
    seed: int
    """Of demo 0; each further seed of a demo is ten away."""
    shares: tuple[float, float, float]
    """Of train, validation and test."""


_TRAINING, _TESTING = (0.88, 0.12, 0.0), (0.0, 0.0, 1.0)
SOURCES: Mapping[Patients, StudySource] = {
    Patients.OUTPATIENTS: StudySource(profile=OUTPATIENTS_A, seed=5, shares=_TRAINING),
    Patients.INPATIENTS: StudySource(profile=INPATIENTS_A, seed=2, shares=_TRAINING),
    Patients.OWN_SITE: StudySource(profile=INPATIENTS_A, seed=3, shares=_TESTING),
    Patients.OTHER_SITE: StudySource(profile=INPATIENTS_B, seed=4, shares=_TESTING),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoSize:
    """How much the demo does."""

    training_studies: int
    """Outpatients' studies, and as many of inpatients; an eighth of them for validation."""
    test_studies: int
    """Test studies of each site."""
    sft_steps: int
    rl_steps: int
    """Of each RL run; SFT continued has as many, of as many studies."""


FULL = DemoSize(training_studies=1700, test_studies=300, sft_steps=374, rl_steps=220)
QUICK = DemoSize(training_studies=340, test_studies=40, sft_steps=60, rl_steps=6)


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoPlan:
    """The folder of a demo and what is in it."""

    folder: Path
    size: DemoSize
    seed: int

    def studies(self, patients: Patients) -> Path:
        """Return the folder of a set of studies."""
        return self.folder / "studies" / patients.value

    def count(self, patients: Patients) -> int:
        """Return how many studies a set has."""
        is_tested = patients in PATIENTS_OF_TEST_SET.values()
        return self.size.test_studies if is_tested else self.size.training_studies

    def run(self, system: System) -> Path:
        """Return the run folder of a system."""
        return self.folder / system.value

    def model(self, system: System) -> Path:
        """Return the trained model of a system."""
        return self.run(system) / "model"

    def evaluation(self, system: System, test_set: TestSet) -> Path:
        """Return the folder of a system's predictions and scores."""
        return self.run(system) / "evaluation" / test_set.value

    @property
    def remark(self) -> str | None:
        """What must be known before any of its numbers; None if there is nothing."""
        if self.size != QUICK:
            return None
        return (
            f"Quick run: its numbers mean nothing (SFT has {QUICK.sft_steps} steps, reinforcement "
            f"learning {QUICK.rl_steps})"
        )

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"

    def data(self, patients: Patients, base: DataConfig) -> DataConfig:
        """Return a recipe's data settings with a set's folder and the demo's prompt."""
        return replace(base, folder=str(self.studies(patients)), prompt_template=str(PROMPT))

    def sft_config(self, system: System, steps: int) -> SFTConfig:
        """Return the configuration of SFT or of SFT continued."""
        config = load_recipe(RECIPES / f"{system.value}.yaml", SFTConfig)
        is_first = system is System.SFT
        start = BASE_MODEL if is_first else self.model(System.SFT)
        patients = Patients.OUTPATIENTS if is_first else Patients.INPATIENTS
        return replace(
            config,
            model=replace(config.model, path=str(start)),
            data=self.data(patients, config.data),
            max_steps=steps,
            seed=self.seed,
            output=str(self.run(system)),
        )

    def rl_config(self, system: System) -> TrainConfig:
        """Return the configuration of Dr. GRPO or EditGRPO."""
        config = load_recipe(RECIPES / f"{system.value}.yaml", TrainConfig)
        return replace(
            config,
            model=replace(config.model, path=str(self.model(System.SFT))),
            data=self.data(Patients.INPATIENTS, config.data),
            steps=self.size.rl_steps,
            seed=self.seed,
            output=str(self.run(system)),
        )
