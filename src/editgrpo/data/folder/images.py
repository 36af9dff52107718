"""The images of a user's table: paths that stay within one folder."""

import os
from pathlib import Path

from editgrpo.data.readers.json_source import is_unicode
from editgrpo.errors import DataError


class ImageFolder:
    """Where the image paths of a table start, and which they cannot leave.

    A table may come from elsewhere, and what it names is read and copied into a set: a path with
    `..`, an absolute one, or a link must not bring in files that nobody meant to give away.

    Args:
        folder: The folder.
        follow_links: Whether a symbolic link in it may lead out of it.
    """

    def __init__(self, folder: Path, *, follow_links: bool = False) -> None:
        self._folder = os.path.abspath(folder)
        self._real = os.path.realpath(folder)
        self._follow_links = follow_links

    def image_id(self, path: str, where: str) -> str:
        """Return a path from the folder on, with `/` between its parts.

        Args:
            path: As the table writes it: from the folder on, or absolute.
            where: File and line, for messages.

        Returns:
            The path, the same for all ways to write it.

        Raises:
            DataError: It leads out of the folder, is the folder, or can be no path.
        """
        if "\0" in path or not is_unicode(path):
            raise DataError(f"{where}: an image path holds what no path can; correct it")
        whole = os.path.normpath(os.path.join(self._folder, path))
        if not _is_inside(whole, self._folder):
            raise DataError(
                f"{where}: an image path leads out of {self._folder}; correct it, or give --images "
                "a folder above all images"
            )
        if not self._follow_links and not _is_inside(os.path.realpath(whole), self._real):
            raise DataError(
                f"{where}: an image is a link that leads out of {self._folder}; give --images the "
                "folder that it leads to, or --follow-links if you trust the links"
            )
        return os.path.relpath(whole, self._folder).replace(os.sep, "/")

    def place(self, path: str, where: str) -> tuple[str, str]:
        """Return the id of the image that a cell names, and its file; see `image_id`."""
        image_id = self.image_id(path, where)
        return image_id, os.path.join(self._folder, image_id)


def _is_inside(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep) and path != folder
