"""The account of a preparation as plain numbers, and options that prepare tiny images quickly."""

from editgrpo.data.prepare import Inclusion, PrepareOptions, PrepareSummary
from editgrpo.data.prepared.flow import FlowKind
from editgrpo.data.study import Split
from tests.builders import SMALL_BUDGET


def options(**inclusion: object) -> PrepareOptions:
    """Return options with other rules of inclusion than the usual ones."""
    return PrepareOptions(inclusion=Inclusion(**inclusion), budget=SMALL_BUDGET, workers=1)


def seen(summary: PrepareSummary) -> int:
    return summary.flow.row("studies in the source").total


def kept(summary: PrepareSummary) -> int:
    return summary.flow.row("studies kept").total


def left_out(summary: PrepareSummary) -> dict[str, int]:
    """Return how many studies were left out, by reason."""
    return {row.name: row.total for row in summary.flow.rows if row.kind is FlowKind.LEFT_OUT}


def fact(summary: PrepareSummary, name: str, split: Split | None = None) -> int:
    row = summary.flow.row(name)
    return row.total if split is None else row.counts.get(split, 0)


def images_left_out(summary: PrepareSummary) -> dict[str, int]:
    prefix = "images not shown: "
    return {
        row.name.removeprefix(prefix): row.total
        for row in summary.flow.rows
        if row.name.startswith(prefix)
    }
