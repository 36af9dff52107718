"""How frequent the 14 CheXpert findings are in reports, by a labeler."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from editgrpo.reports.chexpert import FINDINGS, LabelClass
from editgrpo.reports.types import Labeler

MOST_LABELLED = 20_000
"""Reports of a split that are labelled.

The standard error of a share is then at most 0.35 percentage points.
"""

_BATCH = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRequest:
    """Which labels are counted.

    Attributes:
        labeler: Reads the reports.
        most: At most so many reports of a split are read; of more, a sample is drawn.
        seed: Decides the sample.
    """

    labeler: Labeler
    most: int = MOST_LABELLED
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Prevalence:
    """Labels of reports.

    Attributes:
        reports: How many were labelled.
        counts: For every finding, how many reports are of each class.
    """

    reports: int
    counts: Mapping[str, Mapping[LabelClass, int]]

    def share(self, finding: str) -> float:
        """Return the share of reports in which a finding is positive or uncertain, in [0, 1]."""
        counts = self.counts[finding]
        return (counts[LabelClass.POSITIVE] + counts[LabelClass.UNCERTAIN]) / self.reports


def sample_rows(rows: Sequence[int], request: LabelRequest) -> list[int]:
    """Choose the reports that are labelled.

    Args:
        rows: Where the reports stand.
        request: How many at most, and the seed.

    Returns:
        All rows if they are few, else a random sample; in their order.
    """
    if len(rows) <= request.most:
        return list(rows)
    return sorted(random.Random(request.seed).sample(rows, request.most))


def count_labels(
    reports: Sequence[str], labeler: Labeler, *, progress: Callable[[int], None] | None = None
) -> Prevalence | None:
    """Label reports.

    Args:
        reports: Findings sections.
        labeler: Reads them.
        progress: Called with how many more were read.

    Returns:
        The counts; None if there are no reports.
    """
    if not reports:
        return None
    totals = np.zeros((len(FINDINGS), len(LabelClass)), dtype=np.int64)
    for start in range(0, len(reports), _BATCH):
        batch = reports[start : start + _BATCH]
        classes = labeler.classify(batch)
        for label in LabelClass:
            totals[:, label] += (classes == label).sum(axis=0)
        if progress is not None:
            progress(len(batch))
    return Prevalence(
        reports=len(reports),
        counts={
            finding: {label: int(row[label]) for label in LabelClass}
            for finding, row in zip(FINDINGS, totals, strict=True)
        },
    )
