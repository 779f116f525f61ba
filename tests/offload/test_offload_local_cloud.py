"""The services of the local cloud: ended with the command, named when one of them ends before it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fleetscore.cli.local_cloud import last_lines, local_batch, local_storage
from fleetscore.errors import CapacityError


def test_a_batch_service_that_dies_is_named_and_nothing_waits_for_it(tmp_path: Path) -> None:
    """Killed while the command uses it, the service is named within seconds with its exit code and its log."""
    began = time.monotonic()
    with (
        pytest.raises(CapacityError, match="local Batch service ended with code -9") as lost,
        local_batch(tmp_path, nodes=1, slots=1, boot_s=0.0),
    ):
        os.kill(json.loads((tmp_path / "address.json").read_text())["pid"], signal.SIGKILL)
        time.sleep(60)
    assert time.monotonic() - began < 30
    assert str(tmp_path / "service.log") in lost.value.fix


def test_a_service_that_dies_is_named_in_a_command_in_the_background(tmp_path: Path) -> None:
    """Shells start commands in the background with SIGINT ignored; a dead service ends the block there too."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with (
            pytest.raises(CapacityError, match="local Batch service ended with code -9"),
            local_batch(tmp_path, nodes=1, slots=1, boot_s=0.0),
        ):
            os.kill(json.loads((tmp_path / "address.json").read_text())["pid"], signal.SIGKILL)
            time.sleep(60)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_first_service_is_named_where_several_are_nested(tmp_path: Path) -> None:
    """Azurite dies below a living Batch service: the error is Azurite's, and both are ended."""
    with (
        pytest.raises(CapacityError, match="Azurite ended with code"),
        local_storage(tmp_path / "storage"),
        local_batch(tmp_path / "batch", nodes=1, slots=1, boot_s=0.0),
    ):
        batch_pid = json.loads((tmp_path / "batch" / "address.json").read_text())["pid"]
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        mine = [pid for pid in children if b"azurite" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(int(mine[-1]), signal.SIGKILL)  # the newest; another one may serve this process's other tests
        time.sleep(60)
    assert not Path(f"/proc/{batch_pid}").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ""),
        ("one\ntwo\n", "one\ntwo"),
        ("GET /a 200\nGET /b 200\n", "GET /b 200"),
        ("GET /a 200\n0123456789\n", "0123456789"),
        ("x\n0123456789abc\n", "...3456789abc"),
    ],
)
def test_the_words_of_a_log_begin_with_a_line(text: str, told: str) -> None:
    """The last whole lines within 10 characters; of a longer line its end, marked as such."""
    assert last_lines(text, 10) == told


@pytest.mark.slow
def test_the_command_ends_with_the_name_of_the_service_that_died(tmp_path: Path) -> None:
    """`fleetscore cloud` whose Batch service is killed says so on its last lines, and is no success."""
    command = [sys.executable, "-m", "fleetscore", "cloud", "--scale", "0.02", "--folder", str(tmp_path)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    address = tmp_path / "batch" / "address.json"
    while not address.exists() and running.poll() is None:
        time.sleep(0.05)
    os.kill(json.loads(address.read_text())["pid"], signal.SIGKILL)
    _, errors = running.communicate(timeout=100)
    assert running.returncode not in (0, None)
    assert "The local Batch service ended with code -9" in errors
    assert "service.log" in errors
