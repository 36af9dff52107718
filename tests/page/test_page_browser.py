"""The page in a real browser: at both widths, by keyboard, in the dark, with a damaged file."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from editgrpo.page import OpenPage
from editgrpo.page import bench as bench_module
from tests.builders import noise
from tests.data.pixels.dicom_files import dicom, ramp
from tests.page.conftest import Opener
from tests.training.tiny_run import SENTENCES

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WAIT_S = 15


class Reader:
    """Somebody at a browser."""

    def __init__(self, driver: Any, page: OpenPage) -> None:
        self.driver, self.page = driver, page

    def look_at(self, width: int, *, is_dark: bool = False) -> None:
        """Open the page at a width, and wait until it can be used."""
        self.open(width, is_dark=is_dark)
        self.wait("document.querySelector('#state .ready')")
        enabled = "[...document.querySelectorAll('button:enabled')].map((b) => b.innerText)"
        self.wait(f"{enabled}.includes('Write report')")

    def open(self, width: int, *, is_dark: bool = False) -> None:
        """Open the page at a width."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get(self.page.address)

    def wait(self, script: str) -> Any:
        """Wait until something on the page is so, and return it."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, WAIT_S, poll_frequency=0.05).until(
            lambda driver: driver.execute_script(f"return {script}"), script
        )

    def find(self, selector: str) -> Any:
        """Return an element."""
        return self.driver.find_element("css selector", selector)

    def button(self, text: str) -> Any:
        """Return the visible button with a text."""
        shown = self.driver.find_elements("css selector", "button")
        return next(one for one in shown if one.text == text and one.is_displayed())

    def click(self, text: str) -> None:
        """Press a button."""
        self.driver.execute_script("arguments[0].click()", self.button(text))

    def pick_first(self) -> None:
        """Pick the first study of the list by keyboard."""
        from selenium.webdriver.common.keys import Keys

        box = self.find("input[aria-label^='Study']")
        box.click()
        self.wait("document.querySelector('[role=option]')")
        box.send_keys(Keys.ARROW_DOWN, Keys.ENTER)
        self.wait("document.querySelector('.film img')?.naturalWidth")

    def drop(self, timepoint: str, *paths: Path) -> None:
        """Drop files."""
        self.find(f"#{timepoint}-files input[type=file]").send_keys("\n".join(map(str, paths)))

    def reports(self, count: int) -> list[str]:
        """Wait for so many finished reports, and return their texts."""
        self.wait(f"document.querySelectorAll('.report').length === {count}")
        self.wait("document.querySelector('.columns[aria-busy=false] .report')")
        return list(
            self.wait("[...document.querySelectorAll('.report > .text')].map((p) => p.innerText)")
        )

    def overflow(self) -> int:
        """Return by how much the page is wider than the screen."""
        return int(
            self.driver.execute_script(
                "const page = document.documentElement; return page.scrollWidth - page.clientWidth"
            )
        )

    def errors(self) -> list[str]:
        """Return what the browser calls severe."""
        log = self.driver.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]


@pytest.fixture(scope="module")
def pages(browser: Any, tried: Any) -> Iterator[Callable[[int], Reader]]:
    """One page for one model and one for two, each opened when it is first asked for."""
    from contextlib import ExitStack

    from editgrpo.page import open_page

    readers: dict[int, Reader] = {}
    with ExitStack() as stack:

        def page(models: int) -> Reader:
            if models not in readers:
                opened = stack.enter_context(open_page([tried] * models))
                readers[models] = Reader(browser, opened)
            return readers[models]

        yield page


@pytest.mark.parametrize("width", [1280, 390])
def test_a_study_is_picked_written_sampled_and_scored(
    pages: Callable[[int], Reader], width: int
) -> None:
    reader = pages(1)
    reader.look_at(width)
    reader.pick_first()
    assert reader.overflow() == 0
    reader.click("Write report")
    (likeliest,) = reader.reports(1)
    reader.click("Sample more")
    first, *samples = reader.reports(4)  # the likeliest and three
    assert first == likeliest
    reader.click("Sample more")
    assert reader.reports(7)[:4] == [first, *samples]
    reader.click("Edit and score")
    reader.wait("document.querySelectorAll('.report .edit').length === 7")
    total = reader.find(".report .total").text.split()
    assert total[0] == "total" and float(total[2]) >= float(total[1])
    assert reader.overflow() == 0
    assert reader.errors() == []
    elsewhere = "performance.getEntriesByType('resource').map((r) => r.name)"
    fetched = reader.driver.execute_script(f"return {elsewhere}")
    assert fetched
    assert [one for one in fetched if not one.startswith((reader.page.address, "data:"))] == []


def test_scores_go_when_the_reference_changes_and_reports_when_the_study_does(
    pages: Callable[[int], Reader],
) -> None:
    reader = pages(1)
    reader.look_at(1280)
    reader.pick_first()
    reader.click("Write report")
    reader.reports(1)
    box = reader.find("#reference textarea")
    box.clear()
    box.send_keys(f"{SENTENCES[0]} {SENTENCES[2]}")
    reader.click("Edit and score")
    reader.wait("document.querySelector('.report .edit')")
    box.send_keys(" No")
    reader.wait("!document.querySelector('.report .edit')")
    reader.reports(1)
    reader.find("#indication textarea").send_keys("Cough")
    reader.wait("!document.querySelector('.report')")


def test_scores_of_another_study_do_not_come_back(
    pages: Callable[[int], Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate, ended = threading.Event(), threading.Event(), threading.Event()
    original = bench_module.Bench.judge

    def slowly(*arguments: Any) -> Any:
        begun.set()
        assert gate.wait(WAIT_S)
        try:
            return original(*arguments)
        finally:
            ended.set()

    monkeypatch.setattr(bench_module.Bench, "judge", slowly)
    reader = pages(1)
    reader.look_at(1280)
    reader.pick_first()
    reader.click("Write report")
    reader.reports(1)
    reader.click("Edit and score")
    assert begun.wait(WAIT_S)
    reader.find("#indication textarea").send_keys("Cough")
    reader.wait("!document.querySelector('.report')")
    gate.set()
    assert ended.wait(WAIT_S)
    time.sleep(0.5)  # as long as an answer may take
    assert not reader.driver.find_elements("css selector", ".report")


def test_everything_is_reached_by_keyboard(pages: Callable[[int], Reader]) -> None:
    from selenium.webdriver.common.keys import Keys

    reader = pages(1)
    reader.look_at(1280)
    reader.pick_first()
    reached: list[str] = []
    name = (
        "const e = document.activeElement; return e.innerText || e.getAttribute('aria-label')"
        " || e.closest('label, .block')?.innerText || e.tagName"
    )
    for _ in range(40):
        reader.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(reader.driver.execute_script(name).strip().partition("\n")[0])
        if reached[-1] == "Write report":
            break
    wanted = ["View of current film 1", "Remove", "Indication", "Technique", "Comparison"]
    assert [one for one in dict.fromkeys(reached) if one in wanted] == wanted
    assert reached.count("Drop File Here") == 2
    reader.driver.switch_to.active_element.send_keys(Keys.ENTER)
    reader.reports(1)


def test_a_damaged_file_is_named_with_what_to_do(
    pages: Callable[[int], Reader], tmp_path: Path
) -> None:
    reader = pages(1)
    reader.look_at(390)
    damaged = tmp_path / "left lateral.jpg"
    noise(60, 60).save(damaged)
    damaged.write_bytes(damaged.read_bytes()[:-300])
    reader.drop("current", damaged)
    message = reader.wait("document.querySelector('#message [role=alert]')?.innerText")
    assert message == "left lateral.jpg: image is truncated or damaged; get the file again"
    assert reader.overflow() == 0
    assert not reader.driver.find_elements("css selector", ".film")
    reader.click("Write report")
    expected = "There is no film; add one, or pick a study."
    reader.wait(f"document.querySelector('#message')?.innerText === '{expected}'")


def test_dropped_films_have_their_views_and_leave_no_file(
    pages: Callable[[int], Reader], tmp_path: Path
) -> None:
    reader = pages(1)
    reader.look_at(1280)
    film, prior = tmp_path / "12345.dcm", tmp_path / "AP.png"
    film.write_bytes(dicom(ramp(12, height=90, width=80), ViewPosition="LL"))
    noise(90, 80).save(prior)
    same = tmp_path / "PA.png"
    same.write_bytes(prior.read_bytes())  # Gradio keeps files of one content in one folder
    reader.drop("current", film)
    reader.wait("document.querySelectorAll('.film').length === 1")
    reader.drop("prior", prior, same)
    reader.wait("document.querySelectorAll('.film').length === 3")
    values = "[...document.querySelectorAll('input[aria-label^=View]')].map((i) => i.value)"
    assert reader.wait(values) == ["lateral", "AP", "PA"]
    uploads = reader.page.folder / "uploads"
    assert [path for path in uploads.rglob("*") if path.is_file() and path.stat().st_size] == []
    reader.click("Write report")
    reader.reports(1)
    reader.click("Remove")
    reader.wait("document.querySelectorAll('.film').length === 2")
    assert reader.wait(values) == ["AP", "PA"]
    assert not reader.driver.find_elements("css selector", ".report")


def test_two_models_stand_side_by_side_and_below_each_other_on_a_phone(
    pages: Callable[[int], Reader],
) -> None:
    reader = pages(2)
    reader.look_at(1280)
    reader.pick_first()
    reader.click("Write report")
    first, second = reader.reports(2)
    assert first == second  # one model twice
    tops = "[...document.querySelectorAll('.of-model')].map((c) => c.getBoundingClientRect().top)"
    left, right = reader.wait(tops)
    assert left == right
    reader.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": True},
    )
    upper, lower = reader.wait(tops)
    assert upper < lower
    assert reader.overflow() == 0


def test_in_the_dark_the_page_is_dark_and_its_text_can_be_read(
    pages: Callable[[int], Reader],
) -> None:
    reader = pages(1)
    reader.look_at(1280, is_dark=True)
    reader.pick_first()
    reader.click("Write report")
    reader.reports(1)
    reader.click("Edit and score")
    reader.wait("document.querySelector('.report .edit')")
    colours = """
        const found = [];
        for (const one of document.querySelectorAll('.report .text, .report th, .report td, .badge,'
            + ' ins, del, .warning, .state')) {
          let ground = one;
          while (/rgba\\(.*, 0\\)|transparent/.test(getComputedStyle(ground).backgroundColor))
            ground = ground.parentElement;
          const of = (c) => c.match(/[\\d.]+/g).slice(0, 3).map(Number);
          const style = getComputedStyle(one);
          found.push([of(style.color), of(getComputedStyle(ground).backgroundColor)]);
        }
        return found;
    """
    pairs = reader.driver.execute_script(colours)
    assert pairs
    assert all(luminance(ground) < 0.2 for _, ground in pairs)
    assert min(contrast(text, ground) for text, ground in pairs) >= 4.5  # WCAG 2.2, 1.4.3


def test_the_page_is_there_before_the_model_and_opens_by_itself(
    browser: Any, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, original = threading.Event(), bench_module.load_model

    def slowly(*arguments: Any) -> Any:
        assert gate.wait(WAIT_S)
        return original(*arguments)

    monkeypatch.setattr(bench_module, "load_model", slowly)
    with opened() as page:
        reader = Reader(browser, page)
        reader.open(1280)
        reader.wait("document.querySelector('#state .loading')?.innerText.includes('checkpoint')")
        assert not reader.button("Write report").is_enabled()
        assert not reader.find("input[aria-label^='Study']").is_enabled()
        gate.set()
        reader.wait("document.querySelector('#state .ready')")
        reader.pick_first()
        reader.click("Write report")
        reader.reports(1)


def luminance(colour: list[float]) -> float:
    """Return the relative luminance of an sRGB colour (WCAG 2.2)."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (channel / 255 for channel in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(text: list[float], ground: list[float]) -> float:
    """Return the contrast of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted([luminance(text), luminance(ground)])
    return (high + 0.05) / (low + 0.05)
