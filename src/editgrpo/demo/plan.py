"""What the demo trains and on what: sizes, systems and where everything lies in its folder."""

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from editgrpo.config import DataConfig, SFTConfig, TrainConfig
from editgrpo.phantom import Site
from editgrpo.recipes import load_recipe

RECIPES = Path(__file__).parent / "recipes"
PROMPT = RECIPES / "prompt.jinja"

# The truly rare findings of the phantom (1 to 2 % of studies), by their CheXpert names.
RARE_FINDINGS = (
    "Enlarged Cardiomediastinum",
    "Lung Lesion",
    "Pneumothorax",
    "Pleural Other",
    "Fracture",
)


class System(StrEnum):
    """The systems that the demo compares, in the order of its tables."""

    SFT = "sft"
    SFT_CONTINUED = "sft-continued"
    DR_GRPO = "dr-grpo"
    EDITGRPO = "editgrpo"


class TestSet(StrEnum):
    """Where the systems are tested: the site they were trained at, and another one."""

    IN_DOMAIN = "in-domain"
    OUT_OF_DOMAIN = "out-of-domain"


SITE_OF_TEST_SET = {TestSet.IN_DOMAIN: Site.A, TestSet.OUT_OF_DOMAIN: Site.B}


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoSize:
    """How much the demo does."""

    site_a_studies: int
    """Studies of the site at which the systems are trained."""
    site_b_studies: int
    """Studies of the other site, all for testing."""
    sft_steps: int
    rl_steps: int
    test_studies: int
    """Most test studies of each site."""


FULL = DemoSize(
    site_a_studies=4000, site_b_studies=600, sft_steps=600, rl_steps=40, test_studies=600
)
QUICK = DemoSize(site_a_studies=640, site_b_studies=96, sft_steps=60, rl_steps=6, test_studies=64)


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoPlan:
    """The folder of a demo and what is in it."""

    folder: Path
    size: DemoSize
    seed: int

    def studies(self, site: Site) -> Path:
        """Return the folder of a site's studies."""
        return self.folder / "studies" / f"site-{site.value.lower()}"

    @property
    def base_model(self) -> Path:
        """The untrained small model."""
        return self.folder / "base-model"

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
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"

    def data(self, site: Site, base: DataConfig) -> DataConfig:
        """Return a recipe's data settings with a site's folder and the demo's prompt."""
        return replace(
            base,
            folder=str(self.studies(site)),
            prompt_template=str(PROMPT),
        )

    def sft_config(self, system: System, steps: int) -> SFTConfig:
        """Return the configuration of SFT or of SFT continued."""
        config = load_recipe(RECIPES / f"{system.value}.yaml", SFTConfig)
        start = self.base_model if system is System.SFT else self.model(System.SFT)
        return replace(
            config,
            model=replace(config.model, path=str(start)),
            data=self.data(Site.A, config.data),
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
            data=self.data(Site.A, config.data),
            steps=self.size.rl_steps,
            seed=self.seed,
            output=str(self.run(system)),
        )
