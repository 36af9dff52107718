"""The files that come with the package: recipes by name, and how processes share a model.

`published/` has a folder for each command that reads them. The name of a file without its ending is
unique, and is what `editgrpo train NAME` and `extends: NAME` take. The opening comment of a file
says on its first line what the file is.
"""

import os
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from editgrpo.config import SFTConfig, TrainConfig
from editgrpo.errors import ConfigError, nearest_name

PUBLISHED = Path(__file__).parent / "published"

_ENDINGS = (".yaml", ".yml")
_LIKE = 0.7  # how alike the name of a file that is not there and a recipe must be to be named


class Reader(StrEnum):
    """What reads a published file; its folder bears the same name."""

    SFT = "sft"
    TRAIN = "train"
    ACCELERATE = "accelerate"

    @property
    def command(self) -> str:
        """The command line that reads it."""
        return "accelerate launch" if self is Reader.ACCELERATE else f"editgrpo {self.value}"


KINDS: dict[Reader, type[Any]] = {Reader.SFT: SFTConfig, Reader.TRAIN: TrainConfig}


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """One file that comes with the package.

    Attributes:
        name: What it is called by.
        reader: What reads it.
        path: Where it is.
    """

    name: str
    reader: Reader
    path: Path

    def summary(self) -> str:
        """Return the first line of its opening comment."""
        first, *_ = self.path.read_text(encoding="utf-8").splitlines()
        return first.removeprefix("#").strip()


@cache
def published_files() -> tuple[Published, ...]:
    """List what comes with the package, by reader and then by name."""
    return tuple(
        Published(name=path.stem, reader=reader, path=path)
        for reader in Reader
        for path in sorted((PUBLISHED / reader.value).glob("*.yaml"), key=lambda path: path.stem)
    )


def find_published(name: str) -> Published:
    """Find one of the files that come with the package.

    Args:
        name: Its name.

    Returns:
        The file.

    Raises:
        ConfigError: there is none; the message names the nearest one.
    """
    known = {one.name: one for one in published_files()}
    if name not in known:
        raise ConfigError(
            f"{_shown(name)}: no recipe of that name{nearest_name(name, list(known))}"
        )
    return known[name]


def recipe_file(given: Path, kind: type, within: Path | None = None) -> tuple[Path, bool]:
    """Find the file of a recipe that is named by its path or by its published name.

    Args:
        given: A path or a name; a file wins over a name.
        kind: The dataclass that the recipe shall fill.
        within: The recipe that extends it, from whose folder a relative path starts; None for one
            that a command was given.

    Returns:
        The file, and whether it was found by its published name. A path that leads nowhere comes
        back as it is: whoever reads it says what is wrong, see `remedy_for_missing`.

    Raises:
        ConfigError: the name is published, for another command than the one that fills `kind`.
    """
    path = given if within is None else within.parent / given
    known = {one.name: one for one in published_files()}
    if os.path.isfile(path) or str(given) not in known:  # False for what cannot be a path, too
        return path, False
    found = known[str(given)]
    if KINDS.get(found.reader) is not kind:
        place = "" if within is None else f"{within}: extends: "
        fitting = [one.name for one in published_files() if KINDS.get(one.reader) is kind]
        raise ConfigError(
            f"{place}{found.name} is for `{found.reader.command}`; give a file or one of "
            f"{', '.join(fitting)}"
        )
    return found.path, True


def remedy_for_missing(given: Path) -> str:
    """Say what to give in the place of a recipe that is not there.

    Args:
        given: A path, or a name that was meant to be a published one.

    Returns:
        The end of a message, after "No such file or directory".
    """
    names = [one.name for one in published_files() if one.reader in KINDS]
    is_name = given.name == str(given) and given.suffix not in _ENDINGS
    if is_name:
        return f", and no recipe has that name{nearest_name(given.name.lower(), names)}"
    stem = given.stem if given.suffix in _ENDINGS else given.name
    near = get_close_matches(stem.lower(), names, n=1, cutoff=_LIKE)
    meant = f"; did you mean {near[0]!r}, which comes with editgrpo?" if near else ""
    return meant or "; give a recipe file"


def _shown(name: str) -> str:
    return name if name and name.isprintable() else repr(name)
