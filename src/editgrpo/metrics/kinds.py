"""Kinds of metrics: over labels, components and words, and sums and averages of others."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editgrpo.clinical.catalogue import ClinicalModel
from editgrpo.metrics.label_metrics import balanced_accuracy, macro_f1, micro_f1
from editgrpo.metrics.metric import Direction, Formula, Level, Loader, Metric, Source, SourceKind
from editgrpo.metrics.text_metrics import TEXT_SCALARS, corpus_bleu
from editgrpo.reports.chexpert import FINDINGS, FIVE_FINDINGS


def label_metrics(labeler: str, *, models: tuple[ClinicalModel, ...] = ()) -> tuple[Metric, ...]:
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
    load: Loader,
    *,
    models: tuple[ClinicalModel, ...] = (),
    **more: Any,
) -> Metric:
    """Define the mean over reports of a component.

    Args:
        name: The component's name, which is the metric's.
        description: One line.
        load: Loads the component.
        models: The models that it needs.
        **more: Other fields of `Metric`.

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
        models=models,
        load=load,
        **more,
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
