"""Progress and step lines: what is printed, and where nobody watches."""

import io
import time

import pytest
from rich.console import Console

from editgrpo.display import terminal
from editgrpo.display.terminal import StepLine, closing_bar, progress_bar

METRICS = {
    "step": 12,
    "reward/sampled/mean": 1.2345,
    "reward/sampled/se": 0.0456,
    "reward/sampled/rules/report-micro-f1-14": 0.512,
    "reward/sampled/entity_f1/partial@rules": 0.304,
    "reward/sampled/entity_similarity@rules": 0.418,
    "edits/none": 0.25,
    "edits/raised": 0.875,
    "kl": 0.00123,
    "clip_share": 0.0,
    "length/sampled/mean": 63.2,
}


def _console(width: int, *, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal)


def _printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_step_line_shows_every_quantity_under_its_title() -> None:
    line = StepLine(1000, console=_console(120))
    titles = line.header(METRICS).plain
    # Column ends: every value is set flush right below the last letter of its title.
    values = line.line(METRICS, {"seconds/step": 4.5}).plain
    ends = [i + 1 for i in range(len(titles)) if titles[i] != " " and titles[i + 1 : i + 2] in " "]
    starts = [0, *ends[:-1]]
    row = {titles[a:b].strip(): values[a:b].strip() for a, b in zip(starts, ends, strict=True)}
    # edited share 1 - 0.25; eta (1000 - 12) steps of 4.5 s = 4446 s = 1 h 14 min.
    assert row == {
        "step": "12/1000",
        "reward": "1.234±0.046",
        "rules": "0.512",
        "f1": "0.304",
        "similari": "0.418",
        "edit": "75%",
        "up": "88%",
        "KL": "0.001",
        "clip": "0%",
        "len": "63",
        "time": "4.5s",
        "eta": "1h14m",
    }


@pytest.mark.parametrize("width", [30, 60, 80, 100, 200])
def test_step_lines_fit_the_terminal_and_align(width: int) -> None:
    line = StepLine(1000, console=_console(width))
    header = line.header(METRICS).plain
    later = {**METRICS, "step": 1000, "kl": 12.0, "reward/sampled/mean": 0.0}
    rows = [line.line(one, {"seconds/step": 100.0}).plain for one in (METRICS, later)]
    assert {len(header), *map(len, rows)} == {len(header)}
    assert len(header) <= width
    assert "reward" in header


def test_step_line_without_edits_or_timings_shows_dashes() -> None:
    line = StepLine(10, console=_console(80))
    text = line.line({"step": 1, "reward/sampled/mean": 0.5}, {}).plain
    assert "0.50" in text
    assert text.count("–") == 7


def test_header_returns_after_so_many_lines() -> None:
    console = _console(80)
    line = StepLine(10, console=console, header_every=2)
    for _ in range(4):
        line.show(METRICS, {})
    assert _printed(console).count("reward") == 2


def test_eta_follows_the_recent_steps_only() -> None:
    line = StepLine(1000, console=_console(80))
    for _ in range(30):
        line.line(METRICS, {"seconds/step": 100.0})
    for _ in range(20):
        text = line.line(METRICS, {"seconds/step": 1.0}).plain
    # 988 steps of 1 s = 16 min 28 s.
    assert text.endswith("16m28s")


def _lines_of_a_second_each(
    monkeypatch: pytest.MonkeyPatch, *, calls: int, total: int
) -> list[str]:
    """Return what a bar off a terminal prints, by a clock that each call moves on by a second."""
    now = iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
    console = _console(80)
    with progress_bar("Scoring", console=console) as advance:
        for done in range(1, calls + 1):
            advance(done, total)
    return _printed(console).splitlines()


def test_progress_off_a_terminal_prints_few_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    # The clock starts at 0 and call k comes at k seconds: lines after 2 s, then 15 s apart, and at
    # the end. At 2 s 2 of 40 are done, so 38 s are left.
    assert _lines_of_a_second_each(monkeypatch, calls=40, total=40) == [
        "Scoring: 2/40 after 2.0s, 38s left",
        "Scoring: 17/40 after 17s, 23s left",
        "Scoring: 32/40 after 32s, 8.0s left",
        "Scoring: 40/40 in 40s",
    ]


def test_no_time_is_left_before_it_can_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    # 2 of 1000 after 2 s say nothing; at 17 s 983 are left, of a second each.
    assert _lines_of_a_second_each(monkeypatch, calls=17, total=1000) == [
        "Scoring: 2/1000 after 2.0s",
        "Scoring: 17/1000 after 17s, 16m23s left",
    ]


def test_short_work_off_a_terminal_prints_its_end_only() -> None:
    console = _console(80)
    with progress_bar("Scoring", console=console) as advance:
        for done in range(1, 101):
            advance(done, 100)
    (line,) = _printed(console).splitlines()
    assert line.startswith("Scoring: 100/100 in ")


def test_the_end_is_printed_once_off_a_terminal() -> None:
    console = _console(80)
    with progress_bar("Scoring", console=console) as advance:
        for _ in range(3):
            advance(4, 4)
    assert len(_printed(console).splitlines()) == 1


def test_progress_on_a_terminal_draws_a_bar() -> None:
    console = _console(80, terminal=True)
    with progress_bar("Scoring", console=console) as advance:
        advance(3, 4)
        advance(4, 4)
    assert "4/4" in _printed(console)
    assert "\x1b[" in _printed(console)


def test_a_closing_bar_is_gone_when_all_is_done_and_may_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80)
    monkeypatch.setattr(terminal, "message_console", lambda: console)
    with closing_bar("Resizing") as advance:
        assert stream.getvalue() == ""
        advance(2, 2)
        console.print("step 1")
        advance(3, 3)
    first, between, second = stream.getvalue().splitlines()
    assert first.startswith("Resizing: 2/2 in") and second.startswith("Resizing: 3/3 in")
    assert between == "step 1"


@pytest.mark.parametrize(
    ("shares", "shown"),
    [
        ({"edits/none": 0.0, "edits/unused": 1.0}, "0%"),
        ({"edits/none": 0.25, "edits/unused": 0.5, "edits/shortened": 0.125}, "25%"),
        ({"edits/none": 0.1 + 0.2, "edits/unused": 0.7}, "0%"),
        ({"edits/none": 0.25}, "75%"),
    ],
)
def test_an_edit_that_was_not_used_is_no_edit(shares: dict[str, float], shown: str) -> None:
    line = StepLine(10, console=_console(40))
    metrics = {"step": 1, "reward/sampled/mean": 0.5, **shares}
    ends = line.header(metrics).plain.index("edit") + len("edit")
    assert line.line(metrics, {}).plain[:ends].split()[-1] == shown
