"""What offloading costs beside the scoring: submitting, orchestration per shard, and the way from a worker's commit to the collected run.

    python -m benchmarks.offload [10 100 1000]

The real app runs on the local host, storage is Azurite, Batch is the local service. Workers are forks of one process that has the
worker imported, since a thousand interpreters would measure this machine's start of Python; each still reads its plan, scores its shard,
commits it and sends its message. Figures go to benchmarks/results/offload.json.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import requests

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("results") / "offload.json"
TOYS = ROOT / "tests" / "pipeline"
SLOTS, NODES = 4, 2
PRELOADED = (
    "fleetscore.pipeline.offload",
    "fleetscore.pipeline.train",
    "fleetscore.store.blob",
    "fleetscore.store.queue",
    "numpy.ma",
    "toy_workload",
)
LOG_S = 0.002  # the host's log has milliseconds

_CLIENT = """
import json, os, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(os.environ["FORK_SERVER"])
s.sendall(json.dumps(dict(os.environ)).encode() + b"\\n")
sys.exit(int(s.makefile().readline()))
"""


def serve_forks(path: str) -> None:
    """Wait for environments on the socket and run the worker's entry point in a fork for each; answer its exit code."""
    sys.path[:0] = [str(ROOT), str(TOYS)]

    import worker_image.__main__ as worker

    for name in PRELOADED:
        import_module(name)

    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = server.accept()
        if os.fork() == 0:
            os.environ.update(json.loads(connection.makefile().readline()))
            code = 30
            try:
                code = worker.main()
            finally:
                with Path(path).with_name("exits.txt").open("a") as exits:
                    exits.write(f"{os.environ['FLEETSCORE_RUN']} {time.time()}\n")
                connection.sendall(f"{code}\n".encode())
                os._exit(0)
        connection.close()


@contextmanager
def process(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended with its group."""
    with log.open("wb") as out:
        started = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield started
    finally:
        os.killpg(started.pid, signal.SIGTERM)
        started.wait()


def until(look: Any, timeout_s: float = 3600.0) -> Any:
    """What `look` gives as soon as it gives anything."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise TimeoutError("waited in vain")


def measure(url: str, store: Any, count: int, folder: Path, host_pid: int) -> dict[str, Any]:
    """Run `count` shards of one partition and give the figures of the run."""
    window = f"2026-03-01T{len(str(count)):02d}"
    store.write(f"data/toy/{window}.csv", "".join(f"p{i},{i},ok\n" for i in range(count)).encode())
    store.write("settings/toy.toml", b"[run]\nbatch_shard_s = 1.0\ncheck_s = 30.0\n")
    store.delete("rates/toy.json")
    cpu_s = cpu_of(host_pid)
    run = requests.post(f"{url}/api/runs", json={"workload": "toy", "window": window}, timeout=60).json()[
        "id"
    ]
    until(lambda: store.stat(f"runs/{run}/usage.json"))
    until(
        lambda: requests.get(f"{url}/api/runs/{run}", timeout=60).json()["state"] in ("published", "failed")
    )
    record = requests.get(f"{url}/api/runs/{run}", timeout=60).json()["record"]
    assert (record["counts"], record["shards"]) == ({"scored": count}, count), record
    cpu_s = cpu_of(host_pid) - cpu_s
    log = (folder / "host.log").read_text()
    ((_, submit_s),) = activities_of(log, f"{run}-offload", "submit_shards")
    looks = activities_of(log, f"{run}-offload", "check_shards")
    exits = [line.split() for line in (folder / "exits.txt").read_text().splitlines()]
    ended = np.array(sorted(float(at) for name, at in exits if name == run))
    assert len(ended) == count
    collected = np.array([next(end for end, took_s in looks if end - took_s >= at - LOG_S) for at in ended])
    latency = collected - ended
    return {
        "tasks": count,
        "submit_s": round(submit_s, 3),
        "tasks_submitted_per_s": round(count / submit_s),
        "tasks_ended_per_s": round((count - 1) / (ended[-1] - ended[0]), 1),
        "host_cpu_ms_per_shard": round(1000 * cpu_s / count, 1),
        "looks": len(looks),
        "collected_after_exit_s": {
            "p50": round(float(np.median(latency)), 3),
            "p99": round(float(np.percentile(latency, 99)), 3),
        },
        "published_after_last_exit_s": round(
            datetime.fromisoformat(record["ended"]).timestamp() - ended[-1], 3
        ),
    }


def address_in(folder: Path) -> dict[str, str]:
    """What a local service has written to address.json, once it has."""
    path = folder / "address.json"
    found: dict[str, str] = until(lambda: path.exists() and json.loads(path.read_text()))
    return found


def cpu_of(pid: int) -> float:
    """CPU seconds of the process and all below it, those that ended included."""
    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(each.cpu_times()[:4]) for each in tree)


