"""A rule is one row: what reads the table finds all of a rule there, and nothing elsewhere."""

import random

import numpy as np
import pytest

from editgrpo.display.html.palette import RULE_COLOURS
from editgrpo.edits import EditRule, edit, edit_report
from editgrpo.edits.comparison import Comparison, compare
from editgrpo.edits.rules import RULE_OF, RULES, Correction, Rule
from tests.builders import REPOSITORY
from tests.edits.reports import ABSENT, PRESENT, entity, report, sentence


def test_every_name_but_none_is_a_rule() -> None:
    assert [rule.name for rule in RULES] == [name for name in EditRule if name != EditRule.NONE]
    assert set(RULE_OF) == set(EditRule) - {EditRule.NONE}
    assert set(RULE_COLOURS) == {*EditRule, "shortened"}
    assert len(set(RULE_COLOURS.values())) == len(RULE_COLOURS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_page_states_every_rule(rule: Rule) -> None:
    page = (REPOSITORY / "docs" / "edit-rules.md").read_text(encoding="utf-8")
    (row,) = [
        line
        for line in page.splitlines()
        if line.startswith("|")
        and f"`{rule.name.name}`" in line
        and f"`{rule.function.__name__}`" in line
    ]
    assert row.count("|") == 6


def test_a_rule_finds_the_cosines_of_every_pair() -> None:
    rollout = report(sentence("One.", entity([1, 0], PRESENT), entity([0, 1], PRESENT)))
    reference = report(sentence("Two.", entity([3, 4], ABSENT)), sentence("Nothing named."))
    compared = compare(rollout, reference, threshold=0.6, anatomy_counts=False)
    # (1, 0) and (0, 1) with (3, 4) / 5.
    np.testing.assert_allclose(compared.cosines_XY, [[0.6], [0.8]], rtol=1e-12)


def test_a_rule_that_is_put_into_the_table_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that goes by the cosines: it deletes the sentence that is least like the reference."""

    def least_like(comparison: Comparison, _: random.Random) -> Correction | None:
        worst = int(comparison.cosines_XY.max(axis=1).argmin())
        return Correction(
            position=int(comparison.sentence_of_X[worst]), reference_position=None, causes=()
        )

    own = Rule(
        name=EditRule.DELETION, function=least_like, inserts=False, sentence="", colour=("", "")
    )
    monkeypatch.setattr(edit, "RULES", (own, *RULES))
    rollout = report(
        sentence("Near.", entity([3, 4], PRESENT)),
        sentence("Far.", entity([4, -3], PRESENT)),
        sentence("Same.", entity([0, 1], PRESENT)),
    )
    reference = report(sentence("Truth.", entity([0, 1], PRESENT)))
    # Cosines 0.8, -0.6 and 1.
    step = edit_report(rollout, reference, rng=random.Random(0)).steps[0]
    assert (step.rule, step.position) == (EditRule.DELETION, 1)
