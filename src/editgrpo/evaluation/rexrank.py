"""What ReXrank asks for: its prediction file, and what it scores predictions against.

ReXrank (rexrank.ai) ranks on two tracks, findings alone and whole reports. A prediction file is one
of its files of cases with a `model_prediction` in each case. Its metrics are the set `rexrank` of
`evaluation/catalogue.py`.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editgrpo.config import Target
from editgrpo.data.given_values import section_text
from editgrpo.errors import DataError
from editgrpo.evaluation.predictions import write_predictions
from editgrpo.evaluation.rexrank_texts import (
    FINDINGS,
    RexrankTrack,
    case_text,
    model_prediction,
    reference_text,
)
from editgrpo.evaluation.types import Prediction
from editgrpo.files import read_json_object, write_json, write_jsonl

SUBMISSION_FILE = "submission.json"
SCORED_FILE = "predictions.jsonl"

_CONTEXT = re.compile(
    r"Indication:(?P<indication>.*?)(?:Comparison:(?P<comparison>.*))?$", re.DOTALL
)
_STUDY = re.compile(r"s(\d+)")  # how paths of MIMIC-CXR name a study

TABLE_COLUMNS = (
    *(f"{one}={one}" for one in ("study_id", "image", "view")),
    "split==test",
    *(f"{one}={one}" for one in ("indication", "comparison", "findings", "impression")),
)
"""How `editgrpo prepare folder --column` is told what `write_table` writes."""

Cases = Mapping[str, Mapping[str, Any]]
"""A file of ReXrank's: case id to what is known of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RexrankSummary:
    """What was written.

    Attributes:
        cases: Cases of the submission.
        unscored: Cases among them whose reference has no text on the track.
        unused: Predictions of studies that are no case.
    """

    cases: int
    unscored: int
    unused: int


def read_cases(path: Path) -> Cases:
    """Read a file of ReXrank's, such as `ReXRank_IUXray_test.json`.

    Args:
        path: JSON: one object, case id to case.

    Returns:
        The cases in the order of the file, at least one.

    Raises:
        DataError: the file cannot be read, or is none of that form.
    """
    remedy = "give a file of cases as github.com/rajpurkarlab/ReXrank has them in data/"
    cases = read_json_object(path, remedy)
    for name, case in cases.items():
        if not isinstance(case, dict) or "section_findings" not in case:
            raise DataError(f"{path}: case {name!r} has no section_findings; {remedy}")
    if not cases:
        raise DataError(f"{path}: holds no case; {remedy}")
    return cases


def write_table(path: Path, cases: Cases) -> int:
    """Write cases as a table that `editgrpo prepare folder` reads.

    Args:
        path: JSON lines, a case each: `study_id`, `image` and `view` (lists; `unknown` where a case
            does not name one view for each image), `indication`, `comparison`, `findings` and
            `impression`.
        cases: From `read_cases`.

    Returns:
        How many lines were written.

    Raises:
        DataError: a case names no images.
    """
    return write_jsonl(path, [_row(name, case) for name, case in cases.items()])


def _row(name: str, case: Mapping[str, Any]) -> dict[str, Any]:
    images, views = case.get("image_path"), case.get("frontal_lateral")
    if not isinstance(images, list) or not images:
        raise DataError(f"case {name!r}: names no images (image_path); leave it out")
    if not isinstance(views, list) or len(views) != len(images):
        views = ["unknown"] * len(images)  # of some cases it lists other views than images
    context = case_text(case, "context").removeprefix("<context>").removesuffix("</context>")
    found = _CONTEXT.search(context)
    return {
        "study_id": name,
        # As ReXrank joins them to its image folder.
        "image": [str(image).lstrip("/") for image in images],
        "view": views,
        "indication": found["indication"].strip() if found else "",
        "comparison": (found["comparison"] or "").strip() if found else "",
        "findings": case_text(case, "section_findings"),
        "impression": case_text(case, "section_impression"),
    }


def write_rexrank(
    folder: Path, predictions: Sequence[Prediction], cases: Cases, track: RexrankTrack
) -> RexrankSummary:
    """Write the prediction file of a track, and the same texts as `editgrpo evaluate` reads them.

    A prediction belongs to the case whose id is its study's, or has it as a part: study `CXR7` to
    `CXR7_IM-2263`, `50051329` to `p10046166_s50051329`.

    Args:
        folder: Made if missing; gets `submission.json` and `predictions.jsonl`.
        predictions: One for each case; others are passed over.
        cases: From `read_cases`.
        track: The track.

    Returns:
        How many cases there are, and how many of them have no reference.

    Raises:
        DataError: the predictions are impressions alone, a case has no prediction, none can be
            scored, or a prediction lacks the section that the track asks for; the message names
            the case.
    """
    if any(one.target is Target.IMPRESSION for one in predictions):
        raise DataError("the predictions are impressions; ReXrank has no track of these alone")
    by_study = {one.study_id: one for one in predictions}
    study_of = _studies_of(cases, by_study)
    missing = [case for case in cases if case not in study_of]
    if missing:
        raise DataError(
            f"case {missing[0]!r} has no prediction (in all {len(missing):,} of {len(cases):,}); "
            "ReXrank scores every case: generate reports for all of them"
        )
    submission: dict[str, Any] = {}
    scored: list[Prediction] = []
    for name, case in cases.items():
        prediction = by_study[study_of[name]]
        try:
            text = model_prediction(prediction.prediction, track)
        except DataError as error:
            raise DataError(f"case {name!r}: {error}") from error
        submission[name] = {**case, "model_prediction": text}
        reference = reference_text(case, track)
        if section_text(reference.removeprefix(FINDINGS), "findings"):
            scored.append(
                Prediction(
                    study_id=name,
                    prediction=text,
                    reference=reference,
                    patient_id=prediction.patient_id,
                )
            )
    if not scored:
        raise DataError(f"no case has a reference on the track {track.value}; take the other")
    write_json(folder / SUBMISSION_FILE, _without_nan(submission))
    write_predictions(folder / SCORED_FILE, scored)
    return RexrankSummary(
        cases=len(cases),
        unscored=len(cases) - len(scored),
        unused=len(by_study) - len(set(study_of.values())),
    )


def _studies_of(cases: Cases, studies: Mapping[str, Prediction]) -> dict[str, str]:
    """Map each case to its study; a part that two cases share names neither."""
    parts = {name: _parts(name) for name in cases}
    shared = Counter(part for found in parts.values() for part in found)
    return {
        name: study
        for name, found in parts.items()
        for study in [next((p for p in found if shared[p] == 1 and p in studies), None)]
        if study is not None
    }


def _parts(name: str) -> tuple[str, ...]:
    """Return an id and its parts, the whole first."""
    parts = [name, *re.split(r"[_/]", name)]
    numbers = [match[1] for part in parts if (match := _STUDY.fullmatch(part))]
    return tuple(dict.fromkeys([*parts, *numbers]))


def _without_nan(value: Any) -> Any:
    """Replace NaN, which JSON has no word for."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)
