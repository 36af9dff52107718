"""Where the image files of IU X-Ray are: three layouts are in use.

`NLMCXR_png/CXR1_1_IM-0001-4001.png` (the original archive), `images_normalized/
1_IM-0001-4001.dcm.png` (the CSV form) and R2Gen's `images/CXR1_1_IM-0001/0.png`. They are told
apart by their names, file by file, so that the folder may have any name and depth. DICOM files,
`1_IM-0001-4001.dcm`, are taken where there is nothing else.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from editgrpo.data.readers.folders import require_folder
from editgrpo.errors import DataError

_DICOM = ".dcm"
_SUFFIXES = (".png", ".jpg", ".jpeg", _DICOM)  # of one image in several forms, the first is taken
_R2GEN_FOLDER = re.compile(r"CXR(\d+)_(?:\d+_)?IM-[\d-]+")
_FIRST_REPORT = "1"

Listing = Sequence[tuple[Path, Sequence[str]]]
"""Folders and the names of their files."""


class Layout(IntEnum):
    """How image files are named; of several layouts in one place, the first is taken."""

    ORIGINAL = 0
    CSV = 1
    R2GEN = 2
    DICOM = 3


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of a report.

    Attributes:
        image_id: The XML image id, or in R2Gen's layout folder and number: "CXR1_1_IM-0001/0".
        path: The file; it need not exist.
        view: As the projections name it; "" if they do not.
    """

    image_id: str
    path: str
    view: str = ""


def image_id_candidates(uid: str, name: str) -> tuple[str, str]:
    """Return the XML image ids that a file name of the CSV form may stand for.

    Args:
        uid: Number of the report, such as "7".
        name: With or without its suffixes, such as "7_IM-2263-1001.dcm.png".

    Returns:
        The likely id first: "CXR7_IM-2263-1001", then "CXR7_7_IM-2263-1001". Of the archive's 7,470
        ids only the two of report 1 are of the longer form.
    """
    stem = name.removesuffix(".png").removesuffix(".dcm")
    usual, longer = f"CXR{stem}", f"CXR{uid}_{stem}"
    return (longer, usual) if uid == _FIRST_REPORT else (usual, longer)


def list_files(folder: Path) -> Listing:
    """Return a folder and all below it, the least deep first, equals by name."""
    found = [(Path(parent), sorted(names)) for parent, _, names in os.walk(folder)]
    return sorted(found, key=lambda entry: (len(entry[0].parts), entry[0]))


def find_image_folder(listing: Listing) -> Path | None:
    """Return the folder that holds the images of a data set.

    Args:
        listing: What lies below its root.

    Returns:
        The deepest folder that holds all images of the first layout there is; for R2Gen's layout
        the one above the studies. None if there are no images.
    """
    folders: dict[Layout, dict[Path, None]] = defaultdict(dict)
    for file in _image_files(listing):
        folder = file.folder.parent if file.layout is Layout.R2GEN else file.folder
        folders[file.layout][folder] = None
    return Path(os.path.commonpath(folders[min(folders)])) if folders else None


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """The image files below a folder.

    Attributes:
        folder: The folder.
        by_id: XML image id to file, for the first two layouts; a file of the second layout stands
            under the shorter id.
        by_uid: Report number to images in order, for R2Gen's layout.
    """

    folder: Path
    by_id: dict[str, str]
    by_uid: dict[str, tuple[ImageFile, ...]]

    @classmethod
    def scan(cls, folder: Path) -> "ImageIndex":
        """Index a folder and everything below it.

        Args:
            folder: Holds images in one of the layouts, or several. Of several files of one image,
                one of the first layout is taken, and of those the least deep.

        Returns:
            The index.

        Raises:
            DataError: There is no such folder, or no image in it has a name of a known layout.
        """
        if folder.is_file():
            raise DataError(f"{folder}: is a file; unpack it, and give the folder of the images")
        require_folder(folder, "the images")
        by_id: dict[str, str] = {}
        numbered: dict[str, dict[tuple[str, int], str]] = defaultdict(dict)
        files = _image_files(list_files(folder))
        for file in sorted(files, key=lambda file: (file.layout, file.rank)):
            path = os.path.join(file.folder, file.name)
            if file.layout is Layout.R2GEN:
                study = file.folder.name
                uid = study.removeprefix("CXR").split("_")[0]
                numbered[uid].setdefault((study, int(file.stem)), path)
            else:
                by_id.setdefault("CXR" + file.stem.removeprefix("CXR"), path)
        if not by_id and not numbered:
            raise DataError(
                f"{folder}: no image is named as in NLMCXR_png, images_normalized or R2Gen's "
                "images; see docs/data.md for the three layouts"
            )
        by_uid = {
            uid: tuple(ImageFile(f"{name}/{k}", path) for (name, k), path in sorted(paths.items()))
            for uid, paths in numbered.items()
        }
        return cls(folder, by_id, by_uid)

    def images_of(self, uid: str, listed: Iterable[tuple[str, str]]) -> list[ImageFile]:
        """Return the images of a report, those included whose file is missing.

        Args:
            uid: Number of the report.
            listed: XML image id and view of each image that the report lists.

        Returns:
            The listed images; or, where no file has such an id and R2Gen's layout has images of the
            report, those, in their order. R2Gen numbers images without their view, and not always
            frontal first.
        """
        listed = list(listed)
        paths = [self._find(uid, image_id) for image_id, _ in listed]
        if uid in self.by_uid and not any(paths):
            return list(self.by_uid[uid])
        return [
            ImageFile(image_id, path or str(self.folder / f"{image_id}.png"), view)
            for (image_id, view), path in zip(listed, paths, strict=True)
        ]

    def _find(self, uid: str, image_id: str) -> str | None:
        # A file "1_IM-0001-4001.dcm.png" stands under CXR1_IM-0001-4001, whose id in the XML is
        # CXR1_1_IM-0001-4001; the CSV form, in turn, cannot tell which of the two ids is meant.
        shorter = "CXR" + image_id.removeprefix(f"CXR{uid}_")
        longer = f"CXR{uid}_" + image_id.removeprefix("CXR")
        known = (self.by_id.get(candidate) for candidate in (image_id, shorter, longer))
        return next((path for path in known if path is not None), None)


class _Found(NamedTuple):
    layout: Layout
    rank: int
    folder: Path
    stem: str
    name: str


def _image_files(listing: Listing) -> Iterator[_Found]:
    for folder, names in listing:
        is_r2gen = _R2GEN_FOLDER.fullmatch(folder.name) is not None
        for name in names:
            stem, suffix = os.path.splitext(name)
            stem, suffix = stem.removesuffix(".dcm"), suffix.lower()
            layout = _layout_of(stem, suffix, is_r2gen=is_r2gen)
            if layout is not None:
                yield _Found(layout, _SUFFIXES.index(suffix), folder, stem, name)


def _layout_of(stem: str, suffix: str, *, is_r2gen: bool) -> Layout | None:
    if suffix in _SUFFIXES and is_r2gen and stem.isdecimal():
        return Layout.R2GEN
    if suffix not in _SUFFIXES or "_IM-" not in stem:
        return None
    if suffix == _DICOM:
        return Layout.DICOM
    return Layout.ORIGINAL if stem.startswith("CXR") else Layout.CSV
