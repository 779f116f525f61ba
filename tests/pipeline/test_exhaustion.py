"""What counts as a lack of memory, threads or file handles, seen from real lacks in a process of its own."""

import subprocess
import sys

import pytest

_LACKS = {
    "memory for a library": "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
    "resource.setrlimit(resource.RLIMIT_AS, (size + 2_000_000, size + 2_000_000))\nimport pyarrow",
    "handles for a library": "used = len(os.listdir('/proc/self/fd')) - 1\n"
    "resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))\nctypes.CDLL('libgomp.so.1')",
    "handles for a file": "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\nopen(os.devnull)",
    "memory": "bytearray(1 << 60)",
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
