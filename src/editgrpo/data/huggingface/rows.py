"""The rows of a data set as the Hugging Face library holds them: texts as cells, films by place."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from editgrpo.data.prepared.packed_images import packed_place
from editgrpo.data.readers.table import Cell, Row, Table
from editgrpo.errors import ConfigError, DataError
from editgrpo.foreign import reading
from editgrpo.hub_errors import hub_errors, may_be_hub_id

ROW, SPLIT = "(row)", "(split)"
"""Columns that every data set has: a row's own name, and the split that it stands in."""

PLACE = "\0"
"""Begins a cell that names a film inside a table; no path can begin so."""

_SAVED = ("dataset_dict.json", "state.json")  # of a folder that `save_to_disk` wrote

_TIMEOUT_S = 10.0
_REMEDY = "give a folder of Parquet or Arrow files, or the name of a data set that you may read"
_FAULT = "cannot be loaded as a data set ({reason})"


@dataclass(slots=True)
class HeldRows:
    """A data set on disk.

    Attributes:
        name: Its name, for messages.
        splits: Name to data set.
        columns: Those of all splits.
        places: Id of each film inside a table to its place, filled by `table`.
    """

    name: str
    splits: Mapping[str, Any]
    columns: tuple[str, ...]
    places: dict[str, str] = field(default_factory=dict)

    def table(self, mapped: Mapping[str, str], split_names: Mapping[str, str]) -> Table:
        """Read the columns that are mapped.

        Args:
            mapped: Field to column, columns or constants.
            split_names: What stands in the column `SPLIT` for each split.

        Returns:
            The rows of all splits, one after another.

        Raises:
            ConfigError: A column holds neither texts nor numbers, or images for a text.
            DataError: There is no row, or a film lies where it cannot be read from.
        """
        uses = [
            (name, one)
            for one, text in mapped.items()
            for name in self.columns
            if text == name or name in _parts(text)
        ]
        wanted = list(dict.fromkeys(name for name, _ in uses))
        features = next(iter(self.splits.values())).features
        for name, one in uses:
            if _holds_films(features[name]) and one != "image":
                raise ConfigError(f"{self.name}: column {name!r} holds images, and {one} is a text")
        rows = [
            row
            for split, data in self.splits.items()
            for row in self._rows(split, data, wanted, split_names[split])
        ]
        if not rows:
            raise DataError(f"{self.name}: holds no row; name another data set")
        return Table(Path(self.name), (*self.columns, ROW, SPLIT), tuple(rows))

    def _rows(self, split: str, data: Any, wanted: Iterable[str], split_name: str) -> Iterator[Row]:
        films = [name for name in wanted if _holds_films(data.features[name])]
        texts = [name for name in wanted if name not in films]
        cells_of = {name: self._film_cells(split, data, name) for name in films}
        read = iter(data.select_columns(texts)) if texts else iter([{}] * len(data))
        for number, values in enumerate(read):
            cells: dict[str, Cell] = {
                name: _cell(values[name], data.features[name], name) for name in texts
            }
            cells |= {name: next(cells_of[name]) for name in films}
            name = f"{split}-{number}"
            cells |= {ROW: name, SPLIT: split_name}
            yield Row(f"{self.name}, split {split}, row {number}", cells)

    def _film_cells(self, split: str, data: Any, column: str) -> Iterator[Cell]:
        """Yield for each row the films of a column: paths, or places that have an id here."""
        number = 0
        for file in data.cache_files:
            name = file["filename"]
            table = pa.ipc.open_stream(pa.memory_map(name)).read_all()
            for row, (films, is_list) in enumerate(_entries(table[column])):
                stem = f"{split}-{number}/{column}"
                cells = []
                for k, (has_bytes, path) in enumerate(films):
                    if not has_bytes:
                        cells.append(path)
                        continue
                    image_id = stem if len(films) == 1 else f"{stem}-{k}"
                    place = packed_place(name, column, row, k if is_list else None)
                    self.places[image_id] = place
                    cells.append(PLACE + image_id)
                yield tuple(cells)
                number += 1
        if number != len(data):
            raise DataError(
                f"{self.name}: its rows were chosen among in memory; give a folder or a name"
            )


