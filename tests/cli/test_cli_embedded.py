"""The embedded host: found, started, reused, stopped where it was started, and started again when it dies."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from said import Command
from toy_workload import write_lines

from fleetscore.errors import CapacityError, HostUnreachableError, SettingsError
from fleetscore.fleet.carried import app_folder
from fleetscore.fleet.connection import Connection
from fleetscore.fleet.embedded_host import SCHEDULES, Address, EmbeddedHost, host_environment, host_folder
from fleetscore.fleet.remote import RemoteFleet
from fleetscore.fleet.store_access import absolute_store_url
from fleetscore.process_environment import MEMORY_TUNABLES
from fleetscore.runs.manifests import read_manifest
from fleetscore.store.base import Store

WINDOW = "2026-01-01T00"


@pytest.fixture
def host(store: Store) -> Iterator[EmbeddedHost]:
    """The store's host, not started yet; stopped in the end."""
    host = EmbeddedHost(store.url)
    yield host
    host.stop()


def test_a_running_host_is_reused_and_left_running(
    host: EmbeddedHost, program: Command, store: Store
) -> None:
    """A command that finds a host uses it and does not stop it; whoever started it does."""
    url = host.ensure()
    write_lines(store, WINDOW, [("a", 1, "ok")])
    assert program("run", "toy", "--window", WINDOW).code == 0
    found = host.find()
    assert found is not None
    assert (found.url, host.ensure()) == (url, url)
    log = (host.folder / "host.log").read_text()
    assert log.count("Listening on") == 1
    host.stop()
    assert host.find() is None


def test_a_second_host_of_a_store_is_refused(host: EmbeddedHost, program: Command) -> None:
    """`fleetscore host` says where the first one runs, and exits with 2."""
    url = host.ensure()
    said = program("host", "--port", "0")
    assert said.code == 2
    assert url in said.err


