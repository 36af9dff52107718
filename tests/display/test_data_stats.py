"""What is shown of a prepared set: the right numbers in every form, and nothing of its reports."""

import csv
import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from editgrpo.data.overview.distribution import Distribution
from editgrpo.data.overview.prevalence import LabelRequest
from editgrpo.data.overview.statistics import SetStatistics, set_statistics
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.study import Split, Study
from editgrpo.data.verify import Problem, ProblemKind
from editgrpo.display.data_check import problems_table
from editgrpo.display.data_stats import (
    day_bins,
    rich_table,
    statistics_tables,
    table_3,
    write_statistics,
)
from editgrpo.display.html.data_page import data_charts, write_data_page
from editgrpo.reports.chexpert import FINDINGS
from editgrpo.reports.rules import RulesLabeler
from tests.builders import write_set
from tests.data.described import INDICATION, STUDIES, described_set


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> SetStatistics:
    studies = described_set(tmp_path_factory.mktemp("described") / "set")
    return set_statistics(studies, labels=LabelRequest(labeler=RulesLabeler()))


def rows(statistics: SetStatistics, title: str) -> dict[str, tuple[str, ...]]:
    """Return the cells of a table by the name of their row."""
    (table,) = [one for one in statistics_tables(statistics) if one.title.startswith(title)]
    return {row[0]: row[1:] for row in table.rows}


