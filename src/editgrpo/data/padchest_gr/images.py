"""Where the image files of PadChest-GR are: the archives unpack into folders of any depth."""

import os
from dataclasses import dataclass
from pathlib import Path

from editgrpo.data.padchest_gr.reports import image_name
from editgrpo.errors import DataError

# Of several files of one image, the original comes before what was converted from it.
_SUFFIXES = (".png", ".dcm", ".jpg", ".jpeg")
_ARCHIVES = ("PadChest_GR.zip.", "PadChest_GR_progression_prior_studies.zip.")
_USUAL_FOLDER = Path("Padchest_GR_files", "PadChest_GR")


@dataclass(frozen=True, slots=True)
class PadChestImages:
    """The image files below a folder.

    Attributes:
        folder: The folder.
        files: Path by name without suffix.
    """

    folder: Path
    files: dict[str, str]

    @classmethod
    def scan(cls, folder: Path, *, must_exist: bool) -> "PadChestImages":
        """Index a folder and everything below it, links included.

        Args:
            folder: Holds current and prior images, anywhere.
            must_exist: Whether a folder without images is an error.

        Returns:
            The index.

        Raises:
            DataError: There must be images, and are none.
        """
        ranked: dict[str, tuple[int, str]] = {}
        archive = ""
        visited: set[str] = set()
        for parent, folders, names in os.walk(folder, followlinks=True):
            place = os.path.realpath(parent)
            if place in visited:  # a link back: not walked again
                folders.clear()
                continue
            visited.add(place)
            folders.sort()
            for name in sorted(names):
                suffix = os.path.splitext(name)[1].lower()
                if suffix in _SUFFIXES:
                    entry = (_SUFFIXES.index(suffix), f"{parent}/{name}")
                    key = image_name(name)
                    if key not in ranked or entry[0] < ranked[key][0]:
                        ranked[key] = entry
                elif name.startswith(_ARCHIVES):
                    archive = archive or f"{parent}/{name}"
        if must_exist and not ranked:
            raise DataError(_no_images(folder, archive))
        return cls(folder, {key: path for key, (_, path) in ranked.items()})

    def path_of(self, image_id: str) -> str:
        """Return the file of an image, or where it should be if it is missing."""
        return self.files.get(image_id, str(self.folder / _USUAL_FOLDER / f"{image_id}.png"))


def _no_images(folder: Path, archive: str) -> str:
    if archive:
        whole = archive.rpartition(".")[0]
        return (
            f"{archive}: is a part of an archive, and no image is unpacked; join the parts (`cat "
            f"{Path(whole).name}.* > {Path(whole).name}`) and unzip it"
        )
    return f"{folder}: holds no image; unpack PadChest_GR.zip there, or prepare without images"