def test_the_host_command_serves_until_it_is_stopped(
    host: EmbeddedHost, store: Store, program: Command
) -> None:
    """`fleetscore host` is the app on the local host: commands find it, and SIGTERM ends it with its workers."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    serving = subprocess.Popen(
        [sys.executable, "-m", "fleetscore", "host", "--port", "0", "--store", store.url],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while host.find() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        found = host.find()
        assert found is not None
        assert found.pid == serving.pid
        assert program("run", "toy", "--window", WINDOW, "--host", found.url).code == 0
        assert read_manifest(store, "toy", WINDOW).rows == 1
    finally:
        serving.terminate()
    serving.wait(30)
    assert host.find() is None


def follow_a_slow_run(store: Store) -> tuple[subprocess.Popen[str], Address]:
    """A command that follows a run of twenty seconds, and the host that it started."""
    store.write("settings/toy.toml", b"slow_s = 20.0\n")
    write_lines(store, WINDOW, [("a", 1, "slow")])
    following = subprocess.Popen(
        [sys.executable, "-m", "fleetscore", "run", "toy", "--window", WINDOW, "--store", store.url],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert following.stderr is not None
    for line in following.stderr:
        if "requested" in line or "scoring" in line:
            break
    address = EmbeddedHost(store.url).find()
    assert address is not None
    return following, address


def test_a_terminated_command_takes_its_host_along(store: Store) -> None:
    """SIGTERM to a command stops the host that it started."""
    following, address = follow_a_slow_run(store)
    following.terminate()
    following.communicate(timeout=60)
    assert following.returncode == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(address.pid, 0)


def test_a_killed_command_takes_its_host_along(store: Store) -> None:
    """SIGKILL leaves the command no moment to stop its host, which ends by itself."""
    following, address = follow_a_slow_run(store)
    following.kill()
    following.communicate(timeout=60)
    assert following.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while Path(f"/proc/{address.pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{address.pid}").exists()


def test_a_host_that_is_killed_is_started_again_and_the_run_ends_whole(
    program: Command, store: Store
) -> None:
    """kill -9 of the host in the middle of a run: the command starts another, which takes the run up; no row twice, none missing."""
    store.write("settings/toy.toml", b"slow_s = 0.7\n")
    write_lines(store, WINDOW, [(f"p{n}", n, "slow") for n in range(4)])
    killed: list[int] = []

    def kill_when_scoring() -> None:
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline and not killed:
            address = EmbeddedHost(store.url).find()
            if address is not None and any(store.list(f"runs/toy-{WINDOW}/shards/")):
                os.kill(address.pid, signal.SIGKILL)
                killed.append(address.pid)
            time.sleep(0.05)

    killer = threading.Thread(target=kill_when_scoring)
    killer.start()
    said = program("run", "toy", "--window", WINDOW)
    killer.join()
    assert killed
    assert said.code == 0, said.err
    assert read_manifest(store, "toy", WINDOW).rows == 4


@pytest.mark.slow
def test_two_commands_share_a_host_and_the_longer_one_survives_its_end(store: Store) -> None:
    """The command that started the host stops it when it is done; the other starts one itself, and both windows are published."""
    store.write("settings/toy.toml", b"slow_s = 0.5\n")
    write_lines(store, "2026-01-01T00", [("a", 1, "slow")])
    write_lines(store, "2026-01-01T01", [(f"p{n}", n, "slow") for n in range(6)])
    commands = [
        subprocess.Popen(
            [sys.executable, "-m", "fleetscore", "run", "toy", "--window", f"2026-01-01T0{hour}", "--store", store.url],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for hour in range(2)
    ]  # fmt: skip
    said = [command.communicate(timeout=80) for command in commands]
    assert [command.returncode for command in commands] == [0, 0], said
    assert [read_manifest(store, "toy", f"2026-01-01T0{hour}").rows for hour in range(2)] == [1, 6]
    assert EmbeddedHost(store.url).find() is None


def test_a_host_that_does_not_start_tells_its_last_words(
    host: EmbeddedHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CapacityError with the end of the log and where to read it all; no process is left."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "function_app.py").write_text("raise RuntimeError('no such luck')\n")
    (app / "host.json").write_text('{"version": "2.0"}')
    monkeypatch.setenv("FLEETSCORE_APP_DIR", str(app))
    with pytest.raises(CapacityError, match="no such luck") as caught:
        host.ensure()
    assert "host.log" in caught.value.fix


def test_the_app_is_beside_the_package_unless_named(tmp_path: Path) -> None:
    """FLEETSCORE_APP_DIR wins; a folder without function_app.py is refused with the name of the variable."""
    assert (app_folder({}) / "function_app.py").is_file()
    with pytest.raises(SettingsError, match=r"no function_app\.py") as caught:
        app_folder({"FLEETSCORE_APP_DIR": str(tmp_path)})
    assert caught.value.field == "FLEETSCORE_APP_DIR"


def test_the_host_keeps_its_history_with_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a folder store; below the home folder for a container, one folder per URL."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert host_folder((tmp_path / "a b").as_uri()) == tmp_path / "a b" / ".fleetscore" / "host"
    one, other = host_folder("https://x/one"), host_folder("https://x/other")
    assert one != other
    assert one.parent == other.parent == tmp_path / ".fleetscore" / "hosts"


def test_workers_of_the_host_use_one_thread_each_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OMP_NUM_THREADS is 1, or what the user set; Arrow tidies up without a thread, memory is kept; the store goes along."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert host_environment("file:///s")["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert host_environment("file:///s")["OMP_NUM_THREADS"] == "3"
    assert host_environment("file:///s")["JE_ARROW_MALLOC_CONF"] == "background_thread:false"
    assert host_environment("file:///s")["GLIBC_TUNABLES"] == MEMORY_TUNABLES
    assert host_environment("file:///s")["FLEETSCORE_STORE"] == "file:///s"


@pytest.mark.parametrize(
    ("given", "path"),
    [("some/folder", "some/folder"), ("./s", "s"), (".fleetscore/store", ".fleetscore/store")],
)
def test_a_relative_store_means_the_same_to_a_host_elsewhere(
    given: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder becomes an absolute file URL; a container's URL stays as it is."""
    monkeypatch.chdir(tmp_path)
    assert absolute_store_url(given) == (tmp_path / path).as_uri()
    assert absolute_store_url((tmp_path / "x y").as_uri()) == (tmp_path / "x y").as_uri()
    assert absolute_store_url("https://a.blob.core.windows.net/c") == "https://a.blob.core.windows.net/c"


def test_schedules_rest_while_a_host_serves_a_command(host: EmbeddedHost) -> None:
    """A command starts what it was asked for and no due windows; every timer that starts windows is named."""
    source = (app_folder() / "triggers" / "schedules.py").read_text()
    assert set(re.findall(r"timer_trigger\(.*?\)\n(?:@.*\n)*async def (\w+)", source)) == set(SCHEDULES)
    host.ensure()
    timers = re.findall(r"(\w+): timerTrigger", (host.folder / "host.log").read_text())
    assert sorted(timers) == ["housekeeping_timer", "rescue_timer", "warm_scoring", "watchdog_timer"]


def test_a_host_that_dies_again_and_again_is_given_up(
    host: EmbeddedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that answers once and dies each time is started five times in a minute, not for ever; the error names its log."""
    ports = iter(range(1, 100))
    monkeypatch.setattr(host, "ensure", lambda: f"http://127.0.0.1:{next(ports)}")
    connection = Connection(host)
    dead: set[str] = set()

    def dies_after_one_answer(client: RemoteFleet) -> str:
        if client.url in dead:
            raise HostUnreachableError("gone")
        dead.add(client.url)
        return client.url

    answers = [connection.ask(dies_after_one_answer) for _ in range(6)]
    assert len(set(answers)) == 6
    with pytest.raises(CapacityError, match="died 6 times within 60 s") as caught:
        connection.ask(dies_after_one_answer)
    assert "host.log" in caught.value.fix
