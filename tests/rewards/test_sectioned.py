"""Reports of two sections are paid section by section."""

from editgrpo.config import ClinicalConfig, RewardConfig, Target
from editgrpo.reports.headings import with_headings
from editgrpo.rewards import configured_reward, load_reward

EFFUSION, CLEAR = "Small left pleural effusion.", "The lungs are clear."
RULES = RewardConfig(name="rules")


def total(candidate: str, reference: str) -> float:
    reward = configured_reward(RULES, ClinicalConfig(), Target.BOTH)
    return float(reward.score([candidate], [reference]).total[0])


def test_each_section_counts_half_by_its_own_reference() -> None:
    # An equal report has F1, micro-F1 and similarity of 1: 3 in all; a section that is lacking 0.
    reference = with_headings(EFFUSION, CLEAR)
    assert total(reference, reference) == 3
    assert total(f"FINDINGS: {EFFUSION}", reference) == 1.5
    assert total(EFFUSION, reference) == 1.5
    assert total(f"impression: {CLEAR}", reference) == 1.5
    assert total("", reference) == 0


def test_what_stands_in_the_wrong_section_is_not_paid_there() -> None:
    reference = with_headings(EFFUSION, CLEAR)
    swapped = total(with_headings(CLEAR, EFFUSION), reference)
    single = load_reward("rules").score([CLEAR, EFFUSION], [EFFUSION, CLEAR]).total
    assert swapped == single.mean() < 1.5


def test_components_keep_their_names_and_their_order_of_reports() -> None:
    reward = configured_reward(RULES, ClinicalConfig(), Target.BOTH)
    reference = with_headings(EFFUSION, CLEAR)
    scores = reward.score([reference, "", reference], [reference] * 3)
    assert (
        tuple(scores.components) == reward.component_names == load_reward("rules").component_names
    )
    assert [values.tolist() for values in scores.components.values()] == [[1, 0, 1]] * 3
    assert reward.score([], []).total.shape == (0,)
