"""Tables of the study for the terminal and, in Markdown, for the page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from editgrpo.demo.plan import TestSet
from editgrpo.display.numbers import MISSING, format_duration, format_interval, format_score
from editgrpo.evaluation.types import Difference, Estimate
from editgrpo.reports.chexpert import FINDINGS
from experiments.definitions import Arm, load_table, names_in
from experiments.gate import FindingKind
from experiments.judge import Judged, load_results
from experiments.places import Places
from experiments.rows import SHOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """A table as text."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def for_terminal(self) -> RichTable:
        """Lay it out for a terminal."""
        table = RichTable(box=box.SIMPLE_HEAD, title=self.title, title_justify="left")
        for number, heading in enumerate(self.head):
            table.add_column(heading, justify="right" if number else "left", min_width=5)
        for row in self.rows:
            table.add_row(*row)
        return table

    def as_markdown(self) -> str:
        """Write it as Markdown."""
        lines = [f"**{self.title}**", "", _markdown_row(self.head)]
        lines.append("|---" + "|---:" * (len(self.head) - 1) + "|")
        return "\n".join([*lines, *(_markdown_row(row) for row in self.rows)])


def _markdown_row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("\n", "<br>").replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def shown_table(judged: Judged) -> Iterator[RenderableType]:
    """Yield what a table says at its stage, part after part, for a terminal."""
    yield Text(f"{judged.table.title}, stage {judged.stage.name}", style="bold")
    if judged.table.note:
        yield Text(judged.table.note, style="dim")
    for grid in grids(judged):
        yield grid.for_terminal()
    missing = [name for name in judged.table.arms if name not in judged.results]
    if missing:
        yield Text(f"No results yet: {', '.join(missing)}.", style="yellow")


def grids(judged: Judged) -> list[Grid]:
    """Return the tables of numbers: scores, differences, kinds of findings, costs.

    Args:
        judged: The table at a stage.

    Returns:
        For each test set that is shown scores, differences and F1 by kind and finding; then costs.
    """
    found = []
    for test_set in judged.table.test_sets:
        found.append(_scores(judged, test_set))
        if judged.pairs:
            found.append(_pairs(judged, test_set))
        if judged.kinds:
            found += [_kinds(judged, test_set, score) for score in ("f1", "recall")]
        found.append(_findings(judged, test_set))
    return [*found, _costs(judged)]


def _scores(judged: Judged, test_set: TestSet) -> Grid:
    evaluations = judged.scores[test_set]
    first = next(iter(evaluations.values()))
    metrics = [name for name in SHOWN if name in first.metrics]
    return Grid(
        title=f"{_place(judged, test_set)}: mean of the seeds, 95 % interval over seeds and "
        "patients (of one seed: over patients), each seed's value",
        head=("arm", "seeds", *(SHOWN[name] for name in metrics)),
        rows=tuple(
            (
                judged.title(arm),
                str(len(evaluation.runs)),
                *(_estimate(evaluation.metrics[name]) for name in metrics),
            )
            for arm, evaluation in evaluations.items()
        ),
    )


def _place(judged: Judged, test_set: TestSet) -> str:
    first = next(iter(judged.scores[test_set].values()))
    return f"{test_set.value}, {first.n_studies} studies of {first.n_patients} patients"


def _estimate(one: Estimate) -> str:
    text = f"{format_score(one.value)}\n{format_interval(one.low, one.high)}"
    return text if len(one.seed_values) < 2 else f"{text}\n{_seeds(one.seed_values)}"


def _difference(row: Difference) -> str:
    text = f"{_signed(row.difference)}\n[{_signed(row.low)}, {_signed(row.high)}]"
    if len(row.seed_differences) < 2:
        return text
    return f"{text}\n{' '.join(_signed(value) for value in row.seed_differences)}"


def _seeds(values: Sequence[float]) -> str:
    return " ".join(format_score(value) for value in values)


def _signed(value: float | None) -> str:
    return MISSING if value is None else f"{value:+.3f}"


