"""--host: the same commands against an app that runs elsewhere, with its key."""

import json
from collections.abc import Iterator

import pytest
from app_host import Host
from remote_app import say, serving
from toy_workload import write_lines

from fleetscore.errors import HostUnreachableError, InputError
from fleetscore.fleet.remote import RemoteFleet

WINDOW = "2026-01-01T00"


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The app on a host that demands keys, as Azure does."""
    with serving(tmp_path_factory.mktemp("remote")) as remote:
        yield remote


def test_a_run_on_a_remote_app_is_followed_listed_and_explained(
    remote: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    """run, runs, show, explain, cancel: all over HTTP, with the same answers as from the store."""
    write_lines(remote.store, WINDOW, [(f"p{n}", n, "ok") for n in range(12)] + [("a/b%2Fc d", 1, "fail")])
    run = f"toy-{WINDOW}"
    assert say(remote, capsys, "run", "toy", "--window", WINDOW).code == 10
    assert json.loads(say(remote, capsys, "runs", "--json").out)[0]["run"] == run
    shown = json.loads(say(remote, capsys, "show", run, "--json").out)
    assert shown["record"]["counts"] == {"scored": 12, "failed": 1}
    story = json.loads(say(remote, capsys, "explain", run, "a/b%2Fc d", "--json").out)
    assert (story["partition"], story["outcome"], story["cause"]) == ("a/b%2Fc d", "failed", "bad_value")
    assert say(remote, capsys, "cancel", run).code == 0


def test_errors_of_the_app_are_told_as_its_own(remote: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """What the app says of a wrong window or an unknown run arrives word by word, with exit code 2."""
    wrong = say(remote, capsys, "run", "toy", "--window", "noon")
    assert (wrong.code, wrong.err.splitlines()[0]) == (2, "Error: Window 'noon' is not an hour.")
    unknown = say(remote, capsys, "show", "toy-2031-01-01T00")
    assert (unknown.code, unknown.err.splitlines()[0]) == (2, "Error: There is no run 'toy-2031-01-01T00'.")


def test_a_missing_key_says_where_to_give_it(remote: Host) -> None:
    """InputError names --key and FLEETSCORE_KEY."""
    with pytest.raises(InputError, match="FLEETSCORE_KEY"):
        RemoteFleet(remote.url).runs("", 1)


def test_nobody_at_the_address_is_told_as_that() -> None:
    """HostUnreachableError with the address; never a traceback of the HTTP library."""
    with pytest.raises(HostUnreachableError, match=r"No app answers at http://127\.0\.0\.1:9"):
        RemoteFleet("http://127.0.0.1:9").runs("", 1)
