"""Compiled code: made once for a kind of processor, read by every later process, and never a reason to fail."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetscore.capabilities import MakesSamples, require
from fleetscore.kernels.ahead import LISTED
from fleetscore.kernels.signatures import from_json, to_json
from fleetscore.pipeline.local import run_training
from fleetscore.registry import get_workload
from fleetscore.store import open_store

_ROOT = Path(__file__).resolve().parents[2]
_LOOP = """
from fleetscore.kernels.compiled import compiled

@compiled()
def total(numbers):
    sum = 0.0
    for number in numbers:
        sum += number
    return sum
"""
_CALL = """
import json, sys, tempfile
sys.path[:0] = [sys.argv[1]]
tempfile.tempdir = sys.argv[2]
from pathlib import Path
import numpy as np
from fleetscore.kernels import cache
cache.SHIPPED = Path("/proc/read-only")  # where nobody can write, not even root
from fleetscore.kernels.cache import COUNTS, own_folder
from loop import total
print(json.dumps([total(np.arange(4.0)), COUNTS, str(own_folder())]))
"""


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    """A folder with a module that declares one compiled function."""
    (tmp_path / "loop.py").write_text(_LOOP)
    return tmp_path


def _called(loop: Path, temporary: Path | str, **environment: str) -> tuple[float, dict[str, int], str, str]:
    """What a fresh process gets from the function, how often it compiled and loaded, where it keeps code, and what it logged.

    Beside the code nothing can be written, as in an image, and there is no home.
    """
    kept = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{_ROOT}:{':'.join(sys.path)}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", _CALL, str(loop), str(temporary)],
        capture_output=True,
        text=True,
        env=kept | environment,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    result, counts, folder = json.loads(done.stdout)
    return result, counts, folder, done.stderr


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    """A variable that names a folder which can be written."""
    return {"NUMBA_CACHE_DIR": str(tmp_path / "place")}


def test_where_nothing_can_be_written_everything_still_runs(loop: Path) -> None:
    """With a read-only tree, no home and no place for temporary files, a function is compiled for the process alone."""
    result, counts, folder, said = _called(loop, "/proc")
    assert (result, counts, folder) == (6.0, {"loaded": 0, "compiled": 1}, "None")
    assert "Traceback" not in said


def test_a_second_process_compiles_nothing(loop: Path, place: dict[str, str]) -> None:
    """What one process compiled the next one loads, wherever NUMBA_CACHE_DIR leads; another kind of processor compiles its own."""
    assert _called(loop, "/proc", **place)[:2] == (6.0, {"loaded": 0, "compiled": 1})
    assert _called(loop, "/proc", **place)[:2] == (6.0, {"loaded": 1, "compiled": 0})
    assert _called(loop, "/proc", NUMBA_CPU_NAME="generic", **place)[:2] == (
        6.0,
        {"loaded": 0, "compiled": 1},
    )


def test_damaged_code_is_compiled_again(loop: Path, place: dict[str, str]) -> None:
    """A file that cannot be read is as if it were not there, with a line in the log; the result is right."""
    _called(loop, "/proc", **place)
    damaged = list((loop / "place").rglob("*.nbc"))
    assert damaged
    for path in damaged:
        path.write_bytes(path.read_bytes()[:100])
    result, counts, _, said = _called(loop, "/proc", **place)
    assert (result, counts) == (6.0, {"loaded": 0, "compiled": 1})
    assert "cannot be read, so it is compiled again" in said
    assert _called(loop, "/proc", **place)[1] == {"loaded": 1, "compiled": 0}


def test_a_changed_source_is_compiled_again(loop: Path, place: dict[str, str]) -> None:
    """Code is that of the source's content, whatever its time says."""
    _called(loop, "/proc", **place)
    source = loop / "loop.py"
    times = (source.stat().st_atime, source.stat().st_mtime)
    source.write_text(_LOOP.replace("0.0", "1.0"))
    os.utime(source, times)
    assert _called(loop, "/proc", **place)[:2] == (7.0, {"loaded": 0, "compiled": 1})


def test_listed_types_come_back_as_they_were() -> None:
    """Every type in kernels.json is one that numba knows, and has one form as JSON."""
    listed: dict[str, dict[str, list[Any]]] = json.loads(LISTED.read_text())
    forms = [
        kind
        for functions in listed.values()
        for all_of in functions.values()
        for one in all_of
        for kind in one
    ]
    assert len(forms) > 100
    assert all(to_json(from_json(kind)) == kind for kind in forms)


