"""F1 of the words of change of two reports: "increased", "new", "stable".

Temporal F1 (temporal entity F1) is defined by Libra's and RadEval's code. Both look for the words
in two ways and take the union: as whole words of the cleaned text, and as entities that Stanza's
radiology model finds. An entity counts only if its text is one of the words, so it adds nothing to
whole words but where cleaning has glued a word to its neighbour ("stable/unchanged"). This metric
is the first way alone, without a model: for a text without such a place it has RadEval's value
whatever the model finds.
"""

import re
from collections.abc import Sequence

from editgrpo.metrics.component import PairwiseComponent

# The words of "Learning to Exploit Temporal Structure for Biomedical Vision-Language Processing"
# (CVPR 2023, arXiv:2301.04558), as RadEval 2.2.1 lists them.
_WORDS = """
bigger change cleared constant decrease decreased decreasing elevated elevation enlarged enlargement
enlarging expanded greater growing improved improvement improving increase increased increasing
larger new persistence persistent persisting progression progressive reduced removal resolution
resolved resolving smaller stability stable stably unaltered unchanged unfolded worse worsen
worsened worsening
"""
KEYWORDS = frozenset(_WORDS.split())

_WORD = re.compile(rf"\b(?:{'|'.join(sorted(KEYWORDS))})\b")
_BREAK = re.compile(r"[_-]+|\n+")
_REMOVED = re.compile(r"[^\w\s.,:;()-]")
_EPSILON = 1e-10
"""RadEval's: keeps shares finite, and is the score of a word of change where there is none."""


def temporal_words(text: str) -> frozenset[str]:
    """Return the words of change of a text.

    Args:
        text: A report. Line breaks, hyphens and underscores part words; of the other signs all but
            `. , : ; ( )` are taken out, so that "new/old" is one word.

    Returns:
        The words in lower case, each once.
    """
    return frozenset(_WORD.findall(_REMOVED.sub("", _BREAK.sub(" ", text)).lower()))


def temporal_f1(candidate: frozenset[str], reference: frozenset[str]) -> float:
    """Compare the words of change of two reports.

    Args:
        candidate: Of the report that is scored.
        reference: Of its reference.

    Returns:
        Their F1; 1 if neither has any.

    Source: `calculate_tem_score` of RadEval 2.2.1 (tests/parity/clinical/test_temporal_f1.py).
    """
    if not reference:
        return _EPSILON if candidate else 1.0
    common = len(candidate & reference) + _EPSILON
    precision = common / (len(candidate) + _EPSILON)
    recall = common / (len(reference) + _EPSILON)
    return 2 * precision * recall / (precision + recall + _EPSILON)


class TemporalF1(PairwiseComponent[frozenset[str]]):
    """F1 of the words of change.

    Attributes:
        name: `temporal-f1@keywords`.
    """

    name = "temporal-f1@keywords"

    def read(self, texts: Sequence[str]) -> list[frozenset[str]]:
        """Return the words of change of each text."""
        return [temporal_words(text) for text in texts]

    def score(self, candidate: frozenset[str], reference: frozenset[str]) -> float:
        """Return the F1 of one pair, in [0, 1]."""
        return temporal_f1(candidate, reference)
