"""Memory stays bounded, however large a file is and however many servers it names."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetscore.sources import DataSettings
from fleetscore.sources.request import budget_of
from fleetscore.store.local import LocalStore
from fleetscore.workloads.server_load import kernel
from fleetscore.workloads.server_load.layouts import LAYOUTS
from fleetscore.workloads.server_load.parse import parse_piece, read_piece
from fleetscore.workloads.server_load.samples import Shape, generate_days, write_day

_LIMIT_BYTES = 1_000_000_000

_PREPARE = """
import json, sys
from fleetscore.models.pins import Pins
from fleetscore.store.local import LocalStore
from fleetscore.workload import RunContext
from fleetscore.workloads.server_load.workload import ServerLoad
store, workload = LocalStore.from_url(sys.argv[1]), ServerLoad()
run = RunContext(store, workload, workload.parse_window("2016-06-30"), Pins("none"))
while items := workload.map_items(run):
    for item in items:
        workload.map_item(run, item)
status = open("/proc/self/status").read()
print(json.dumps(int(status.partition("VmHWM:")[2].split()[0]) * 1024))
"""
"""VmHWM, since a process inherits ru_maxrss from the one that started it."""


def test_more_servers_than_the_table_holds(store: LocalStore, line: Callable[..., str]) -> None:
    """When a range names more servers than the working table holds, the table is emptied in between and no row is lost."""
    count = kernel.SERVERS + 5_000
    rows = [
        line("2016-06-29 01:00:00", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", n % 1000) for n in range(count)
    ]
    text = "\n".join([*rows, rows[0]]).encode()
    store.write("data/server_load/a.csv", text)
    budget = budget_of("data/server_load/a.csv", DataSettings())
    piece = read_piece(store, "data/server_load/a.csv", 0, len(text), budget)
    assert piece is not None
    table, counts = parse_piece(piece, LAYOUTS["17"])
    assert counts.kept == count + 1
    assert sum(table["load"].to_pylist()) == 10_000 * sum(n % 1000 for n in range(count))
    assert len(set(table["server"].to_pylist())) == count


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Preparing one file stays below 1 GB, and a file three times as large takes hardly more."""
    shape = Shape(300, 4, 16_979, 50.0)
    block = tmp_path / "block.csv"
    with block.open("wb") as file:
        for day in generate_days(shape):
            write_day(file, day, shape)
    peaks = []
    for times in (2, 6):
        folder = tmp_path / str(times) / "data/server_load"
        folder.mkdir(parents=True)
        with (folder / "log.csv").open("wb") as file:
            for _ in range(times):
                file.write(block.read_bytes())
        command = [sys.executable, "-c", _PREPARE, str(tmp_path / str(times))]
        peaks.append(json.loads(subprocess.check_output(command, text=True)))
    assert peaks[1] < _LIMIT_BYTES
    assert peaks[1] < 1.25 * peaks[0]
