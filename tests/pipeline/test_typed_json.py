"""Typed JSON: records are read whole, by any number of threads at once."""

import ast
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from fleetscore.records import RunRequest
from fleetscore.typed_json import convert_value, decode_json

ROOT = Path(__file__).resolve().parents[2]

_FIRST_READS = """
import sys, threading
from fleetscore.records import RunRecord
from fleetscore.runs.index import RunLine
from fleetscore.typed_json import decode_json
import msgspec

def read(together):
    together.wait()
    for kind in (dict[str, RunLine], RunRecord):
        try:
            decode_json(b'{"run": {"request": {"workload": "a", "window": "b"}}}', kind)
        except msgspec.ValidationError:
            pass

sys.setswitchinterval(1e-6)
together = threading.Barrier(6)
threads = [threading.Thread(target=read, args=(together,)) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
"""Six threads that read the first record of its kind in the same moment, switched as often as Python can."""


def test_threads_that_read_the_first_record_at_once_do_not_crash() -> None:
    """Whatever threads a process begins with, its first records are read and not one process dies."""
    ended = [subprocess.run([sys.executable, "-c", _FIRST_READS], cwd=ROOT).returncode for _ in range(8)]
    assert ended == [0] * 8


@pytest.mark.parametrize("folder", ["fleetscore", "activities", "orchestrators", "triggers", "worker_image"])
def test_typed_values_are_read_in_one_place(folder: str) -> None:
    """No other file gives msgspec a type to read into: two threads that do so at once can crash the process."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("msgspec."):
                typed = any(keyword.arg == "type" for keyword in node.keywords)
                if typed or ast.unparse(node.func) == "msgspec.convert":
                    found.append(f"{path.relative_to(ROOT).as_posix()}:{node.lineno}")
    assert [place for place in found if not place.startswith("fleetscore/typed_json.py")] == []


def test_values_and_text_become_the_same_record() -> None:
    """JSON and plain values give equal records, and what does not fit is refused with the field's name."""
    plain = {"workload": "vans", "window": "2026-11-21", "run": "vans-2026-11-21", "round": 1,
             "requested": "2026-11-22T03:30:00Z", "who": "timer"}  # fmt: skip
    assert convert_value(plain, RunRequest) == decode_json(msgspec.json.encode(plain), RunRequest)
    with pytest.raises(msgspec.ValidationError, match="window"):
        convert_value(plain | {"window": 5}, RunRequest)
    assert convert_value({"a": "1.5"}, dict[str, float], strict=False) == {"a": 1.5}


def test_bytes_that_are_no_text_are_no_json() -> None:
    """A text that is no UTF-8 is refused like any other text that is no JSON."""
    with pytest.raises(msgspec.DecodeError, match="UTF-8"):
        decode_json(b'["\xf3peed"]', tuple[str, ...])
