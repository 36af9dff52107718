"""BLEU-2 as ReXrank has it: that of one report, smoothed, and the mean over reports.

Corpus BLEU of a test set (`text/bleu-2`) is another number. Why not a library: ReXrank's own,
fast-bleu, is compiled by whoever installs it, on Linux and macOS alone.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise

from editgrpo.metrics.component import PairwiseComponent

REXRANK_BLEU_2 = "bleu-2@rexrank"
_SMOOTHING = 0.1
"""Matches that an order without any is given (Chen and Cherry, WMT 2014, smoothing 1)."""


def rexrank_words(text: str) -> list[str]:
    """Split a text as ReXrank does: lower case, at spaces alone, a full stop is a word."""
    return [word for word in text.lower().replace(".", " .").split(" ") if word]


def sentence_bleu_2(candidate: Sequence[str], reference: Sequence[str]) -> float:
    """Compute BLEU of words and pairs of words of one text.

    Args:
        candidate: Words of the generated report.
        reference: Words of the reference report.

    Returns:
        A value in [0, 1]; 0 if they share no word.

    Source: fast-bleu 0.0.90 with its default smoothing, which CXR-Report-Metric calls with weights
    1/2, 1/2; equal to 1e-9 on 3,000 random pairs (docs/share.md).
    """
    words, word_matches = _counts(candidate, reference)
    pairs, pair_matches = _counts(tuple(pairwise(candidate)), tuple(pairwise(reference)))
    if not word_matches:
        return 0.0
    precision = word_matches / words * (pair_matches or _SMOOTHING) / max(1, pairs)
    brevity = min(0.0, 1 - len(reference) / words)
    return math.exp(brevity) * math.sqrt(precision)


def _counts(candidate: Sequence[Hashable], reference: Sequence[Hashable]) -> tuple[int, int]:
    """Return how many items there are, and how many of them the reference has, too."""
    return len(candidate), (Counter(candidate) & Counter(reference)).total()


class RexrankBleu2(PairwiseComponent[Sequence[str]]):
    """BLEU-2 of one report.

    Attributes:
        name: `bleu-2@rexrank`.
    """

    name = REXRANK_BLEU_2

    def read(self, texts: Sequence[str]) -> list[list[str]]:
        """Return the words of each text."""
        return [rexrank_words(text) for text in texts]

    def score(self, candidate: Sequence[str], reference: Sequence[str]) -> float:
        """Return BLEU-2 of one pair."""
        return sentence_bleu_2(candidate, reference)
