"""Labels of what a report states, so that silence earns nothing.

Labelers give No Finding to a report in which they find nothing wrong, and so to the empty report
and to words without meaning: over mostly normal studies that would pay a third of the label reward
for saying nothing.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from editgrpo.reports.chexpert import NO_FINDING_INDEX, LabelClass
from editgrpo.reports.types import Annotator, Labeler


class StatedLabeler:
    """A labeler whose No Finding needs a statement: at least one entity that is present or absent.

    Naming an anatomy states nothing of the patient.

    Attributes:
        name: The labeler's.
    """

    def __init__(self, labeler: Labeler, annotator: Annotator) -> None:
        """Keep both.

        Args:
            labeler: Assigns the 14 findings.
            annotator: Finds what a report states.
        """
        self.name = labeler.name
        self._labeler = labeler
        self._annotator = annotator

    def classify(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """Return the labeler's (N, 14) classes, No Finding blank where nothing is stated."""
        return self._withdraw(texts, self._labeler.classify(texts))

    def label(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """Return the labeler's (N, 14) labels, No Finding 0 where nothing is stated."""
        return self._withdraw(texts, self._labeler.label(texts))

    def _withdraw(self, texts: Sequence[str], values_NF: NDArray[np.uint8]) -> NDArray[np.uint8]:
        is_silent = [
            all(entity.type.presence is None for entity in report.entities)
            for report in self._annotator.annotate(texts)
        ]
        values_NF = values_NF.copy()
        values_NF[is_silent, NO_FINDING_INDEX] = LabelClass.BLANK
        return values_NF
