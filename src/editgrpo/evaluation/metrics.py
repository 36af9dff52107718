"""What a metric is: the numbers it needs of every study, and how its value follows from their
means.

Every metric of this package is a function of means over studies. That is what makes intervals and
paired tests cheap (`bootstrap.py`), and it lets metrics that need the same numbers share them.
`catalogue.py` lists the metrics by name; `sources.py` computes the numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from editgrpo.evaluation.label_metrics import balanced_accuracy, macro_f1, micro_f1
from editgrpo.evaluation.text_metrics import BLEU_COLUMNS, TEXT_SCALARS, corpus_bleu
from editgrpo.reports.chexpert import FINDINGS, FIVE_FINDINGS

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
    """Place sources beside each other: the columns of each, in the order given."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A number over a test set.

    Attributes:
        name: Name with its variant.
        description: One line: what it is, for lists.
        formula: Its value.
        sources: What it needs of every study.
        level: Whether a single report has a value.
        direction: Which values are better.
        models: The models whose weights it needs (`editgrpo models list`).
        needs_class_rates: Whether it needs the class rates of a training set.
        needs_rare: Whether it is over the rare findings, and absent where there are none.
    """

    name: str
    description: str
    formula: Formula
    sources: tuple[Source, ...]
    level: Level = Level.CORPUS
    direction: Direction = Direction.HIGHER
    models: tuple[str, ...] = ()
    needs_class_rates: bool = False
    needs_rare: bool = False


def label_metrics(labeler: str, *, models: tuple[str, ...] = ()) -> tuple[Metric, ...]:
    """Define the corpus metrics of a labeler.

    Args:
        labeler: Its name; the metrics are named `<labeler>/...`.
        models: The models that it needs.

    Returns:
        Micro and macro F1 of 14, of 5 and of the rare findings; balanced accuracy of 14.
    """

    def metric(name: str, description: str, value: Formula, *, needs_rare: bool = False) -> Metric:
        return Metric(
            name=f"{labeler}/{name}",
            description=description,
            formula=value,
            sources=(Source(SourceKind.LABELS, labeler),),
            models=models,
            needs_rare=needs_rare,
        )

    def over(findings: Sequence[str], score: Callable[..., NDArray[np.float64]]) -> Formula:
        chosen = [FINDINGS.index(finding) for finding in findings]
        return lambda means: score(means.counts(labeler)[..., chosen])

    def over_rare(score: Callable[..., NDArray[np.float64]]) -> Formula:
        return lambda means: over(means.rare_findings, score)(means)

    return (
        metric(
            "micro-f1-14", "F1 of all reports and 14 findings together", over(FINDINGS, micro_f1)
        ),
        metric("macro-f1-14", "mean F1 of the 14 findings", over(FINDINGS, macro_f1)),
        metric("micro-f1-5", "F1 over CheXpert's five findings", over(FIVE_FINDINGS, micro_f1)),
        metric("macro-f1-5", "mean F1 of the five findings", over(FIVE_FINDINGS, macro_f1)),
        metric("micro-f1-rare", "F1 over the rare findings", over_rare(micro_f1), needs_rare=True),
        metric("macro-f1-rare", "mean F1 of the rare", over_rare(macro_f1), needs_rare=True),
        metric(
            "balanced-accuracy-14",
            "mean over findings of (sensitivity + specificity) / 2",
            over(FINDINGS, balanced_accuracy),
        ),
    )


def component_metric(
    name: str,
    description: str,
    *,
    models: tuple[str, ...] = (),
    direction: Direction = Direction.HIGHER,
    needs_class_rates: bool = False,
) -> Metric:
    """Define the mean over reports of a component.

    Args:
        name: The component's name, which is the metric's.
        description: One line.
        models: The models that it needs.
        direction: Which values are better.
        needs_class_rates: Whether it needs the class rates of a training set.

    Returns:
        The metric.
    """
    source = Source(SourceKind.COMPONENT, name)
    return Metric(
        name=name,
        description=description,
        formula=lambda means: means.of(source)[..., 0],
        sources=(source,),
        level=Level.REPORT,
        direction=direction,
        models=models,
        needs_class_rates=needs_class_rates,
    )


def text_metric(name: str, description: str, direction: Direction) -> Metric:
    """Define the mean over reports of one of `TEXT_SCALARS`."""
    source, column = Source(SourceKind.TEXT), TEXT_SCALARS.index(name)
    return Metric(
        name=name,
        description=description,
        formula=lambda means: means.of(source)[..., column],
        sources=(source,),
        level=Level.REPORT,
        direction=direction,
    )


def bleu_metric(order: int) -> Metric:
    """Define corpus BLEU of n-grams up to an order of 1 to 4."""
    source = Source(SourceKind.BLEU)
    return Metric(
        name=f"text/bleu-{order}",
        description=f"corpus BLEU of n-grams up to {order}, in [0, 1]",
        formula=lambda means: corpus_bleu(means.of(source), order=order),
        sources=(source,),
    )


def sum_metric(name: str, description: str, parts: Sequence[Metric]) -> Metric:
    """Define the sum of metrics that every report has, as a reward's total is."""
    return _combined(name, description, parts, np.sum, level=Level.REPORT)


def average_metric(name: str, description: str, parts: Sequence[Metric]) -> Metric:
    """Define the unweighted mean of metrics of a test set."""
    return _combined(name, description, parts, np.mean, level=Level.CORPUS)


def _combined(
    name: str,
    description: str,
    parts: Sequence[Metric],
    combine: Callable[..., NDArray[np.float64]],
    *,
    level: Level,
) -> Metric:
    return Metric(
        name=name,
        description=description,
        formula=lambda means: np.asarray(
            combine([part.formula(means) for part in parts], axis=0), dtype=np.float64
        ),
        sources=tuple(dict.fromkeys(source for part in parts for source in part.sources)),
        level=level,
        models=tuple(dict.fromkeys(model for part in parts for model in part.models)),
    )
