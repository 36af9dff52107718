"""Judgements to score: written by hand, without report text."""

from typing import Any

URGENT, ACTIONABLE, MINOR, BENIGN = (
    "urgent",
    "actionable_not_urgent",
    "not_actionable_not_urgent",
    "benign_expected",
)


def judgement(
    references: dict[str, str] | None = None,
    predictions: dict[str, str] | None = None,
    *,
    matched: str = "",
    false: str = "",
    missing: str = "",
    attributes: str = "",
) -> dict[str, Any]:
    """Write a judgement.

    Args:
        references: Identifier to significance.
        predictions: The same of the candidate.
        matched: Pairs such as `R1-P1 R1-P2`.
        false: Identifiers.
        missing: Identifiers.
        attributes: Errors such as `R1-P1:significant:location,severity`.
    """
    pairs = [pair.split("-") for pair in matched.split()]
    return {
        "reference_findings": findings(references or {}),
        "predicted_findings": findings(predictions or {}),
        "matched_findings": [{"ref_id": ref, "pred_id": pred} for ref, pred in pairs],
        "errors": {
            "false_findings": false.split(),
            "missing_findings": missing.split(),
            "attribute_errors": [attribute_error(one) for one in attributes.split()],
        },
    }


def findings(significances: dict[str, str]) -> list[dict[str, str]]:
    return [
        {"id": name, "finding": "x", "clinical_significance": significance}
        for name, significance in significances.items()
    ]


def attribute_error(words: str) -> dict[str, Any]:
    pair, severity, kinds = words.split(":")
    ref, pred = pair.split("-")
    return {
        "ref_id": ref,
        "pred_id": pred,
        "severity": severity,
        "error_types": kinds.split(","),
        "explanation": "x",
    }


R2 = {"R1": URGENT, "R2": ACTIONABLE}
CASES: dict[str, tuple[dict[str, Any], float]] = {
    "both normal": (judgement(), 1.0),
    "all right": (judgement(R2, {"P1": URGENT, "P2": ACTIONABLE}, matched="R1-P1 R2-P2"), 1.0),
    # 1 of 1 + 0.5
    "the lesser is missing": (judgement(R2, {"P1": URGENT}, matched="R1-P1", missing="R2"), 0.6667),
    # 0.5 of 1.5
    "the urgent is missing": (
        judgement(R2, {"P1": ACTIONABLE}, matched="R2-P1", missing="R1"),
        0.3333,
    ),
    "nothing of it": (judgement(R2, missing="R1 R2"), 0.0),
    # (1 - 0.25) / 1.5
    "one made up": (
        judgement(R2, {"P1": URGENT, "P2": MINOR}, matched="R1-P1", false="P2", missing="R2"),
        0.5,
    ),
    # 0.5 - 1 < 0: -0.5 / 1.5
    "more made up than right": (
        judgement(R2, {"P1": ACTIONABLE, "P2": URGENT}, matched="R2-P1", false="P2", missing="R1"),
        -0.3333,
    ),
    # Against a normal reference: -1.5 / 2.5
    "all made up": (judgement(None, {"P1": URGENT, "P2": ACTIONABLE}, false="P1 P2"), -0.6),
    "benign and made up": (judgement(None, {"P1": BENIGN}, false="P1"), 1.0),
    "benign and missing": (judgement({"R1": BENIGN}, missing="R1"), 1.0),
    # 1 * 1 / (1 + 0.5)
    "wrong side": (
        judgement(
            {"R1": URGENT}, {"P1": URGENT}, matched="R1-P1", attributes="R1-P1:significant:location"
        ),
        0.6667,
    ),
    # 0.25 * 0.25 / (0.25 + 0.5 + 0.5) / 0.25
    "two errors of a minor finding": (
        judgement(
            {"R1": MINOR},
            {"P1": MINOR},
            matched="R1-P1",
            attributes="R1-P1:significant:location R1-P1:significant:severity,temporal",
        ),
        0.2,
    ),
    "a negligible error": (
        judgement(
            {"R1": URGENT},
            {"P1": URGENT},
            matched="R1-P1",
            attributes="R1-P1:negligible:descriptor",
        ),
        1.0,
    ),
    # One finding of the reference counts once, however often it is matched: 1 of 1.5
    "one to many": (
        judgement(R2, {"P1": URGENT, "P2": MINOR}, matched="R1-P1 R1-P2", missing="R2"),
        0.6667,
    ),
    # What the published code does with contradictions.
    "unknown significance": (  # 0.25 of 0.25 + 1
        judgement({"R1": "grave", "R2": URGENT}, {"P1": "grave"}, matched="R1-P1", missing="R2"),
        0.2,
    ),
    "unknown severity": (  # 1 / (1 + 0.25)
        judgement(
            {"R1": URGENT}, {"P1": URGENT}, matched="R1-P1", attributes="R1-P1:mild:severity"
        ),
        0.8,
    ),
    "unknown identifiers": (judgement({"R1": URGENT}, matched="R9-P9", false="P8"), 0.0),
    "matched without a list": (judgement(None, {"P1": URGENT}, matched="R1-P1"), 0.0),
    "an identifier twice": (  # 1 of 1 + 1: the rows are weighed
        {
            **judgement({"R1": URGENT}, {"P1": URGENT}, matched="R1-P1"),
            "reference_findings": findings({"R1": URGENT}) * 2,
        },
        0.5,
    ),
}
"""What is said of a judgement, to the judgement and the score that follows by hand."""
