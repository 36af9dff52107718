"""Where the files of ReXGradient-160K are: as downloaded, unpacked next to them, or apart."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from editgrpo.data.prepared.store import Rejection
from editgrpo.data.readers.folders import require_folder
from editgrpo.data.readers.json_source import read_entries
from editgrpo.data.rexgradient.records import IMAGE_FOLDER, Record, read_record
from editgrpo.data.study import Split
from editgrpo.errors import DataError

METADATA_NAMES: Mapping[Split, str] = {
    Split.TRAIN: "train",
    Split.VALIDATION: "valid",
    Split.TEST: "test",
}
"""The set's own names of its splits."""

# As downloaded beside `deid_png`, with the download in a folder of its own, or the folder itself.
_METADATA_FOLDERS = ("metadata", "download/metadata", "")


def find_metadata(root: Path, splits: Sequence[Split]) -> dict[Split, Path]:
    """Find the metadata files.

    Args:
        root: The folder that holds `metadata`, or `metadata` itself.
        splits: Which are wanted.

    Returns:
        The file of each split.

    Raises:
        DataError: One of them is not there.
    """
    require_folder(root, "metadata and deid_png")
    return {split: _find_metadata(root, split) for split in splits}


def _find_metadata(root: Path, split: Split) -> Path:
    name = METADATA_NAMES[split]
    wanted = f"{name}_metadata_view_position.json"
    folders = [root / folder for folder in _METADATA_FOLDERS]
    for folder in folders:
        if (folder / wanted).is_file():
            return folder / wanted
    for folder in folders:
        for lesser in (f"{name}_metadata.json", f"{name}_metadata.csv"):
            if (folder / lesser).is_file():
                raise DataError(
                    f"{folder / lesser}: does not give the view of every image; download "
                    f"{wanted} into the same folder"
                )
    raise DataError(
        f"{root}: neither {wanted} nor metadata/{wanted} is there; download it, or prepare only "
        "the splits you hold"
    )


def find_images(
    root: Path, images: Path | None, metadata: Mapping[Split, Path], *, must_exist: bool
) -> Path:
    """Find the folder of images.

    Args:
        root: The folder that may hold `deid_png`.
        images: `deid_png` or the folder that holds it, if it was named.
        metadata: The metadata files, whose paths begin with `../deid_png`.
        must_exist: Whether a missing folder is an error.

    Returns:
        The folder whose entries are the patients; where it should be if it is missing.

    Raises:
        DataError: It must exist, and does not.
    """
    beside = [path.parent.parent for path in metadata.values()]
    places = [root, *beside] if images is None else [images]
    for place in places:
        if (place / IMAGE_FOLDER).is_dir():
            return place / IMAGE_FOLDER
    if images is not None and images.is_dir():
        return images
    if not must_exist:
        return images or root / IMAGE_FOLDER
    if images is not None:
        require_folder(images, "the images")
    for place in (*places, *(path.parent for path in metadata.values())):
        if any(place.glob("deid_png.part*")):
            raise DataError(
                f"{place}: holds deid_png.part* but no folder {IMAGE_FOLDER}; unpack it with "
                "`cat deid_png.part* | tar --zstd -x`"
            )
    raise DataError(
        f"{root}: holds no folder {IMAGE_FOLDER}; name the folder of images, or prepare without "
        "images"
    )


def read_metadata(metadata: Mapping[Split, Path]) -> Iterator[Record | Rejection]:
    """Read the metadata of all splits, one study at a time.

    Args:
        metadata: The file of each split.

    Yields:
        Every study, or why it could not be put together.

    Raises:
        DataError: A file is not of the documented form, or a study appears twice.
    """
    split_of_study: dict[str, Split] = {}
    for split, path in metadata.items():
        count = 0
        for study_id, entry in read_entries(path):
            count += 1
            if study_id in split_of_study:
                # To keep either would be a guess, and in two splits it would be a leak.
                where = metadata[split_of_study[study_id]]
                other = "twice" if where == path else f"also in {where.name}"
                raise DataError(
                    f"{path}: study {study_id!r} appears {other}; download the metadata again"
                )
            split_of_study[study_id] = split
            yield read_record(study_id, entry, split)
        if not count:
            raise DataError(f"{path}: holds no study; download the file again")