def activities_of(log: str, instance: str, activity: str) -> list[tuple[float, float]]:
    """End (UTC epoch seconds) and seconds of the instance's calls of the activity, from the host's log."""
    pattern = rf"^\[(\S+ \S+),(\d+)\] activity {activity} {re.escape(instance)}#\d+: ([\d.]+) s"
    found = re.findall(pattern, log, re.MULTILINE)
    return [
        (datetime.fromisoformat(f"{day}.{ms}+00:00").timestamp(), float(took_s)) for day, ms, took_s in found
    ]


def main(counts: list[int]) -> None:
    """Measure each count once, print a table, and keep the figures."""
    from fleetscore.cli.local_cloud import LocalBatch, cloud_environment, local_storage
    from fleetscore.store import open_store

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    folder = Path(tempfile.mkdtemp(prefix="offload-"))
    base = {**os.environ, "TZ": "UTC", "FLEETSCORE_WORKLOADS": "toy=toy_workload:Toy", "OMP_NUM_THREADS": "1"}
    base["PYTHONPATH"] = f"{ROOT}{os.pathsep}{TOYS}"
    server = str(folder / "forks.sock")
    pool = f'[[pools]]\nid = "local"\ntask_slots_per_node = {SLOTS}\ncontainers = true\ndedicated_nodes = {NODES}\n'
    (folder / "pool.toml").write_text(pool)
    (folder / "client.py").write_text(_CLIENT)
    with ExitStack() as stack:
        storage = stack.enter_context(local_storage(folder / "storage"))
        fork = [sys.executable, "-m", "benchmarks.offload", "--serve", server]
        stack.enter_context(process(fork, folder / "forks.log", base))
        batch_command = [
            sys.executable,
            "-m",
            "devbatch",
            "start",
            "--data",
            str(folder / "batch"),
            "--pool",
            str(folder / "pool.toml"),
        ]
        batch_command += ["--boot-seconds", "0", "--env", f"FORK_SERVER={server}"]
        batch_command += ["--image", f"fleetscore-worker={sys.executable} -S {folder / 'client.py'}"]
        stack.enter_context(process(batch_command, folder / "batch.log", base))
        address = address_in(folder / "batch")
        settings = cloud_environment(
            storage, LocalBatch(address["url"], address["ca_path"], "local"), "bench"
        )
        settings |= {"FLEETSCORE_BATCH_PLACEMENT": "batch"}
        host = [
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
        running = stack.enter_context(process(host, folder / "host.log", base | settings))
        url = address_in(folder / "host")["url"]
        until(lambda: Path(server).exists())
        store = open_store(settings["FLEETSCORE_STORE"])
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        told: dict[str, Any] = {"machine": machine, "slots": SLOTS * NODES, "runs": []}
        for count in counts:
            load = round(os.getloadavg()[0], 1)  # of others: figures of a busy machine are its figures
            told["runs"].append(measure(url, store, count, folder, running.pid) | {"load_before": load})
            RESULTS.write_text(json.dumps(told, indent=2) + "\n")
    print(json.dumps(told, indent=2))
    shutil.rmtree(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve_forks(sys.argv[2])
    else:
        main([int(word) for word in sys.argv[1:]] or [10, 100, 1000])
