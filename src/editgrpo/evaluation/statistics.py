"""The numbers kept of every study, and the metrics that are functions of their means.

A row holds, for one study: TP, FP and FN of each of the 14 findings, the counts of BLEU, and single
values (the reward's components, ROUGE-L, length, ...). Everything reported of a test set, its
intervals and its comparisons come from these rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from editgrpo.evaluation.label_metrics import macro_f1, micro_f1, study_counts
from editgrpo.evaluation.text_metrics import (
    BLEU_COLUMNS,
    TEXT_SCALARS,
    TextScorer,
    corpus_bleu,
)
from editgrpo.evaluation.types import Prediction, ProgressCallback
from editgrpo.reports.chexpert import FINDINGS, FIVE_FINDINGS
from editgrpo.reports.types import Labeler
from editgrpo.rewards.types import Reward

BATCH = 256
"""Studies scored between two reports of progress."""

BLEU_4 = "text/bleu-4"
_LABEL_COLUMNS = 3 * len(FINDINGS)
_SCALAR_START = _LABEL_COLUMNS + BLEU_COLUMNS


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyStatistics:
    """One row of numbers for each study.

    Attributes:
        values_NK: (N, 42 + 10 + len(scalars)) float64: TP, FP, FN by finding; BLEU; single values.
        scalars: Names of the single values: the total, the components, then `TEXT_SCALARS`.
        components: Names of the reward's components, a part of `scalars`.
        labeler: Name of the labeler that found the 14 findings.
    """

    values_NK: NDArray[np.float64]
    scalars: tuple[str, ...]
    components: tuple[str, ...]
    labeler: str

    def scalar(self, name: str) -> NDArray[np.float64]:
        """Return the (N,) values of one name of `scalars`."""
        return self.values_NK[:, _SCALAR_START + self.scalars.index(name)]


@dataclass(frozen=True, slots=True)
class Metric:
    """A number over a test set.

    Attributes:
        name: Name with its variant.
        value: Maps means over studies, (..., K), to the metric, (...).
    """

    name: str
    value: Callable[[NDArray[np.float64]], NDArray[np.float64]]


def study_statistics(
    predictions: Sequence[Prediction],
    *,
    reward: Reward,
    labeler: Labeler,
    progress: ProgressCallback | None = None,
) -> StudyStatistics:
    """Score every study once.

    Args:
        predictions: N studies, N at least 1.
        reward: Scores each report against its reference.
        labeler: Finds the 14 findings for corpus F1.
        progress: Called after each batch with studies done and N.

    Returns:
        Statistics with the rows in the order of `predictions`.
    """
    total_name = f"reward/total@{reward.name}"
    text_scorer = TextScorer()
    blocks = []
    for start in range(0, len(predictions), BATCH):
        batch = predictions[start : start + BATCH]
        texts = [one.prediction for one in batch]
        references = [one.reference for one in batch]
        counts = study_counts(labeler.label(texts), labeler.label(references))
        scores = reward.score(texts, references)
        pairs = list(zip(texts, references, strict=True))
        columns = (
            counts.reshape(len(batch), -1),
            np.stack([text_scorer.bleu_statistics(*pair) for pair in pairs]),
            scores.total[:, None],
            np.stack([scores.components[name] for name in reward.component_names], axis=1),
            np.stack([text_scorer.scalars(*pair) for pair in pairs]),
        )
        blocks.append(np.concatenate(columns, axis=1))
        if progress is not None:
            progress(start + len(batch), len(predictions))
    return StudyStatistics(
        values_NK=np.concatenate(blocks),
        scalars=(total_name, *reward.component_names, *TEXT_SCALARS),
        components=reward.component_names,
        labeler=labeler.name,
    )


def label_counts(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the TP, FP and FN shares, (..., 3, 14), of means over studies, (..., K)."""
    return means[..., :_LABEL_COLUMNS].reshape(*means.shape[:-1], 3, len(FINDINGS))


def define_metrics(
    statistics: StudyStatistics, *, rare_findings: Sequence[str]
) -> tuple[Metric, ...]:
    """List the metrics that the statistics allow, in the order in which they are shown.

    Args:
        statistics: Tells which components there are.
        rare_findings: Findings of the "rare" metrics; these are left out if there are none.

    Returns:
        The average clinical score first, then corpus F1, components and text metrics.
    """
    by_finding = [
        ("micro-f1-14", micro_f1, FINDINGS),
        ("macro-f1-14", macro_f1, FINDINGS),
        ("micro-f1-5", micro_f1, FIVE_FINDINGS),
        ("macro-f1-5", macro_f1, FIVE_FINDINGS),
    ]
    rare = [("micro-f1-rare", micro_f1), ("macro-f1-rare", macro_f1)] if rare_findings else []
    corpus = [_label_metric(statistics, *definition) for definition in by_finding]
    singles = {name: _mean_metric(statistics, name) for name in statistics.scalars}
    clinical = [
        *corpus,
        *(
            singles[name]
            for name in statistics.components
            if not name.endswith("/report-micro-f1-14")
        ),
    ]
    return (
        _average(f"average/clinical@{statistics.labeler}", clinical),
        *corpus,
        *(_label_metric(statistics, name, f1, rare_findings) for name, f1 in rare),
        *singles.values(),
        Metric(BLEU_4, lambda means: corpus_bleu(means[..., _LABEL_COLUMNS:_SCALAR_START])),
    )


def _label_metric(
    statistics: StudyStatistics,
    name: str,
    f1: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    findings: Sequence[str],
) -> Metric:
    columns = [FINDINGS.index(finding) for finding in findings]
    return Metric(
        f"corpus/{name}@{statistics.labeler}",
        lambda means: f1(label_counts(means)[..., columns]),
    )


def _mean_metric(statistics: StudyStatistics, name: str) -> Metric:
    column = _SCALAR_START + statistics.scalars.index(name)
    return Metric(name, lambda means: means[..., column])


def _average(name: str, metrics: Sequence[Metric]) -> Metric:
    return Metric(
        name,
        lambda means: np.asarray(np.mean([metric.value(means) for metric in metrics], axis=0)),
    )
