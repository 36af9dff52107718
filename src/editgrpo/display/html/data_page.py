"""The statistics of a prepared set as one HTML page that needs nothing but a browser.

Counts only: no text of a report and no image is on it.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from editgrpo.data.overview.distribution import Distribution
from editgrpo.data.overview.statistics import SetStatistics, SplitStatistics
from editgrpo.data.prepared.record import SECTIONS
from editgrpo.data.study import Split, Timepoint, View
from editgrpo.display.data_stats import day_bins, labels_note, statistics_tables
from editgrpo.display.html.assets import asset, page_environment, plotly_script
from editgrpo.display.html.palette import run_colours
from editgrpo.files import write_text
from editgrpo.reports.chexpert import FINDINGS

_WORDS_A_BIN = 5
_MOST_BARS = 12
_SHOWN_SHARE = 0.99  # of the reports; few very long ones would press all others together

Chart = dict[str, Any]
"""Names of the bars, and for each split one percentage a bar (null where nothing is known)."""


def write_data_page(statistics: SetStatistics, path: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        statistics: The set.
        path: The HTML file.
    """
    splits = list(statistics.splits)
    page = page_environment().get_template("data.html.j2")
    charts = data_charts(statistics)
    text = page.render(
        title=f"{statistics.folder.name} ({statistics.dataset}): what the prepared set holds",
        tables=statistics_tables(statistics),
        charts=charts,
        labels_note=labels_note(statistics.labels) if statistics.labels else "",
        words_a_bin=_WORDS_A_BIN,
        css=asset("report.css"),
        scripts=[asset(name) for name in ("state.js", "plots.js", "data.js")],
        plotly=plotly_script(),
        data={
            "splits": [split.value for split in splits],
            "colours": [list(pair) for pair in run_colours([split.value for split in splits])],
            "charts": charts,
        },
    )
    write_text(path, text)


def data_charts(statistics: SetStatistics) -> dict[str, Chart]:
    """Return what the page draws.

    Args:
        statistics: The set.

    Returns:
        Charts by name; those without anything to draw are left out.
    """
    splits = statistics.splits
    charts = {
        "words": _words(splits),
        "images": _numbers({s: row.images_a_study for s, row in splits.items()}),
        "patients": _numbers({s: row.studies_a_patient for s, row in splits.items()}),
        "views": _chart(
            [view.value for view in View if any(_views(row).get(view) for row in splits.values())],
            {s: ({v.value: n for v, n in _views(row).items()}, None) for s, row in splits.items()},
        ),
        "sections": _chart(
            list(SECTIONS),
            {s: (row.sections, row.studies) for s, row in splits.items()},
        ),
        "gap": _gaps(splits),
        "labels": _labels(splits),
    }
    return {name: chart for name, chart in charts.items() if chart["bars"]}


def _views(row: SplitStatistics) -> Mapping[View, int]:
    return row.views[Timepoint.CURRENT]


def _chart(bars: list[str], counts: Mapping[Split, tuple[Mapping[str, int], int | None]]) -> Chart:
    """Turn counts into percentages of a total, or of their sum where none is given."""
    series = []
    for values, total in counts.values():
        whole = sum(values.values()) if total is None else total
        series.append([_percent(values.get(bar, 0), whole) for bar in bars])
    return {"bars": bars, "series": series}


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 3) if whole else None


def _numbers(of_split: Mapping[Split, Distribution | None]) -> Chart:
    """Count by a number from the least that any split has to the most; large ones together."""
    known = [numbers for numbers in of_split.values() if numbers]
    if not known:
        return {"bars": [], "series": []}
    least, most = min(n.minimum for n in known), max(n.maximum for n in known)
    names = {value: str(value) for value in range(least, min(most, _MOST_BARS) + 1)}
    if most > _MOST_BARS:
        names[_MOST_BARS] = f"{_MOST_BARS}+"
    counts: dict[Split, tuple[Mapping[str, int], None]] = {}
    for split, numbers in of_split.items():
        of_bar: Counter[str] = Counter()
        for value, count in numbers.frequencies.items() if numbers else ():
            of_bar[names[min(value, _MOST_BARS)]] += count
        counts[split] = of_bar, None
    return _chart(list(names.values()), counts)


def _words(splits: Mapping[Split, SplitStatistics]) -> Chart:
    """Count reports by length; a bar is named by the shortest length that it counts."""
    counts: dict[Split, tuple[Mapping[str, int], None]] = {}
    end = 0
    for split, row in splits.items():
        of_bar: Counter[str] = Counter()
        if row.findings_words:
            for words, count in row.findings_words.frequencies.items():
                of_bar[str(words - words % _WORDS_A_BIN)] += count
            end = max(end, row.findings_words.quantile(_SHOWN_SHARE) + 1)
        counts[split] = of_bar, None
    return _chart([str(start) for start in range(0, end, _WORDS_A_BIN)], counts)


def _gaps(splits: Mapping[Split, SplitStatistics]) -> Chart:
    if not any(row.days_since_prior for row in splits.values()):
        return {"bars": [], "series": []}
    return _chart(
        list(day_bins(None)),
        {s: (day_bins(row.days_since_prior), None) for s, row in splits.items()},
    )


def _labels(splits: Mapping[Split, SplitStatistics]) -> Chart:
    if not any(row.prevalence for row in splits.values()):
        return {"bars": [], "series": []}
    series = [
        [round(100 * row.prevalence.share(f), 3) if row.prevalence else None for f in FINDINGS]
        for row in splits.values()
    ]
    # The most frequent finding of the first split stands on top.
    order = sorted(range(len(FINDINGS)), key=lambda at: -(series[0][at] or 0))
    return {
        "bars": [FINDINGS[at] for at in order],
        "series": [[values[at] for at in order] for values in series],
    }
