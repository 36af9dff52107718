"""Draw what the parts of a reward pay for degenerate reports.

    python -m benchmarks.reward_hacking_plot RESULT.json [--output docs/images/reward-hacking.svg]

RESULT.json is what `benchmarks.reward_hacking --json` wrote. Needs the extra `bench`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Draw the plot of a result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs/images/reward-hacking.svg"))
    arguments = parser.parse_args()
    draw(json.loads(arguments.result.read_text(encoding="utf-8")), arguments.output)
    print(arguments.output)


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw a map: forms in rows, parts in columns, where each pay lies in colour.

    Args:
        result: Of `benchmarks.reward_hacking`.
        path: Where the picture goes; its ending decides the format.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # The same result gives the same bytes; text stays text.
    mpl.rcParams.update({"svg.hashsalt": "editgrpo", "svg.fonttype": "none", "font.size": 10})
    forms, parts = list(result["pay"]), list(next(iter(result["pay"].values())))
    place_FP = np.array(
        [[_place(result["pay"][form][part]) for part in parts] for form in forms], dtype=np.float64
    )
    figure = Figure(
        figsize=(3.6 + 1.15 * len(parts), 2.2 + 0.36 * len(forms)), layout="constrained"
    )
    axes = figure.subplots()
    # Vectors, not an image; white is what another study's report earns.
    mesh = axes.pcolormesh(
        place_FP, cmap="RdBu_r", vmin=-1, vmax=1, edgecolors="white", linewidth=1
    )
    for row, form in enumerate(forms):
        for column, part in enumerate(parts):
            pay = result["pay"][form][part]
            is_dark = abs(place_FP[row, column]) > 0.65
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{pay['mean']:.2f}",
                ha="center",
                va="center",
                color="white" if is_dark else "black",
                weight="bold" if pay["paid"] else "normal",
            )
    axes.set_yticks(np.arange(len(forms)) + 0.5, forms)
    axes.set_xticks(np.arange(len(parts)) + 0.5, parts, rotation=30, ha="left")
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(mesh, ax=axes, ticks=[-1, 0, 1], shrink=0.6)
    bar.ax.set_yticklabels(["below", "another study's", "the reference's"])
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _place(pay: dict[str, Any]) -> float:
    return 0.0 if pay["place"] is None else float(np.clip(pay["place"], -1, 1))


if __name__ == "__main__":
    main()
