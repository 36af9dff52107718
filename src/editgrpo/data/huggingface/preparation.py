"""A data set of the Hugging Face library as studies: its rows are read as a table of one's own is.

The library downloads, finds the splits and keeps Arrow files in its cache; films inside these are
read there when they are made (`prepared/packed_images.py`) and copied nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from editgrpo.data.folder.images import ImageFolder
from editgrpo.data.folder.preparation import Place, read_rows
from editgrpo.data.huggingface.rows import PLACE, ROW, SPLIT, HeldRows, load_rows
from editgrpo.data.prepare import Candidates
from editgrpo.data.prepared.record import SECTIONS, nearest
from editgrpo.data.read_options import ReadOptions
from editgrpo.data.splits import parse_split
from editgrpo.data.study import View
from editgrpo.errors import ConfigError

_SAME_NAMES: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "images"),
    "study_id": ("study_id",),
    "patient_id": ("patient_id", "subject_id"),
    **{name: (name,) for name in ("view", "time", *SECTIONS)},
}
"""Columns that are taken for a field without being named, in this order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HuggingFaceSource:
    """Where a data set of the Hugging Face library is, and which column holds what."""

    name: str
    """A folder of Parquet, Arrow, CSV or JSON files, one that `save_to_disk` wrote, or a name on
    the Hub."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Field to column, as of `TableSource`; columns that bear a field's own name need none."""

    config: str | None = None
    """Which of the data set's configurations; None takes its default."""

    revision: str | None = None
    """Branch, tag or commit on the Hub; None takes the newest."""

    image_folder: Path | None = None
    """Where relative image paths start, if the columns hold paths; None is a local data set's own
    folder."""

    follow_links: bool = False
    """Whether an image may be a symbolic link that leads out of the folder of images."""

    splits: Mapping[str, str] = field(default_factory=dict)
    """Split of the data set to split here, for names that are none of the usual ones."""

    draw_splits: bool = False
    """Draw patients into splits, also where the data set has several."""

    separator: str | None = None
    """Stands between several paths, or views, in one cell; a list needs none."""

    date_format: str | None = None
    """As of `TableSource`; a column of dates needs none."""

    view_names: Mapping[str, View] = field(default_factory=dict)
    """As of `TableSource`."""

    cache: Path | None = None
    """Where the library keeps its Arrow files; None takes its own cache."""

    @property
    def folder(self) -> Path | None:
        """The folder of a local data set."""
        return Path(self.name) if Path(self.name).is_dir() else None


def read_huggingface(source: HuggingFaceSource, how: ReadOptions | None = None) -> Candidates:
    """Read all rows of a data set into studies; no image is opened.

    Args:
        source: The data set, and which column holds what.
        how: The split rule is used where the data set has one split, or with `draw_splits`, and no
            column of splits.

    Returns:
        The studies, before anything is left out. A row without a study id is a study.

    Raises:
        ConfigError: The column map does not fit the data set.
        DataError: The data set cannot be loaded, or a cell cannot be understood.
    """
    how = how or ReadOptions()
    rows = load_rows(source.name, source.config, source.revision, source.cache)
    mapped = _mapped(source, rows)
    has_splits = not ("split" in mapped or source.draw_splits) and len(rows.splits) > 1
    if has_splits:
        mapped["split"] = SPLIT
    names = source.splits
    for name in names:
        if name not in rows.splits:
            raise ConfigError(f"{source.name} has no split {name!r}; {nearest(name, rows.splits)}")
    for name in rows.splits if has_splits else ():
        parse_split(names.get(name, name), where=f"{source.name}: split, unless --split names it,")
    table = rows.table(mapped, {name: names.get(name, name) for name in rows.splits})
    candidates = read_rows(
        table,
        mapped,
        _place_in(source, rows),
        how,
        separator=source.separator,
        date_format=source.date_format,
        view_names=source.view_names,
        dataset="huggingface",
    )
    if not has_splits:
        return candidates
    stated = ", ".join(
        name if name not in names else f"{name} as {names[name]}" for name in rows.splits
    )
    return replace(candidates, split_rule=f"the data set's own: {stated}")


def _mapped(source: HuggingFaceSource, rows: HeldRows) -> dict[str, str]:
    """Return which column fills each field: what was asked for, else one of the field's name."""
    mapped = dict(source.columns)
    for name, candidates in _SAME_NAMES.items():
        same = next((column for column in candidates if column in rows.columns), None)
        if name not in mapped and same is not None:
            mapped[name] = same
    mapped.setdefault("study_id", ROW)
    return mapped


def _place_in(source: HuggingFaceSource, rows: HeldRows) -> Place:
    """Return what finds films inside the library's files, and paths within one folder."""
    folder = source.image_folder or source.folder
    files = None if folder is None else ImageFolder(folder, follow_links=source.follow_links)

    def place(path: str, where: str) -> tuple[str, str]:
        if path.startswith(PLACE):
            image_id = path.removeprefix(PLACE)
            return image_id, rows.places[image_id]
        if files is None:
            raise ConfigError(
                f"{source.name}: holds paths of images; give their folder by --images"
            )
        return files.place(path, where)

    return place
