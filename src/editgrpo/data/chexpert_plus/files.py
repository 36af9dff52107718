"""Where the files of CheXpert Plus are: the table, and the trees of films next to it."""

from pathlib import Path

from editgrpo.data.readers.folders import require_folder
from editgrpo.errors import DataError

TABLE = "df_chexpert_plus_240401.csv"
_OTHER_TABLES = "df_chexpert_plus_*.csv*"
# As the archives unpack, in a folder of the archive's name or not.
_FOLDERS = ("PNG/PNG", "PNG", "PNGs", "DICOM/DICOM", "DICOM", "")
_SPLITS = ("train", "valid")


def find_table(root: Path, table: Path | None) -> Path:
    """Find the table of reports.

    Args:
        root: The folder that holds it.
        table: The table, if it was named.

    Returns:
        Its path, as published or compressed.

    Raises:
        DataError: It is not there, or several are.
    """
    if table is not None:
        return table
    require_folder(root, TABLE)
    if (root / TABLE).is_file():
        return root / TABLE
    others = sorted(root.glob(_OTHER_TABLES))
    if len(others) != 1:
        problem = f"holds {len(others)} tables of other dates" if others else "holds no table"
        raise DataError(f"{root}: {problem}; download {TABLE}, or name the table with --table")
    return others[0]


def find_images(root: Path, images: Path | None, *, must_exist: bool) -> Path:
    """Find the folder that paths to films start from.

    Args:
        root: The folder that may hold the films.
        images: The folder that was named: that of `train` and `valid`, or one above.
        must_exist: Whether a missing folder is an error.

    Returns:
        The folder of `train` and `valid`; where it should be if it is missing.

    Raises:
        DataError: It must exist, and does not.
    """
    place = root if images is None else images
    for folder in _FOLDERS:
        if any((place / folder / split).is_dir() for split in _SPLITS):
            return place / folder
    if must_exist:
        require_folder(place, "the films")
        raise DataError(
            f"{place}: neither train nor PNG/train nor DICOM/train is there; unpack the films, or "
            "name their folder with --images"
        )
    return place / _FOLDERS[1]
