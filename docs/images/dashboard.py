"""Take the pictures of docs/dashboard.md: sample data of the three workloads, three days of sensors, one corrupted model set.

Run: python docs/images/dashboard.py [STORE_FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "dashboard"), str(ROOT / "tests" / "pipeline")]

from app_host import Host, running  # noqa: E402  # the path has to be set first
from browser import browser, prefer, resize  # noqa: E402

from fleetscore.capabilities import MakesSamples, require  # noqa: E402
from fleetscore.models.pins import read_pins  # noqa: E402
from fleetscore.pipeline.local import run_training, run_window  # noqa: E402
from fleetscore.registry import get_workload, kind_names  # noqa: E402
from fleetscore.store import open_store  # noqa: E402
from fleetscore.store.base import Store  # noqa: E402
from fleetscore.windows import windows_between  # noqa: E402

COLORS, WIDTH = 200, 1100
CORRUPTED, LEFT_OUT = "2026-03-04T14", "2026-03-04T09"


def main(folder: Path) -> None:
    """Make the store unless it is there, and take every picture."""
    store = open_store(str(folder / "store"))
    if next(iter(store.list("runs/")), None) is None:
        fill(store)
    with running(Host(folder, FLEETSCORE_STORE=store.url)) as host, browser() as chrome:
        take(chrome, host, "overview", "")
        take(chrome, host, "run", "run=store_sales-2026-W47")
        take(chrome, host, "story", "run=sensor_anomaly-2026-03-04T22&partition=pump-0005/current")
        take(chrome, host, "readings", "view=results&workload=sensor_anomaly")
        take(chrome, host, "sales", "view=results&workload=store_sales", most=1250)
        take(chrome, host, "load", "view=results&workload=server_load", most=660)
        prefer(chrome, "dark")
        take(chrome, host, "dark", "run=sensor_anomaly-2026-03-04T14", most=900)
        prefer(chrome, "light")
        take(chrome, host, "phone", "", width=390, most=1200)


def fill(store: Store) -> None:
    """All sample windows, and for the sensors those before as well: good days, a dead sensor, a corrupted model set, a gap."""
    for name in kind_names():
        workload = get_workload(store, name)
        report = require(workload, MakesSamples).samples(store, seed=7)
        facts = report.facts
        run_training(store, name, facts["train_from"], facts["train_to"])
        first = workload.parse_window(facts["train_from"]) if name == "sensor_anomaly" else report.first
        for window in windows_between(first, report.stop):
            if name == "sensor_anomaly" and window.key == CORRUPTED:
                with_corrupted_models(store, window.key)
            elif name != "sensor_anomaly" or window.key != LEFT_OUT:
                run_window(store, name, window.key)


def with_corrupted_models(store: Store, window: str) -> None:
    """Run the window while a bit of its models is turned."""
    version = read_pins(store, "sensor_anomaly").current
    paths = [
        entry.path
        for entry in store.list(f"models/sensor_anomaly/{version}/")
        if not entry.path.endswith(".json")
    ]
    kept = {path: store.read(path) for path in paths}
    for path, data in kept.items():
        turned = bytearray(data)
        turned[len(turned) // 2] ^= 1
        store.write(path, bytes(turned))
    run_window(store, "sensor_anomaly", window)
    for path, data in kept.items():
        store.write(path, data)


def take(chrome: Any, host: Host, name: str, query: str, *, width: int = 1280, most: int = 1600) -> None:
    """One picture, as high as the page but at most so high, in few colours."""
    resize(chrome, width, 800, is_phone=width < 600)
    chrome.get(host.dashboard(query))
    height = int(chrome.execute_script("return document.documentElement.scrollHeight"))
    resize(chrome, width, min(height, most), is_phone=width < 600)
    path = HERE / f"dashboard-{name}.png"
    chrome.save_screenshot(str(path))
    with Image.open(path) as picture:
        to = min(WIDTH, picture.width)
        small = picture.convert("RGB").resize(
            (to, round(picture.height * to / picture.width)), Image.Resampling.LANCZOS
        )
        small.quantize(COLORS, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch))
