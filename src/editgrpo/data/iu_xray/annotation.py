"""R2Gen's `annotation.json` of IU X-Ray, read for its split: 2,069, 296 and 590 reports."""

import json
import re
from pathlib import Path

from editgrpo.data.splits import parse_split
from editgrpo.data.study import Split
from editgrpo.errors import DataError
from editgrpo.foreign import reading

_R2GEN_ID = re.compile(r"CXR(\d+)_.*")


def read_annotation(path: Path) -> dict[str, Split]:
    """Return the split of every report in R2Gen's annotation.

    Args:
        path: One JSON object with lists train, val and test of entries with an id.

    Returns:
        Split by report number.

    Raises:
        DataError: The file cannot be read, is of another form, is for another data set, or names a
            report in two splits.
    """
    with reading(path, "give R2Gen's annotation.json", fault="{reason}"):
        content = path.read_bytes()
    form = "must be one JSON object with lists train, val and test of entries with an id"
    with reading(path, "get the file again", fault=form):
        annotation = json.loads(content)
        entries = [
            (parse_split(name, where=f"{path}: key"), entry["id"])
            for name, part in annotation.items()
            for entry in part
        ]
    split_of_uid: dict[str, Split] = {}
    for split, identifier in entries:
        match = _R2GEN_ID.fullmatch(str(identifier))
        if match is None:
            raise DataError(f"{path}: an id does not look like CXR7_IM-2263; is it for IU X-Ray?")
        if split_of_uid.setdefault(match[1], split) is not split:
            raise DataError(f"{path}: report CXR{match[1]} is in two splits; correct one")
    return split_of_uid
