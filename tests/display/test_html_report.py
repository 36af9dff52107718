"""The report as a file: self-contained, escaped, and honest about what is missing."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from editgrpo.display.html import write_report
from editgrpo.display.html.runs import load_runs
from editgrpo.errors import ConfigError, DataError
from tests.display.run_folders import (
    HOSTILE,
    write_demo,
    write_evaluation,
    write_rl_run,
    write_sft_run,
    write_studies_folder,
)


class _Page(HTMLParser):
    """Collects what a browser would load, and the text of the scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.handlers: list[str] = []
        self.data = ""
        self._is_data = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.addresses += [values[k] or "" for k in ("src", "href", "srcset") if k in values]
        self.handlers += [key for key in values if key.startswith("on")]
        if "id" in values:
            self.ids.append(values["id"] or "")
        self._is_data = values.get("id") == "report-data"

    def handle_endtag(self, tag: str) -> None:
        self._is_data = False

    def handle_data(self, data: str) -> None:
        if self._is_data:
            self.data += data


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo")
    runs = write_demo(folder, steps=40)
    write_report(runs, folder / "report.html", title=f"Demo {HOSTILE}")
    return folder, (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_page_loads_nothing_from_elsewhere(demo: tuple[Path, str]) -> None:
    page = _Page(demo[1])
    assert {address for address in page.addresses if not address.startswith("#")} == {"data:,"}
    assert page.tags.count("style") == 1
    assert "default-src 'none'" in demo[1]


@pytest.mark.slow
def test_text_from_files_never_becomes_markup(demo: tuple[Path, str]) -> None:
    page = _Page(demo[1])
    assert HOSTILE not in demo[1]
    assert page.handlers == []
    assert page.tags.count("img") == 1  # the empty one of the enlargement
    assert HOSTILE in str(json.loads(page.data))


def test_embedded_data_holds_every_part(demo: tuple[Path, str]) -> None:
    data = json.loads(_Page(demo[1]).data)
    assert [run["name"] for run in data["runs"]] == ["sft", "sft-continued", "dr-grpo", "editgrpo"]
    assert set(data["evaluations"]) == {"site-a", "site-b"}
    assert len(data["runs"][3]["train"]["reward/edited/mean"]) == 40
    assert len(data["runs"][0]["validation"]["validation/loss"]) == 3
    assert data["groups"]
    assert data["predictions"]
    assert all(page["key"] in data["studies"] for page in data["groups"])


def test_sections_have_anchors(demo: tuple[Path, str]) -> None:
    ids = _Page(demo[1]).ids
    assert len(ids) == len(set(ids))
    for section in (
        "overview", "results", "reward", "edits", "health", "sft", "studies", "provenance",
    ):  # fmt: skip
        assert section in ids
    assert "0123456789" in demo[1]  # the commit


def test_same_runs_give_the_same_bytes(demo: tuple[Path, str], tmp_path: Path) -> None:
    folder, text = demo
    runs = [folder / name for name in ("sft", "sft-continued", "dr-grpo", "editgrpo")]
    write_report(runs, tmp_path / "again.html", title=f"Demo {HOSTILE}")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == text


@pytest.mark.slow
def test_summary_counts_what_went_in(tmp_path: Path) -> None:
    runs = write_demo(tmp_path, steps=20)
    with (runs[3] / "rollouts.jsonl").open("a") as stream:
        stream.write('{"step": 21, "repo')
    calls: list[tuple[int, int]] = []
    summary = write_report(
        runs,
        tmp_path / "out" / "report.html",
        title="Demo",
        studies=tmp_path / "studies",
        max_studies=4,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert (summary.runs, summary.evaluations, summary.broken_lines) == (4, 2, 1)
    assert (summary.groups, summary.predictions) == (4, 4)
    assert summary.images >= 8
    assert any("not whole" in note for note in summary.notes)
    assert calls[-1][0] == calls[-1][1] == len(calls)
    assert summary.size_bytes == (tmp_path / "out" / "report.html").stat().st_size


def test_missing_pieces_are_left_out_with_a_note(tmp_path: Path) -> None:
    write_sft_run(tmp_path / "sft", studies="nowhere", steps=9)
    write_rl_run(tmp_path / "rl", studies="nowhere", edits=True, gain=0.5, steps=4)
    (tmp_path / "rl" / "rollouts.jsonl").unlink()
    runs = [tmp_path / "sft", tmp_path / "rl"]
    summary = write_report(runs, tmp_path / "report.html", title="Part of a run")
    ids = _Page((tmp_path / "report.html").read_text(encoding="utf-8")).ids
    assert "studies" not in ids
    assert "results" not in ids
    assert "reward" in ids
    assert "rl: no rollouts.jsonl: no study pages" in summary.notes
    assert "sft: no evaluation/*/scores.json: no results" in summary.notes


def test_runs_are_shown_by_their_own_names_and_the_title_is_made_of_them(tmp_path: Path) -> None:
    for name in ("first", "second", "third"):
        write_rl_run(tmp_path / name, studies="gone", edits=True, gain=0.5, steps=4)
    for name in ("first", "second"):
        path = tmp_path / name / "config.yaml"
        path.write_text(path.read_text() + "run_name: EditGRPO\n")
    write_report([tmp_path / name for name in ("first", "third")], tmp_path / "report.html")
    assert "<title>EditGRPO, third" in (tmp_path / "report.html").read_text(encoding="utf-8")
    runs = load_runs([tmp_path / name for name in ("first", "second", "third")])
    assert [run.name for run in runs] == ["first", "second", "third"]


def test_studies_that_are_gone_leave_pages_without_images(tmp_path: Path) -> None:
    write_rl_run(tmp_path / "rl", studies="gone", edits=True, gain=0.5, steps=10)
    summary = write_report([tmp_path / "rl"], tmp_path / "report.html", title="Without films")
    assert summary.groups > 0
    assert summary.images == 0
    assert any("no images" in note and "--studies" in note for note in summary.notes)
    assert not any("timings" in note for note in summary.notes)


def test_fine_tuning_has_no_durations_to_miss(tmp_path: Path) -> None:
    write_sft_run(tmp_path / "sft", studies="gone", steps=9)
    write_rl_run(tmp_path / "rl", studies="gone", edits=True, gain=0.5, steps=4)
    for name in ("sft", "rl"):
        (tmp_path / name / "timings.jsonl").unlink(missing_ok=True)
    summary = write_report([tmp_path / "sft", tmp_path / "rl"], tmp_path / "report.html")
    assert [note for note in summary.notes if "timings" in note] == [
        "rl: no timings.jsonl: no durations"
    ]


def test_an_evaluation_shows_the_studies_it_is_of(tmp_path: Path) -> None:
    # Two sets with the same ids and words, and other films; the run was trained on the first.
    for number, name in enumerate(("training", "own-site")):
        write_studies_folder(tmp_path / name, 24, "a", seed=number)
    run = tmp_path / "rl"
    write_rl_run(run, studies=str(tmp_path / "training"), edits=True, gain=0.5, steps=4)
    (run / "rollouts.jsonl").unlink()
    write_evaluation(run, "site-a", system="rl", quality=0.5)

    def films(**options: Any) -> dict[str, Any]:
        write_report([run], tmp_path / "report.html", **options)
        data = json.loads(_Page((tmp_path / "report.html").read_text(encoding="utf-8")).data)
        assert data["predictions"]
        return {page["study"]: data["studies"][page["key"]] for page in data["predictions"]}

    of_training, of_tests = films(), films(tested_on={"site-a": tmp_path / "own-site"})
    assert of_tests == films(studies=tmp_path / "own-site", tested_on={}) != of_training


def test_a_remark_stands_below_the_heading(tmp_path: Path) -> None:
    write_sft_run(tmp_path / "sft", studies="gone", steps=9)
    write_report([tmp_path / "sft"], tmp_path / "report.html", title="A", remark="Means <nothing>")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert (
        page.index("<h1>A</h1>")
        < page.index("Means &lt;nothing&gt;.")
        < page.index('<div class="cards">')
    )


def test_bad_input_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run folder"):
        write_report([], tmp_path / "report.html", title="None")
    with pytest.raises(DataError, match="no such run folder"):
        write_report([tmp_path / "absent"], tmp_path / "report.html", title="None")
    assert list(tmp_path.iterdir()) == []
