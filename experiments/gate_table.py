"""What a gate found, as a table of the terminal and of a page."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from experiments.gate import FindingKind

_HEADINGS = ("finding", "AUC", "p present", "p absent", "site", "kind")
_STYLES = {
    FindingKind.VISIBLE_SAID: "green",
    FindingKind.BETWEEN: "yellow",
    FindingKind.VISIBLE_UNSAID: "cyan",
    FindingKind.UNSEEN: "dim",
}


def gate_table(gate: Mapping[str, Any]) -> Group:
    """Lay a gate out for reading, findings in the order of their kinds.

    Args:
        gate: What `run_gate` returned.

    Returns:
        A table and what it says in sum.
    """
    table = Table(
        box=box.SIMPLE_HEAD, title=f"{gate['model']} at {gate['profile']}", pad_edge=False
    )
    first, *numbers, last = _HEADINGS
    table.add_column(first, no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right")
    table.add_column(last, no_wrap=True)
    for row in _rows(gate):
        table.add_row(*row, style=_STYLES[FindingKind(row[-1])])
    return Group(table, *map(Text, _sums(gate)))


def gate_markdown(gate: Mapping[str, Any]) -> str:
    """Lay a gate out for a page, in the same rows.

    Args:
        gate: What `run_gate` returned.

    Returns:
        A table in Markdown and what it says in sum.
    """
    lines = [f"| {' | '.join(_HEADINGS)} |", f"|{'---|' * len(_HEADINGS)}"]
    lines += [f"| {' | '.join(row)} |" for row in _rows(gate)]
    return "\n".join([*lines, "", *_sums(gate)])


def _rows(gate: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the findings in the order of their kinds, the kind last."""
    order = {kind.value: place for place, kind in enumerate(FindingKind)}
    return [
        (
            name,
            _number(one["auc"], 3),
            saying(one["present"]),
            _number(one["p_say_absent"], 4),
            f"{one['site_share']:.1%}",
            one["kind"],
        )
        for name, one in sorted(gate["findings"].items(), key=lambda row: order[row[1]["kind"]])
    ]


def _sums(gate: Mapping[str, Any]) -> tuple[str, ...]:
    kinds = [one["kind"] for one in gate["findings"].values()]
    counted = ", ".join(f"{kinds.count(kind.value)} {kind.value}" for kind in FindingKind)
    fewest = min(one["present"]["samples"] for one in gate["findings"].values())
    return (
        "p: share of reports, sampled at temperature 1, that say a finding where it is present or "
        f"absent; {fewest} samples or more of each; site: its share of the site's studies.",
        f"{counted}; {gate['share_with_visible_unsaid']:.1%} of the site's studies hold a visible "
        "and unsaid one.",
        f"Entropy {gate['entropy']:.3f} nats a token, sampled reward {gate['sampled_reward']:.3f}, "
        f"{gate['groups_without_spread']:.1%} of groups without spread.",
    )


def saying(counts: Mapping[str, int]) -> str:
    """Write a share of samples; none said of n is below 1/n, which is no zero."""
    if not counts["said"]:
        return f"<{1 / counts['samples']:.4f}"
    return f"{counts['said'] / counts['samples']:.4f}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
