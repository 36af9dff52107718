"""The grounded reports of PadChest-GR: sentences, joined into one report a study.

Boxes and labels are kept for people to see. Left out: locations and progression. Entries of normal
sentences lack all four.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from editgrpo.data.given_values import has_text, is_given, section_text
from editgrpo.data.prepared.boxes import Box
from editgrpo.data.readers.folders import require_folder
from editgrpo.data.readers.json_source import is_unicode, read_items
from editgrpo.data.study import Language
from editgrpo.errors import DataError

_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm")
_SENTENCE_ENDS = (".", "!", "?")


@dataclass(frozen=True, kw_only=True, slots=True)
class GroundedReport:
    """One study of the reports.

    Attributes:
        study_id: StudyID.
        image_ids: Its images, without suffix.
        findings: Its sentences in order, as one text; empty if it has none.
        prior_study_id: PreviousStudyID, empty if not given.
        prior_image_id: PreviousImageID without suffix, empty if not given.
        boxes: On the images, one entry after another.
        wrong_boxes: How many boxes are not four shares of their image in order.
    """

    study_id: str
    image_ids: tuple[str, ...]
    findings: str
    prior_study_id: str
    prior_image_id: str
    boxes: tuple[Box, ...] = ()
    wrong_boxes: int = 0


def find_reports(root: Path) -> Path:
    """Find the file of reports, whatever its date.

    Args:
        root: The folder that holds it.

    Returns:
        The file.

    Raises:
        DataError: There is none, or several.
    """
    require_folder(root, "grounded_reports_20240819.json")
    found = sorted(path for path in root.glob("grounded_reports_*.json") if path.is_file())
    if not found:
        raise DataError(
            f"{root}: grounded_reports_20240819.json is not there; give the folder that holds it"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"{root}: holds several files of reports ({names}); keep one of them there")
    return found[0]


def read_reports(
    path: Path, language: Language
) -> tuple[dict[str, GroundedReport], dict[str, str]]:
    """Read all reports.

    A study that appears twice is one study with two images if both entries say the same, and no
    study if they do not.

    Args:
        path: `grounded_reports_20240819.json`.
        language: Of the sentences.

    Returns:
        The reports by study, and by study why others cannot be used.

    Raises:
        DataError: The file cannot be read, or is not a JSON list with entries.
    """
    reports: dict[str, GroundedReport] = {}
    unusable: dict[str, str] = {}
    number = 0
    for number, entry in enumerate(read_items(path), start=1):
        study_id = f"entry {number}"
        try:
            if not isinstance(entry, dict):
                raise _UnusableError("entry is not an object")
            study_id = _identifier(entry, "StudyID") or study_id
            report = _report(entry, language)
            reports[study_id] = _merged(reports.get(study_id), report)
        except _UnusableError as error:
            unusable.setdefault(study_id, str(error))
    if not number:
        raise DataError(f"{path}: holds no report; download the file again")
    for study_id in unusable:
        reports.pop(study_id, None)
    return reports, unusable


class _UnusableError(Exception):
    """An entry is no report; the message is the reason to leave its study out."""


def _report(entry: Mapping[str, Any], language: Language) -> GroundedReport:
    study_id = _identifier(entry, "StudyID")
    image_id = image_name(_identifier(entry, "ImageID"))
    if not study_id or not image_id:
        raise _UnusableError(f"{'ImageID' if study_id else 'StudyID'} is missing")
    findings = _text(entry.get("findings"), language)
    boxes = _boxes(entry.get("findings") or [], language, study_id, image_id)
    inside = tuple(box for box in boxes if box is not None and box.is_in_image)
    return GroundedReport(
        study_id=study_id,
        image_ids=(image_id,),
        findings=findings,
        prior_study_id=_identifier(entry, "PreviousStudyID"),
        prior_image_id=image_name(_identifier(entry, "PreviousImageID")),
        boxes=inside,
        wrong_boxes=len(boxes) - len(inside),
    )


def _boxes(
    findings: Sequence[Mapping[str, Any]], language: Language, study_id: str, image_id: str
) -> list[Box | None]:
    """Return all boxes of the findings, which `_text` has checked; None for one that is none."""
    found: list[Box | None] = []
    for finding in findings:
        labels = finding.get("labels")
        names = labels if isinstance(labels, list) else []
        for key in ("boxes", "extra_boxes"):
            sides_of_all = finding.get(key)
            for sides in sides_of_all if isinstance(sides_of_all, list) else []:
                if not _are_sides(sides):
                    found.append(None)
                    continue
                left, top, right, bottom = map(float, sides)
                found.append(
                    Box(
                        study_id=study_id,
                        image_id=image_id,
                        sentence=_sentence(finding.get(f"sentence_{language}")),
                        labels=tuple(one for one in names if isinstance(one, str)),
                        left=left,
                        top=top,
                        right=right,
                        bottom=bottom,
                        is_extra=key == "extra_boxes",
                    )
                )
    return found


def _are_sides(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(isinstance(one, int | float) and not isinstance(one, bool) for one in value)
    )


def _merged(first: GroundedReport | None, second: GroundedReport) -> GroundedReport:
    if first is None:
        return second
    alike = replace(
        first,
        image_ids=second.image_ids,
        boxes=second.boxes,
        wrong_boxes=second.wrong_boxes,
    )
    if alike != second:
        raise _UnusableError("entries of one study disagree")
    return replace(
        first,
        image_ids=tuple(dict.fromkeys((*first.image_ids, *second.image_ids))),
        boxes=tuple(dict.fromkeys((*first.boxes, *second.boxes))),
        wrong_boxes=first.wrong_boxes + second.wrong_boxes,
    )


def _identifier(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if value is None:
        return ""
    # Readers of the table turn ids into numbers; of these, only whole ones are exact.
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise _UnusableError(f"{name} is not text")
    text = str(value).strip()
    if not is_unicode(text):
        raise _UnusableError(f"{name} is not text")
    if not is_given(text):
        return ""
    if "/" in text or "\\" in text or "\0" in text:
        raise _UnusableError(f"{name} is a path")
    return text


def image_name(name: str) -> str:
    """Return the name of an image without its suffix, with or without which it is written."""
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _text(findings: object, language: Language) -> str:
    """Join the sentences of a study.

    A sentence that is given only in the other language would leave a hole in the report: it would
    teach a model to pass the finding over.
    """
    if findings is None:
        return ""
    if not isinstance(findings, list):
        raise _UnusableError("findings is not a list")
    sentences = []
    for finding in findings:
        if not isinstance(finding, dict):
            raise _UnusableError("a finding is not an object")
        texts = {each: _sentence(finding.get(f"sentence_{each}")) for each in Language}
        if not texts[language] and any(texts.values()):
            raise _UnusableError(f"a sentence without sentence_{language}")
        sentences.append(texts[language])
    return section_text(" ".join(filter(None, sentences)), "findings")


def _sentence(value: object) -> str:
    """Return a sentence that ends as one; empty if it says nothing."""
    if value is None:
        return ""
    if not isinstance(value, str) or not is_unicode(value):
        raise _UnusableError("a sentence is not text")
    text = " ".join(value.split())
    if not has_text(text) or not is_given(text):
        return ""
    if text.endswith(_SENTENCE_ENDS):
        return text
    return text.rstrip(" ,;:") + "."
