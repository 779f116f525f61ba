"""The same month in a real browser: from the dashboard's first page each planted fault is at most two clicks away."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import month_estate as estate
import pytest
from browser import browser, keep_picture, resize
from month_faults import FAULTS, Fault
from month_story import Month

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    """One browser for all tests of this file."""
    with browser() as chrome:
        yield chrome


class Visitor:
    """Somebody who opens the dashboard's first page and clicks; `clicks` counts."""

    def __init__(self, chrome: Any, month: Month) -> None:
        self._chrome = chrome
        self.clicks = 0
        chrome.get(month.host.dashboard())

    def click(self, selector: str, text: str = "") -> None:
        """Click the first link that the selector finds, or the first with exactly that text."""
        links = self._chrome.find_elements("css selector", selector)
        found = [link for link in links if link.text == text] if text else links
        assert found, f"no {selector} {text} in: {self.text()}"
        found[0].click()
        self.clicks += 1

    def text(self) -> str:
        """What the page says."""
        return str(self._chrome.find_element("css selector", "main").text)

    def title(self) -> str:
        """The page's heading."""
        return str(self._chrome.find_element("css selector", "h1").text)


@pytest.fixture
def visitor(chrome: Any, month: Month) -> Visitor:
    """A visitor on the first page."""
    resize(chrome, 1280, 1000)
    return Visitor(chrome, month)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_named_at_once_and_its_run_and_story_are_two_clicks(
    visitor: Visitor, fault: Fault
) -> None:
    """The first page names cause and partition; the window's run says what happened, and the partition's story says it again."""
    for words in (fault.cause, fault.first, fault.last, fault.partition):
        assert words in visitor.text()
    visitor.click(f"#{fault.workload} ul.plain a", text=fault.window or fault.first)
    assert visitor.title() == fault.run
    for words in (fault.cause, fault.partition, fault.detail):
        assert words in visitor.text()
    visitor.click("table.list a", text=fault.partition)
    assert visitor.title() == fault.partition
    assert fault.cause in visitor.text()
    assert fault.detail in visitor.text()
    assert visitor.clicks == 2


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_example_of_a_fault_tells_its_story_after_one_click(visitor: Visitor, fault: Fault) -> None:
    """The partition that the first page names leads to a story with the same cause."""
    visitor.click(f"#{fault.workload} ul.plain a", text=fault.partition)
    assert visitor.title() == fault.partition
    assert fault.cause in visitor.text()


def test_late_data_is_seen_on_the_month_s_calendar(visitor: Visitor) -> None:
    """The workload's page, then the cell with a sign of its own: late data asked for its run, which scored what was missing alone."""
    visitor.click("#sensor_anomaly a", text="all runs")
    visitor.click(cell_of(f"{estate.LATE_HOUR} published again, all good"))
    assert visitor.title() == f"sensor_anomaly-{estate.LATE_HOUR}-r2"
    for words in ("by late data", "scored again", "missing", f"builds on sensor_anomaly-{estate.LATE_HOUR}"):
        assert words in visitor.text().replace("\n", " ")
    assert visitor.clicks == 2


@pytest.mark.parametrize("hour", ["2020-06-04T22", "2020-06-12T08", "2020-06-22T03"])
def test_any_hour_of_the_month_is_two_clicks_away(visitor: Visitor, hour: str) -> None:
    """A window in the midst of a fault, three weeks back: the workload's page, then its cell."""
    visitor.click("#sensor_anomaly a", text="all runs")
    visitor.click(cell_of(hour))
    assert visitor.title() == f"sensor_anomaly-{hour}"
    (fault,) = [f for f in FAULTS if f.workload == "sensor_anomaly" and f.first <= hour <= f.last]
    assert fault.cause in visitor.text()
    assert fault.detail in visitor.text()
    assert visitor.clicks == 2


def test_the_month_s_pages_are_small_and_whole(
    chrome: Any, visitor: Visitor, month: Month, tmp_path: Path
) -> None:
    """720 cells of hours on the workload's page, a week of them on the first; under 300 kB each, with the key in every link."""
    keep(chrome, tmp_path, "month")
    assert len(chrome.find_elements("css selector", "#server_load .calendar a")) == 30
    assert len(chrome.find_elements("css selector", "#store_sales .calendar a")) == 5
    assert 6 * 24 <= len(chrome.find_elements("css selector", "#sensor_anomaly .calendar a")) <= 7 * 24
    assert len(chrome.page_source.encode()) < 300_000
    visitor.click("#sensor_anomaly a", text="all runs")
    assert len(chrome.find_elements("css selector", ".calendar a")) == 720
    assert len(chrome.page_source.encode()) < 300_000
    keep(chrome, tmp_path, "month-of-hours")
    resize(chrome, 360, 780, is_phone=True)
    chrome.get(month.host.dashboard("workload=sensor_anomaly"))
    assert chrome.execute_script("return document.documentElement.scrollWidth") <= 360


def cell_of(words: str) -> str:
    """The selector of the calendar's cell whose label begins so."""
    return f'.calendar a[aria-label^="{words}"]'


def keep(chrome: Any, folder: Path, name: str) -> None:
    """A picture of the whole page."""
    height = int(chrome.execute_script("return document.documentElement.scrollHeight"))
    resize(chrome, 1280, min(height, 2000))
    keep_picture(chrome, folder, name)
