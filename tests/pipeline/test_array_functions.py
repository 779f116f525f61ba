"""Compiled code starts without scipy, and linear algebra is there for whoever compiles it."""

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
print([one for one in sys.meta_path if type(one).__module__.startswith("fleetscore")])
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
    assert done.stdout.splitlines() == ["0.0 True False", "5.0 True", "[]"]
