"""The dashboard in a real browser: every view, live, on a phone, in the dark, without scripts. Faults are found in tests/operate."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from app_host import Host, running
from browser import browser, keep_picture, prefer, resize
from toy_workload import write_lines

from fleetscore.capabilities import MakesSamples, require
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.registry import get_workload
from fleetscore.runs.manifests import read_latest, read_manifest, read_results
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.windows import windows_between

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]
SCALES = {"sensor_anomaly": 0.1, "store_sales": 0.5, "server_load": 0.5}
EVIL = "<img src=x onerror=window.hacked=1>"
CORRUPT_WINDOW = "2026-03-04T23"  # the last of the sensors' samples


@pytest.fixture(scope="module")
def estate(session_toy: None, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The sample data of all workloads, trained and scored, with their planted faults; and a model set that was corrupted."""
    store = open_store(str(tmp_path_factory.mktemp("estate") / "store"))
    for name, scale in SCALES.items():
        workload = require(get_workload(store, name), MakesSamples)
        report = workload.samples(store, scale=scale, seed=7)
        run_training(store, name, report.facts["train_from"], report.facts["train_to"])
        for window in list(windows_between(report.first, report.stop))[-13:]:
            if window.key != CORRUPT_WINDOW:
                run_window(store, name, window.key)
    _corrupt_models(store, "sensor_anomaly")
    run_window(store, "sensor_anomaly", CORRUPT_WINDOW)
    write_lines(
        store,
        "2026-01-01T00",
        [(f"p{n}", n, "fail" if n == 3 else "ok") for n in range(40)] + [(EVIL, 1, "fail")],
    )
    run_window(store, "toy", "2026-01-01T00")
    return store


