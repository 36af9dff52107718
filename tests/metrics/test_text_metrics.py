"""BLEU against sacreBLEU's corpus score; repetition and length by hand."""

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from editgrpo.metrics.text_metrics import (
    EMPTY,
    REFERENCE_WORDS,
    REPEATED_NGRAMS,
    ROUGE_L,
    TEXT_SCALARS,
    WORDS,
    TextScorer,
    corpus_bleu,
    repeated_ngram_share,
    repeated_sentence_share,
)

PAIRS = [
    ("The heart is enlarged. No effusion is seen.", "the heart is mildly enlarged. No effusion."),
    ("There is a small left pleural effusion today.", "There is a small left effusion today."),
    ("Lungs are clear, as before.", "The lungs are clear, as they were before."),
    ("", "No acute finding."),
]


def bleu(pairs: list[tuple[str, str]]) -> float:
    scorer = TextScorer()
    counts = [scorer.bleu_statistics(*pair) for pair in pairs]
    return float(corpus_bleu(np.mean(counts, axis=0)))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_bleu_equals_sacrebleu(count: int) -> None:
    predictions, references = zip(*PAIRS[:count], strict=True)
    library = BLEU(tokenize="13a", lowercase=True, smooth_method="none")
    expected = library.corpus_score(list(predictions), [list(references)]).score / 100
    assert expected > 0
    assert bleu(PAIRS[:count]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_bleu_of_lower_orders_equals_sacrebleu(order: int) -> None:
    predictions, references = zip(*PAIRS, strict=True)
    library = BLEU(tokenize="13a", lowercase=True, smooth_method="none", max_ngram_order=order)
    expected = library.corpus_score(list(predictions), [list(references)]).score / 100
    scorer = TextScorer()
    counts = np.mean([scorer.bleu_statistics(*pair) for pair in PAIRS], axis=0)
    assert float(corpus_bleu(counts, order=order)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("a b c d e", "a b c d e", 1.0),
        # Precisions 5/6, 4/5, 3/4, 2/3 multiply to 1/3; longer than the reference: no penalty.
        ("a b c d e f", "a b c d e", (1 / 3) ** 0.25),
        # All precisions 1, 4 words of 5: exp(1 - 5/4).
        ("a b c d", "a b c d e", np.exp(-0.25)),
        ("a b c", "a b c", 0.0),  # no 4-gram
        ("", "a b c d", 0.0),
    ],
)
def test_bleu_by_hand(prediction: str, reference: str, expected: float) -> None:
    assert bleu([(prediction, reference)]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0.0),
        ("one two three", 0.0),
        ("one two three four five", 0.0),
        ("a a a a a a", 2 / 3),  # three 4-grams, one distinct
        ("no acute disease seen. No acute disease seen.", 1 / 5),  # five 4-grams, the last repeats
    ],
)
def test_repeated_ngrams_by_hand(text: str, expected: float) -> None:
    assert repeated_ngram_share(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0.0),
        ("...", 0.0),
        ("No effusion. Heart normal.", 0.0),
        ("No effusion. Heart normal. no effusion!", 1 / 3),
        ("Clear.\nClear\nClear; clear", 3 / 4),
    ],
)
def test_repeated_sentences_by_hand(text: str, expected: float) -> None:
    assert repeated_sentence_share(text) == pytest.approx(expected)


def test_scalars_by_hand() -> None:
    values = TextScorer().scalars("the heart is big", "the big heart")
    found = dict(zip(TEXT_SCALARS, values, strict=True))
    # Longest common subsequence "the heart" (or "the big"): P 2/4, R 2/3, F 2*2/(4+3) = 4/7.
    assert found[ROUGE_L] == pytest.approx(4 / 7)
    assert (found[WORDS], found[REFERENCE_WORDS], found[EMPTY]) == (4, 3, 0)
    assert found[REPEATED_NGRAMS] == 0


@pytest.mark.parametrize("empty", ["", "  \n", "..."])
def test_empty_predictions_score_zero_and_are_counted(empty: str) -> None:
    found = dict(zip(TEXT_SCALARS, TextScorer().scalars(empty, "the heart"), strict=True))
    assert (found[EMPTY], found[ROUGE_L], found[WORDS]) == (1, 0, 0)
