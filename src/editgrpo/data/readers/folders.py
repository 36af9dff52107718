"""A folder that was named for the files in it."""

from pathlib import Path

from editgrpo.errors import DataError


def require_folder(folder: Path, files: str) -> None:
    """Refuse a folder that is none, before a file in it is missed.

    Args:
        folder: As it was given.
        files: What it should hold, for the message.

    Raises:
        DataError: it is not there, or is a file.
    """
    if not folder.is_dir():
        fault = "is not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {fault}; give the one that holds {files}")
