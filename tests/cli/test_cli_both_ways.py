"""The same question to the store and to an app over HTTP gets the same answer, and the same error."""

import getpass
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from app_host import Host
from remote_app import PIPELINE, say, serving
from said import Command, Said
from toy_workload import write_lines

from fleetscore.cli.commands import fleetscore
from fleetscore.models.model_sets import write_model_set
from fleetscore.models.pins import pin_challenger, pin_version, read_pins
from fleetscore.pipeline.local import run_window
from fleetscore.registry import EXTRA_WORKLOADS
from fleetscore.store import open_store
from fleetscore.store.base import Store

WINDOW, STOP = "2026-01-01T00", "2026-01-01T01"
RUN = f"toy-{WINDOW}"
AT = datetime(2026, 1, 1, tzinfo=UTC)
ONLY_HERE = {
    "import-models": "reads a folder of this machine",
    "models copy": "reads and writes two stores",
    "new": "reads folders of this machine",
    "check": "reads a folder of models of this machine, and the data with the rights of its user",
    "samples": "makes data for a store that has none",
    "backtest": "writes pictures to a folder of this machine",
    "draw": "writes pictures to a folder of this machine; the dashboard draws over HTTP",
    "host": "is the app",
    "demo": "starts an app of its own",
    "cloud": "starts an app of its own",
    "version": "is the program's",
}

READING = [
    ("attention",), ("attention", "--workload", "toy"), ("attention", "--workload", "nobody"), ("look",),
    ("explain", "toy", WINDOW, "p4"), ("explain", "toy", "2026-01-01T09", "p4"), ("show", "toy-2026-01-01T0O"),
    ("explain", "tyo", WINDOW, "p4"), ("replay", "toy", WINDOW, "p4"),
    ("mutes", "toy"), ("mutes", "nobody"), ("unmute", "toy", "ghost"), ("mute", "nobody", "--why", "w", "--until", "7d"),
    ("mute", "toy", "--why", "known", "--until", "2001-01-01"), ("mute", "toy", "--why", " ", "--until", "7d"),
    ("mute", "toy", "--why", "known", "--until", "soon"),
    ("mute", "toy", "--normal", "p4@20260101T0000Z", "--why", "w", "--until", "7d"),
    ("mute", "toy", "--normal", "x", "--why", "w", "--until", "7d"),
    ("runs",), ("runs", "--workload", "nobody"), ("show", RUN), ("show", "toy-2031-01-01T00"),
    ("explain", RUN, "p4"), ("explain", RUN, "nobody"), ("replay", RUN, "p4"), ("replay", RUN, "nobody"),
    ("anomalies",), ("anomalies", "--since", "soon"), ("anomalies", "--workload", "toy"), ("anomalies", "--workload", "nobody"),
    ("drift", RUN), ("drift", "toy-2031-01-01T00"), ("costs",), ("costs", "--since", "soon"), ("costs", "--workload", "nobody"),
    ("deadlines",), ("deadlines", "--workload", "nobody"),
    ("plan", "toy", "--window", STOP), ("plan", "toy", "--window", WINDOW, "--partition", "p1"),
    ("plan", "toy", "--window", "noon"), ("plan", "toy", "--window", STOP, "--models", "ghost"), ("plan", "nobody", "--window", STOP),
    ("backfill", "toy", "--from", WINDOW, "--to", "2026-01-01T03", "--dry-run"),
    ("backfill", "toy", "--from", "noon", "--to", STOP, "--dry-run"),
    ("housekeep", "--dry-run"),
    ("notify", "--test", "nobody"), ("notify", "--test", "toy", "--target", "FLEETSCORE_NOTIFY_NONE"),
    ("repair", "--dry-run"),
    ("models", "list", "toy"), ("models", "list", "nobody"), ("models", "list", "a/b c"),
    ("models", "show", "toy"), ("models", "show", "toy", "{third}"), ("models", "show", "toy", "ghost"),
    ("models", "verdicts", "toy"), ("models", "verdicts", "nobody"),
    ("models", "verdict", "toy"), ("models", "verdict", "toy", "nonsense"), ("models", "verdict", "nobody"),
]  # fmt: skip
CHANGING = [
    ("models", "pin", "toy", "{third}", "--why", "it is the third"),
    ("models", "pin", "toy", "ghost"),
    ("models", "pin", "toy", "../etc"),
    ("models", "pin", "toy", "{third}", "--partition", "a/b%2Fc d", "--why", "only here"),
    ("models", "unpin", "toy", "--partition", "a/b%2Fc d"),
    ("models", "pin", "toy", "{third}", "--model-key", "a"),
    ("models", "judge", "toy", "--from", WINDOW, "--to", STOP),
    ("models", "judge", "toy", "--from", "noon", "--to", STOP),
    ("models", "judge", "toy", "--from", STOP, "--to", "2026-01-01T02"),
    ("models", "promote", "toy"),
    ("models", "promote", "toy", "ghost"),
    ("models", "promote", "nobody"),
    ("models", "challenge", "toy", "{third}", "--why", "let it try"),
    ("models", "challenge", "toy", "{second}"),
    ("models", "challenge", "toy"),
    ("models", "challenge", "toy", "--stop"),
    ("models", "rollback", "toy", "--why", "it was better before"),
    ("models", "verdicts", "toy"),
    ("models", "verdict", "toy", "--limit", "3"),
    ("models", "verdict", "toy", "--json"),
    ("housekeep",),
    ("repair",),
]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A store with three model sets, the first pinned, the second the challenger, one published window and what really came of it."""
    folder = tmp_path_factory.mktemp("seed")
    store = open_store(str(folder / "store"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(EXTRA_WORKLOADS, "toy=rated_workload:Rated")
        patch.syspath_prepend(str(PIPELINE.parent / "operate"))
        made = {
            name: write_model_set(store, "toy", {"factor.txt": factor}, {"factor": name}, AT).version
            for name, factor in (("first", b"2"), ("second", b"3"), ("third", b"4"))
        }
        pin_version(store, "toy", made["first"], requested_by="seed", now=AT)
        pin_challenger(store, "toy", made["second"], requested_by="seed", now=AT)
        write_lines(store, WINDOW, [(f"p{i}", 10 * i, "ok") for i in range(10)])
        write_lines(store, STOP, [(f"p{i}", 10 * i, "ok") for i in range(5)])
        run_window(store, "toy", WINDOW)
        store.write(f"actuals/{WINDOW}.csv", "".join(f"p{i},{30 * i}\n" for i in range(10)).encode())
    return folder, made


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The app on a host that demands keys."""
    with serving(tmp_path_factory.mktemp("remote"), "rated_workload:Rated") as remote:
        yield remote


