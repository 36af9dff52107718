"""The pictures of docs/miniature.md. Needs the extra `bench` (matplotlib)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from editgrpo.demo.plan import TestSet
from editgrpo.errors import ConfigError
from experiments.gate import FindingKind
from experiments.judge import Judged
from experiments.series import (
    Series,
    map_points,
    metric_series,
    saying_differences,
    saying_series,
)

_CURVES = {
    "reward/sampled/mean": "reward of sampled responses",
    "entropy": "entropy, nats a token",
    "zero_advantage_groups": "share of groups without spread",
}
_SAID = "p(say | present), visible and unsaid at the start"
# Colours that readers with any kind of colour vision tell apart (Okabe and Ito, 2008).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_MAP_SCORES = {"f1": "F1", "recall": "recall"}
_COURSE_LINES = {
    FindingKind.VISIBLE_UNSAID: "-",
    FindingKind.BETWEEN: "-.",
    FindingKind.VISIBLE_SAID: ":",
}
# From what a gate of a few thousand samples can tell to where sampling carries the signal.
_P_AXIS = (1e-4, 1.0)


def draw_curves(judged: Judged, path: Path) -> bool:
    """Draw how the runs of a table went: reward, entropy, groups without spread, what is said.

    Args:
        judged: The table at a stage.
        path: The SVG file.

    Returns:
        Whether there was anything to draw.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    unsaid = judged.kinds.get(FindingKind.VISIBLE_UNSAID.value, ())
    panels: dict[str, dict[str, Series]] = {heading: {} for heading in (*_CURVES.values(), _SAID)}
    for arm, results in judged.results.items():
        found = {
            heading: metric_series(results.values(), metric) for metric, heading in _CURVES.items()
        }
        found[_SAID] = saying_series(results.values(), unsaid)
        for heading, series in found.items():
            if series is not None:
                panels[heading][judged.title(arm)] = series
    drawn = {heading: curves for heading, curves in panels.items() if curves}
    if not drawn:
        return False
    colours = {
        judged.title(arm): _COLOURS[number % len(_COLOURS)]
        for number, arm in enumerate(judged.results)
    }
    figure, [axes] = _figure(len(drawn))
    for one, (heading, curves) in zip(axes, drawn.items(), strict=True):
        for title, series in curves.items():
            one.plot(series.steps, series.mean, color=colours[title], label=title, linewidth=1.4)
            one.fill_between(
                series.steps, series.low, series.high, color=colours[title], alpha=0.15, linewidth=0
            )
        one.set_xlabel("step")
        one.set_title(heading, fontsize=9)
    axes[0].legend(frameon=False, fontsize=7)
    _save(figure, path)
    return True


def draw_map(stages: Sequence[Judged], path: Path) -> bool:
    """Draw when an edit pays, a column for each pair of the table.

    The upper rows have the differences in F1 and in recall of each finding against p(say | present)
    before RL, the lowest what sampled responses say against steps.

    Args:
        stages: The table at each stage with results.
        path: The SVG file.

    Returns:
        Whether there was anything to draw: a pair with results at a stage with a gate.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    judged = [one for one in stages if one.p_present and one.pairs]
    pairs = list(dict.fromkeys(pair for one in judged for pair in one.pairs))
    if not pairs:
        return False
    figure, axes = _figure(len(pairs), rows=len(_MAP_SCORES) + 1)
    for column, pair in enumerate(pairs):
        found = [(number, one) for number, one in enumerate(judged) if pair in one.pairs]
        for row, (score, heading) in enumerate(_MAP_SCORES.items()):
            one = axes[row][column]
            for number, at_stage in found:
                _draw_points(one, at_stage, pair, score, _COLOURS[number])
            one.set_xscale("log")
            one.set_xlim(*_P_AXIS)
            one.set_xlabel("p(say | present) before RL")
            one.set_ylabel(f"difference in {heading}")
        for number, at_stage in found:
            _draw_course(axes[-1][column], at_stage, pair, _COLOURS[number])
        axes[-1][column].set_xlabel("step")
        axes[-1][column].set_ylabel("difference in p(say | present)")
        for one in (row[column] for row in axes):
            one.axhline(0, color="#888888", linewidth=0.8)
        title = "\n− ".join(judged[0].title(name) for name in pair)
        axes[0][column].set_title(title, fontsize=8)
    for one in (axes[0][0], axes[-1][0]):
        if one.get_legend_handles_labels()[0]:
            one.legend(frameon=False, fontsize=6)
    _save(figure, path)
    return True


def _draw_points(axes: Any, judged: Judged, pair: tuple[str, str], score: str, colour: str) -> None:
    # What the tower does not see no method can say; p is then a habit.
    unseen = judged.kinds.get(FindingKind.UNSEEN.value, ())
    found = map_points(judged, pair, TestSet.IN_DOMAIN, score)
    points = [point for point in found if point.finding not in unseen]
    label = f"stage {judged.stage.name} (open: at most)"
    for point in points:
        axes.errorbar(
            [point.p],
            [point.value],
            yerr=([point.value - point.low], [point.high - point.value]),
            color=colour,
            marker="o",
            markersize=5,
            markerfacecolor="white" if point.is_bound else colour,
            elinewidth=0.8,
            label=label,
        )
        axes.annotate(
            point.finding,
            (point.p, point.value),
            fontsize=5,
            xytext=(4, 3),
            textcoords="offset points",
        )
        label = "_"  # once a stage


def _draw_course(axes: Any, judged: Judged, pair: tuple[str, str], colour: str) -> None:
    for kind, line in _COURSE_LINES.items():
        series = saying_differences(judged, pair, judged.kinds.get(kind.value, ()))
        if series is not None:
            label = f"{judged.stage.name}, {kind.value}"
            axes.plot(
                series.steps, series.mean, color=colour, linestyle=line, label=label, linewidth=1.4
            )
            axes.fill_between(
                series.steps, series.low, series.high, color=colour, alpha=0.12, linewidth=0
            )


def _figure(columns: int, rows: int = 1) -> tuple[Any, Any]:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "matplotlib is not installed; the plots need the extra `bench`: "
            "pip install -e '.[bench]'"
        ) from error
    # The same results give the same bytes; text stays text.
    mpl.rcParams.update({"svg.hashsalt": "editgrpo", "svg.fonttype": "none", "font.size": 8})
    figure = Figure(figsize=(3.4 * columns, 3.0 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata: Mapping[str, None] = {"Date": None}
    figure.savefig(path, metadata=metadata)
