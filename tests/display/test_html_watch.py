"""The report of runs that go on: written when they have, awaiting those that have not begun."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editgrpo.display.html import ReportSummary, watch_report, write_report
from editgrpo.errors import ConfigError, DataError
from tests.display.run_folders import write_sft_run


def watched(
    runs: list[Path], output: Path, *events: Callable[[], object], **settings: Any
) -> list[str]:
    """Watch runs to which something happens at each wait, and return the pages."""
    left = list(events)
    pages: list[str] = []
    for _ in watch_report(
        runs, output, title="Live", every_s=7, wait=lambda _: left.pop(0)(), **settings
    ):
        pages.append(output.read_text(encoding="utf-8"))
    assert not left
    return pages


def sft(folder: Path) -> Path:
    write_sft_run(folder, studies="studies", steps=5)
    return folder


def nothing() -> None:
    """Let time pass."""


def data_of(page: str) -> dict[str, Any]:
    start = page.index('id="report-data">') + len('id="report-data">')
    data: dict[str, Any] = json.loads(page[start : page.index("</script>", start)])
    return data


@pytest.mark.slow
def test_a_run_is_awaited_followed_and_finished(tmp_path: Path) -> None:
    run, output = tmp_path / "sft", tmp_path / "report.html"

    def begin() -> None:
        run.mkdir()
        (run / "config.yaml").write_text("steps: 3\n", encoding="utf-8")

    def go_on() -> None:
        sft(run)

    missing, begun, live, ended = watched(
        [run], output, begin, nothing, go_on, lambda: (run / "model").mkdir()
    )
    assert "Waiting for the run to begin in this folder." in missing
    assert "Its settings are there. Waiting for its first step." in begun
    assert not data_of(begun)["runs"][0]["train"]
    assert data_of(live)["runs"][0]["train"]["loss"]
    assert "Waiting for" not in live
    for page in (missing, begun, live):
        assert data_of(page)["reloadS"] == 7
        assert "location.reload" in page
    assert data_of(ended)["reloadS"] is None
    assert "location.reload" not in ended


@pytest.mark.slow
def test_a_reader_who_stops_leaves_a_page_that_stands_still(tmp_path: Path) -> None:
    run, output = sft(tmp_path / "sft"), tmp_path / "report.html"
    writing = watch_report([run], output, title="Live", wait=lambda _: None)
    next(writing)
    assert "location.reload" in output.read_text(encoding="utf-8")
    writing.close()
    assert "location.reload" not in output.read_text(encoding="utf-8")

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    stopped = watch_report([run], output, title="Live", wait=interrupt)
    next(stopped)
    with pytest.raises(KeyboardInterrupt):
        next(stopped)
    assert "location.reload" not in output.read_text(encoding="utf-8")


@pytest.mark.slow
def test_one_run_may_have_ended_while_another_is_awaited(tmp_path: Path) -> None:
    first = sft(tmp_path / "sft")
    (first / "model").mkdir()
    second = tmp_path / "editgrpo"
    output = tmp_path / "report.html"
    page, _ = watched([first, second], output, lambda: (second / "model").mkdir(parents=True))
    kinds = [run["kind"] for run in data_of(page)["runs"]]
    assert kinds == ["SFT", "AWAITED"]


def test_without_watching_a_new_run_is_refused_and_pages_are_as_before(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run folder"):
        write_report([tmp_path / "none"], tmp_path / "r.html", title="t")
    summary = write_report([sft(tmp_path / "sft")], tmp_path / "r.html", title="t")
    assert isinstance(summary, ReportSummary)
    assert "location.reload" not in (tmp_path / "r.html").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="every_s is 0"):
        next(watch_report([tmp_path], tmp_path / "r.html", title="t", every_s=0, wait=nothing_for))


def nothing_for(_: float) -> None:
    """Let some time pass."""
