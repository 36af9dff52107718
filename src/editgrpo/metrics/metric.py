"""What a metric is: the numbers it needs of every study, and how its value follows from their
means.

Every metric of this package is a function of means over studies. That is what makes intervals and
paired tests cheap (`bootstrap.py`), and it lets metrics that need the same numbers share them.
`kinds.py` makes them, `table.py` holds all of them, and `evaluation/scoring_plan.py` computes the
numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editgrpo.clinical.catalogue import ClinicalModel
from editgrpo.config import ClinicalConfig
from editgrpo.metrics.component import Component
from editgrpo.metrics.text_metrics import BLEU_COLUMNS, TEXT_SCALARS
from editgrpo.reports.chexpert import FINDINGS

LABEL_COLUMNS = 3 * len(FINDINGS)


class Direction(StrEnum):
    """Which values of a metric are better."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


class Level(StrEnum):
    """Whether a metric has a value for one report."""

    REPORT = "report"
    """Every report has a value; the value of a test set is their mean."""

    CORPUS = "corpus"
    """Only a test set has a value."""


class SourceKind(StrEnum):
    """What is kept of a study."""

    LABELS = "labels"
    """TP, FP and FN of each of the 14 findings by a labeler."""

    COMPONENT = "component"
    """The value of one component (`editgrpo.rewards`)."""

    BLEU = "bleu"
    """Matches and numbers of n-grams, and lengths."""

    TEXT = "text"
    """The values of `TEXT_SCALARS`."""


_WIDTH = {
    SourceKind.LABELS: LABEL_COLUMNS,
    SourceKind.COMPONENT: 1,
    SourceKind.BLEU: BLEU_COLUMNS,
    SourceKind.TEXT: len(TEXT_SCALARS),
}


@dataclass(frozen=True, slots=True)
class Source:
    """Numbers kept of every study; computed once, however many metrics need them.

    Attributes:
        kind: What they are.
        name: The labeler or component; empty for what needs neither.
    """

    kind: SourceKind
    name: str = ""

    @property
    def width(self) -> int:
        """How many numbers a study has."""
        return _WIDTH[self.kind]


def source_columns(sources: Sequence[Source]) -> dict[Source, slice]:
    """Place sources side by side: the columns of each, in the order given."""
    columns, start = {}, 0
    for source in sources:
        columns[source] = slice(start, start + source.width)
        start += source.width
    return columns


@dataclass(frozen=True, slots=True)
class Means:
    """Means over studies, from which metrics follow.

    Attributes:
        values: (..., K) float64; leading axes are resamples, seeds or single studies.
        columns: Where each source stands in K.
        rare_findings: The findings of the "rare" metrics.
    """

    values: NDArray[np.float64]
    columns: Mapping[Source, slice]
    rare_findings: tuple[str, ...] = ()

    def of(self, source: Source) -> NDArray[np.float64]:
        """Return the (..., width) means of a source."""
        return self.values[..., self.columns[source]]

    def counts(self, labeler: str) -> NDArray[np.float64]:
        """Return a labeler's shares of TP, FP and FN, (..., 3, 14)."""
        flat = self.of(Source(SourceKind.LABELS, labeler))
        return flat.reshape(*flat.shape[:-1], 3, len(FINDINGS))


Formula = Callable[[Means], NDArray[np.float64]]
"""Maps means of shape (..., K) to values of shape (...)."""

Loader = Callable[[ClinicalConfig, Path | None], Component[Any]]
"""Loads what scores a report, given where models lie and the file of class rates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A number over a test set: all that there is to say of it.

    Attributes:
        name: Name with its variant.
        description: One line: what it is, for lists.
        formula: Its value.
        sources: What it needs of every study.
        level: Whether a single report has a value.
        direction: Which values are better.
        models: The models whose weights decide its value (`editgrpo models list`).
        load: Loads the component that scores one report; None if no component does.
        no_reward: Why the component is not to be trained on, behind its name; None if it may be.
        only_reward: Whether it is a metric in the form in which it is paid, and no column of an
            evaluation.
        judge: Name of the language model that judges, which takes seconds or a server for a report:
            the settings are `clinical.<judge>_...`. None if none does.
        needs_class_rates: Whether it needs the class rates of a training set.
        needs_rare: Whether it is over the rare findings, and absent where there are none.
    """

    name: str
    description: str
    formula: Formula
    sources: tuple[Source, ...]
    level: Level = Level.CORPUS
    direction: Direction = Direction.HIGHER
    models: tuple[ClinicalModel, ...] = ()
    load: Loader | None = None
    no_reward: str | None = None
    only_reward: bool = False
    judge: str | None = None
    needs_class_rates: bool = False
    needs_rare: bool = False

    @property
    def refusal(self) -> str | None:
        """Why it is not to be trained on, behind its name; None if it may be."""
        if self.load is not None:
            return self.no_reward
        if self.level is Level.CORPUS:
            return "is no reward: only a test set has a value"
        return "is no reward: it is for evaluation only"
