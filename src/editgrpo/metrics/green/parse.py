"""Counts and score from an answer of the judge.

What the published parser does with answers that are not in the requested form is part of the
metric, and kept: a section that is missing, empty or begins with "No" counts nothing; of two lines
of one kind the greater in alphabetical order counts; lines numbered (1) to (6) stand in for
lettered ones if there is no lettered one; a section under whose heading there is nothing goes on
into the next.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from editgrpo.metrics.green.prompt import BEFORE_ANSWER

_EXPLANATION = "[Explanation]:"
_ECHO = "[Explanation]:\n    <Explanation>\n"
_SIGNIFICANT = "[Clinically Significant Errors]:"
_MATCHED = "[Matched Findings]:"
_BLANK_LINE = re.compile(r"\n\s*\n")
_LETTERED = re.compile(r"\([a-f]\) .*")
_NUMBERED = re.compile(r"\([1-6]\) .*")
_COUNT_OF_LINE = re.compile(r"(?<=: )\d+(?=\.)")
_COUNT_OF_SECTION = re.compile(r"^\d+(?=\.)", re.MULTILINE)


class ErrorKind(StrEnum):
    """The kinds of errors that the judge counts, in the order of its letters (a) to (f)."""

    FALSE_FINDING = "false finding"
    MISSING_FINDING = "missing finding"
    LOCATION = "location"
    SEVERITY = "severity"
    FALSE_COMPARISON = "false comparison"
    MISSING_COMPARISON = "missing comparison"


@dataclass(frozen=True, kw_only=True, slots=True)
class GreenResult:
    """What the judge said of one pair of reports.

    Attributes:
        score: matched / (matched + significant errors) in [0, 1]; 0 if nothing matched.
        matched_findings: Findings that both reports state.
        significant_errors: Clinically significant errors by kind; every kind is there.
        is_complete: Whether the answer has both sections that count. If not, its score is what the
            published parser gives it: 0 without matched findings, and 1 if only the section of
            errors is missing.
        answer: The judge's words, which quote the reports: not for logs.
    """

    score: float
    matched_findings: int
    significant_errors: dict[ErrorKind, int]
    is_complete: bool
    answer: str


def parse_answer(answer: str) -> GreenResult:
    """Read counts and score from an answer.

    Args:
        answer: What the judge generated, without the question.

    Returns:
        The result; every text has one, see `GreenResult.is_complete`.

    Source: GREEN, arXiv:2405.03595; `compute_green` of RadEval 2.2.1
    (tests/parity/clinical/test_green.py).
    """
    text = _clean(answer)
    errors = _error_counts(_section(text, _SIGNIFICANT))
    matched = _matched_count(_section(text, _MATCHED))
    return GreenResult(
        score=matched / (matched + sum(errors.values())) if matched else 0.0,
        matched_findings=matched,
        significant_errors=errors,
        is_complete=_SIGNIFICANT in text and _MATCHED in text,
        answer=answer,
    )


def _clean(answer: str) -> str:
    """Return what follows the explanation's heading (where there is one), without end tokens."""
    text = answer.rpartition(BEFORE_ANSWER)[2]
    # Where the requested form is repeated before the answer, the form is what is read.
    text = text.split(_EXPLANATION)[1] if _ECHO in text else text.rpartition(_EXPLANATION)[2]
    return text.replace("</s>", "").replace("<unk>", "")


def _section(text: str, heading: str) -> str:
    """Return what is between a heading and the next blank line; "" without the heading."""
    return _BLANK_LINE.split(text.partition(heading)[2].lstrip(), maxsplit=1)[0]


def _error_counts(section: str) -> dict[ErrorKind, int]:
    counts = dict.fromkeys(ErrorKind, 0)
    if section.startswith("No"):
        return counts
    kind_of = dict(zip("abcdef", ErrorKind, strict=True)) | dict(
        zip("123456", ErrorKind, strict=True)
    )
    for line in sorted(_LETTERED.findall(section) or _NUMBERED.findall(section)):
        count = _COUNT_OF_LINE.search(line)
        if count is not None:
            counts[kind_of[line[1]]] = int(count.group())
    return counts


def _matched_count(section: str) -> int:
    count = None if section.startswith("No") else _COUNT_OF_SECTION.search(section)
    return 0 if count is None else int(count.group())
