"""The demo, as a user starts it: through the real function app, from nothing to pictures, and again from what is there."""

import base64
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fleetscore.capabilities import MakesSamples
from fleetscore.cli.demo.chapters import (
    Chapter,
    demo_workloads,
    forget_other_scales,
    keep_chapter,
    read_state,
)
from fleetscore.records import PublishedRun
from fleetscore.registry import load_kind, shipped_kinds
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store import open_store

SVG = b"<svg"


def run_demo(folder: Path, *options: str) -> Any:
    """Run the demo as its own process and give what it prints as JSON."""
    command = [sys.executable, "-m", "fleetscore", "demo", "--folder", str(folder), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_chapter(folder: Path, chapter: Any) -> None:
    """Every window is published, the outcomes add up, and what the summary names is there."""
    assert chapter["windows_published"] == chapter["windows"]
    assert sum(chapter["counts"].values()) == chapter["expected"]
    store = open_store(str(folder / "store"))
    assert store.stat(chapter["results"]) is not None
    assert store.stat(chapter["ledger"]) is not None
    assert chapter["pictures"]
    for picture in chapter["pictures"]:
        assert Path(picture).read_bytes().startswith(SVG)


def check_page(told: Any) -> None:
    """One file with every picture inside, and nothing that is loaded from elsewhere."""
    page = Path(told["page"]).read_text()
    pictures = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert len(pictures) == sum(len(chapter["pictures"]) for chapter in told["chapters"])
    assert all(base64.b64decode(picture).startswith(SVG) for picture in pictures)
    assert not re.findall(r'(?:src|href)="(?!data:)', page)


@pytest.mark.slow
def test_the_demo_of_sensors_runs_from_nothing_and_again(tmp_path: Path) -> None:
    """24 hourly windows of a small estate; the second demo uses samples and models, and publishes each window anew."""
    options = ("--workload", "sensor_anomaly", "--scale", "0.05")
    told = run_demo(tmp_path, *options)
    (chapter,) = told["chapters"]
    check_chapter(tmp_path, chapter)
    check_page(told)
    assert (chapter["windows"], chapter["expected"]) == (24, 24 * 81)
    assert chapter["counts"] == {"scored": 24 * 79, "skipped": 24, "late": 24}
    judged = chapter["judged"]
    assert judged["planted"] == judged["found"] + judged["missed"] == 8
    assert judged["found"] >= 4  # by a budget of four alarms a day for all; faint ones and lone spikes hide

    store = open_store(str(tmp_path / "store"))
    first = read_manifest(store, "sensor_anomaly", chapter["last"])
    models = read_state(tmp_path).chapters["sensor_anomaly"].model_set
    again = run_demo(tmp_path, *options)
    second = read_manifest(store, "sensor_anomaly", chapter["last"])
    assert read_state(tmp_path).chapters["sensor_anomaly"].model_set == models
    assert second.run == f"{first.run}-r2"
    assert second.history == (PublishedRun(first.run, first.published, first.outcomes, first.rows),)
    assert read_results(store, second).equals(read_results(store, first))
    assert again["chapters"][0]["judged"] == judged


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_demo_shows_every_workload_within_three_minutes(tmp_path: Path) -> None:
    """All workloads at their full demo scale, in half a minute on two idle cores; a second demo neither samples nor trains."""
    started = time.perf_counter()
    told = run_demo(tmp_path)
    assert time.perf_counter() - started < 180  # the machine of a test run is seldom idle
    assert [chapter["workload"] for chapter in told["chapters"]] == demo_workloads()
    for chapter in told["chapters"]:
        check_chapter(tmp_path, chapter)
    check_page(told)

    def prepared() -> list[str]:
        store = open_store(str(tmp_path / "store"))
        training = [entry.path for entry in store.list("runs/") if "-train-" in entry.path]
        return training + [entry.etag for entry in store.list("data/")]

    before = prepared()
    again = run_demo(tmp_path)
    assert prepared() == before
    assert [chapter["counts"] for chapter in again["chapters"]] == [
        chapter["counts"] for chapter in told["chapters"]
    ]


def test_the_demo_shows_every_workload_that_ships() -> None:
    """Each shipped kind that makes samples has a chapter."""
    shipped = {name for name in shipped_kinds() if issubclass(load_kind(name), MakesSamples)}
    assert set(demo_workloads()) == shipped


def test_samples_of_another_size_start_afresh(tmp_path: Path) -> None:
    """Samples of two sizes are never mixed in one store; the same size keeps everything."""
    keep_chapter(tmp_path, Chapter("toy", 1.0, "a", "b", "", "", 1, 1, ()))
    (tmp_path / "store").mkdir()
    forget_other_scales(tmp_path, {"toy": 1.0})
    assert (tmp_path / "store").exists()
    forget_other_scales(tmp_path, {"toy": 0.5})
    assert not (tmp_path / "store").exists()
    assert not read_state(tmp_path).chapters


def test_a_state_that_cannot_be_read_is_no_state(tmp_path: Path) -> None:
    """A demo.json of another version, or cut off, costs a new preparation and no traceback."""
    assert not read_state(tmp_path).chapters
    (tmp_path / "demo.json").write_text('{"chapters": {"toy": ')
    assert not read_state(tmp_path).chapters