def _declared(path: Path) -> Iterator[ast.FunctionDef]:
    """The functions of a module that are compiled as such, not built into their callers."""
    for node in ast.parse(path.read_text()).body:
        marks = [ast.unparse(mark) for mark in getattr(node, "decorator_list", ())]
        is_own = any(mark.partition("(")[0] == "compiled" and "inline" not in mark for mark in marks)
        if is_own and isinstance(node, ast.FunctionDef):
            yield node


def test_every_compiled_function_is_compiled_ahead() -> None:
    """Each is listed, or called by another one and so compiled with it; the list names none that is gone: infra/kernels.py writes it."""
    listed = json.loads(LISTED.read_text())
    declared = {
        f"{'.'.join(path.relative_to(_ROOT).with_suffix('').parts)}.{function.name}": function
        for path in (_ROOT / "fleetscore").rglob("*.py")
        for function in _declared(path)
    }
    called = {
        node.id
        for function in declared.values()
        for node in ast.walk(ast.Module(function.body, []))
        if isinstance(node, ast.Name)
    }
    known = {f"{module}.{name}" for module, functions in listed.items() for name in functions}
    assert len(declared) > 80
    assert known - declared.keys() == set()
    assert {name for name in declared.keys() - known if name.rsplit(".", 1)[1] not in called} == set()


_SCORE = """
import json, sys
sys.path[:0] = [sys.argv[1]]
from fleetscore.kernels import ahead, cache
if sys.argv[2] == "ahead":
    ahead.main()
else:
    from fleetscore.pipeline.local import run_window
    from fleetscore.store import open_store
    store = open_store(sys.argv[3])
    states = [str(run_window(store, name, window).state) for name, window in json.loads(sys.argv[4])]
    print(json.dumps([states, cache.COUNTS]))
"""


@pytest.mark.slow
@pytest.mark.timeout(
    1200
)  # about a minute of CPU time to compile everything, on a machine that may be shared
def test_what_is_compiled_ahead_is_all_that_scoring_needs(tmp_path: Path) -> None:
    """With the code compiled ahead beside it and no other place to keep any, a fresh process scores every kind and compiles nothing."""
    store, jobs = open_store(str(tmp_path / "store")), []
    for name, scale in {"sensor_anomaly": 0.05, "store_sales": 0.05, "server_load": 0.02}.items():
        report = require(get_workload(store, name), MakesSamples).samples(store, scale=scale, seed=7)
        run_training(store, name, str(report.facts["train_from"]), str(report.facts["train_to"]))
        jobs.append((name, report.first.key))
    tree = tmp_path / "tree"
    shutil.copytree(
        _ROOT / "fleetscore",
        tree / "fleetscore",
        ignore=shutil.ignore_patterns("__compiled__", "__pycache__"),
    )
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{tree}:{':'.join(sys.path)}"}
    for step in ("ahead", "score"):
        done = subprocess.run(
            [sys.executable, "-c", _SCORE, str(tree), step, store.url, json.dumps(jobs)],
            capture_output=True, text=True, env=kept, cwd="/",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
    states, counts = json.loads(done.stdout.splitlines()[-1])
    assert states == ["published"] * 3
    assert counts["compiled"] == 0
    assert counts["loaded"] > 3


_AT_ONCE = """
import threading
from importlib import import_module
names = [
    "fleetscore.kernels.cache", "fleetscore.kernels.signatures", "fleetscore.models.packs.linear",
    "fleetscore.models.packs.trees", "fleetscore.models.packs.tree_bits", "fleetscore.workloads.store_sales.forest_kernels",
]
start, failed = threading.Barrier(len(names)), []

def load(name):
    start.wait()
    try:
        import_module(name)
    except BaseException as error:
        failed.append(f"{name}: {error!r}")

threads = [threading.Thread(target=load, args=(name,)) for name in names]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not failed, failed
"""


def test_threads_may_import_the_kernels_at_once() -> None:
    """Activities are threads of one process: the first ones of an instance import numba together, and none finds a part of it."""
    done = subprocess.run(
        [sys.executable, "-c", _AT_ONCE], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_numba_is_imported_whole_before_its_parts() -> None:
    """Import of a part of a package does not wait for another thread that is importing the package; `import numba` does."""
    for path in sorted((_ROOT / "fleetscore").rglob("*.py")):
        imports = [
            node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = [n.module if isinstance(n, ast.ImportFrom) else n.names[0].name for n in imports]
        parts = [at for at, name in enumerate(names) if name and name.startswith(("numba.", "llvmlite"))]
        assert not parts or "numba" in names[: parts[0]], path
