"""Boxes that a data set draws around what a sentence says, next to the studies in `boxes.arrow`.

They are shown to people, and to no model.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from editgrpo.data.prepared.arrow_files import read_arrow, write_or_remove
from editgrpo.data.study import Study
from editgrpo.errors import DataError

BOXES_FILE = "boxes.arrow"

_SCHEMA = pa.schema(
    [
        ("study_id", pa.string()),
        ("image_id", pa.string()),
        ("sentence", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("left", pa.float64()),
        ("top", pa.float64()),
        ("right", pa.float64()),
        ("bottom", pa.float64()),
        ("is_extra", pa.bool_()),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A box around a finding.

    Attributes:
        study_id: The study.
        image_id: A current image of it.
        sentence: What the report says of the finding.
        labels: Names that the data set gives it.
        left: Left side, as a share of the image's width, in [0, 1].
        top: Upper side, as a share of its height, counted from above.
        right: Right side, not left of `left`.
        bottom: Lower side, not above `top`.
        is_extra: Whether the data set keeps it apart from the boxes proper.
    """

    study_id: str
    image_id: str
    sentence: str
    labels: tuple[str, ...]
    left: float
    top: float
    right: float
    bottom: float
    is_extra: bool = False

    @property
    def is_in_image(self) -> bool:
        """Whether it lies in its image and its sides are in their order."""
        return 0 <= self.left <= self.right <= 1 and 0 <= self.top <= self.bottom <= 1


def boxes_of(boxes: Iterable[Box], studies: Iterable[Study]) -> list[Box]:
    """Return the boxes on current images of some studies."""
    shown = {(one.study_id, image.image_id) for one in studies for image in one.current_images}
    return [box for box in boxes if (box.study_id, box.image_id) in shown]


def write_boxes(folder: Path, boxes: Sequence[Box]) -> None:
    """Write the boxes of a set; a set without any has no file.

    Args:
        folder: Of the set.
        boxes: In the order in which they are shown.

    Raises:
        DataError: The folder cannot be written to.
        StorageError: There is no room, or the disk is out of order.
    """
    rows = [asdict(one) for one in boxes]
    write_or_remove(folder / BOXES_FILE, pa.Table.from_pylist(rows, _SCHEMA) if rows else None)


def read_boxes(folder: Path | str) -> Mapping[str, tuple[Box, ...]]:
    """Read the boxes of a set.

    Args:
        folder: A prepared folder.

    Returns:
        Those of each study that has any, in their order.

    Raises:
        DataError: The file is damaged.
    """
    path = Path(folder) / BOXES_FILE
    if not path.is_file():
        return {}
    table = read_arrow(path)
    if not table.schema.equals(_SCHEMA):
        raise DataError(f"{path}: is not a table of boxes; prepare the set again")
    of_study: dict[str, list[Box]] = defaultdict(list)
    for row in table.to_pylist():
        of_study[row["study_id"]].append(Box(**row | {"labels": tuple(row["labels"])}))
    return {study_id: tuple(boxes) for study_id, boxes in of_study.items()}