def _pairs(judged: Judged, test_set: TestSet) -> Grid:
    compared = {pair: found[test_set] for pair, found in judged.pairs.items()}
    first = next(iter(compared.values()))
    metrics = [name for name in SHOWN if name in first.metrics]
    return Grid(
        title=f"{test_set.value}: differences, paired by seed and patient, each seed's below",
        head=("pair", "seeds", *(SHOWN[name] for name in metrics)),
        rows=tuple(
            (
                f"{judged.title(pair[0])} − {judged.title(pair[1])}",
                str(one.seeds_a),
                *(_difference(one.metrics[name]) for name in metrics),
            )
            for pair, one in compared.items()
        ),
    )


def _kinds(judged: Judged, test_set: TestSet, score: str) -> Grid:
    kinds = {kind: found for kind, found in judged.kinds.items() if found}
    name = "F1" if score == "f1" else "recall"
    return Grid(
        title=f"{test_set.value}: mean {name} of the findings of a kind (the gate's; number of "
        "findings in brackets)",
        head=("arm", *(f"{kind} ({len(found)})" for kind, found in kinds.items())),
        rows=tuple(
            (
                judged.title(arm),
                *(_estimate(evaluation.metrics[f"{score}/{kind}"]) for kind in kinds),
            )
            for arm, evaluation in judged.scores[test_set].items()
        ),
    )


def _findings(judged: Judged, test_set: TestSet) -> Grid:
    evaluations = judged.scores[test_set]
    kind_of = {name: kind for kind, found in judged.kinds.items() for name in found}
    order = [kind.value for kind in FindingKind]
    first = next(iter(evaluations.values()))
    names = sorted(
        FINDINGS, key=lambda name: order.index(kind_of[name]) if name in kind_of else len(order)
    )
    return Grid(
        title=f"{test_set.value}: F1 of each finding, mean of the seeds",
        head=("finding", "kind", "support", *(judged.title(arm) for arm in evaluations)),
        rows=tuple(
            (
                name,
                kind_of.get(name, MISSING),
                str(first.per_finding[name].support),
                *(format_score(one.per_finding[name].f1) for one in evaluations.values()),
            )
            for name in names
        ),
    )


def _costs(judged: Judged) -> Grid:
    rows = []
    for arm, found in judged.results.items():
        seconds = [result["seconds"] for result in found.values()]
        commits = sorted({_commit(result) for result in found.values()})
        machines = sorted({result["machine"]["cpu"] for result in found.values()})
        rows.append(
            (
                judged.title(arm),
                str(max(result["steps"] for result in found.values())),
                format_duration(sum(one["training"] for one in seconds) / len(seconds)),
                format_duration(sum(one["testing"] for one in seconds) / len(seconds)),
                ", ".join(commits),
                ", ".join(machines),
            )
        )
    return Grid(
        title="What the runs took, mean of the seeds, on one core",
        head=("arm", "steps", "training", "testing", "commit", "machine"),
        rows=tuple(rows),
    )


def _commit(result: Mapping[str, object]) -> str:
    commit = str(result["commit"] or MISSING)[:8]
    return f"{commit}-dirty" if result["dirty"] else commit


def overview(places: Places, arms: Mapping[str, Arm]) -> RichTable:
    """List the tables, and for each stage how many arms have how many seeds.

    Args:
        places: Where tables and results are.
        arms: All arms.

    Returns:
        The list, for a terminal.
    """
    shown = RichTable(box=box.SIMPLE_HEAD)
    for heading in ("table", "stage", "arms done", "seeds of each arm"):
        shown.add_column(heading)
    for name in names_in(places.study / "tables"):
        table = load_table(name, arms, places.study)
        for stage in table.stages:
            counts = [len(load_results(stage, arm, places)) for arm in table.arms]
            done = sum(count > 0 for count in counts)
            shown.add_row(name, stage, f"{done}/{len(counts)}", " ".join(map(str, counts)))
    return shown
