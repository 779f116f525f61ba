"""What notices, telemetry, lineage and experiments cost a run when all of them are switched on.

`fleetscore run` of the sensors' benchmark (2,000 sensors x 10,000 readings in one Parquet file, through the embedded host, start to
exit) with none of them and with all of them in alternation; the receivers are web servers of this process. Beside wall-clock seconds
stand processor seconds of the command, its host, and the process that sends when the command is over.
Prints the table that docs/benchmarks.md shows. Run: python benchmarks/neighbours.py [--pairs N] [--readings N]
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]  # a checkout that is not installed

from benchmarks.sensor_anomaly import forget_runs  # noqa: E402
from benchmarks.sensor_anomaly_rivals import SENSORS, WINDOW, make_estate  # noqa: E402
from fleetscore.process_environment import SCORING_ENVIRONMENT  # noqa: E402

SETTINGS = """
[[notify.targets]]
url_env = "FLEETSCORE_NOTIFY_CHAT"
style = "slack"
kinds = ["published", "run_failed", "drift", "anomalies"]

[[notify.targets]]
url_env = "FLEETSCORE_NOTIFY_EVENTS"
style = "cloudevents"
kinds = ["published"]
"""
EXPECTED = {"/chat": 1, "/events": 1, "/api/v1/lineage": 2}
"""What has to arrive of each run. MLflow gets trainings only, and a host that lives this short may end before its first export."""
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl: what a command leaves running becomes our child

Seconds = tuple[float, float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7, help="of runs without and with all of it")
    parser.add_argument("--readings", type=int, default=10_000, help="of each sensor")
    asked = parser.parse_args()
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory() as folder, receiving() as (url, arrived):
        store = make_estate(Path(folder), asked.readings)
        pairs = [measure_pair(store, url, turn) for turn in range(asked.pairs + 1)][1:]  # the first warms up
        check_arrived(arrived, asked.pairs + 1)
    print_table(pairs, asked.readings, arrived, asked.pairs + 1)


def measure_pair(store: Path, url: str, turn: int) -> dict[str, Seconds]:
    """Wall and processor seconds of a run without and one with all of it; turns change which comes first."""
    order = ("off", "on") if turn % 2 else ("on", "off")
    return {name: measure_run(store, environment_of(url) if name == "on" else {}) for name in order}


def measure_run(store: Path, environment: dict[str, str]) -> Seconds:
    """Wall seconds of `fleetscore run`, start to exit, and processor seconds of it and of all that it started."""
    forget_runs(store)
    for name in ("notices", "outbox", "refusals"):
        shutil.rmtree(store / name, ignore_errors=True)  # what is sent once is never sent again
    settings = store / "settings" / "sensor_anomaly.toml"
    settings.unlink(missing_ok=True)
    if environment:
        settings.parent.mkdir(exist_ok=True)
        settings.write_text(SETTINGS)
    command = [sys.executable, "-m", "fleetscore", "run", "sensor_anomaly"]
    command += ["--window", WINDOW, "--store", str(store)]
    whole = {**SCORING_ENVIRONMENT, **os.environ, "PYTHONPATH": str(HERE.parent), **environment}
    before, start = processor_s(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=whole)
    wall = time.perf_counter() - start
    wait_for_the_rest()
    return wall, processor_s() - before


def processor_s() -> float:
    """What the processes that have ended took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def wait_for_the_rest() -> None:
    """Wait for what the command left running, so that it takes nothing from the next."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def environment_of(url: str) -> dict[str, str]:
    """The variables that switch all of it on."""
    return {
        "FLEETSCORE_NOTIFY_CHAT": f"{url}/chat",
        "FLEETSCORE_NOTIFY_EVENTS": f"{url}/events",
        "FLEETSCORE_WEBHOOK_PRIVATE": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OPENLINEAGE_URL": url,
        "MLFLOW_TRACKING_URI": f"{url}/mlflow",
    }


@contextmanager
def receiving() -> Iterator[tuple[str, Counter[str]]]:
    """A web server that takes everything, and the number of requests by path."""
    arrived: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            path = urlsplit(self.path).path
            arrived[path] += 1
            answer = b"ok" if path == "/chat" else b""
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", arrived
    finally:
        server.shutdown()
        server.server_close()


def check_arrived(arrived: Counter[str], runs: int) -> None:
    """Refuse to print a figure of what was not sent, or twice; a try that ended with the host, at a minute's tick, waits for later."""
    wrong = {
        path: arrived[path]
        for path, number in EXPECTED.items()
        if not number * (runs - 1) // 2 < arrived[path] <= number * runs
    }
    if wrong:
        raise SystemExit(f"Of {runs} runs with all of it switched on not everything arrived once: {wrong}")


def print_table(pairs: list[dict[str, Seconds]], readings: int, arrived: Counter[str], runs: int) -> None:
    """Medians of both, and the median of the pairs' ratios."""
    load = f"{os.cpu_count()} cores, asked for {os.getloadavg()[0]:.0f} when this ended"
    requests = sum(arrived.values()) / runs
    print(
        f"{SENSORS:,} sensors x {readings:,} readings by `fleetscore run`; {len(pairs)} pairs of runs in alternation; {load}."
    )
    print(f"With all of it a run sends {requests:.0f} requests to receivers on this machine.\n")
    print("| | s | processor s |\n|---|--:|--:|")
    for name, title in (
        ("off", "nothing switched on"),
        ("on", "**notices, telemetry, lineage, experiments**"),
    ):
        wall, processor = (statistics.median(pair[name][which] for pair in pairs) for which in (0, 1))
        print(f"| {title} | {wall:.2f} | {processor:.2f} |")
    more = [
        100 * (statistics.median(pair["on"][which] / pair["off"][which] for pair in pairs) - 1)
        for which in (0, 1)
    ]
    print(f"| more, median of the pairs | {more[0]:+.1f} % | {more[1]:+.1f} % |")


if __name__ == "__main__":
    main()
