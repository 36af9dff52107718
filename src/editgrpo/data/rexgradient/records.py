"""One entry of ReXGradient-160K's metadata: checked, and read into a study.

The index-aligned lists of an entry must have one length; views would otherwise stand beside the
wrong images.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from editgrpo.data.given_values import is_given, section_text
from editgrpo.data.prepared.store import Rejection
from editgrpo.data.readers.json_source import is_unicode
from editgrpo.data.study import Split, Study
from editgrpo.data.times import iso_day

IMAGE_FOLDER = "deid_png"
_SUFFIX = ".png"
_IMAGE_LISTS = ("ImagePath", "ImageViewPosition", "ImageModality", "ImageBodyPart", "ImageShape")
_NO_SECTION = "None"  # as Python writes a missing value; "None." is somebody's sentence


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image of an entry.

    Attributes:
        path: Below `deid_png`.
        stem: Its SopInstanceUid.
        view: Its ImageViewPosition, empty if not given.
    """

    path: str
    stem: str
    view: str


@dataclass(frozen=True, slots=True)
class Record:
    """An entry.

    Attributes:
        study: The study, still without images.
        images: Its images.
        body_parts: What was taken, as given.
        rejections: Images that were left out.
    """

    study: Study
    images: tuple[ListedImage, ...]
    body_parts: tuple[str, ...]
    rejections: tuple[Rejection, ...]


def read_record(study_id: str, entry: object, split: Split) -> Record | Rejection:
    """Read an entry of the metadata.

    Args:
        study_id: Its key.
        entry: Its parsed value.
        split: The split of the file.

    Returns:
        The study and its images, or why there is none.
    """
    try:
        return _record(study_id, entry, split)
    except _UnusableError as error:
        return Rejection(study_id=study_id, image=None, reason=str(error), split=split)


class _UnusableError(Exception):
    """An entry is no study; the message is the reason to leave it out."""


def _record(study_id: str, entry: object, split: Split) -> Record:
    if not isinstance(entry, dict):
        raise _UnusableError("entry is not an object")
    lists = _image_lists(entry)
    images, rejections = _images(study_id, lists, split)
    study = Study(
        study_id=study_id,
        patient_id=_patient(entry),
        split=split,
        images=(),
        time=_day(entry),
        indication=_section(entry, "Indication"),
        comparison=_section(entry, "Comparison"),
        findings=_section(entry, "Findings"),
        impression=_section(entry, "Impression"),
    )
    parts = tuple(_name(part) for part in lists.get("ImageBodyPart", ()))
    return Record(study, images, parts, rejections)


def _image_lists(entry: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the lists that are given, after a check that they have one length."""
    lists: dict[str, list[Any]] = {}
    for name in _IMAGE_LISTS:
        value = entry.get(name)
        if value is None:
            continue
        if not isinstance(value, list):
            raise _UnusableError(f"{name} is not a list")
        lists[name] = value
    if "ImagePath" not in lists:
        raise _UnusableError("ImagePath is missing")
    if len({len(value) for value in lists.values()}) > 1:
        raise _UnusableError("image lists of unequal length")
    return lists


def _images(
    study_id: str, lists: Mapping[str, list[Any]], split: Split
) -> tuple[tuple[ListedImage, ...], tuple[Rejection, ...]]:
    paths = lists["ImagePath"]
    views = lists.get("ImageViewPosition") or [None] * len(paths)
    images: dict[str, ListedImage] = {}
    rejections = []
    for number, (path, view) in enumerate(zip(paths, views, strict=True)):
        place = _below_image_folder(path)
        if place is None:
            reason = "path is not ../deid_png/..."
        elif place in images:
            reason = "image listed twice"
        else:
            images[place] = ListedImage(place, _stem(place), _name(view))
            continue
        rejections.append(
            Rejection(study_id=study_id, image=f"ImagePath[{number}]", reason=reason, split=split)
        )
    return tuple(images.values()), tuple(rejections)


def _below_image_folder(path: object) -> str | None:
    """Return a path below `deid_png`; None for one that does not stay there."""
    if not isinstance(path, str) or not is_unicode(path) or "\\" in path or "\0" in path:
        return None
    before, found, below = f"/{path}".partition(f"/{IMAGE_FOLDER}/")
    # A path must not lead out of the folder, whatever a metadata file says.
    is_plain = {"", ".", ".."}.isdisjoint(below.split("/"))
    return below if found and is_plain and before in ("", "/..", "/.") else None


def _stem(path: str) -> str:
    # A SopInstanceUid has dots of its own, so that only the known suffix is one.
    name = path.rpartition("/")[2]
    return name[: -len(_SUFFIX)] if name.lower().endswith(_SUFFIX) else name


def _patient(entry: Mapping[str, Any]) -> str:
    value = entry.get("PatientID")
    text = str(value).strip() if isinstance(value, str | int) else ""
    if not is_given(text) or not is_unicode(text):
        raise _UnusableError("PatientID is missing")
    return text


def _day(entry: Mapping[str, Any]) -> str:
    value = entry.get("StudyDate")
    return iso_day(str(value)) if isinstance(value, str | int | float) else ""


def _section(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str) or not is_unicode(value):
        raise _UnusableError(f"{name} is not text")
    return "" if value.strip() == _NO_SECTION else section_text(value, name.lower())


def _name(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    return text if is_given(text) and is_unicode(text) else ""
