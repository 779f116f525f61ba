"""Compiled code starts without scipy and without the compiler, and both are there for whoever compiles."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_FUNCTIONS = """
import numpy as np
from fleetscore.kernels.compiled import compiled

@compiled()
def first(numbers):
    return numbers[0]

@compiled()
def square(numbers):
    return np.dot(numbers, numbers)
"""
_CALLS = """
import sys
import numpy as np
import functions
print(functions.first(np.arange(3.0)), "numba.np.arraymath" in sys.modules, "scipy.linalg" in sys.modules)
print(functions.square(np.arange(3.0)), "scipy.linalg" in sys.modules)
import scipy.linalg
"""


@pytest.mark.slow
def test_linear_algebra_is_imported_by_the_function_that_needs_it(tmp_path: Path) -> None:
    """The first call of compiled code imports no scipy.linalg; a function that calls np.dot finds it later."""
    (tmp_path / "functions.py").write_text(_FUNCTIONS)
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join((str(tmp_path), root))
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": paths}
    command = [sys.executable, "-c", _CALLS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines() == ["0.0 True False", "5.0 True"]


_LOADS = """
import sys
import numpy as np
import functions
from fleetscore.kernels.cache import COUNTS
print(functions.first(np.arange(3.0)), COUNTS, "numba.np.linalg" in sys.modules)
print(functions.first_twice(np.arange(1.0, 3.0)), COUNTS, "scipy.linalg" in sys.modules)
"""
_CALLER = """
@compiled()
def first_twice(numbers):
    return first(numbers) + first(numbers) + np.arange(3).sum()
"""


def test_loaded_code_needs_no_compiler_and_can_be_compiled_into_others(tmp_path: Path) -> None:
    """A process that loads a function leaves the compiler's parts unloaded, and compiles a caller of that function all the same."""
    (tmp_path / "functions.py").write_text(_FUNCTIONS + _CALLER)
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join((str(tmp_path), root))
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": paths}
    for code in ("import numpy, functions; functions.first(numpy.arange(3.0))", _LOADS):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        )
    assert done.stdout.splitlines() == [
        "0.0 {'loaded': 1, 'compiled': 0} False",
        "5.0 {'loaded': 1, 'compiled': 1} False",
    ]


_IMPORTS = """
import sys, threading
from importlib.machinery import PathFinder
from fleetscore.kernels.array_functions import linear_algebra_hidden

entered, leave = threading.Event(), threading.Event()

def hide():
    with linear_algebra_hidden():
        entered.set()
        leave.wait()

class Before:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "some_module":
            leave.set()
            hiding.join()

hiding = threading.Thread(target=hide)
hiding.start()
entered.wait()
sys.meta_path.insert(sys.meta_path.index(PathFinder), Before)
import some_module
"""


def test_threads_that_hide_linear_algebra_hide_no_other_module(tmp_path: Path) -> None:
    """A module is found by a thread that goes through the finders while another stops to hide scipy.linalg."""
    (tmp_path / "some_module.py").touch()
    paths = os.pathsep.join((str(tmp_path), str(Path(__file__).resolve().parents[2])))
    subprocess.run([sys.executable, "-c", _IMPORTS], check=True, env={**os.environ, "PYTHONPATH": paths})
