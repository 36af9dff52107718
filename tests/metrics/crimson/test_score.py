"""Judgements are weighed as CRIMSON weighs them; what is no judgement has no score."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editgrpo.metrics.crimson.score import (
    SIGNIFICANCE_WEIGHTS,
    AttributeErrorKind,
    read_judgement,
    score_judgement,
)
from tests.metrics.crimson.judgements import CASES, URGENT, judgement


@pytest.mark.parametrize("case", CASES)
def test_score(case: str) -> None:
    found, score = CASES[case]
    assert score_judgement(found).score == score


def test_counts_and_weights_stand_beside_the_score() -> None:
    result = score_judgement(CASES["more made up than right"][0])
    assert (result.correct, result.false, result.missing) == (0.5, 1.0, 1.0)
    assert (result.false_findings, result.missing_findings) == (1, 1)


def test_an_attribute_error_of_two_kinds_counts_for_both() -> None:
    kinds = score_judgement(CASES["two errors of a minor finding"][0]).attribute_errors
    assert kinds[AttributeErrorKind.LOCATION] == 1
    assert kinds[AttributeErrorKind.SEVERITY] == kinds[AttributeErrorKind.TEMPORAL] == 1
    assert sum(kinds.values()) == 3


LEVELS = st.sampled_from([*SIGNIFICANCE_WEIGHTS])


@pytest.mark.slow
@given(st.lists(LEVELS), st.lists(LEVELS), st.integers(0, 5), LEVELS)
def test_score_is_bounded_and_falls_with_what_is_made_up(
    references: list[str], predictions: list[str], matched: int, more: str
) -> None:
    ref = {f"R{k}": level for k, level in enumerate(references)}
    pred = {f"P{k}": level for k, level in enumerate(predictions)}
    count = min(matched, len(ref), len(pred))
    scores = []
    for added in ({}, {"P99": more}):
        shown = pred | added
        scores.append(
            score_judgement(
                judgement(
                    ref,
                    shown,
                    matched=" ".join(f"R{k}-P{k}" for k in range(count)),
                    false=" ".join([*list(pred)[count:], *added]),
                    missing=" ".join(list(ref)[count:]),
                )
            ).score
        )
    assert all(-1 < score <= 1 for score in scores)
    assert scores[1] <= scores[0]


@pytest.mark.parametrize(
    "around", ["{}", "```json\n{}\n```", "Here it is:\n{}\nThat is all.", " {}</s>"]
)
def test_words_around_the_object_do_not_matter(around: str) -> None:
    found = judgement({"R1": URGENT}, missing="R1")
    assert read_judgement(around.replace("{}", json.dumps(found))) == found


def test_commas_before_a_bracket_and_line_breaks_in_a_string_are_forgiven() -> None:
    text = json.dumps(judgement({"R1": URGENT}, missing="R1"))
    text = text.replace('"R1"]', '"R1", ]').replace('"x"', '"x\ny"')
    read = read_judgement(text)
    assert read is not None
    assert read["errors"]["missing_findings"] == ["R1"]


def test_of_a_key_that_stands_twice_the_first_counts() -> None:
    text = json.dumps(judgement())[:-1] + ', "matched_findings": [{"ref_id": "R1"}]}'
    read = read_judgement(text)
    assert read is not None
    assert read["matched_findings"] == []


def without(path: str) -> dict[str, Any]:
    found = judgement()
    *sections, key = path.split(".")
    section = found
    for one in sections:
        section = section[one]
    del section[key]
    return found


NONSENSE = [
    {},
    *(without(path) for path in ("errors", "matched_findings", "errors.false_findings")),
    judgement() | {"reference_findings": "R1"},
    judgement() | {"reference_findings": [{"finding": "no identifier"}]},
    judgement() | {"matched_findings": [["R1", "P1"]]},
    judgement() | {"errors": judgement()["errors"] | {"missing_findings": [{"id": "R1"}]}},
    judgement() | {"errors": judgement()["errors"] | {"attribute_errors": [{"severity": "x"}]}},
]


@pytest.mark.parametrize(
    "answer",
    ["", "I cannot tell.", "}{", "[]", json.dumps(judgement())[:-20], *map(json.dumps, NONSENSE)],
)
def test_what_is_no_judgement_is_none(answer: str) -> None:
    assert read_judgement(answer) is None
