"""F1 of the words of change, by hand."""

import numpy as np
import pytest

from editgrpo.metrics.temporal_f1 import KEYWORDS, TemporalF1, temporal_words


def score(candidate: str, reference: str) -> float:
    metric = TemporalF1()
    return float(metric.compare(metric.read([candidate]), metric.read([reference]))[0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The effusion has increased; the heart is STABLE.", {"increased", "stable"}),
        ("Newly placed line, unstable.", set()),
        ("Improved-stable_new.", {"improved", "stable", "new"}),
        ("Stable/unchanged.", set()),  # one word when the stroke is gone, as in RadEval
        ("(new) worse,", {"new", "worse"}),
        ("", set()),
    ],
)
def test_words_are_whole(text: str, words: set[str]) -> None:
    assert temporal_words(text) == words


def test_scores() -> None:
    assert score("Clear.", "Clear.") == 1
    assert score("Stable.", "Clear.") == 1e-10
    np.testing.assert_allclose(score("Clear.", "Stable."), 0, atol=1e-9)
    np.testing.assert_allclose(score("Stable. New.", "New, stable."), 1)
    # One of two words, and one of one: 2 * .5 * 1 / 1.5
    np.testing.assert_allclose(score("Stable and new.", "Stable."), 2 / 3)


def test_a_list_of_all_words_earns_little() -> None:
    assert score(" ".join(KEYWORDS), "Stable.") < 0.05
