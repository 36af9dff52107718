"""Statistics of a prepared set for people and programs: tables, JSON and CSV.

The tables are values, so that the terminal and the HTML page show the same; no report text is in
any of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from editgrpo.data.overview.distribution import Distribution
from editgrpo.data.overview.prevalence import LabelRequest
from editgrpo.data.overview.statistics import SetStatistics, SplitStatistics
from editgrpo.data.study import Split, Timepoint, View
from editgrpo.display.numbers import MISSING
from editgrpo.display.tables import titled_table
from editgrpo.files import write_json
from editgrpo.reports.chexpert import FINDINGS
from editgrpo.spreadsheet import write_csv

_SHOWN_SIZES = 5
DAY_BINS = ((1, "under 1 day"), (7, "1 to 6 days"), (30, "7 to 29 days"), (365, "30 to 364 days"))
"""Upper end, not included, and name of the gaps that are counted together."""
LONGER = "365 days and more"


@dataclass(frozen=True, kw_only=True, slots=True)
class StatisticsTable:
    """A table as text: a name for each row, and one cell for each further column."""

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def statistics_tables(statistics: SetStatistics) -> list[StatisticsTable]:
    """Tabulate a set.

    Args:
        statistics: The set.

    Returns:
        The paper's Table 3 first; tables that would be empty are left out.
    """
    tables = [
        table_3([statistics]),
        _studies_table(statistics),
        _views_table(statistics),
        _reports_table(statistics),
        _gap_table(statistics),
        _sizes_table(statistics),
        _prevalence_table(statistics),
    ]
    return [table for table in tables if table.rows]


def rich_table(table: StatisticsTable) -> Table:
    """Return a table for the terminal."""
    shown = titled_table(table.title, caption=table.caption)
    for number, column in enumerate(table.columns):
        shown.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))
    return shown


def table_3(sets: Sequence[SetStatistics]) -> StatisticsTable:
    """Tabulate sets as the paper does.

    Args:
        sets: One row each.

    Returns:
        Studies by split, images a study in training, and the shares with a prior.
    """
    return StatisticsTable(
        title="Data (the paper's Table 3)",
        caption="Images a study: current and prior, mean ± standard deviation",
        columns=(
            "data set",
            *(split.value for split in Split),
            "images a study, train",
            "with prior, train / test",
        ),
        rows=tuple(_table_3_row(one) for one in sets),
    )


def _table_3_row(one: SetStatistics) -> tuple[str, ...]:
    train, test = one.splits.get(Split.TRAIN), one.splits.get(Split.TEST)
    return (
        one.dataset,
        *(_count(one.splits[split].studies if split in one.splits else 0) for split in Split),
        _mean_sd(train.images_a_study if train else None),
        " / ".join(_percent(s.with_prior, s.studies) if s else MISSING for s in (train, test)),
    )


def _studies_table(one: SetStatistics) -> StatisticsTable:
    def row(split: SplitStatistics) -> dict[str, str]:
        return {
            "studies": _count(split.studies),
            "patients": _count(split.patients),
            "studies a patient": _mean_sd(split.studies_a_patient),
            "studies a patient, most": _maximum(split.studies_a_patient),
            "images": _count(split.images),
            "images a study": _mean_sd(split.images_a_study),
            "current images a study": _mean_sd(split.current_images_a_study),
            "images a study, most": _maximum(split.images_a_study),
            "studies with a prior": _share(split.with_prior, split.studies),
        }

    caption = "An image that several studies show counts once under images"
    return _by_split("Studies, patients and images", caption, one, row)


def _views_table(one: SetStatistics) -> StatisticsTable:
    def row(split: SplitStatistics) -> dict[str, str]:
        return {
            f"{view} ({timepoint})": _share(
                split.views[timepoint].get(view, 0), sum(split.views[timepoint].values())
            )
            for timepoint in Timepoint
            for view in View
            if any(view in other.views[timepoint] for other in one.splits.values())
        }

    return _by_split("Views", "Share of the current, or of the prior images", one, row)


def _length_cells(section: str, words: Distribution | None) -> dict[str, str]:
    return {
        f"{section}, words": _mean_sd(words, digits=1),
        f"{section}, median": f"{words.median:g}" if words else MISSING,
        f"{section}, 95th percentile": _count(words.p95) if words else MISSING,
        f"{section}, longest": _maximum(words),
    }


def _reports_table(one: SetStatistics) -> StatisticsTable:
    has_boxes = any(split.boxes for split in one.splits.values())
    has_impressions = any(split.impression_words for split in one.splits.values())

    def row(split: SplitStatistics) -> dict[str, str]:
        return {
            **_length_cells("findings", split.findings_words),
            **(_length_cells("impression", split.impression_words) if has_impressions else {}),
            **{
                f"{section} given": _share(count, split.studies)
                for section, count in split.sections.items()
            },
            "findings and impression given": _share(split.with_both, split.studies),
            **({"with boxes": _share(split.with_boxes, split.studies)} if has_boxes else {}),
        }

    return _by_split("Reports", "Words are separated by white space", one, row)


def _gap_table(one: SetStatistics) -> StatisticsTable:
    gaps = {split: row.days_since_prior for split, row in one.splits.items()}

    def row(split: SplitStatistics) -> dict[str, str]:
        days = split.days_since_prior
        binned = day_bins(days)
        return {
            "studies with both times": _count(days.count if days else 0),
            "days, median": f"{days.median:,g}" if days else MISSING,
            "days, 95th percentile": _count(days.p95) if days else MISSING,
            **{name: _share(n, days.count) if days else MISSING for name, n in binned.items()},
        }

    if not any(gaps.values()):
        return StatisticsTable(title="", caption="", columns=(), rows=())
    caption = "Whole days, rounded down, from the prior that is shown"
    return _by_split("Time since the prior", caption, one, row)


def day_bins(days: Distribution | None) -> dict[str, int]:
    """Count gaps by how long they are.

    Args:
        days: Whole days; None if no gap is known.

    Returns:
        How many lie in each range of `DAY_BINS`, and beyond all; none in two.
    """
    counts = dict.fromkeys([*(name for _, name in DAY_BINS), LONGER], 0)
    for value, count in days.frequencies.items() if days else ():
        counts[next((name for end, name in DAY_BINS if value < end), LONGER)] += count
    return counts


def _sizes_table(one: SetStatistics) -> StatisticsTable:
    totals: dict[tuple[int, int], int] = {}
    for split in one.splits.values():
        for size, count in split.image_sizes.items():
            totals[size] = totals.get(size, 0) + count
    shown = sorted(totals, key=lambda size: (-totals[size], size))[:_SHOWN_SIZES]

    def row(split: SplitStatistics) -> dict[str, str]:
        cells = {
            f"{width} × {height}": _share(split.image_sizes.get((height, width), 0), split.images)
            for height, width in shown
        }
        if len(totals) > len(shown):
            others = sum(n for size, n in split.image_sizes.items() if size not in shown)
            cells[f"other sizes: {len(totals) - len(shown)}"] = _share(others, split.images)
        return cells

    return _by_split("Image sizes", "Width × height in pixels, as the model sees them", one, row)


def _prevalence_table(one: SetStatistics) -> StatisticsTable:
    if one.labels is None:
        return StatisticsTable(title="", caption="", columns=(), rows=())

    def row(split: SplitStatistics) -> dict[str, str]:
        labels = split.prevalence
        shares = {
            finding: f"{100 * labels.share(finding):.1f} %" if labels else MISSING
            for finding in FINDINGS
        }
        return {"reports labelled": _count(labels.reports if labels else 0), **shares}

    title = "Label prevalence: reports in which a finding is positive or uncertain"
    return _by_split(title, labels_note(one.labels), one, row)


def labels_note(labels: LabelRequest) -> str:
    """Say what counted the labels, and of how many reports."""
    return (
        f"Labeler: {labels.labeler.name}; all findings sections of a split, or a random sample of "
        f"{labels.most:,} where there are more (seed {labels.seed})"
    )


def _by_split(
    title: str, caption: str, one: SetStatistics, row: Callable[[SplitStatistics], dict[str, str]]
) -> StatisticsTable:
    """Turn what is said of each split into a table with one column for each."""
    columns: list[Mapping[str, str]] = [row(split) for split in one.splits.values()]
    names = columns[0] if columns else ()
    return StatisticsTable(
        title=title,
        caption=caption,
        columns=("", *(split.value for split in one.splits)),
        rows=tuple((name, *(column[name] for column in columns)) for name in names),
    )


def _count(number: int) -> str:
    return f"{number:,}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else MISSING


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({100 * part / whole:.1f} %)" if whole else MISSING


def _mean_sd(numbers: Distribution | None, *, digits: int = 2) -> str:
    if numbers is None:
        return MISSING
    return f"{numbers.mean:,.{digits}f} ± {numbers.sd:,.{digits}f}"


def _maximum(numbers: Distribution | None) -> str:
    return _count(numbers.maximum) if numbers else MISSING


def statistics_record(statistics: SetStatistics) -> dict[str, Any]:
    """Return statistics as JSON takes them.

    Args:
        statistics: The set.

    Returns:
        `dataset`, `labels` (null if none were counted) and `splits`, whose keys are the attributes
        of `SplitStatistics`; image sizes are written as `widthxheight`.
    """
    labels = statistics.labels
    return {
        "dataset": statistics.dataset,
        "labels": labels
        and {"labeler": labels.labeler.name, "most": labels.most, "seed": labels.seed},
        "splits": {
            split.value: _split_record(numbers) for split, numbers in statistics.splits.items()
        },
    }


def _split_record(split: SplitStatistics) -> dict[str, Any]:
    prevalence = split.prevalence
    return {
        **asdict(split),
        "images": split.images,
        "image_sizes": {f"{w}x{h}": count for (h, w), count in split.image_sizes.items()},
        "prevalence": prevalence
        and {
            "reports": prevalence.reports,
            "shares": {finding: prevalence.share(finding) for finding in prevalence.counts},
            "counts": {
                finding: {label.name.lower(): count for label, count in counts.items()}
                for finding, counts in prevalence.counts.items()
            },
        },
    }


def write_statistics(statistics: SetStatistics, path: Path) -> None:
    """Write statistics in full precision, whole or not at all.

    Args:
        statistics: The set.
        path: Ends in `.csv` for one line a number (split, measure, value), else it becomes JSON.
    """
    record = statistics_record(statistics)
    if path.suffix.lower() != ".csv":
        write_json(path, record)
        return
    rows = (
        {"split": split, "measure": name, "value": value}
        for split, numbers in record["splits"].items()
        for name, value in _flat(numbers)
    )
    write_csv(path, ("split", "measure", "value"), rows)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every number of a record with the keys that lead to it."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}/{key}" if name else str(key))
    elif value is not None:
        yield name, value
