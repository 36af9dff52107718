"""Overlap of words, repetition and length: what can be said of a report without knowing medicine.

BLEU and ROUGE-L come from sacreBLEU and rouge-score. BLEU is kept as its counts per study, which
add up to the corpus value.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from editgrpo.metrics.entity_f1 import normalised_tokens
from editgrpo.metrics.label_metrics import safe_ratio

BLEU_ORDER = 4
BLEU_COLUMNS = 2 * BLEU_ORDER + 2
REPEATED_ORDER = 4

ROUGE_L = "text/rouge-l"
REPEATED_NGRAMS = "text/repeated-4-grams"
REPEATED_SENTENCES = "text/repeated-sentences"
NEW_SENTENCES = "text/new-sentences"
EMPTY = "text/empty"
WORDS = "text/words"
REFERENCE_WORDS = "text/reference-words"

TEXT_SCALARS = (ROUGE_L, REPEATED_NGRAMS, REPEATED_SENTENCES, EMPTY, WORDS, REFERENCE_WORDS)
"""The columns of `TextScorer.scalars`, in order."""


def repeated_share(items: Sequence[Hashable]) -> float:
    """Return the share of items that stood earlier in the sequence; 0 for an empty one."""
    return 1 - len(set(items)) / len(items) if items else 0.0


def repeated_ngram_share(text: str) -> float:
    """Return the share of the word 4-grams of a text that repeat an earlier one, in [0, 1); 0 for a
    text of fewer than four words, which are lower-case alphanumeric runs."""
    words = normalised_tokens(text)
    return repeated_share(
        [words[k : k + REPEATED_ORDER] for k in range(len(words) - REPEATED_ORDER + 1)]
    )


def repeated_sentence_share(text: str) -> float:
    """Return the share of sentences, split at . ! ? ; and line ends, that repeat an earlier one in
    the same words; 0 for a text without words."""
    marked = text
    for mark in ".!?;":
        marked = marked.replace(mark, "\n")
    sentences = [normalised_tokens(line) for line in marked.splitlines()]
    return repeated_share([words for words in sentences if words])


def corpus_bleu(statistics: NDArray[np.float64], *, order: int = BLEU_ORDER) -> NDArray[np.float64]:
    """Compute BLEU from n-gram counts.

    Args:
        statistics: (..., 10): matches of order 1 to 4, n-grams of order 1 to 4, words of the
            candidates, words of the references; summed or averaged over studies.
        order: Longest n-gram that counts, 1 to 4.

    Returns:
        (...) float64 in [0, 1]: brevity penalty times the geometric mean of the precisions of order
        1 to `order`, 0 if any of them is 0 (no smoothing).

    Source: Papineni et al., ACL 2002. Equals sacreBLEU's corpus score divided by 100:
    tests/metrics/test_text_metrics.py.
    """
    precision = safe_ratio(
        statistics[..., :order], statistics[..., BLEU_ORDER : BLEU_ORDER + order]
    )
    candidate_words, reference_words = statistics[..., -2], statistics[..., -1]
    is_scored = precision.min(axis=-1) > 0
    log_precision = np.log(np.where(precision > 0, precision, 1.0)).mean(axis=-1)
    brevity = 1 - reference_words / np.where(candidate_words > 0, candidate_words, 1.0)
    return np.where(is_scored, np.exp(np.minimum(brevity, 0.0) + log_precision), 0.0)


class TextScorer:
    """Word-overlap statistics of one report against its reference."""

    def __init__(self) -> None:
        """Set up both libraries: BLEU with tokenizer 13a on lower-cased text, ROUGE-L without
        stemming."""
        # rouge-score brings NLTK, which takes a second to load.
        from rouge_score.rouge_scorer import RougeScorer
        from sacrebleu.metrics import BLEU

        # `effective_order` changes sacreBLEU's sentence value, not the counts that are used here;
        # without it sacreBLEU logs a warning for every sentence.
        self._bleu = BLEU(tokenize="13a", lowercase=True, effective_order=True)
        self._rouge = RougeScorer(["rougeL"], use_stemmer=False)

    def bleu_statistics(self, prediction: str, reference: str) -> NDArray[np.float64]:
        """Return the (10,) counts that `corpus_bleu` takes."""
        score = self._bleu.sentence_score(prediction, [reference])
        return np.array([*score.counts, *score.totals, score.sys_len, score.ref_len], dtype=float)

    def scalars(self, prediction: str, reference: str) -> NDArray[np.float64]:
        """Return one value for each name of `TEXT_SCALARS`."""
        words = len(normalised_tokens(prediction))
        return np.array(
            [
                self._rouge.score(reference, prediction)["rougeL"].fmeasure,
                repeated_ngram_share(prediction),
                repeated_sentence_share(prediction),
                float(words == 0),
                words,
                len(normalised_tokens(reference)),
            ],
            dtype=float,
        )
