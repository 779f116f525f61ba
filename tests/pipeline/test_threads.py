"""Everything that a process shares, used from eight threads at once, as activities on Azure use it."""

import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleetscore.models.packs.onnx_graphs import Sessions
from fleetscore.workloads.sensor_anomaly import fitted
from fleetscore.workloads.server_load.parse import _free_tables, _working_table

_ROOT = Path(__file__).resolve().parents[2]
_THREADS = 8


def _at_once(work: Callable[[int], Any]) -> list[Any]:
    """What `work` gives for each of eight threads that begin at the same moment; raises what one of them raises."""
    barrier = threading.Barrier(_THREADS)

    def step(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(step, range(_THREADS)))


@pytest.fixture
def restless() -> Any:
    """Threads change every few microseconds, so that what is not guarded is met half done."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a dozen CPU seconds of compiling, and training, on a machine that may be shared
def test_eight_threads_publish_what_one_thread_publishes(azurite: str, tmp_path: Path) -> None:
    """In a fresh process without compiled code, eight runs of three kinds at once, on Blob storage, give what single ones give."""
    blobs = next(part.split("=", 1)[1] for part in azurite.split(";") if part.startswith("BlobEndpoint="))
    stores = [f"{blobs.rstrip('/')}/threads{uuid.uuid4().hex[:12]}" for _ in range(2)]
    program = Path(__file__).with_name("threads_program.py")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "numba"), "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(
        [sys.executable, str(program), *stores], capture_output=True, text=True, cwd=_ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["differing"] == []
    assert told["runs"] == _THREADS
    assert told["rows"] > 1000


def _first_use(*words: str) -> Any:
    """What first_use_program.py says in a process of its own."""
    program = Path(__file__).with_name("first_use_program.py")
    environment = os.environ | {"PYTHONPATH": str(_ROOT)}
    done = subprocess.run(
        [sys.executable, str(program), *words], capture_output=True, text=True, cwd=_ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(1800)  # five processes that import everything and change threads at every microsecond
def test_the_first_uses_of_a_process_may_come_at_once(tmp_path: Path) -> None:
    """In fresh processes whose eight threads import, compile and read everything for the first time at once, nothing fails."""
    jobs = _first_use("prepare", str(tmp_path / "store"))
    lives = []
    for life in range(4):
        copied = tmp_path / f"store{life}"
        shutil.copytree(tmp_path / "store", copied)
        lives.append(_first_use("use", str(copied), json.dumps(jobs), str(life)))
    assert [life["failed"] for life in lives] == [[]] * 4
    assert all(life["rows"] == lives[0]["rows"] for life in lives)
    assert sum(lives[0]["rows"].values()) > 1000


def test_packs_are_read_while_others_are_dropped(restless: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads read 40 packs through a cache that holds three: each gets the pack that it asked for."""
    monkeypatch.setattr(fitted, "read_model_set", lambda *_: None)
    monkeypatch.setattr(fitted, "read_model_file", lambda _store, _set, name: name.encode().ljust(100))
    monkeypatch.setattr(fitted, "read_pack", lambda data: data.strip().decode())
    cache = fitted._PackCache(300)

    class Named:
        url = "memory"

    def work(seed: int) -> None:
        for number in np.random.default_rng(seed).integers(0, 40, 3000).tolist():
            assert cache.get(Named(), "w", "v", number) == fitted.pack_name(number)  # type: ignore[arg-type, comparison-overlap]

    _at_once(work)


def test_a_session_is_made_once_by_eight_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads that ask for the same graph get one session; its size is counted once."""
    opened = []

    def slowly(graph: bytes) -> object:
        opened.append(graph)
        threading.Event().wait(0.05)
        return object()

    monkeypatch.setattr("fleetscore.models.packs.onnx_graphs.open_session", slowly)
    sessions = Sessions()
    made = _at_once(lambda _: sessions.session(b"graph"))
    assert len(set(map(id, made))) == len(opened) == sessions.made == 1


def test_a_working_table_has_one_user_and_is_used_again() -> None:
    """Eight threads at once hold eight tables; those that come later take the same ones, so memory follows what is done at once."""
    _free_tables.clear()
    inside = threading.Barrier(_THREADS)

    def hold(_: int) -> int:
        with _working_table() as table:
            inside.wait()
            return id(table)

    first = _at_once(hold)
    assert len(set(first)) == _THREADS
    for _ in range(20):
        with _working_table() as table:
            assert id(table) in first
    assert len(_free_tables) == _THREADS
    _free_tables.clear()