def load_rows(name: str, config: str | None, revision: str | None, cache: Path | None) -> HeldRows:
    """Load a data set, from the Hub or from a folder.

    Args:
        name: See `HuggingFaceSource`.
        config: Which of its configurations.
        revision: On the Hub.
        cache: Folder of the library's Arrow files.

    Returns:
        Its splits.

    Raises:
        DataError: It cannot be loaded, or its splits have different columns.
    """
    loaded = _loaded(name, config, revision, cache)
    splits = loaded if isinstance(loaded, Mapping) else {str(loaded.split or "train"): loaded}
    columns = [tuple(data.column_names) for data in splits.values()]
    if len({frozenset(names) for names in columns}) > 1:
        raise DataError(
            f"{name}: its splits have different columns; prepare them from folders of their own"
        )
    return HeldRows(name, splits, columns[0])


def _loaded(name: str, config: str | None, revision: str | None, cache: Path | None) -> Any:
    """Load a folder, or a name of the Hub: from the cache where the Hub does not give it."""
    import datasets

    options = {"revision": revision, "cache_dir": None if cache is None else str(cache)}
    if Path(name).is_dir():
        with reading(name, _REMEDY, fault=_FAULT):
            if any((Path(name) / one).is_file() for one in _SAVED):
                return datasets.load_from_disk(name)
            return datasets.load_dataset(name, config, **options)
    place = f"{name}: is no folder, and as a name on the Hub"
    page = f"https://huggingface.co/datasets/{name}"
    try:
        _ask_the_hub(name, revision, place, page)
    except DataError:
        with suppress(DataError), _cache_alone(), reading(place, _REMEDY, fault=_FAULT):
            return datasets.load_dataset(name, config, **options)
        raise
    # A set whose owners want terms accepted is named to anyone, and refused here.
    with hub_errors(place, _REMEDY, page=page, error=DataError, fault=_FAULT):
        return datasets.load_dataset(name, config, **options)


def _ask_the_hub(name: str, revision: str | None, place: str, page: str) -> None:
    """Ask once whether a data set is there; without a network, the library asks for 25 seconds."""
    from huggingface_hub import HfApi

    if not may_be_hub_id(name):
        return  # the library looks for no such name there, and says so
    remedy = "prepare it where there is a network, or give a folder"
    with hub_errors(place, remedy, page=page, error=DataError):
        HfApi().dataset_info(name, revision=revision, timeout=_TIMEOUT_S)


@contextmanager
def _cache_alone() -> Iterator[None]:
    """Keep the library from asking the Hub, as HF_HUB_OFFLINE does, which it reads only once."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _holds_films(feature: Any) -> bool:
    import datasets

    one = getattr(feature, "feature", feature)
    # A table that the library did not write says nothing of images, but holds them alike.
    is_film = isinstance(one, dict) and set(one) == {"bytes", "path"}
    return isinstance(one, datasets.Image) or is_film


def _entries(column: pa.ChunkedArray) -> Iterator[tuple[list[tuple[bool, str]], bool]]:
    """Yield for each row its films, each with whether the table holds it and its path, and whether
    the column holds lists. Their bytes are not read."""
    for chunk in column.chunks:
        is_list = isinstance(chunk, pa.ListArray | pa.LargeListArray)
        films = chunk.flatten() if is_list else chunk
        held = films.field("bytes").is_valid().to_pylist()
        paths = films.field("path").to_pylist()
        is_there = films.is_valid().to_pylist()
        each = zip(is_there, held, paths, strict=True)
        for count in chunk.value_lengths().to_pylist() if is_list else [1] * len(chunk):
            row = islice(each, count or 0)
            yield [(has_bytes, path or "") for valid, has_bytes, path in row if valid], is_list


def _cell(value: Any, feature: Any, column: str) -> Cell:
    """Return a value as the cell of a table."""
    import datasets

    if isinstance(feature, datasets.ClassLabel) and value is not None:
        return str(feature.int2str(value))
    if isinstance(value, list | tuple):
        return tuple(_text(item, column) for item in value)
    return _text(value, column)


def _text(value: Any, column: str) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | bytes):
        raise ConfigError(f"column {column!r} holds neither texts nor numbers; map another")
    if isinstance(value, date):  # and a date with a time
        return value.isoformat()
    return str(value).strip()
