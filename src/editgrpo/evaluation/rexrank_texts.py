"""The texts that ReXrank scores: what a prediction holds, and what it is scored against.

Source: json_to_csv.py and README.md of github.com/rajpurkarlab/ReXrank-metric, data/READMD.md of
github.com/rajpurkarlab/ReXrank.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from editgrpo.errors import DataError

FINDINGS, IMPRESSION = "Findings:", "Impression:"


class RexrankTrack(StrEnum):
    """What is predicted and scored."""

    FINDINGS = "findings"
    """The findings section."""
    REPORTS = "reports"
    """Findings and impression."""


def reference_text(case: Mapping[str, Any], track: RexrankTrack) -> str:
    """Return what a prediction is scored against.

    Args:
        case: One of ReXrank's; `section_findings`, `section_impression` and `report` count.
        track: The track.

    Returns:
        `Findings: ...` on the track of findings; on that of reports `report`, and where there is
        none, `Findings: ... Impression: ...`. Empty if the case has no text for the track.
    """
    findings, impression = (_text(case, f"section_{name}") for name in ("findings", "impression"))
    if track is RexrankTrack.REPORTS and (report := _text(case, "report")):
        return report
    parts = [f"{FINDINGS} {findings}"] if findings else []
    if track is RexrankTrack.REPORTS and impression:
        parts.append(f"{IMPRESSION} {impression}")
    return " ".join(parts)


def model_prediction(prediction: str, track: RexrankTrack) -> str:
    """Return a report as a submission holds it.

    Args:
        prediction: The findings, or `Findings: ... Impression: ...`.
        track: The track.

    Returns:
        The findings behind `Findings:`, the impression left out, on the track of findings; on that
        of reports the text as it is.

    Raises:
        DataError: on the track of reports, the text has no impression; the message holds no text.
    """
    text = prediction.strip()
    findings, mark, _ = text.partition(IMPRESSION)
    if track is RexrankTrack.FINDINGS:
        return f"{FINDINGS} {findings.strip().removeprefix(FINDINGS).strip()}".strip()
    if not mark:
        raise DataError(f"its prediction has no {IMPRESSION!r}; take the track findings")
    return text if text.startswith(FINDINGS) else f"{FINDINGS} {text}"


def _text(case: Mapping[str, Any], name: str) -> str:
    """Return a section; null and NaN, which ReXrank's files hold for none, are no text."""
    value = case.get(name)
    return value.strip() if isinstance(value, str) else ""