def _corrupt_models(store: Store, workload: str) -> None:
    """Turn a bit of every model file of the set that is in use."""
    from fleetscore.models.pins import read_pins

    version = read_pins(store, workload).current
    for entry in list(store.list(f"models/{workload}/{version}/")):
        if not entry.path.endswith(".json"):
            data = bytearray(store.read(entry.path))
            data[len(data) // 2] ^= 1
            store.write(entry.path, bytes(data))


@pytest.fixture(scope="module")
def host(estate: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The app over the estate, demanding keys."""
    with running(Host(tmp_path_factory.mktemp("browser"), FLEETSCORE_STORE=estate.url)) as host:
        yield host


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    """One browser for all tests of this file."""
    with browser() as chrome:
        yield chrome


@pytest.fixture(autouse=True)
def plain_screen(chrome: Any) -> None:
    """Every test begins on a light desktop."""
    resize(chrome, 1280, 1000)
    prefer(chrome, "light")


def visit(chrome: Any, host: Host, query: str = "") -> str:
    """Open the view; it must load nothing further and complain about nothing. Gives its text."""
    chrome.get(host.dashboard(query))
    assert chrome.execute_script("return performance.getEntriesByType('resource').length") == 0
    complaints = [entry for entry in chrome.get_log("browser") if "favicon" not in entry["message"]]
    assert complaints == []
    return str(chrome.find_element("css selector", "main").text)


def fit_height(chrome: Any, width: int = 1280, most: int = 1700) -> None:
    """Make the screen as high as the page, so that a picture shows all of it."""
    height = chrome.execute_script("return document.documentElement.scrollHeight")
    resize(chrome, width, min(int(height), most))


def test_the_overview_shows_all_workloads(chrome: Any, host: Host, tmp_path: Path) -> None:
    """Calendars of hours, days and weeks, each cell a link with words; the picture is kept."""
    text = visit(chrome, host)
    for name in SCALES:
        assert name in text
        cells = chrome.find_elements("css selector", f"#{name} .calendar td a")
        assert cells, name
        assert all(cell.get_attribute("aria-label") and cell.text for cell in cells)
        assert min(cell.size["width"] * cell.size["height"] for cell in cells) >= 12 * 20
    fit_height(chrome)
    assert keep_picture(chrome, tmp_path, "overview").stat().st_size > 20_000


def test_a_run_is_told_with_its_timeline(chrome: Any, host: Host, estate: Store, tmp_path: Path) -> None:
    """Outcomes, causes, a bar per shard that says what it is; a search leads to the story of a partition."""
    latest = read_latest(estate, "store_sales")
    assert latest is not None
    text = visit(chrome, host, f"run=store_sales-{latest.window}")
    assert "quarantined" in text
    assert "too_many_rejects" in text
    bars = chrome.find_elements("css selector", "svg.chart rect title")
    assert bars
    assert all("shard" in bar.get_attribute("textContent") for bar in bars)
    fit_height(chrome)
    keep_picture(chrome, tmp_path, "run")
    field = chrome.find_element("css selector", "input[type=search]")
    field.send_keys("S010")
    field.submit()
    assert chrome.find_element("css selector", "h1").text == "S010"
    fit_height(chrome)
    keep_picture(chrome, tmp_path, "story")


def test_readings_are_drawn_with_every_anomaly(
    chrome: Any, host: Host, estate: Store, tmp_path: Path
) -> None:
    """As many diamonds as the published rows of the same hours have anomalies (counted from the files)."""
    latest = read_latest(estate, "sensor_anomaly")
    assert latest is not None
    visit(chrome, host, "view=results&workload=sensor_anomaly")
    panels = [title.text for title in chrome.find_elements("css selector", "text.panel")]
    assert len(panels) == 3
    device, sensor = panels[0].split(":")[0].split(" / ")
    window = get_workload(estate, "sensor_anomaly").parse_window(latest.window)
    expected = readings = 0
    for back in range(12):
        rows = read_results(estate, read_manifest(estate, "sensor_anomaly", window.next(-back).key))
        mine = rows.filter(pc.and_(pc.equal(rows["device"], device), pc.equal(rows["sensor"], sensor)))
        expected += pc.sum(mine["anomaly"]).as_py() or 0
        readings += mine.num_rows
    first = chrome.find_elements("css selector", "svg.chart")[0]
    assert len(first.find_elements("css selector", "path.anomaly")) == expected
    assert panels[0] == f"{device} / {sensor}: {expected} of {readings:,} readings are anomalies"
    assert first.find_element("css selector", "path.series").size["width"] > 500
    fit_height(chrome)
    keep_picture(chrome, tmp_path, "readings")


def test_sales_are_drawn_with_bands_and_a_dashed_median(chrome: Any, host: Host, tmp_path: Path) -> None:
    """History solid, median dashed and inside the 50 % band, which is inside the 90 % band; chosen SKUs are drawn."""
    visit(chrome, host, "view=results&workload=store_sales")
    fit_height(chrome)
    keep_picture(chrome, tmp_path, "sales")
    panel = chrome.find_elements("css selector", "svg.chart")[0]
    style = "return getComputedStyle(arguments[0]).strokeDasharray"
    assert chrome.execute_script(style, panel.find_element("css selector", ".median")) != "none"
    assert chrome.execute_script(style, panel.find_element("css selector", ".history")) == "none"
    box = "const b = arguments[0].getBBox(); return [b.y, b.y + b.height, b.width]"
    wide, narrow, median = (
        chrome.execute_script(box, panel.find_element("css selector", name))
        for name in (".band90", ".band50", ".median")
    )
    assert wide[0] <= narrow[0] <= median[0] <= median[1] <= narrow[1] <= wide[1]
    assert wide[2] == narrow[2] == median[2] > 0
    other = chrome.find_element("css selector", "p.pills a")
    key = other.text
    other.click()
    assert key.split("/")[-1] in chrome.find_element("css selector", "text.panel").text


def test_load_classes_are_a_heat_map(chrome: Any, host: Host, estate: Store, tmp_path: Path) -> None:
    """The hours told by the bars of each class are those of the published rows."""
    latest = read_latest(estate, "server_load")
    assert latest is not None
    visit(chrome, host, "view=results&workload=server_load")
    rows = read_results(estate, read_manifest(estate, "server_load", latest.window))
    published = {e["values"]: e["counts"] for e in pc.value_counts(rows["load_class"]).to_pylist()}
    drawn: dict[str, int] = {}
    for title in chrome.find_elements("css selector", "svg.chart rect title"):
        hours, name = title.get_attribute("textContent").rsplit(", ", 1)[1].split(" h: ")
        drawn[name] = drawn.get(name, 0) + int(hours)
    assert drawn == published
    fit_height(chrome)
    keep_picture(chrome, tmp_path, "load")


def test_a_key_that_is_markup_does_nothing(chrome: Any, host: Host) -> None:
    """Shown as text on the run's page, in a search and in its story; no script of it runs."""
    for query in (
        "run=toy-2026-01-01T00",
        "run=toy-2026-01-01T00&find=img",
        "run=toy-2026-01-01T00&outcome=failed",
    ):
        assert EVIL in visit(chrome, host, query)
    chrome.find_element("partial link text", "<img").click()
    assert chrome.find_element("css selector", "h1").text == EVIL
    assert chrome.execute_script("return window.hacked") is None
    assert chrome.find_elements("css selector", "img") == []


def test_a_run_under_way_is_shown_live(chrome: Any, host: Host, estate: Store, tmp_path: Path) -> None:
    """Figures and timeline move without a reload, and the page ends by itself at the run's verdict."""
    window = "2026-01-01T09"
    estate.write("settings/toy.toml", b"slow_s = 0.15\n")
    estate.delete("rates/toy.json")  # small shards
    write_lines(estate, window, [(f"p{n}", n, "fail" if n == 5 else "slow") for n in range(150)])
    run = host.post("runs", {"workload": "toy", "window": window}).json()["id"]
    chrome.get(host.dashboard(f"run={run}"))
    chrome.execute_script("window.same = true")
    seen = set()
    deadline = time.monotonic() + 90
    kept = False
    shown = "return [document.querySelector('main').innerText, document.querySelector('.chip').innerText]"
    while "published with failures" not in (told := chrome.execute_script(shown))[0]:
        text, chip = told
        assert time.monotonic() < deadline, text
        seen.add(chip)
        if "to do" in text and " shards" in text and not kept and "not known yet" not in text:
            fit_height(chrome)
            keep_picture(chrome, tmp_path, "live")
            kept = True
        time.sleep(0.3)
    assert "▸ scoring" in seen
    assert chrome.execute_script("return window.same") is True
    assert chrome.execute_script("return document.body.dataset.every") == ""
    assert [
        e for e in chrome.get_log("browser") if e["level"] == "SEVERE" and "favicon" not in e["message"]
    ] == []


@pytest.mark.parametrize(
    "query",
    [
        "", "workload=sensor_anomaly", "run=toy-2026-01-01T00", "run=toy-2026-01-01T00&partition=p3",
        "view=results&workload=sensor_anomaly", "view=results&workload=store_sales", "view=results&workload=server_load",
    ],
)  # fmt: skip
def test_a_phone_shows_every_view_without_scrolling_sideways(
    chrome: Any, host: Host, query: str, tmp_path: Path
) -> None:
    """360 pixels are enough: only pictures scroll within themselves, and tables show their rows as lines, each number with its name."""
    resize(chrome, 360, 780, is_phone=True)
    visit(chrome, host, query)
    assert chrome.execute_script("return document.documentElement.scrollWidth") <= 360
    tables = "[...document.querySelectorAll('table.list')].map(e => e.parentElement)"
    assert all(chrome.execute_script(f"return {tables}.map(e => e.scrollWidth <= e.clientWidth)"))
    if not query:
        keep_picture(chrome, tmp_path, "phone")


_CONTRAST = """
const light = color => {
  const [r, g, b] = color.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b;
};
const rgb = text => text.match(/[\\d.]+/g).map(Number);
const behind = e => {
  for (; e; e = e.parentElement) {
    const color = rgb(getComputedStyle(e).backgroundColor);
    if (color.length < 4 || color[3] > 0) return color;
  }
  return [255, 255, 255];
};
const says = e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim());
const ratio = e => {
  const a = light(rgb(getComputedStyle(e).color).slice(0, 3)), b = light(behind(e).slice(0, 3));
  return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
};
return [...document.querySelectorAll('main *, header *')]
  .filter(e => says(e) && e.getClientRects().length && !e.closest('svg'))
  .map(e => [ratio(e), e.className || e.tagName, e.textContent.slice(0, 30)])
  .filter(([found]) => found < 4.5);
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_in_both_looks(chrome: Any, host: Host, scheme: str, tmp_path: Path) -> None:
    """Every text has a contrast of 4.5 to 1 with what is behind it (WCAG 2.1, AA), light and dark."""
    prefer(chrome, scheme)
    for query in (
        "",
        "run=toy-2026-01-01T00",
        "run=toy-2026-01-01T00&partition=p3",
        "view=results&workload=store_sales",
    ):
        visit(chrome, host, query)
        assert chrome.execute_script(_CONTRAST) == []
    if scheme == "dark":
        visit(chrome, host, "view=results&workload=server_load")
        keep_picture(chrome, tmp_path, "dark")


def test_the_numbers_are_there_without_scripts(host: Host) -> None:
    """With scripts switched off, counts, causes and pictures are shown all the same."""
    with browser(has_script=False) as plain:
        plain.get(host.dashboard("run=toy-2026-01-01T00"))
        text = plain.find_element("css selector", "main").text
        assert "41" in text
        assert "bad_value" in text
        assert plain.find_elements("css selector", "svg.chart rect")


def test_without_a_key_the_browser_gets_nothing(chrome: Any, host: Host) -> None:
    """The app's endpoint stays shut."""
    chrome.get(f"{host.url}/api/dashboard")
    assert "Newest runs" not in chrome.page_source
