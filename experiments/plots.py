"""The pictures of docs/miniature.md. Needs the extra `bench` (matplotlib)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from editgrpo.demo.plan import TestSet
from editgrpo.errors import ConfigError
from experiments.gate import FindingKind
from experiments.judge import Judged
from experiments.series import Series, map_points, metric_series, saying_series

_CURVES = {
    "reward/sampled/mean": "reward of sampled responses",
    "entropy": "entropy, nats a token",
    "zero_advantage_groups": "share of groups without spread",
}
_SAID = "p(say | present), visible and unsaid at the start"
# Colours that readers with any kind of colour vision tell apart (Okabe and Ito, 2008).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
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
    figure, axes = _figure(len(drawn))
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
    """Draw when an edit pays: the difference in recall of each finding against p(say | present).

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
    figure, axes = _figure(len(pairs))
    for one, pair in zip(axes, pairs, strict=True):
        for number, at_stage in enumerate(judged):
            if pair in at_stage.pairs:
                _draw_points(one, at_stage, pair, _COLOURS[number])
        one.axhline(0, color="#888888", linewidth=0.8)
        one.set_xscale("log")
        one.set_xlim(*_P_AXIS)
        one.set_xlabel("p(say | present) before RL")
        one.set_ylabel("difference in recall")
        title = " − ".join(judged[0].title(name) for name in pair)
        one.set_title(title, fontsize=9)
    axes[0].legend(frameon=False, fontsize=7)
    _save(figure, path)
    return True


def _draw_points(axes: Any, judged: Judged, pair: tuple[str, str], colour: str) -> None:
    points = map_points(judged, pair, TestSet.IN_DOMAIN)
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


def _figure(panels: int) -> tuple[Any, Sequence[Any]]:
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
    figure = Figure(figsize=(3.4 * panels, 3.0), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata: Mapping[str, None] = {"Date": None}
    figure.savefig(path, metadata=metadata)
