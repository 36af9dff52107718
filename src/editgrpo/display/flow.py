"""The flow of a preparation as lines of text: one row a count, one column a split."""

from editgrpo.data.prepared.flow import Flow, FlowKind, FlowRow
from editgrpo.data.study import Split

_MARK = {
    FlowKind.SEEN: "",
    FlowKind.FACT: "  ",
    FlowKind.LEFT_OUT: "- left out: ",
    FlowKind.KEPT: "",
    FlowKind.OF_KEPT: "  ",
}
_GAP = "  "


def flow_lines(flow: Flow) -> list[str]:
    """Lay the flow out.

    Args:
        flow: The account of a preparation.

    Returns:
        A header and one line a row; columns of splits without any study are left out.
    """
    columns: list[Split | None] = [
        split for split in (*Split, None) if any(row.counts.get(split) for row in flow.rows)
    ]
    header = [split.value if split else "no split" for split in columns]
    table = [["", *header, "all"], *(_cells(row, columns) for row in flow.rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        _GAP.join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in table
    ]


def _cells(row: FlowRow, columns: list[Split | None]) -> list[str]:
    numbers = [row.counts.get(split, 0) for split in columns]
    return [_MARK[row.kind] + row.name, *(f"{number:,}" for number in (*numbers, row.total))]
