"""BLEU-2 of one report, by hand."""

from math import exp, sqrt

import pytest

from editgrpo.metrics.rexrank_bleu import RexrankBleu2, rexrank_words
from editgrpo.rewards.components import load_component


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        # Words the heart is normal . (5): 4 of 5 match; pairs: the heart, heart is match, 2 of 4.
        ("The heart is normal.", "The heart is enlarged.", sqrt(4 / 5 * 2 / 4)),
        # 3 of 3 words and 2 of 2 pairs, three words short of six: exp(1 - 6/3).
        ("No acute disease", "No acute disease is seen .", exp(-1)),
        # Longer than the reference: no penalty. 2 of 4 words ("no" counts once), 1 of 3 pairs.
        ("no no effusion seen", "no effusion", sqrt(2 / 4 * 1 / 3)),
        # No pair matches: 0.1 of 1 pair is taken. Both have two words.
        ("effusion no", "no effusion", sqrt(0.1)),
        # One word has no pair: 0.1 of 1; half as long as the reference: exp(1 - 2).
        ("clear", "clear lungs", exp(-1) * sqrt(0.1)),
        ("effusion", "clear lungs", 0.0),
        ("", "clear lungs", 0.0),
        ("Clear lungs.", "clear  LUNGS .", 1.0),
    ],
)
def test_by_hand(candidate: str, reference: str, expected: float) -> None:
    bleu = RexrankBleu2()
    assert bleu.compare(bleu.read([candidate]), bleu.read([reference])).tolist() == [
        pytest.approx(expected)
    ]


def test_words_end_at_spaces_and_full_stops_alone() -> None:
    assert rexrank_words("1.2 cm,\nNo EFFUSION..") == ["1", ".2", "cm,\nno", "effusion", ".", "."]


def test_a_report_of_the_references_own_words_in_any_order_cannot_farm_it() -> None:
    """Nor can copies: what counts is clipped, and a pair has an order."""
    bleu = load_component("bleu-2@rexrank")
    reference = "the heart is enlarged ."
    texts = [reference, ". enlarged is heart the", f"{reference} {reference}", ""]
    whole, shuffled, twice, empty = bleu.compare(
        bleu.read(texts), bleu.read([reference] * 4)
    ).tolist()
    assert whole == 1 and empty == 0
    # Shuffled: 5 of 5 words, 0.1 of 4 pairs. Twice: 5 of 10 words, 4 of 9 pairs.
    assert shuffled == pytest.approx(sqrt(0.1 / 4))
    assert twice == pytest.approx(sqrt(5 / 10 * 4 / 9))
