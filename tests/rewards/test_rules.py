"""The reward `rules` with the real annotator: what a trainer relies on."""

import json

import numpy as np
import pytest

from editgrpo.rewards import Reward, load_metric_labeler, load_reward
from tests.builders import shared_data

NORMAL = "The heart is normal in size. The lungs are clear. No pleural effusion or pneumothorax."
ILL = "Moderate left pleural effusion. The heart is enlarged. Nondisplaced rib fracture."
LABEL, ENTITIES, SIMILARITY = (
    "rules/report-micro-f1-14",
    "entity_f1/partial@rules",
    "entity_similarity@rules",
)


@pytest.fixture(scope="module")
def reward() -> Reward:
    return load_reward("rules")


def test_component_names_say_rules(reward: Reward) -> None:
    assert reward.name == "rules"
    assert reward.component_names == (LABEL, ENTITIES, SIMILARITY)


@pytest.mark.parametrize("text", [NORMAL, ILL])
def test_a_report_agrees_with_itself(reward: Reward, text: str) -> None:
    assert reward.score([text], [text]).total.tolist() == pytest.approx([3.0])


@pytest.mark.parametrize("silent", ["", "  ", "the the the", "No.", "The lungs.", "?"])
@pytest.mark.parametrize("reference", [NORMAL, ILL])
def test_silence_earns_next_to_nothing(reward: Reward, silent: str, reference: str) -> None:
    components = reward.score([silent], [reference]).components
    assert components[LABEL].tolist() == [0.0]
    # Naming an anatomy of the reference is all that can be right here.
    assert components[ENTITIES][0] < 0.2
    assert components[SIMILARITY][0] < 0.3


def test_what_is_right_decides_the_order(reward: Reward) -> None:
    half = "Moderate left pleural effusion. Heart size is normal."
    opposite = "No pleural effusion. Heart size is normal. No fracture."
    total = reward.score([ILL, half, opposite, ""], [ILL] * 4).total
    assert total[0] > total[1] > total[2] > total[3]


@pytest.mark.parametrize("repeats", [2, 8])
def test_repetition_gains_nothing(reward: Reward, repeats: int) -> None:
    right, wrong = "Moderate left pleural effusion. ", "Large right pneumothorax. "
    scores = reward.score(
        [right + wrong, right * repeats + wrong, right + wrong * repeats], [ILL] * 3
    )
    assert scores.total[1:] == pytest.approx(scores.total[0])


def test_the_labeler_of_the_reward_knows_silence() -> None:
    labels = load_metric_labeler("rules").label([NORMAL, "", "Nothing to the the."])
    assert labels[:, -1].tolist() == [1, 0, 0]
    assert load_metric_labeler("rules").classify([""]).tolist() == [[0] * 14]


def test_weights_change_the_total_only() -> None:
    plain = load_reward("rules").score([ILL], [NORMAL])
    weighted = load_reward("rules", {ENTITIES: 0.0, SIMILARITY: 2.0}).score([ILL], [NORMAL])
    assert weighted.components == plain.components
    expected = plain.components[LABEL] + 2 * plain.components[SIMILARITY]
    assert weighted.total == pytest.approx(expected)


@pytest.mark.slow
def test_real_generated_reports_score_above_shuffled_ones(reward: Reward) -> None:
    path = shared_data() / "oracles" / "iu_generated_pairs_half.json"
    pairs = json.loads(path.read_text(encoding="utf-8"))
    generated, references = ([pair[key] for pair in pairs] for key in ("generated", "reference"))
    own = reward.score(generated, references)
    order = np.random.default_rng(0).permutation(len(pairs))
    others = reward.score([generated[k] for k in order], references)
    for name in reward.component_names:
        assert own.components[name].mean() > others.components[name].mean()
    assert ((own.total >= 0) & (own.total <= 3)).all()
