"""Which column of a user's table holds which field of a study.

A mapping is written `field=column`. A field may take several columns, `field=one,two`, and a column
may be a constant for all rows, written with a second equals sign: `view==PA`, or
`image=frontal_file,lateral_file` with `view==frontal,=lateral`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from editgrpo.data.identifiers import identifier
from editgrpo.data.prepared.record import SECTIONS, is_header, listed_columns, nearest, shown
from editgrpo.data.readers.table import Row, Table
from editgrpo.errors import ConfigError, DataError

FIELDS = ("study_id", "patient_id", "image", "view", "split", "time", *SECTIONS)
_SINGLE = ("split", "time")


@dataclass(frozen=True, slots=True)
class Source:
    """What fills a field: a column, or a constant if `column` is None."""

    column: str | None
    constant: str = ""


def parse_column_map(items: Iterable[str]) -> dict[str, str]:
    """Read mappings as they are typed on a command line.

    Args:
        items: Each `field=column`.

    Returns:
        Field to what stands behind its first equals sign.

    Raises:
        ConfigError: A mapping has no equals sign, an unknown field, no column, or a field that was
            mapped before.
    """
    columns: dict[str, str] = {}
    for item in items:
        name, equals, column = item.partition("=")
        name = name.strip()
        if not equals or not column.strip():
            raise ConfigError(f"--column {item!r} must look like study_id=StudyID")
        if name not in FIELDS:
            # Typed by the user, so it is no report text.
            raise ConfigError(f"--column {name}=...: unknown field; {nearest(name, FIELDS)}")
        if name in columns:
            raise ConfigError(f"field {name!r} is mapped twice; separate several columns by commas")
        columns[name] = column.strip()
    return columns


class Columns:
    """A column map that fits a table."""

    def __init__(
        self, columns: Mapping[str, str], table: Table, *, require_image: bool = True
    ) -> None:
        """Look up every mapped column.

        Args:
            columns: Field to column, columns or constants.
            table: The table whose header must hold them.
            require_image: Whether an image column must be mapped; a study_id column always must.

        Raises:
            ConfigError: A needed field is not mapped, a column does not exist, or a field is
                given more columns than it can take.
        """
        for name in columns:
            if name not in FIELDS:
                raise ConfigError(f"unknown field {shown(name)}; {nearest(name, FIELDS)}")
        self._sources = {name: _sources(name, text, table) for name, text in columns.items()}
        for name in ("study_id", "image") if require_image else ("study_id",):
            if name not in columns:
                raise ConfigError(
                    f"no column is mapped to {name!r}; {table.path} has "
                    f"{listed_columns(table.columns)}"
                )
        views, images = (len(self._sources.get(name, ())) for name in ("view", "image"))
        if views > 1 and views != images:
            raise ConfigError(
                f"field 'view' has {views} columns for {images} of 'image'; give one, or one for "
                "each"
            )

    def __contains__(self, name: str) -> bool:
        return name in self._sources

    def identifier(self, row: Row, name: str) -> str:
        """Return an id, of several cells joined by `_`; "" if it is not mapped or not given.

        Args:
            row: A row of the table.
            name: The field.

        Returns:
            The id; a whole number without the point that a spreadsheet gives it.

        Raises:
            DataError: A spreadsheet has rounded it.
        """
        parts = []
        for source in self._sources.get(name, ()):
            for cell in _parts(_cell(row, source), None):
                part = identifier(cell)
                if part is None:
                    raise DataError(
                        f"{row.where}: {name} is {shown(cell)}, a number of which digits are lost; "
                        "write it as text"
                    )
                parts.append(part)
        return "_".join(filter(None, parts))

    def text(self, row: Row, name: str, *, joint: str = " ") -> str:
        """Return a field's cells, those that are not empty joined by `joint`; "" if not mapped."""
        sources = self._sources.get(name, ())
        if len(sources) == 1 and isinstance(cell := _cell(row, sources[0]), str):
            return cell  # as nearly always: saves seconds where rows are many
        cells = (_cell(row, source) for source in sources)
        return joint.join(part for cell in cells for part in _parts(cell, None) if part)

    def images(self, row: Row, separator: str | None) -> list[tuple[str, str]]:
        """Return the (path, view name) pairs of a row; empty paths are passed over.

        Args:
            row: A row of the table.
            separator: Between several paths, or views, in one cell; None takes a cell as one.

        Returns:
            The pairs in column order. A single view counts for all paths of its cell; without a
            mapping the view is "".

        Raises:
            DataError: A cell holds several views, but not one for each path.
        """
        sources = self._sources.get("image", ())
        view_sources = self._sources.get("view", (Source(None),))
        if len(view_sources) == 1:
            view_sources *= len(sources)
        pairs: list[tuple[str, str]] = []
        for source, view_source in zip(sources, view_sources, strict=True):
            paths = _parts(_cell(row, source), separator)
            views = _parts(_cell(row, view_source), separator)
            if len(views) == 1:
                views *= len(paths)
            if len(views) != len(paths):
                raise DataError(
                    f"{row.where}: {len(views)} views for {len(paths)} images; give one for each"
                )
            pairs += (pair for pair in zip(paths, views, strict=True) if pair[0])
        return pairs


def _sources(name: str, text: str, table: Table) -> tuple[Source, ...]:
    # A header may itself hold a comma, so the whole text is looked up before it is taken apart.
    parts = [text] if text in table.columns else [part.strip() for part in text.split(",")]
    if len(parts) > 1 and name in _SINGLE:
        raise ConfigError(f"field {name!r} takes one column, not {len(parts)}")
    return tuple(_source(part, table) for part in parts)


def _source(part: str, table: Table) -> Source:
    if part.startswith("="):
        return Source(None, part[1:].strip())
    if part not in table.columns:
        columns = [name for name in table.columns if name.strip()]
        advice = (
            nearest(part, columns) if is_header(columns) else f"it has {listed_columns(columns)}"
        )
        raise ConfigError(f"{table.path} has no column {part!r}; {advice}")
    return Source(part)


def _cell(row: Row, source: Source) -> str | tuple[str, ...]:
    return source.constant if source.column is None else row.cells[source.column]


def _parts(cell: str | tuple[str, ...], separator: str | None) -> list[str]:
    if isinstance(cell, tuple):
        return list(cell)
    if separator is None:
        return [cell]
    return [part.strip() for part in cell.split(separator)]
