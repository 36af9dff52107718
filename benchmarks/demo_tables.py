"""The tables of docs/demo.md, RESULTS.md and README.md, from what `demo_seeds` found."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from editgrpo.demo.plan import System, TestSet
from editgrpo.display.numbers import MISSING

SHOWN = {
    "reward/total@rules": "reward",
    "average/clinical@rules": "average",
    "rules/micro-f1-14": "micro-F1-14",
    "rules/macro-f1-14": "macro-F1-14",
    "rules/macro-f1-rare": "macro-F1, rare",
}
"""The metrics of the tables, with their headings."""

SYSTEMS = {
    System.SFT: "SFT",
    System.SFT_CONTINUED: "SFT continued",
    System.DR_GRPO: "Dr. GRPO",
    System.EDITGRPO: "EditGRPO",
}
PLACES = {
    TestSet.IN_DOMAIN: "In domain (site A)",
    TestSet.OUT_OF_DOMAIN: "Out of domain (site B)",
}


def tables(test_set: TestSet, judged: Mapping[str, Any], *, seeds: Sequence[int]) -> str:
    """Write everything that is known of one test set as Markdown.

    Args:
        test_set: Which.
        judged: What `demo_seeds.judge` returns.
        seeds: The training seeds.

    Returns:
        Four tables with what their numbers are over.
    """
    order = ", ".join(map(str, seeds))
    findings = _findings(judged["per_finding"])
    return "\n".join(
        [
            f"**{PLACES[test_set]}**, {judged['n_studies']:,} studies of {len(seeds)} seeds; "
            f"brackets are the {judged['intervals']}:",
            "",
            *_table("system", SHOWN.values(), _rows(judged["scores"], _value)),
            "",
            f"The same of each seed ({order}):",
            "",
            *_table("system", SHOWN.values(), _rows(judged["scores"], _seed_values)),
            "",
            "EditGRPO minus the other system, paired by seed and patient, with its interval in "
            f"brackets, then of each seed; {judged['p_values']}:",
            "",
            *_table("against", SHOWN.values(), _rows(judged["editgrpo_minus"], _difference)),
            "",
            "F1 of each finding, mean of the seeds (support: references of all seeds):",
            "",
            *_table("finding", ["support", *SYSTEMS.values()], findings),
            "",
        ]
    )


def summary(result: Mapping[str, Any]) -> str:
    """Write README's table as Markdown: the mean clinical score of every system at both sites.

    Args:
        result: What `demo_seeds` found, by test set.

    Returns:
        The table with what its intervals are over.
    """
    name = "average/clinical@rules"
    rows = [
        [shown, *(_value(result[place.value]["scores"][system.value][name]) for place in TestSet)]
        for system, shown in SYSTEMS.items()
    ]
    places = [PLACES[place] for place in TestSet]
    over = "; ".join(f"{PLACES[place]}: {result[place.value]['intervals']}" for place in TestSet)
    return "\n".join([f"`{name}`. {over}", "", *_table("system", places, rows), ""])


def _table(first: str, columns: Iterable[str], rows: Iterable[Sequence[str]]) -> list[str]:
    heading = [first, *columns]
    return [_line(heading), _line(["---"] * len(heading)).replace(" ", ""), *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rows(systems: Mapping[str, Any], cell: Any) -> list[list[str]]:
    return [
        [name, *(cell(systems[system.value][metric]) for metric in SHOWN)]
        for system, name in SYSTEMS.items()
        if system.value in systems
    ]


def _value(metric: Mapping[str, Any]) -> str:
    return f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"


def _seed_values(metric: Mapping[str, Any]) -> str:
    return " / ".join(f"{value:.3f}" for value in metric["seed_values"])


def _difference(metric: Mapping[str, Any]) -> str:
    seeds = " / ".join(f"{value:+.3f}" for value in metric["seed_differences"])
    interval = f"[{metric['low']:+.3f}, {metric['high']:+.3f}]"
    return f"{metric['difference']:+.3f} {interval}; {seeds}; p {metric['p']:.3f}"


def _findings(per_finding: Mapping[str, Any]) -> list[list[str]]:
    names = per_finding[System.EDITGRPO.value]
    return [
        [
            name,
            str(row["support"]),
            *(_f1(per_finding[system.value][name]) for system in SYSTEMS),
        ]
        for name, row in names.items()
    ]


def _f1(row: Mapping[str, Any]) -> str:
    """Return F1; where a finding neither occurs nor is predicted there is nothing to show."""
    return f"{row['f1']:.2f}" if row["support"] or row["predicted"] else MISSING
