"""The report in a real browser: nothing overflows or fails, and the controls do their work."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from editgrpo.data.overview.prevalence import LabelRequest
from editgrpo.data.overview.statistics import set_statistics
from editgrpo.display.html import write_report
from editgrpo.display.html.data_page import write_data_page
from editgrpo.reports.rules import RulesLabeler
from tests.data.described import described_set
from tests.display.run_folders import write_demo

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    runs = write_demo(folder)
    write_report(runs, folder / "report.html", title="Demo", studies=folder / "studies")
    return folder / "report.html"


def _open(browser: Any, page: Path, width: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.get("about:blank")  # a change of the fragment alone would not load the page again
    browser.get(page.as_uri())


def _wait(browser: Any, script: str, *arguments: Any) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 15, poll_frequency=0.05).until(
        lambda driver: driver.execute_script(f"return {script}", *arguments), script
    )


def _find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def _click(browser: Any, selector: str) -> None:
    browser.execute_script("arguments[0].click()", _find(browser, selector))


def _text(browser: Any, selector: str) -> str:
    return str(browser.execute_script("return arguments[0].innerText", _find(browser, selector)))


def _draw_everything(browser: Any) -> None:
    """Bring every chart into view once: charts are drawn when they are first seen."""
    for plot in browser.find_elements("css selector", ".plot"):
        browser.execute_script("arguments[0].scrollIntoView({behavior: 'instant'})", plot)
        _wait(browser, "arguments[0].classList.contains('js-plotly-plot')", plot)


@pytest.mark.parametrize("width", [1280, 390])
def test_every_chart_is_drawn_without_overflow_or_error(
    browser: Any, page: Path, width: int
) -> None:
    _open(browser, page, width)
    _draw_everything(browser)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(f"return {overflow}") == 0
    drawn = len(browser.find_elements("css selector", ".js-plotly-plot .main-svg"))
    assert drawn >= len(browser.find_elements("css selector", ".plot"))
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    assert browser.execute_script("return performance.getEntriesByType('resource')") == []
    assert browser.execute_script("return window.broken") is None


@pytest.mark.parametrize("width", [1280, 390])
def test_next_study_filter_and_search(browser: Any, page: Path, width: int) -> None:
    _open(browser, page, width)
    first = _text(browser, "#study")
    _click(browser, "#next")
    assert _text(browser, "#study") != first
    assert _text(browser, "#study h3").startswith("Study a-")
    _click(browser, "#previous")
    assert _text(browser, "#study") == first

    choose = "const s = document.getElementById('by-rule'); s.value = arguments[0];"
    browser.execute_script(choose + "s.dispatchEvent(new Event('change'))", "deletion")
    assert "deletion" in _text(browser, "#study .badge")
    assert browser.find_elements("css selector", "#study del")
    assert not browser.find_elements("css selector", "#study ins")
    _wait(browser, "[...document.querySelectorAll('#study img')].every((i) => i.naturalWidth > 0)")
    browser.execute_script(choose + "s.dispatchEvent(new Event('change'))", "")

    _find(browser, "#by-study").send_keys("a-00")
    assert "a-00" in _text(browser, "#study h3")
    _find(browser, "#by-study").send_keys("nothing-of-this-name")
    assert _text(browser, "#position") == "no study fits"


def test_pages_can_be_turned_by_key_and_sent_as_an_address(browser: Any, page: Path) -> None:
    _open(browser, page, 1280)
    before = _text(browser, "#position")
    _find(browser, "#study").send_keys("\ue014")  # right arrow
    after = _text(browser, "#position")
    assert after != before
    address = browser.current_url
    browser.get("about:blank")
    browser.get(address)
    assert _text(browser, "#position") == after


def test_predictions_of_all_systems_stand_side_by_side(browser: Any, page: Path) -> None:
    _open(browser, page, 1280)
    _click(browser, "[data-mode=predictions]")
    cards = browser.find_elements("css selector", "#study .text .head")
    names = [browser.execute_script("return arguments[0].innerText", card) for card in cards]
    assert names == ["Reference report", "sft", "sft-continued", "dr-grpo", "editgrpo"]


def test_reports_cannot_run_scripts(browser: Any, page: Path) -> None:
    _open(browser, page, 1280)
    _find(browser, "#by-study").send_keys("a-007")
    assert "<script>" in _text(browser, "#study")
    assert browser.execute_script("return window.broken") is None


def test_systems_and_curves_can_be_switched_off(browser: Any, page: Path) -> None:
    _open(browser, page, 1280)
    plot = "document.querySelector('[data-plot=reward]')"
    browser.execute_script(f"{plot}.scrollIntoView({{behavior: 'instant'}})")
    _wait(browser, f"{plot}.data !== undefined")
    names = f"{plot}.data.filter((t) => t.name).map((t) => t.name)"
    assert _wait(browser, names) == ["dr-grpo", "editgrpo", "editgrpo, edited"]
    _click(browser, "[data-show=edited]")
    assert _wait(browser, names) == ["dr-grpo", "editgrpo"]
    _click(browser, ".chip[data-run='2']")
    assert _wait(browser, names) == ["editgrpo"]
    assert _find(browser, ".chip[data-run='2']").get_attribute("aria-pressed") == "false"
    _click(browser, "[data-show=band]")
    assert browser.execute_script(f"return {plot}.data.length") == 1

    raw = browser.execute_script(f"return Array.from({plot}.data[0].y)")
    smooth = "const s = document.getElementById('smoothing'); s.value = '25';"
    browser.execute_script(smooth + "s.dispatchEvent(new Event('change'))")
    smoothed = browser.execute_script(f"return Array.from({plot}.data[0].y)")

    def roughness(values: list[float]) -> float:
        return sum(abs(b - a) for a, b in itertools.pairwise(values))

    assert roughness(smoothed) < roughness(raw)


def test_theme_changes_the_page_and_the_charts(browser: Any, page: Path) -> None:
    _open(browser, page, 1280)
    ground = "getComputedStyle(document.body).backgroundColor"
    before = browser.execute_script(f"return {ground}")
    _click(browser, "#theme")
    assert browser.execute_script(f"return {ground}") != before
    assert [entry["message"] for entry in browser.get_log("browser")] == []


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_of_a_data_set_is_drawn_without_overflow_or_error(
    browser: Any, tmp_path: Path, width: int
) -> None:
    labels = LabelRequest(labeler=RulesLabeler())
    statistics = set_statistics(described_set(tmp_path / "set"), labels=labels)
    write_data_page(statistics, tmp_path / "set.html")
    _open(browser, tmp_path / "set.html", width)
    _draw_everything(browser)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(f"return {overflow}") == 0
    _click(browser, "#theme")
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    assert browser.execute_script("return performance.getEntriesByType('resource')") == []


def test_a_page_that_is_watched_loads_itself_again_and_stays_where_it_was(
    browser: Any, page: Path, tmp_path: Path
) -> None:
    runs, output = [page.parent / "sft", tmp_path / "awaited"], tmp_path / "report.html"
    write_report(runs, output, title="Live", may_be_new=True, reload_s=2)
    _open(browser, output, 390)
    theme = "document.documentElement.dataset.theme"
    browser.execute_script("window.isOld = true; document.getElementById('theme').click()")
    chosen = browser.execute_script(f"return {theme}")
    browser.execute_script("scrollTo({top: 700, behavior: 'instant'})")
    _wait(browser, "!window.isOld && document.readyState === 'complete'")
    assert _wait(browser, "Math.round(scrollY)") == 700
    assert browser.execute_script(f"return {theme}") == chosen
    assert "Waiting for the run to begin" in _text(browser, "#overview")
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    browser.get("about:blank")


def test_a_page_of_a_run_that_has_not_begun_is_whole(browser: Any, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    write_report([tmp_path / "awaited"], output, title="Live", may_be_new=True, reload_s=60)
    _open(browser, output, 1280)
    assert "loads itself again every 60 seconds" in _text(browser, ".live")
    assert [entry["message"] for entry in browser.get_log("browser")] == []
