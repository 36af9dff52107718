"""Results into docs/miniature.md: tables and plots between markers, prose by hand around them.

A block of the page is

    <!-- results: TABLE STAGE -->
    ...
    <!-- end of results -->

and what stands between the markers is written anew; STAGE is `all` for a picture over all stages,
TABLE is `gate` for what the gate found at a stage.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from editgrpo.errors import ConfigError
from editgrpo.files import read_json_object, write_text
from editgrpo.foreign import reading
from experiments.definitions import Arm, Table, View, load_arms, load_stage, load_table, names_in
from experiments.gate_table import gate_markdown
from experiments.judge import Judged, judge, load_results
from experiments.places import REPOSITORY, Places
from experiments.plots import draw_curves, draw_map
from experiments.show import grids

PAGE = REPOSITORY / "docs" / "miniature.md"
IMAGES = "images/miniature"
"""Beside the page."""

_ALL = "all"
_GATE = "gate"
_BEGIN, _END = "<!-- results: {} {} -->", "<!-- end of results -->"
_BLOCK = re.compile(r"<!-- results: (\S+) (\S+) -->\n(.*?)<!-- end of results -->", re.DOTALL)


def build_page(places: Places, page: Path | None = None) -> list[Path]:
    """Write the generated blocks of the page anew, and its pictures.

    Args:
        places: Where tables and results are.
        page: The page; None takes docs/miniature.md. One that is not there is begun with a block
            for every table at each of its stages.

    Returns:
        The page and the pictures that were written.

    Raises:
        ConfigError: a block names a table or a stage that is not there, or matplotlib is missing.
        DataError: a result cannot be read.
    """
    path = page or PAGE
    arms = load_arms(places.study)
    builder = _Builder(places, arms, path.parent)
    if path.is_file():
        with reading(path, "save it as UTF-8", error=ConfigError):
            text = path.read_text(encoding="utf-8")
    else:
        text = _skeleton(places, arms)
    written = _BLOCK.sub(lambda found: builder.block(found[1], found[2]), text)
    write_text(path, written, shared=True)
    return [path, *builder.pictures]


def _skeleton(places: Places, arms: Mapping[str, Arm]) -> str:
    lines = ["# The method in miniature", ""]
    for name in names_in(places.study / "tables"):
        table = load_table(name, arms, places.study)
        lines += [f"## {table.title}", ""]
        stages = [_ALL] if table.view is View.MAP else table.stages
        for stage in stages:
            lines += [_BEGIN.format(name, stage), _END, ""]
    return "\n".join(lines)


@dataclass(slots=True)
class _Builder:
    places: Places
    arms: Mapping[str, Arm]
    folder: Path
    """Of the page."""
    pictures: list[Path] = field(default_factory=list)

    def block(self, name: str, stage: str) -> str:
        """Return a block with its markers."""
        if name == _GATE:
            body = self._gates(stage)
        else:
            table = load_table(name, self.arms, self.places.study)
            body = self._map(table) if stage == _ALL else self._table(table, stage)
        return "\n".join([_BEGIN.format(name, stage), body, _END])

    def _gates(self, stage: str) -> str:
        load_stage(stage, self.places.study)  # a stage that is not there is told so
        found = sorted(self.places.results.glob(f"{stage}/gate-seed-*.json"))
        gates = [read_json_object(path, "measure the gate again") for path in found]
        return (
            "\n\n".join(
                f"Stage *{stage}*, seed {gate['seed']}:\n\n{gate_markdown(gate)}" for gate in gates
            )
            or f"Not measured yet: `python -m experiments gate {stage} --seed 0`."
        )

    def _table(self, table: Table, stage: str) -> str:
        judged = self._judged(table, stage)
        if judged is None:
            return _none_yet(table)
        parts = [] if table.view is View.CURVES else [one.as_markdown() for one in grids(judged)]
        picture = Path(IMAGES) / f"{table.name}-{stage}.svg"
        if draw_curves(judged, self.folder / picture):
            self.pictures.append(self.folder / picture)
            parts.append(f"![{table.title}, stage {stage}]({picture.as_posix()})")
        missing = [name for name in table.arms if name not in judged.results]
        if missing:
            parts.append(f"No results yet: {', '.join(missing)}.")
        return "\n\n".join(parts)

    def _map(self, table: Table) -> str:
        found = [self._judged(table, stage) for stage in table.stages]
        picture = Path(IMAGES) / f"{table.name}.svg"
        if not draw_map([one for one in found if one is not None], self.folder / picture):
            return _none_yet(table)
        self.pictures.append(self.folder / picture)
        return f"![{table.title}]({picture.as_posix()})"

    def _judged(self, table: Table, name: str) -> Judged | None:
        if name not in table.stages:
            raise ConfigError(f"table {table.name} has no stage {name!r}; it has {table.stages}")
        stage = load_stage(name, self.places.study)
        if not any(load_results(name, arm, self.places) for arm in table.arms):
            return None
        return judge(table, stage, self.arms, self.places)


def _none_yet(table: Table) -> str:
    return f"No results yet: `python -m experiments run {table.name}`."
