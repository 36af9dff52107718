"""Reading the judge's answers, well and badly formed; parity with the published parser is tested in
tests/parity/clinical/test_green.py."""

import numpy as np
import pytest

from editgrpo.metrics.green import ErrorKind, parse_answer

ERRORS = """(a) False report of a finding in the candidate: {a}. Some thing.
(b) Missing a finding present in the reference: {b}. One; two.
(c) Misidentification of a finding's anatomic location/position: 0.
(d) Misassessment of the severity of a finding: 0.
(e) Mentioning a comparison that isn't in the reference: 0.
(f) Omitting a comparison detailing a change from a prior study: {f}. One."""


def answer(errors: str, matched: str) -> str:
    return (
        f"[Explanation]:\nBoth say much.\n\n[Clinically Significant Errors]:\n{errors}\n\n"
        "[Clinically Insignificant Errors]:\n(a) False report of a finding in the candidate: 7.\n\n"
        f"[Matched Findings]:\n{matched}"
    )


def test_the_score_is_the_share_of_matched_findings() -> None:
    result = parse_answer(answer(ERRORS.format(a=1, b=2, f=1), "4. Heart; lungs; bones; pleura."))
    assert result.score == 0.5  # 4 / (4 + 1 + 2 + 1); the 7 insignificant errors do not count
    assert result.matched_findings == 4
    assert list(result.significant_errors.values()) == [1, 2, 0, 0, 0, 1]
    assert result.significant_errors[ErrorKind.MISSING_COMPARISON] == 1
    assert result.is_complete


def test_the_published_example_has_its_published_mean_and_spread() -> None:
    # RadEval 2.2.1, tests/test_greenscore.py: five answers of the judge, of which only the counts
    # matter; mean 0.25, standard deviation 0.1667.
    counts = [
        ("(a) x: 2.\n(b) x: 3.\n(d) x: 1.", 0),
        ("(a) x: 2.\n(b) x: 1.\n(c) x: 2.", 1),
        ("(b) x: 2.\n(c) x: 1.\n(d) x: 1.", 2),
        ("(a) x: 1.", 1),
        ("(a) x: 1.\n(c) x: 1.\n(d) x: 1.", 1),
    ]
    scores = [parse_answer(answer(errors, f"{matched}.")).score for errors, matched in counts]
    np.testing.assert_allclose([np.mean(scores), np.std(scores)], [0.25, 1 / 6], rtol=1e-12)


@pytest.mark.parametrize(
    ("errors", "matched", "expected"),
    [
        ("No errors.", "3. A; b; c.", 1.0),
        ("No 1. (a) x: 5.", "3. A.", 1.0),  # begins with "No": nothing in it counts
        (ERRORS.format(a=0, b=0, f=0), "No matched findings.", 0.0),
        (ERRORS.format(a=0, b=0, f=0), "0.", 0.0),
        (ERRORS.format(a=0, b=0, f=0), "three.", 0.0),  # no number
        (ERRORS.format(a=0, b=0, f=0), "3 findings.", 0.0),  # no full stop after the number
        ("(a) False report: many.", "2. A; b.", 1.0),  # no number: no error
        ("(a) False report 3.", "2. A; b.", 1.0),  # no colon before the number
        ("(a) x: 1. y: 3.", "1. A.", 0.5),  # the first number after a colon
        ("(a) y: 3.\n(a) x: 1.", "1. A.", 0.25),  # the line that is last in alphabetical order
        ("(1) x: 1.\n(6) y: 2.", "1. A.", 0.25),  # numbers for letters
        ("(1) x: 1.\n(f) y: 3.", "1. A.", 0.25),  # but not beside letters
        ("(a) x: 1. (b) y: 1.", "1. A.", 0.5),  # one line has one letter
        (ERRORS.format(a=0, b=0, f=0), "Matched are\n2. A; b.", 1.0),  # begins a line
    ],
)
def test_odd_answers_score_as_published(errors: str, matched: str, expected: float) -> None:
    result = parse_answer(answer(errors, matched))
    assert result.score == expected
    assert result.is_complete


def test_an_empty_section_goes_on_into_the_next() -> None:
    # The white space after the heading is skipped, the blank line with it: the seven insignificant
    # errors are read. 7 / (7 + 7) of seven matched findings.
    assert parse_answer(answer("", "7. A.")).score == 0.5


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("", 0.0),
        ("The reports agree.", 0.0),
        ("[Clinically Significant Errors]:\n(a) x: 1.\n\n", 0.0),
        ("[Matched Findings]:\n2. A; b.", 1.0),  # as published: no section of errors, no error
    ],
)
def test_an_answer_without_a_section_is_marked(text: str, score: float) -> None:
    result = parse_answer(text)
    assert not result.is_complete
    assert result.score == score


def test_only_the_last_answer_counts() -> None:
    first = answer(ERRORS.format(a=9, b=9, f=9), "1. A.")
    second = answer(ERRORS.format(a=0, b=0, f=1), "1. A.")
    assert parse_answer(f"{first}\n<|assistant|>\n{second}</s>").score == 0.5
    assert parse_answer(f"{first}\n{second}").score == 0.5  # the last explanation


def test_the_form_repeated_before_the_answer_is_what_is_read() -> None:
    form = "[Explanation]:\n    <Explanation>\n\n    [Matched Findings]:\n    <The number>."
    second = answer(ERRORS.format(a=0, b=0, f=0), "1. A.")
    assert parse_answer(f"{form}\n\n{second}").score == 0.0
