"""A part of a reward that falls where a report says a thing twice.

No other part does: labels, an F1 of sets and the entity scores of `rules` do not see a copy, and
RaTEScore rises with each copy of a right entity (tests/metrics/test_ratescore.py).
"""

from collections.abc import Sequence

from editgrpo.metrics.component import PairwiseComponent
from editgrpo.metrics.text_metrics import NEW_SENTENCES, repeated_sentence_share


class NewSentences(PairwiseComponent[float]):
    """The share of a report's sentences that do not repeat an earlier one; the reference plays no
    part.

    Attributes:
        name: `text/new-sentences`.
    """

    name = NEW_SENTENCES

    def read(self, texts: Sequence[str]) -> list[float]:
        """Return for each text the share, above 0 and at most 1."""
        return [1 - repeated_sentence_share(text) for text in texts]

    def score(self, candidate: float, reference: float) -> float:
        """Return the share of the candidate."""
        return candidate
