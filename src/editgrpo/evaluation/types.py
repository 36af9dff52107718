"""What goes into an evaluation and what comes out of it, as values."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from editgrpo.config import Section, Target
from editgrpo.errors import ConfigError
from editgrpo.reports.chexpert import FINDINGS

ProgressCallback = Callable[[int, int], None]
"""Called with the work done so far and the whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """One generated report with its reference.

    Attributes:
        study_id: Unique within a set of predictions.
        prediction: The generated report; may be empty.
        reference: The reference report.
        patient_id: Whose study it is; None if that is not known, then of no study of the set.
        target: What both texts hold; the same for a set of predictions.
    """

    study_id: str
    prediction: str
    reference: str
    patient_id: str | None = None
    target: Target = Target.FINDINGS


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationOptions:
    """How predictions are scored and how sure of the scores one can be."""

    metrics: tuple[str, ...] = ("rules",)
    """Names of metrics and of sets of metrics (`editgrpo score --list`, docs/metrics.md)."""

    class_rates: Path | None = None
    """File of class rates (`editgrpo annotate --class-rates`), for the metrics that need them."""

    samples: int = 1000
    """Bootstrap resamples, and random permutations of a paired test."""

    confidence: float = 0.95
    """Coverage of every interval."""

    seed: int = 0
    """Seed of the resamples and permutations."""

    rare_share: float = 0.05
    """A finding is rare if at least one reference, but less than this share of them, has it."""

    rare_findings: tuple[str, ...] | None = None
    """The rare findings by name; None chooses them by `rare_share`."""

    target: Target = Target.FINDINGS
    """What the predictions were made for; `evaluate_systems` reads it from their files."""

    section: Section | None = None
    """Score this section of predictions of both alone; None scores both as running text."""

    @property
    def scored(self) -> Target:
        """The sections that are scored."""
        return self.target if self.section is None else Target(self.section.value)

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ConfigError(f"samples is {self.samples}; it must be at least 1")
        if not 0 < self.confidence < 1:
            raise ConfigError(f"confidence is {self.confidence}; it must be between 0 and 1")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; it must be 0 or more")
        if not (math.isfinite(self.rare_share) and 0 <= self.rare_share <= 1):
            raise ConfigError(f"rare_share is {self.rare_share}; it must be between 0 and 1")
        for name in self.rare_findings or ():
            if name not in FINDINGS:
                raise ConfigError(
                    f"rare_findings: {name!r} is unknown; choose from {', '.join(FINDINGS)}"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A metric over a test set.

    Attributes:
        value: The metric; with several seeds, the mean of the seeds' values.
        low: Lower end of the bootstrap interval: of one seed over patients, of several over seeds
            and patients. Over studies where the patients are not known; None if a single patient
            leaves nothing to resample.
        high: Upper end.
        runs_low: Lower end of the interval over patients, the seeds being those that were run.
        runs_high: Upper end.
        seed_values: The metric of each seed's predictions; one value if there is one seed.
    """

    value: float
    low: float | None
    high: float | None
    runs_low: float | None
    runs_high: float | None
    seed_values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FindingScore:
    """One CheXpert finding over a test set; with several seeds, means over the seeds.

    Attributes:
        f1: 2 TP / (2 TP + FP + FN), 0 if the finding is neither in a reference nor predicted.
        precision: TP / (TP + FP), 0 if it is never predicted.
        recall: TP / (TP + FN), 0 if it is in no reference.
        support: References that have it.
        predicted: Predictions that have it; a fraction is possible with several seeds.
    """

    f1: float
    precision: float
    recall: float
    support: int
    predicted: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A metric of system a minus the same metric of system b.

    Attributes:
        a: Value of the first system.
        b: Value of the second system.
        difference: a - b.
        low: Lower end of the paired bootstrap interval: over seeds and patients if both systems
            have several seeds, else over patients for these runs. None as in `Estimate`.
        high: Upper end.
        runs_low: Lower end of the paired interval over patients, the seeds being those that were
            run.
        runs_high: Upper end.
        p: Two-sided p-value of the paired permutation test, above 0 and at most 1. It exchanges
            patients, so it speaks of these runs and not of others of the same methods.
        seed_differences: a - b of each pair of seeds, if both have equally many.
    """

    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    runs_low: float | None
    runs_high: float | None
    p: float
    seed_differences: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two systems on the same studies.

    Attributes:
        a: Name of the first system.
        b: Name of the second system.
        predictions_a: Where the first system's predictions came from, one name a seed.
        predictions_b: Where the second's came from.
        n_studies: Studies that both were scored on.
        n_patients: Their patients; None if they are not known.
        n_test_sets: 1, or as many as seeds where each has a test set of its own.
        seeds_a: Runs pooled in the first system.
        seeds_b: Runs pooled in the second system.
        metrics: Metric name to difference.
        options: Metrics, seed, samples and confidence.
        directions: Metric name to which values are better.
        scored_with: What the numbers depend on besides the texts.
    """

    a: str
    b: str
    predictions_a: tuple[str, ...]
    predictions_b: tuple[str, ...]
    n_studies: int
    n_patients: int | None
    n_test_sets: int
    seeds_a: int
    seeds_b: int
    metrics: Mapping[str, Difference]
    options: EvaluationOptions
    directions: Mapping[str, str]
    scored_with: Mapping[str, str]
