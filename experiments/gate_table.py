"""What a gate found, as a table of the terminal."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from experiments.gate import FindingKind

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
    table.add_column("finding", no_wrap=True)
    for heading in ("AUC", "p present", "p absent", "site"):
        table.add_column(heading, justify="right")
    table.add_column("kind", no_wrap=True)
    order = {kind.value: place for place, kind in enumerate(FindingKind)}
    rows = sorted(gate["findings"].items(), key=lambda row: order[row[1]["kind"]])
    for name, one in rows:
        table.add_row(
            name,
            _number(one["auc"], 3),
            saying(one["present"]),
            _number(one["p_say_absent"], 4),
            f"{one['site_share']:.1%}",
            one["kind"],
            style=_STYLES[FindingKind(one["kind"])],
        )
    kinds = [one["kind"] for one in gate["findings"].values()]
    counted = ", ".join(f"{kinds.count(kind.value)} {kind.value}" for kind in FindingKind)
    fewest = min(one["present"]["samples"] for one in gate["findings"].values())
    lines = (
        "p: share of reports, sampled at temperature 1, that say a finding where it is present or "
        f"absent; {fewest} samples or more of each; site: its share of the site's studies.",
        f"{counted}; {gate['share_with_visible_unsaid']:.1%} of the site's studies hold a visible "
        "and unsaid one.",
        f"Entropy {gate['entropy']:.3f} nats a token, sampled reward {gate['sampled_reward']:.3f}, "
        f"{gate['groups_without_spread']:.1%} of groups without spread.",
    )
    return Group(table, *(Text(line) for line in lines))


def saying(counts: Mapping[str, int]) -> str:
    """Write a share of samples; none said of n is below 1/n, which is no zero."""
    if not counts["said"]:
        return f"<{1 / counts['samples']:.4f}"
    return f"{counts['said'] / counts['samples']:.4f}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
