"""The public API: few names, each there, typed, documented, and with examples that run."""

import doctest
import importlib
import inspect
import subprocess
import sys
import traceback
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from app_host import Host
from remote_app import serving
from toy_workload import write_lines

import fleetscore
from fleetscore import Fleet, InputError, RemoteFleet, connect
from fleetscore.errors import HostUnreachableError, StoreError
from fleetscore.fleet.base import FleetBase
from fleetscore.store.base import Store

WINDOW = "2026-01-01T00"
STORE_ONLY = {"samples", "capture_samples", "import_models", "backtest", "draw"}


def test_the_public_names_are_few_and_there() -> None:
    """At most twenty names, sorted, each importable and documented; py.typed lies beside them."""
    assert sorted(fleetscore.__all__) == fleetscore.__all__
    assert len(fleetscore.__all__) <= 20
    for name in fleetscore.__all__:
        value = getattr(fleetscore, name)
        assert name == "__version__" or inspect.getdoc(value), name
    assert (Path(fleetscore.__file__).parent / "py.typed").exists()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fleetscore.nothing  # type: ignore[attr-defined]


def test_importing_the_package_imports_nothing_else() -> None:
    """`import fleetscore` costs neither Arrow nor an HTTP library; names are imported when they are used."""
    code = "import fleetscore, sys; print([m for m in ('pyarrow', 'requests', 'click', 'msgspec') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "module",
    ["fleetscore", "fleetscore.fleet", "fleetscore.fleet.app_answers", "fleetscore.fleet.store_access", "fleetscore.fleet.following"],
)  # fmt: skip
def test_the_examples_run(module: str) -> None:
    """What docstrings show is what happens."""
    imported = importlib.import_module(module)
    found = doctest.testmod(imported, extraglobs={"connect": connect})
    assert found.attempted > 0
    assert found.failed == 0


def test_both_fleets_have_the_same_methods() -> None:
    """A method of the one exists in the other with the same parameters."""
    for name in {n for n in vars(FleetBase) if not n.startswith("_")} - {"url"}:
        parameters = [
            list(inspect.signature(getattr(kind, name)).parameters)
            for kind in (FleetBase, Fleet, RemoteFleet)
        ]
        assert parameters[0] == parameters[1] == parameters[2], name


def test_a_fleet_over_a_store_runs_and_reads(store: Store) -> None:
    """run, backfill, results, explain and models from Python, on the store's local host; nothing of it is left running."""
    from fleetscore.fleet.embedded_host import EmbeddedHost

    for hour in range(3):
        write_lines(store, f"2026-01-01T0{hour}", [("a", 1, "ok"), ("b", 2, "ok")])
    seen = []
    with connect(store.url) as fleet:
        status = fleet.run("toy", WINDOW, watch=lambda status: seen.append(status.state))
        assert (status.verdict, seen[-1]) == ("good", "published")
        assert fleet.backfill("toy", WINDOW, "2026-01-01T03", max_parallel=1).done == 3
    assert fleet.results("toy", WINDOW).num_rows == 2
    assert fleet.results("toy").num_rows == 2  # of the newest
    assert fleet.explain(status.id, "a").outcome == "scored"
    assert fleet.models("toy").list_sets().sets == ()
    assert [line.window for line in fleet.runs("toy", limit=1)] == ["2026-01-01T02"]
    assert EmbeddedHost(store.url).find() is None


def test_what_an_app_cannot_answer_says_use_a_store(tmp_path: Path) -> None:
    """Each of the methods that only a store has is refused by name of the cure, before anything is asked."""
    app = RemoteFleet("http://127.0.0.1:9")
    calls = {
        "samples": lambda: app.samples("toy"),
        "capture_samples": lambda: app.capture_samples("toy"),
        "import_models": lambda: app.import_models("toy", tmp_path),
        "backtest": lambda: app.backtest("toy", 1, tmp_path),
        "draw": lambda: app.draw("toy", [], tmp_path),
    }
    assert set(calls) == STORE_ONLY
    for call in calls.values():
        with pytest.raises(InputError, match="Use a store"):
            call()


def test_a_fleet_behind_an_app_answers_as_its_store(tmp_path: Path) -> None:
    """run, show and score through an app are what the store's own fleet answers."""
    host: Host
    with serving(tmp_path) as host:
        write_lines(host.store, WINDOW, [("a", 1, "ok")])
        app, own = connect(host.url, key=host.key), Fleet(host.store.url)
        run = app.run("toy", WINDOW)
        assert run.record == own.show(run.id).record
        assert (
            app.plan("toy", "2026-01-01T01").head.partitions
            == own.plan("toy", "2026-01-01T01").head.partitions
        )


@pytest.mark.parametrize("address", ["localhost:7071", "ftp://x", "http://"])
def test_what_is_no_address_is_refused(address: str) -> None:
    """InputError says how to write an address; nothing is asked."""
    with pytest.raises(InputError, match="is not the address of an app"):
        RemoteFleet(address)


@pytest.mark.parametrize(
    "address",
    [
        "ann:s3cret@host", "http://ann:s3c/ret@host", "ftp://ann:s3cret@host", "http://ann:s3cret@host:port", "http://ann:s3cret@",
        "http://ann:s3cret@[::1", "http://ann:s3c@ret@host:x", "http:/ann:s3cret@host", "http://ann:s3c#ret@host:x",
    ],
)  # fmt: skip
def test_a_password_in_a_wrong_address_is_not_repeated(address: str) -> None:
    """The refusal shows the rest of the address."""
    with pytest.raises(InputError, match="is not the address of an app") as refused:
        RemoteFleet(address)
    assert "s3c" not in str(refused.value)
    assert "ret" not in str(refused.value)


class _Sulking(BaseHTTPRequestHandler):
    """Answers 500 to everything, and keeps how callers signed in."""

    seen: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        """Answer."""
        self.seen.append(self.headers["authorization"])
        self.send_error(500)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def test_a_password_in_an_address_is_sent_and_in_no_error() -> None:
    """User and password sign in with the web server before the app; what it answers, or that it does not, is told
    without them.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), _Sulking) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        app = RemoteFleet(f"http://ann:s3%40cret@127.0.0.1:{server.server_port}/api/")
        with pytest.raises(StoreError, match="answered 500") as answered:
            app.show("toy-1")
        server.shutdown()
    with pytest.raises(HostUnreachableError, match="No app answers at http://127") as silent:
        app.show("toy-1")
    assert _Sulking.seen[0] == "Basic " + b64encode(b"ann:s3@cret").decode()
    for error in (answered.value, silent.value):
        assert "cret" not in "".join(traceback.format_exception(error))


def test_a_store_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """Neither reading nor running creates a folder for a mistyped name."""
    fleet = Fleet(str(tmp_path / "mistyped"))
    for call in (lambda: fleet.runs(), lambda: fleet.attention(), lambda: fleet.run("toy", WINDOW)):
        with pytest.raises(InputError, match="There is no store at") as caught:
            call()
        assert caught.value.code == "no_store"
    assert not (tmp_path / "mistyped").exists()
