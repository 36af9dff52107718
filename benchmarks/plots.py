"""Draw how much faster an update is, measured and ideal.

    .venv/bin/python -m benchmarks.plots RESULT.json [--output docs/images/update-ratios.svg]

RESULT.json is what `benchmarks.update_step --json` wrote, with the parts `prompts` and `groups`.
Needs the extra `bench`.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_TOWERS = {True: ("frozen", "#1f6f8b"), False: ("trained", "#c4572c")}


def main() -> None:
    """Draw the plot of a result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs/images/update-ratios.svg"))
    arguments = parser.parse_args()
    draw(json.loads(arguments.result.read_text(encoding="utf-8")), arguments.output)
    print(arguments.output)


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw both sweeps of a result side by side.

    Args:
        result: Of `benchmarks.update_step`.
        path: Where the picture goes; its ending decides the format.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # The same result gives the same bytes; text stays text.
    mpl.rcParams.update({"svg.hashsalt": "editgrpo", "svg.fonttype": "none", "font.size": 10})
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_sweep(left, result["prompts"], lambda case: f"{_share(case)}:1")
    left.set_xlabel("prompt tokens : answer tokens")
    left.set_ylabel("stock TRL's seconds / ours")
    _draw_sweep(right, result["groups"], lambda case: str(case["group"]))
    right.set_xlabel("responses in a group")
    right.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_sweep(
    axes: Any, sweep: Sequence[dict[str, Any]], label: Callable[[dict[str, Any]], str]
) -> None:
    for is_frozen, (name, colour) in _TOWERS.items():
        found = [one for one in sweep if one["case"]["is_tower_frozen"] is is_frozen]
        places = range(len(found))
        ratios = [one["ratio"] for one in found]
        below = [one["ratio"] - one["ratio_lowest"] for one in found]
        above = [one["ratio_highest"] - one["ratio"] for one in found]
        axes.errorbar(
            places,
            ratios,
            yerr=(below, above),
            color=colour,
            marker="o",
            capsize=3,
            label=f"measured, vision tower {name}",
        )
    ideal = [one["case"]["ideal"] for one in found]
    axes.plot(places, ideal, color="#555555", linestyle="--", label="ideal G(P+R) / (P+GR)")
    axes.set_xticks(places, [label(one["case"]) for one in found])
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)


def _share(case: dict[str, Any]) -> int:
    return round(case["prompt"] / case["response"])


if __name__ == "__main__":
    main()
