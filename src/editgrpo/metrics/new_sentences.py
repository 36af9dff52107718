"""A part of a reward that no report can raise by saying a thing twice.

Scores of entities count what is repeated at least as high as what is said once: an F1 of sets does
not see it, and a precision that is a mean over entities, as in RaTEScore, rises with every copy of
a right one. A policy that is paid by them alone learns to repeat itself.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from editgrpo.metrics.text_metrics import NEW_SENTENCES, repeated_sentence_share


class NewSentences:
    """The share of a report's sentences that do not repeat an earlier one; the reference plays no
    part.

    Attributes:
        name: `text/new-sentences`.
    """

    name = NEW_SENTENCES

    def read(self, texts: Sequence[str]) -> list[float]:
        """Return for each text the share, above 0 and at most 1."""
        return [1 - repeated_sentence_share(text) for text in texts]

    def compare(
        self, candidates: Sequence[float], references: Sequence[float]
    ) -> NDArray[np.float64]:
        """Return the (N,) shares of N candidates."""
        del references
        return np.array(candidates, dtype=np.float64)