def printed(statistics: SetStatistics, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    for table in statistics_tables(statistics):
        console.print(rich_table(table))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_first_table_is_the_papers(described: SetStatistics) -> None:
    table = statistics_tables(described)[0]
    assert table == table_3([described])
    assert table.columns == (
        "data set",
        *("train", "validation", "test"),
        "images a study, train",
        "with prior, train / test",
    )
    # 2, 3 and 1 images: sd sqrt(2 / 3); one of three studies, and none of one, has a prior.
    assert table.rows == (("folder", "3", "0", "1", "2.00 ± 0.82", "33.33 % / 0.00 %"),)


def test_several_sets_stand_below_each_other(described: SetStatistics) -> None:
    other = replace(described, dataset="other", splits={Split.TEST: described.splits[Split.TEST]})
    table = table_3([described, other])
    assert [row[0] for row in table.rows] == ["folder", "other"]
    assert table.rows[1] == ("other", "0", "0", "1", "–", "– / 0.00 %")


def test_the_tables_say_what_was_counted(described: SetStatistics) -> None:
    studies = rows(described, "Studies, patients")
    assert studies["studies"] == ("3", "1")
    assert studies["patients"] == ("2", "1")
    assert studies["images"] == ("4", "1")
    assert studies["studies with a prior"] == ("1 (33.3 %)", "0 (0.0 %)")
    views = rows(described, "Views")
    assert views["PA (current)"] == ("2 (50.0 %)", "0 (0.0 %)")
    assert views["unknown (current)"] == ("0 (0.0 %)", "1 (100.0 %)")
    assert views["PA (prior)"] == ("1 (50.0 %)", "–")
    assert "oblique (current)" not in views
    reports = rows(described, "Reports")
    assert reports["findings, median"] == ("4", "–")
    assert reports["findings given"] == ("3 (100.0 %)", "0 (0.0 %)")
    gaps = rows(described, "Time since")
    assert gaps["studies with both times"] == ("1", "0")
    assert gaps["7 to 29 days"] == ("1 (100.0 %)", "–")
    assert rows(described, "Image sizes") == {"56 × 56": ("4 (100.0 %)", "1 (100.0 %)")}
    labels = rows(described, "Label prevalence")
    assert labels["reports labelled"] == ("3", "0")
    assert labels["Edema"] == ("33.3 %", "–")
    assert set(FINDINGS) < set(labels)


def test_tables_without_content_are_left_out(described: SetStatistics) -> None:
    test = described.splits[Split.TEST]
    bare = replace(described, splits={Split.TEST: test}, labels=None)
    titles = [table.title for table in statistics_tables(bare)]
    assert not any("Time since" in title or "Label" in title for title in titles)


def test_rare_sizes_are_counted_together(described: SetStatistics) -> None:
    sizes = {(28 * k, 28): 10 - k for k in range(1, 8)}  # 9 + 8 + ... + 3 = 42
    split = replace(described.splits[Split.TEST], image_sizes=sizes)
    shown = rows(replace(described, splits={Split.TEST: split}), "Image sizes")
    assert next(iter(shown)) == "28 × 28"
    assert shown["other sizes: 2"] == ("7 (16.7 %)",)  # 4 + 3 of 42


def test_days_fall_into_their_range() -> None:
    days = Distribution.of(np.array([0, 1, 6, 7, 29, 30, 364, 365, 9000]))
    assert day_bins(days) == {
        "under 1 day": 1,
        "1 to 6 days": 2,
        "7 to 29 days": 2,
        "30 to 364 days": 2,
        "365 days and more": 2,
    }


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_terminal(described: SetStatistics, width: int) -> None:
    text = printed(described, width)
    assert max(map(len, text.splitlines())) <= width
    assert "2.00 ± 0.82" in text
    assert "seed 0" in text, "who labelled, and whether a sample, stands below"


def test_json_holds_every_number(described: SetStatistics, tmp_path: Path) -> None:
    write_statistics(described, tmp_path / "set.json")
    record = json.loads((tmp_path / "set.json").read_text())
    assert record["dataset"] == "folder"
    assert record["labels"] == {"labeler": "rules", "most": 20_000, "seed": 0}
    train = record["splits"]["train"]
    assert (train["studies"], train["patients"], train["images"]) == (3, 2, 4)
    assert train["findings_words"]["frequencies"] == {"1": 1, "4": 1, "6": 1}
    assert train["views"]["prior"] == {"PA": 1, "lateral": 1}
    assert train["image_sizes"] == {"56x56": 4}
    assert train["prevalence"]["shares"]["Edema"] == pytest.approx(1 / 3)
    assert train["prevalence"]["counts"]["Pneumothorax"] == {
        "blank": 2, "positive": 0, "negative": 1, "uncertain": 0,
    }  # fmt: skip
    assert record["splits"]["test"]["prevalence"] is None


def test_csv_has_one_line_a_number(described: SetStatistics, tmp_path: Path) -> None:
    write_statistics(described, tmp_path / "set.csv")
    with (tmp_path / "set.csv").open(newline="") as stream:
        values = {(row["split"], row["measure"]): row["value"] for row in csv.DictReader(stream)}
    assert values["train", "studies"] == "3"
    assert values["train", "findings_words/p95"] == "6"
    assert values["test", "views/current/unknown"] == "1"
    assert float(values["train", "images_a_study/mean"]) == 2.0


class _Page(HTMLParser):
    """Collects what a browser would load, and the data that the scripts draw."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.plots: list[str] = []
        self.data = ""
        self._is_data = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [values[k] or "" for k in ("src", "href", "srcset") if k in values]
        if chart := values.get("data-chart"):
            self.plots.append(chart)
        self._is_data = values.get("id") == "report-data"

    def handle_endtag(self, tag: str) -> None:
        self._is_data = False

    def handle_data(self, data: str) -> None:
        if self._is_data:
            self.data += data


def test_the_page_loads_nothing_from_elsewhere(described: SetStatistics, tmp_path: Path) -> None:
    write_data_page(described, tmp_path / "set.html")
    text = (tmp_path / "set.html").read_text("utf-8")
    page = _Page(text)
    assert {address for address in page.addresses if not address.startswith("#")} == {"data:,"}
    assert "default-src 'none'" in text
    assert set(page.plots) == set(json.loads(page.data)["charts"])
    assert "2.00 ± 0.82" in text


def test_a_set_without_times_and_labels_has_a_page(tmp_path: Path) -> None:
    study = Study(study_id="s", patient_id="p", split=Split.TRAIN, images=(), findings="Clear.")
    write_set(tmp_path / "bare", [study])
    write_data_page(set_statistics(StudySet.load(tmp_path / "bare")), tmp_path / "set.html")
    page = _Page((tmp_path / "set.html").read_text("utf-8"))
    assert (
        set(page.plots)
        == set(json.loads(page.data)["charts"])
        == {"words", "images", "patients", "sections"}
    )
    assert "bare (folder): what the prepared set holds" in (tmp_path / "set.html").read_text(
        "utf-8"
    )


def test_charts_are_shares_of_each_split(described: SetStatistics) -> None:
    charts = data_charts(described)
    third = pytest.approx(33.333)
    assert charts["images"] == {"bars": ["1", "2", "3"], "series": [[third] * 3, [100.0, 0.0, 0.0]]}
    assert charts["words"]["bars"] == ["0", "5"]
    assert charts["words"]["series"] == [[pytest.approx(66.667), third], [None, None]]
    assert charts["views"]["bars"] == ["PA", "AP", "lateral", "unknown"]
    assert charts["gap"]["series"][0] == [0.0, 0.0, 100.0, 0.0, 0.0]
    assert charts["labels"]["bars"][0] in FINDINGS
    for name in ("images", "patients", "views", "gap", "words"):
        shares = charts[name]["series"][0]
        assert sum(shares) == pytest.approx(100, abs=0.01)


def test_many_images_are_drawn_together(described: SetStatistics) -> None:
    many = Distribution.of(np.array([1, 14, 50, 12]))
    split = replace(described.splits[Split.TEST], images_a_study=many)
    chart = data_charts(replace(described, splits={Split.TEST: split}))["images"]
    assert chart["bars"][-1] == "12+"
    assert chart["series"][0][-1] == 75.0


def test_no_form_holds_text_of_a_report(described: SetStatistics, tmp_path: Path) -> None:
    for name in ("set.json", "set.csv"):
        write_statistics(described, tmp_path / name)
    write_data_page(described, tmp_path / "set.html")
    forms = [printed(described), *(path.read_text("utf-8") for path in tmp_path.iterdir())]
    assert len(forms) == 4
    texts = [INDICATION, *(sentence for one in STUDIES for sentence in one.findings.split(". "))]
    for text in filter(None, texts):
        if text.strip(".") not in FINDINGS:
            assert not any(text in form for form in forms), text


def _problem(kind: ProblemKind, number: int) -> Problem:
    return Problem(kind=kind, message=f"thing {number} is wrong", remedy="mend it")


def test_problems_are_told_by_kind_with_a_few_examples() -> None:
    problems = [_problem(ProblemKind.SAME_IMAGE_IN_TWO_SPLITS, 0)]
    problems += [_problem(ProblemKind.FILE_MISSING, number) for number in range(1, 6)]
    console = Console(file=io.StringIO(), width=100)
    console.print(problems_table(problems))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert text.index("file missing") < text.index("warning: two splits show the same picture")
    assert "thing 3 is wrong; mend it" in text
    assert "thing 4" not in text
    assert "and 2 more" in text
