"""What counts as a lack of memory, threads or file handles, seen from real lacks in a process of its own."""

import contextlib
import itertools
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deltalake
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LinearRegression

from fleetscore.errors import DamagedStateError, StoreError
from fleetscore.records import InputFile
from fleetscore.sources.delta_tables import pin_tables
from fleetscore.sources.landing import _pump
from fleetscore.sources.patterns import parse_pattern
from fleetscore.sources.reading import belongs_to
from fleetscore.sources.settings import DataSettings
from fleetscore.store import open_store
from fleetscore.store.local import LocalStore
from fleetscore.store.tables import open_truth
from fleetscore.workloads.models.fitting import KeyRows, fit_key
from fleetscore.workloads.sensor_anomaly.examining import examine_file
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings

_LACKS = {
    "memory for a library": "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
    "resource.setrlimit(resource.RLIMIT_AS, (size + 2_000_000, size + 2_000_000))\nimport pyarrow",
    "handles for a library": "used = len(os.listdir('/proc/self/fd')) - 1\n"
    "resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))\nctypes.CDLL('libgomp.so.1')",
    "handles for a file": "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\nopen(os.devnull)",
    "memory": "bytearray(1 << 60)",
    "memory for Arrow's threads": "import pyarrow.csv\n"
    "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
    "resource.setrlimit(resource.RLIMIT_AS, (size + 9_500_000, size + 9_500_000))\n"
    "pyarrow.csv.read_csv(pyarrow.BufferReader(b'a\\n1\\n'))",
}
_PROGRAM = """
import ctypes, os, resource, traceback
from fleetscore.exhaustion import is_exhausted
try:
    exec({code!r})
except BaseException as error:
    print(is_exhausted(error), repr(error))
else:
    print("nothing was raised")
"""


@pytest.mark.parametrize("lack", _LACKS)
def test_a_lack_is_known_by_what_is_raised(lack: str) -> None:
    """A library that finds no memory or handle to be loaded is a lack as a failed allocation is, so the attempt is repeated."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(code=_LACKS[lack])], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("True "), done.stdout


def test_a_library_that_is_not_there_is_no_lack() -> None:
    """It stays away however often the attempt is repeated."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(code="ctypes.CDLL('libnowhere.so.1')")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("False "), done.stdout


@contextlib.contextmanager
def no_handles() -> Iterator[None]:
    """In the block this process can open nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Handleless(LocalStore):
    """A folder in which files are listed, and cannot be opened for lack of handles."""

    def open(self, path: str) -> pa.NativeFile:
        """What the kernel answers."""
        with no_handles():
            return pa.OSFile(str(self.root / path))


def open_nothing() -> None:
    """Raise what the kernel answers."""
    with no_handles():
        Path(os.devnull).read_bytes()


def test_a_lack_is_not_taken_for_a_damaged_file(tmp_path: Path) -> None:
    """Neither a file of the user's nor state is called damaged for handles that this process lacks."""
    pq.write_table(pa.table({"a": [1]}), tmp_path / "file.parquet")
    with pytest.raises(OSError, match="Too many open files"), belongs_to("file.csv"):
        open_nothing()
    with (
        pytest.raises(OSError, match="Too many open files"),
        open_truth(open_store(str(tmp_path)), "file.parquet"),
    ):
        open_nothing()  # fmt: skip


def test_a_lack_passes_over_no_delta_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table whose log cannot be opened for want of handles is not left out of the window, which would be published without it."""
    deltalake.write_deltalake(str(tmp_path / "data/t"), pa.table({"a": [1]}))
    monkeypatch.setattr(deltalake, "DeltaTable", lambda *_, **__: open_nothing())
    pinned = pin_tables(
        open_store(str(tmp_path)), ["data/t/"], parse_pattern("data/t"), [], DataSettings(format="delta")
    )
    with pytest.raises(OSError, match="Too many open files"):
        list(pinned)


def test_a_lack_keeps_nothing_in_the_catalogue(tmp_path: Path) -> None:
    """A catalogue that keeps a file as unreadable would lose its readings for good."""
    pq.write_table(pa.table({"time": [1], "device": ["d"], "sensor": ["s"], "value": [1.0]}), tmp_path / "f.parquet")  # fmt: skip
    with pytest.raises(OSError, match="Too many open files"):
        examine_file(Handleless(tmp_path), InputFile("f.parquet", "1", 1), SensorSettings())


def test_a_lack_fails_no_key_that_is_trained() -> None:
    """A library that finds no thread fails the attempt, which is repeated, and not the key."""

    def lacks() -> None:
        raise RuntimeError("can't start new thread")

    rows = KeyRows(np.zeros((20, 1)), np.arange(20.0), 20)
    with pytest.raises(RuntimeError, match="can't start"):
        fit_key(lacks, rows, ["a"], "predict", None, 10, lambda x: None)


def test_an_outage_fails_no_key_that_is_trained() -> None:
    """A store that does not answer when the model in use is opened fails the attempt: compared with none, any model were better."""

    def unanswered(x: Any) -> None:
        raise StoreError("The store did not answer.")

    rows = KeyRows(np.zeros((40, 1)), np.arange(40.0), 40)
    with pytest.raises(StoreError):
        fit_key(LinearRegression, rows, ["a"], "predict", 0.2, 10, unanswered)


def test_a_file_that_asks_for_more_memory_than_there_can_be_is_damaged(tmp_path: Path) -> None:
    """With memory left, the size that a file names is the file's own fault."""
    pq.write_table(pa.table({"a": [1]}), tmp_path / "file.parquet")
    with pytest.raises(DamagedStateError), open_truth(open_store(str(tmp_path)), "file.parquet"):
        pa.allocate_buffer(1 << 62)


def test_a_writer_that_fails_in_any_way_ends_the_landing(tmp_path: Path) -> None:
    """Its thread ended with an error of another kind, and the reader waited for a place in the queue for ever."""
    batch = pa.record_batch({"a": [1]})
    writer = pq.ParquetWriter(tmp_path / "landed.parquet", batch.schema)
    writer.close()  # an AssertionError at each further batch
    with pytest.raises(AssertionError):
        _pump(itertools.repeat(batch, 1_000), writer, "", lambda batch: batch)