@pytest.fixture(autouse=True)
def rated(monkeypatch: pytest.MonkeyPatch, toy: None) -> None:
    """The toy workload whose models matter."""
    monkeypatch.setenv(EXTRA_WORKLOADS, "toy=rated_workload:Rated")
    monkeypatch.syspath_prepend(str(PIPELINE.parent / "operate"))


@pytest.fixture
def both(
    versions: tuple[Path, dict[str, str]], remote: Host, tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:  # fmt: skip
    """Ask the store and the app, each with a copy of the same content, and give what both said."""
    folder, made = versions
    theirs = Path(remote.store.url.removeprefix("file://"))
    shutil.rmtree(theirs, ignore_errors=True)
    for copy in (theirs, tmp_path / "store"):
        shutil.copytree(folder / "store", copy, dirs_exist_ok=True)

    def ask(*arguments: str) -> Said:
        asked = [argument.format_map(made) for argument in arguments]
        here, there = command(*asked), say(remote, capsys, *asked)
        assert plain(there) == plain(here)
        return here

    yield ask


def empty_folder(url: str) -> None:
    """Leave nothing in the folder store."""
    folder = Path(url.removeprefix("file://"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def plain(said: Said) -> Said:
    """What was said without moments, durations, tokens made up on the way, and where it was asked."""
    masks = (
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z", "MOMENT"), (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "MOMENT"),
        (r"\d{8}T\d{6}Z-(?=\d{8}T)", "MOMENT-"), (r'"seconds": [\d.e-]+', "SECONDS"), (r"[\d.]+ s\b", "SECONDS"),
        (r"(plan|shards)-[0-9a-f]{8}", r"\1-TOKEN"), (r'"etag": ".*?"', "ETAG"),  # a copied file is another file
        (r"\d+ state files", "N state files"),  # a running app keeps the times of its timers
        (r" --host \S+ --key \S+| --store \S+", ""),
    )  # fmt: skip
    told = [said.out, said.err]
    for mask, instead in masks:
        told = [re.sub(mask, instead, text) for text in told]
    return Said(said.code, *told)


@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_an_app_answers_as_its_store_does(
    both: Command, arguments: tuple[str, ...], as_json: tuple[str, ...]
) -> None:
    """Every reading command prints the same with --host as with --store, right or wrong, as text and as JSON."""
    said = both(*arguments, *as_json)
    assert said.code in (0, 2, 10)
    assert said.err if said.code == 2 else said.out


def test_changes_through_an_app_are_those_through_its_store(
    both: Command, store: Store, remote: Host
) -> None:
    """Pins, challengers, verdicts and housekeeping: the same answer to each in turn, and the same pins with the same history in the end."""
    codes = [both(*arguments).code for arguments in CHANGING]
    assert codes == [0, 2, 2, 0, 0, 2, 0, 2, 2, 0, 2, 2, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0]
    mine, theirs = read_pins(store, "toy"), read_pins(remote.store, "toy")
    assert (mine.current, mine.partitions, mine.challenger) == (
        theirs.current,
        theirs.partitions,
        theirs.challenger,
    )
    stories = [
        [(c.who, c.partition, c.before, c.after, c.role) for c in pins.history] for pins in (mine, theirs)
    ]
    assert stories[0] == stories[1]
    assert {who for who, *_ in stories[1]} == {"seed", getpass.getuser()}


@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["text", "json"])
def test_a_store_without_models_is_told_alike(
    remote: Host, command: Command, capsys: pytest.CaptureFixture[str], as_json: tuple[str, ...]
) -> None:
    """Nothing to list, show, promote or roll back: the same words."""
    empty_folder(remote.store.url)
    for name in ("list", "show", "promote", "rollback"):
        here, there = (
            command("models", name, "toy", *as_json),
            say(remote, capsys, "models", name, "toy", *as_json),
        )
        assert plain(there) == plain(here)


def test_every_command_is_answered_by_an_app_unless_it_is_this_machines(tmp_path: Path) -> None:
    """Commands take --host and --key, all but those listed here with their reasons."""
    context = click.Context(fleetscore)
    lacking: set[str] = set()
    for name in fleetscore.list_commands(context):
        command = fleetscore.get_command(context, name)
        assert command is not None
        children = command.commands if isinstance(command, click.Group) else {}
        words = {f"{name} {child}": each for child, each in children.items()} or {name: command}
        lacking |= {
            said
            for said, each in words.items()
            if not {"host_url", "key"} <= {parameter.name for parameter in each.params}
        }
    assert lacking == set(ONLY_HERE)
    assert (
        os.environ.get("FLEETSCORE_STORE") is None
    )  # or the comparison above would be of a store with itself
