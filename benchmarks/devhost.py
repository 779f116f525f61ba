"""What the local host costs: throughput, memory, latency under load, and cost per activity from 100 to 100,000.

Run: python benchmarks/devhost.py [--quick]. Prints a Markdown table and draws docs/images/devhost.png.
The host is a process of its own with SQLite on disk, synchronous=FULL, and one worker process a core.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import psutil
import requests

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "devhost.png"
APP = '''
import time
import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.activity_trigger(input_name="x")
def nothing(x: int) -> int:
    return x

@app.activity_trigger(input_name="x")
def pause(x: int) -> int:
    time.sleep(0.02)
    return x

@app.orchestration_trigger(context_name="context")
def tree(context):
    """Fan out: the input is the width of every level, of which the last are activities."""
    widths = context.get_input()
    if len(widths) == 1:
        results = yield context.task_all([context.call_activity(nothing, i) for i in range(widths[0])])
        return len(results)
    results = yield context.task_all([context.call_sub_orchestrator("tree", widths[1:]) for _ in range(widths[0])])
    return sum(results)

@app.orchestration_trigger(context_name="context")
def pauses(context):
    results = yield context.task_all([context.call_activity(pause, i) for i in range(context.get_input())])
    return len(results)

@app.orchestration_trigger(context_name="context")
def empty(context):
    return None

@app.route(route="start/{name}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client) -> func.HttpResponse:
    instance_id = await client.start_new(req.route_params["name"], client_input=req.get_json())
    return client.create_check_status_response(req, instance_id)
'''


class Memory(threading.Thread):
    """Samples the memory of a process and its children: proportional set size, so that shared pages count once."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0.0
        self._process = psutil.Process(pid)
        self._ended = threading.Event()

    def run(self) -> None:
        """Sample until stopped."""
        self._sample()
        while not self._ended.wait(0.3):
            self._sample()

    def _sample(self) -> None:
        total = 0
        for process in [self._process, *self._process.children(recursive=True)]:
            try:
                total += process.memory_full_info().pss
            except psutil.NoSuchProcess:
                continue
        self.peak_mb = max(self.peak_mb, total / 1e6)

    def stop(self) -> float:
        """Stop and return the peak in megabytes."""
        self._ended.set()
        self.join()
        return self.peak_mb


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its children have used: what other programs do counts not."""
    parent = psutil.Process(pid)
    times = [process.cpu_times() for process in (parent, *parent.children(recursive=True))]
    return sum(each.user + each.system for each in times)


class Host:
    """A running host and a session to talk to it."""

    def __init__(self, folder: Path) -> None:
        (folder / "app").mkdir()
        (folder / "app" / "function_app.py").write_text(APP)
        command = [sys.executable, "-m", "devhost", "start", str(folder / "app"), "--port", "0"]
        self.started = time.perf_counter()
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--data", str(folder / "data")], cwd=ROOT, stdout=log, stderr=log
            )
        address = folder / "data" / "address.json"
        while not address.exists():
            assert self.process.poll() is None, (folder / "log").read_text()
            time.sleep(0.002)
        self.start_s = time.perf_counter() - self.started
        self.url = json.loads(address.read_text())["url"]
        self.session = requests.Session()

    def start(self, name: str, given: Any) -> str:
        """Start an orchestration through the app's HTTP function; return its status URL."""
        answer = self.session.post(f"{self.url}/api/start/{name}", json=given, timeout=60)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["statusQueryGetUri"])

    def wait(self, status_url: str) -> Any:
        """Return the output once the instance has completed."""
        while (answer := self.session.get(status_url, timeout=60)).status_code == 202:
            time.sleep(0.02)
        body = answer.json()
        assert body["runtimeStatus"] == "Completed", body
        return body["output"]


@contextmanager
def running_host() -> Iterator[Host]:
    """A fresh host with an empty history."""
    with tempfile.TemporaryDirectory() as folder:
        host = Host(Path(folder))
        try:
            yield host
        finally:
            host.process.terminate()
            host.process.wait()


def measure_tree(widths: list[int]) -> dict[str, float]:
    """Run one tree of no-op activities on a fresh host."""
    with running_host() as host:
        host.wait(host.start("tree", [1]))  # the first call connects clients and loads code
        memory = Memory(host.process.pid)
        memory.start()
        started, used = time.perf_counter(), cpu_seconds(host.process.pid)
        leaves = host.wait(host.start("tree", widths))
        seconds, cpu_s = time.perf_counter() - started, cpu_seconds(host.process.pid) - used
        peak_mb = memory.stop()
    count = prod(widths)
    assert leaves == count, (leaves, count)
    return {"activities": count, "seconds": seconds, "cpu_s": cpu_s, "peak_mb": peak_mb}


def measure_starts(queued: int, starts: int) -> list[float]:
    """Start empty orchestrations through an HTTP function while activities are queued; return milliseconds each."""
    with running_host() as host:
        host.wait(host.start("empty", 0))
        busy = host.start("pauses", queued)
        time.sleep(0.5)  # the orchestration has queued its activities
        taken = []
        for _ in range(starts):
            started = time.perf_counter()
            host.start("empty", 0)
            taken.append(1000 * (time.perf_counter() - started))
        assert host.session.get(busy, timeout=60).status_code == 202, (
            "the activities ended before the starts; queue more"
        )
    return taken


def draw(lines: list[dict[str, float]]) -> None:
    """Chart milliseconds per activity against activities."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = pyplot.subplots(figsize=(6, 3.2), layout="constrained")
    sizes = [each["activities"] for each in lines]
    axes.semilogx(sizes, [_cost_ms(each, "seconds") for each in lines], "o-", label="by the clock")
    axes.semilogx(
        sizes, [_cost_ms(each, "cpu_s") for each in lines], "s--", label="processor time, all processes"
    )
    axes.legend()
    axes.set(
        xlabel="activities in one run",
        ylabel="ms per activity",
        title="Cost of an activity on the local host",
    )
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.savefig(PICTURE, dpi=110)


def _cost_ms(line: dict[str, float], what: str) -> float:
    return 1000 * line[what] / line["activities"]


def main(arguments: list[str]) -> None:
    """Measure and print."""
    trees = [[100], [10, 100], [100, 100]] + ([] if "--quick" in arguments else [[10, 100, 100]])
    lines = [measure_tree(widths) for widths in trees]
    taken = sorted(measure_starts(queued=1000, starts=200))
    with running_host() as host:
        start_s = host.start_s
    print(
        f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f} at the end\n"
    )
    print("| activities in one run | seconds | ms per activity | processor ms per activity | peak memory |")
    print("|---:|---:|---:|---:|---:|")
    for each in lines:
        costs = f"{_cost_ms(each, 'seconds'):.2f} | {_cost_ms(each, 'cpu_s'):.2f}"
        print(f"| {each['activities']:,.0f} | {each['seconds']:.2f} | {costs} | {each['peak_mb']:.0f} MB |")
    print("\nProcessor time and memory are those of all processes of the host together.")
    print(
        f"\nHTTP start while 1,000 activities are queued: median {statistics.median(taken):.1f} ms, "
        f"95th percentile {taken[int(0.95 * len(taken))]:.1f} ms. From start to listening: {start_s:.2f} s."
    )
    if "--quick" not in arguments:
        draw(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
