"""What `editgrpo data check` found, for people and programs: identifiers only, no report text."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from editgrpo.data.verify import Problem, ProblemKind, Verification

MOST_EXAMPLES = 3
"""Problems of one kind that the table names; the JSON file has all."""


def problems_table(problems: Sequence[Problem]) -> Table:
    """Tabulate problems by kind.

    Args:
        problems: At least one.

    Returns:
        A row for each kind with its count and its first problems, what must be put right above
        what may stay.
    """
    of_kind: dict[tuple[bool, ProblemKind], list[Problem]] = defaultdict(list)
    for problem in problems:
        of_kind[problem.is_warning, problem.kind].append(problem)
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("problem", overflow="fold")
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("where, and what to do", overflow="fold")
    for (is_warning, kind), found in sorted(of_kind.items(), key=lambda item: item[0][0]):
        lines = [str(problem) for problem in found[:MOST_EXAMPLES]]
        if len(found) > MOST_EXAMPLES:
            lines.append(f"and {len(found) - MOST_EXAMPLES:,} more")
        name = f"warning: {kind.value}" if is_warning else kind.value
        style = "yellow" if is_warning else "red"
        table.add_row(Text(name, style=style), f"{len(found):,}", Text("\n".join(lines)))
    return table


def verification_record(verification: Verification) -> dict[str, Any]:
    """Return a verification as JSON takes it: counts, and every problem."""
    return {
        "files": verification.files,
        "studies": verification.studies,
        "images": verification.images,
        "counts": {kind.value: count for kind, count in verification.counts().items()},
        "problems": [
            {**asdict(problem), "kind": problem.kind.value, "warning": problem.is_warning}
            for problem in verification.problems
        ],
    }
