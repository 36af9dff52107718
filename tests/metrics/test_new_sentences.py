"""What repeats is worth less: by hand."""

import pytest

from editgrpo.errors import ConfigError
from editgrpo.evaluation.catalogue import METRICS
from editgrpo.rewards.components import load_component
from editgrpo.rewards.registry import load_reward

ONCE = "There is a left pleural effusion. The heart is enlarged."


@pytest.mark.parametrize(
    ("text", "share"),
    [
        (ONCE, 1.0),
        (f"{ONCE} The heart is enlarged.", 2 / 3),
        (f"{ONCE} the HEART, is enlarged! {ONCE}", 2 / 5),
        ("The heart is enlarged. The heart is not enlarged.", 1.0),
        ("", 1.0),  # what states nothing is paid nothing: metrics/silence.py
    ],
)
def test_a_sentence_counts_once(text: str, share: float) -> None:
    component = load_component("text/new-sentences")
    references = component.read(["No pneumothorax."])
    assert component.compare(component.read([text]), references).tolist() == [pytest.approx(share)]


def test_a_reward_pays_for_it_and_not_for_silence() -> None:
    reward = load_reward("rules", {"text/new-sentences": 0.5})
    twice = f"{ONCE} {ONCE}"
    scores = reward.score([ONCE, twice, ""], [ONCE, ONCE, ONCE])
    once, repeated, silent = scores.total.tolist()
    # Set overlap does not see the copies: the rest of the two rewards is one.
    assert once == pytest.approx(3 + 0.5) and once - repeated == pytest.approx(0.25)
    assert silent == 0


def test_it_is_no_column_of_an_evaluation() -> None:
    assert "text/new-sentences" not in METRICS
    with pytest.raises(ConfigError, match="new-sentences"):
        load_component("text/new-sentence")
