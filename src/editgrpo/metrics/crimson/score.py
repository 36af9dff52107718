"""From the judge's answer to CRIMSON's score.

What the published code does with judgements that contradict themselves is part of the metric, and
kept: a finding of an unknown significance weighs 0.25, an attribute error of an unknown severity
too; an identifier that stands in no list weighs nothing; of several pairs with one reference
finding the first counts. What that code answers with an exception, or with a score for an answer
that says nothing (an empty object has the score 1), is no judgement here.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

SIGNIFICANCE_WEIGHTS: Mapping[str, float] = {
    "urgent": 1.0,
    "actionable_not_urgent": 0.5,
    "not_actionable_not_urgent": 0.25,
    "benign_expected": 0.0,
}
"""Weight of a finding by its clinical significance (arXiv:2603.06183; crimson-score 0.2.0)."""

SEVERITY_WEIGHTS: Mapping[str, float] = {"significant": 0.5, "negligible": 0.0}
"""Weight of an attribute error by its severity (the same sources)."""

_UNKNOWN_WEIGHT = 0.25
_DIGITS = 4  # crimson-score rounds
_LISTS = ("reference_findings", "predicted_findings", "matched_findings")
_ERROR_LISTS = ("false_findings", "missing_findings", "attribute_errors")
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")


class AttributeErrorKind(StrEnum):
    """What may be wrong with a finding that both reports state."""

    LOCATION = "location"
    SEVERITY = "severity"
    DESCRIPTOR = "descriptor"
    MEASUREMENT = "measurement"
    CERTAINTY = "certainty"
    UNSPECIFIC = "unspecific"
    OVERINTERPRETATION = "overinterpretation"
    TEMPORAL = "temporal"


@dataclass(frozen=True, kw_only=True, slots=True)
class CrimsonResult:
    """What the judge said of one pair of reports.

    Attributes:
        score: In (-1, 1]: 1 for all that matters and nothing else, 0 for no more than a normal
            report says, below 0 where more is made up than is right.
        correct: Weight of the reference's findings that are reported, less for attribute errors.
        false: Weight of the findings that only the candidate reports.
        missing: Weight of the findings that only the reference reports.
        false_findings: How many of them.
        missing_findings: How many of them.
        attribute_errors: Errors of findings in both, by kind; an error may be of several kinds.
    """

    score: float
    correct: float
    false: float
    missing: float
    false_findings: int
    missing_findings: int
    attribute_errors: Mapping[AttributeErrorKind, int]


def read_judgement(answer: str) -> dict[str, Any] | None:
    """Take the judgement out of an answer.

    Args:
        answer: What the judge generated: a JSON object, alone or with words or a fence around it.

    Returns:
        The object; None if there is none, or it lacks a list that counts. Commas before a closing
        bracket are forgiven; of a key that stands twice the first counts.
    """
    start, end = answer.find("{"), answer.rfind("}")
    text = _TRAILING_COMMA.sub(r"\1", answer[start : end + 1])
    try:
        judgement = json.loads(text, strict=False, object_pairs_hook=_first_of_each)
    except (ValueError, RecursionError):
        return None
    return judgement if isinstance(judgement, dict) and _is_judgement(judgement) else None


def _first_of_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _is_judgement(judgement: Mapping[str, Any]) -> bool:
    errors = judgement.get("errors")
    if not isinstance(errors, dict):
        return False
    values = [judgement.get(name) for name in _LISTS] + [errors.get(name) for name in _ERROR_LISTS]
    lists: list[list[Any]] = [value for value in values if isinstance(value, list)]
    if len(lists) < len(values):
        return False
    references, predictions, matched, false, missing, attributes = lists
    return (
        _have(references, "id")
        and _have(predictions, "id")
        and _have(matched, "ref_id")
        and _have(attributes, "ref_id")
        and all(isinstance(one, str | int) for one in [*false, *missing])
        and all(isinstance(one.get("error_types", []), list) for one in attributes)
    )


def _have(rows: Sequence[Any], key: str) -> bool:
    return all(isinstance(row, dict) and isinstance(row.get(key), str | int) for row in rows)


def score_judgement(judgement: Mapping[str, Any]) -> CrimsonResult:
    """Weigh a judgement.

    With w the weight of a finding by its significance and a the weights of its attribute errors,
    C = Σ w · w / (w + Σ a) over the reference's findings that are matched, F = Σ w over false
    findings, N = Σ w over all findings of the reference:

    - S = (C - F) / N where that is at least 0;
    - else -(F - C) / (1 + F - C), which stays above -1;
    - where N is 0: 1 without false and missing findings, else the second line.

    Args:
        judgement: Of `read_judgement`.

    Returns:
        The score, and what it is made of.

    Source: CRIMSON, arXiv:2603.06183; `CRIMSONScore._calculate_crimson` of crimson-score 0.2.0
    (tests/parity/clinical/test_crimson.py).
    """
    errors = judgement["errors"]
    reference_weights = _weights_by_id(judgement["reference_findings"])
    predicted_weights = _weights_by_id(judgement["predicted_findings"])
    false = sum(predicted_weights.get(one, 0.0) for one in errors["false_findings"])
    missing = sum(reference_weights.get(one, 0.0) for one in errors["missing_findings"])
    correct = _correct(judgement["matched_findings"], reference_weights, errors["attribute_errors"])
    # Over the rows, not the identifiers: one that stands twice weighs twice.
    total = sum(map(_significance_weight, judgement["reference_findings"]))
    if not judgement["reference_findings"]:
        total = len(judgement["matched_findings"]) + missing
    kinds = [set(map(str, one.get("error_types", []))) for one in errors["attribute_errors"]]
    return CrimsonResult(
        score=round(_score(correct, false, missing, total), _DIGITS),
        correct=correct,
        false=false,
        missing=missing,
        false_findings=len(errors["false_findings"]),
        missing_findings=len(errors["missing_findings"]),
        attribute_errors={
            kind: sum(kind.value in found for found in kinds) for kind in AttributeErrorKind
        },
    )


def _score(correct: float, false: float, missing: float, total: float) -> float:
    if total == 0:
        share = 1.0 if false == 0 and missing == 0 else -1.0
    else:
        share = (correct - false) / total
    if share >= 0:
        return share
    excess = false - correct
    return -excess / (1 + excess) if excess > 0 else 0.0


def _correct(
    matched: Sequence[Mapping[str, Any]],
    weights: Mapping[str, float],
    attribute_errors: Sequence[Mapping[str, Any]],
) -> float:
    """Sum the weights of the matched findings of the reference, each once."""
    correct = 0.0
    for reference_id in dict.fromkeys(pair["ref_id"] for pair in matched):
        weight = weights.get(reference_id, 0.0)
        lost = sum(
            SEVERITY_WEIGHTS.get(_text(error.get("severity")), _UNKNOWN_WEIGHT)
            for error in attribute_errors
            if error["ref_id"] == reference_id
        )
        if weight > 0:
            correct += weight * (weight / (weight + lost))
    return correct


def _weights_by_id(findings: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {finding["id"]: _significance_weight(finding) for finding in findings}


def _significance_weight(finding: Mapping[str, Any]) -> float:
    return SIGNIFICANCE_WEIGHTS.get(_text(finding.get("clinical_significance")), _UNKNOWN_WEIGHT)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
