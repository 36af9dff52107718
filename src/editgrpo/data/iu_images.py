"""Where the image files of IU X-Ray are: three layouts are in use.

`NLMCXR_png/CXR1_1_IM-0001-4001.png` (the original archive), `images_normalized/
1_IM-0001-4001.dcm.png` (the CSV form) and R2Gen's `images/CXR1_1_IM-0001/0.png`. They are told
apart by their names, file by file, so that the folder may have any name and depth.
"""

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from editgrpo.errors import DataError

_IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
_R2GEN_FOLDER = re.compile(r"CXR(\d+)_(?:\d+_)?IM-[\d-]+")


def image_id_candidates(uid: str, name: str) -> tuple[str, str]:
    """Return the XML image ids that a file name of the CSV form may stand for.

    Args:
        uid: Number of the report, such as "7".
        name: With or without its suffixes, such as "7_IM-2263-1001.dcm.png".

    Returns:
        The usual id first: "CXR7_IM-2263-1001", then "CXR7_7_IM-2263-1001".
    """
    stem = name.removesuffix(".png").removesuffix(".dcm")
    return f"CXR{stem}", f"CXR{uid}_{stem}"


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """The image files below a folder.

    Attributes:
        folder: The folder.
        by_id: XML image id to file, for the first two layouts; a file of the second layout stands
            under its usual id.
        by_uid: Report number to files in order, for R2Gen's layout.
    """

    folder: Path
    by_id: dict[str, Path]
    by_uid: dict[str, tuple[Path, ...]]

    @classmethod
    def scan(cls, folder: Path) -> "ImageIndex":
        """Index a folder and everything below it.

        Args:
            folder: Holds images in one of the layouts, or several.

        Returns:
            The index.

        Raises:
            DataError: There is no such folder, or no image in it has a name of a known layout.
        """
        if not folder.is_dir():
            raise DataError(f"{folder}: is not a folder; give the one that holds the images")
        by_id: dict[str, Path] = {}
        numbered: dict[str, list[tuple[str, int, Path]]] = defaultdict(list)
        for parent, _, names in os.walk(folder):
            r2gen = _R2GEN_FOLDER.fullmatch(Path(parent).name)
            for name in names:
                path = Path(parent) / name
                if path.suffix.lower() not in _IMAGE_SUFFIXES:
                    continue
                stem = name[: -len(path.suffix)].removesuffix(".dcm")
                if r2gen and stem.isdecimal():
                    numbered[r2gen[1]].append((parent, int(stem), path))
                elif "_IM-" in stem:
                    by_id[stem if stem.startswith("CXR") else f"CXR{stem}"] = path
        if not by_id and not numbered:
            raise DataError(
                f"{folder}: no image is named as in NLMCXR_png, images_normalized or R2Gen's "
                "images; see docs/data.md for the three layouts"
            )
        by_uid = {uid: tuple(path for *_, path in sorted(files)) for uid, files in numbered.items()}
        return cls(folder, by_id, by_uid)

    def find(self, uid: str, image_id: str) -> Path:
        """Return the file of an image, or where it should be if it is missing.

        Args:
            uid: Number of the report.
            image_id: The XML image id.

        Returns:
            A path; it does not exist if no file has that id.
        """
        # A file "1_IM-0001-4001.dcm.png" stands under CXR1_IM-0001-4001, whose id in the XML is
        # CXR1_1_IM-0001-4001; the CSV form, in turn, cannot tell which of the two ids is meant.
        shorter = "CXR" + image_id.removeprefix(f"CXR{uid}_")
        longer = f"CXR{uid}_" + image_id.removeprefix("CXR")
        for candidate in (image_id, shorter, longer):
            if candidate in self.by_id:
                return self.by_id[candidate]
        return self.folder / f"{image_id}.png"
