"""The texts that ReXrank scores: what a prediction holds, and what it is scored against.

Source: json_to_csv.py and README.md of github.com/rajpurkarlab/ReXrank-metric, data/READMD.md of
github.com/rajpurkarlab/ReXrank.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from editgrpo.errors import DataError

FINDINGS, IMPRESSION = "Findings:", "Impression:"
_SECTIONS = ("findings", "impression")
_HEADING = re.compile(r"\b(findings?|impressions?)\s?:", re.IGNORECASE)


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
    findings, impression = (case_text(case, f"section_{name}") for name in _SECTIONS)
    if track is RexrankTrack.REPORTS and (report := case_text(case, "report")):
        return report
    parts = [f"{FINDINGS} {findings}"] if findings else []
    if track is RexrankTrack.REPORTS and impression:
        parts.append(f"{IMPRESSION} {impression}")
    return " ".join(parts)


def model_prediction(prediction: str, track: RexrankTrack) -> str:
    """Return a report as a submission holds it.

    Args:
        prediction: The findings, or both sections under headings, `FINDINGS:` and `IMPRESSION:` in
            any case.
        track: The track.

    Returns:
        `Findings: ...`, the impression left out, on the track of findings; `Findings: ...
        Impression: ...` on that of reports. White space is single spaces: ReXrank's BLEU splits
        words at these alone.

    Raises:
        DataError: on the track of reports, the text has no impression; the message holds no text.
    """
    before, *rest = _HEADING.split(" ".join(prediction.split()))
    sections = {FINDINGS: [before], IMPRESSION: []}
    for heading, body in zip(rest[::2], rest[1::2], strict=True):
        sections[FINDINGS if heading.lower().startswith("f") else IMPRESSION].append(body)
    findings, impression = (" ".join(" ".join(one).split()) for one in sections.values())
    if track is RexrankTrack.FINDINGS:
        return f"{FINDINGS} {findings}".strip()
    if not impression:
        raise DataError(f"its prediction has no {IMPRESSION!r}; take the track findings")
    return " ".join(filter(None, [FINDINGS, findings, IMPRESSION, impression]))


def case_text(case: Mapping[str, Any], name: str) -> str:
    """Return a text of a case.

    Args:
        case: One of ReXrank's.
        name: Its key.

    Returns:
        The text; empty for null and NaN, which ReXrank's files hold for none.
    """
    value = case.get(name)
    return value.strip() if isinstance(value, str) else ""
