"""What a report must do to be paid: state something.

Labelers give No Finding to a report in which they find nothing wrong, and so to the empty report
and to words without meaning: over mostly normal studies that would pay a third of the label reward
for saying nothing. Other metrics have such a floor too: RaTEScore 0.5, balanced accuracy 0.5, a
cosine of embeddings whatever it is.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from editgrpo.metrics.check import label_rows
from editgrpo.reports.chexpert import NO_FINDING_INDEX, LabelClass
from editgrpo.reports.types import Annotator, Labeler


def is_silent(annotator: Annotator, texts: Sequence[str]) -> NDArray[np.bool_]:
    """Tell texts that state nothing of the patient; naming an anatomy does not.

    Args:
        annotator: Finds what a text states.
        texts: N texts.

    Returns:
        (N,) bool, True where a text has no entity that is present, absent or uncertain.
    """
    return np.array(
        [
            all(entity.type.presence is None for entity in report.entities)
            for report in annotator.annotate(texts)
        ],
        dtype=np.bool_,
    )


class StatedLabeler:
    """A labeler whose No Finding needs a statement; see `is_silent`.

    Attributes:
        name: The labeler's.

    Args:
        labeler: Assigns the 14 findings.
        annotator: Finds what a report states.
    """

    def __init__(self, labeler: Labeler, annotator: Annotator) -> None:
        self.name = labeler.name
        self._labeler = labeler
        self._annotator = annotator

    def classify(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """Return the labeler's (N, 14) classes, No Finding blank where nothing is stated."""
        classes = self._labeler.classify(texts)
        highest = LabelClass.UNCERTAIN
        return self._withdraw(texts, label_rows(self.name, classes, len(texts), highest=highest))

    def label(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """Return the labeler's (N, 14) labels, No Finding 0 where nothing is stated."""
        labels = self._labeler.label(texts)
        return self._withdraw(texts, label_rows(self.name, labels, len(texts)))

    def _withdraw(self, texts: Sequence[str], values_NF: NDArray[np.uint8]) -> NDArray[np.uint8]:
        values_NF = values_NF.copy()
        values_NF[is_silent(self._annotator, texts), NO_FINDING_INDEX] = LabelClass.BLANK
        return values_NF
