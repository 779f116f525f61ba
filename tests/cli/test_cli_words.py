"""What commands say: control characters are visible, tables fit, near names are suggested, no option is ignored."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from said import Command
from toy_workload import write_lines

from fleetscore.cli.render import print_table
from fleetscore.cli.results import write_table
from fleetscore.cli.text import visible
from fleetscore.errors import InputError
from fleetscore.fleet.embedded_host import EmbeddedHost, host_environment
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.runs.manifests import read_manifest
from fleetscore.store import open_store
from fleetscore.store.base import Store

PIPELINE = Path(__file__).resolve().parents[1] / "pipeline"
WINDOW = "2026-01-01T00"
RUN = f"toy-{WINDOW}"
MAIN = [sys.executable, "-m", "fleetscore"]


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store whose host runs already, with a published window that lacks a late partition."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEETSCORE_WORKLOADS", "toy=toy_workload:Toy")
        patch.setenv("PYTHONPATH", str(PIPELINE))
        folder = tmp_path_factory.mktemp("hosted")
        store = open_store(str(folder))
        write_lines(store, WINDOW, [(f"p{n}", n, "ok") for n in range(12)] + [("tardy", 1, "late")])
        host = EmbeddedHost(store.url)
        host.ensure()
        run_window(store, "toy", WINDOW)
        yield store
        host.stop()


def test_late_is_told_apart_from_failed(hosted: Store, command: Command) -> None:
    """A window that lacks late data only says so, with the retry that waits for data; none of it is called a failure."""
    said = command("run", "toy", "--window", WINDOW, store=hosted)
    assert said.code == 10
    assert "published, some late" in said.out
    assert f"When their data has come: fleetscore retry {RUN} --only missing" in said.out
    assert "fail" not in said.out
    filled = command("backfill", "toy", "--from", WINDOW, "--to", "2026-01-01T01", store=hosted)
    assert "1 window: 1 published, some late" in filled.out


def test_a_version_that_nobody_knows_is_refused_for_a_published_window(
    hosted: Store, command: Command
) -> None:
    """--models says which version is unknown, and what was published stands."""
    said = command("run", "toy", "--window", WINDOW, "--models", "v9", store=hosted)
    assert (said.code, said.out) == (2, "")
    assert "no model set 'v9'" in said.err
    assert read_manifest(hosted, "toy", WINDOW).round == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("retry", RUN, "--only", "all", "--partition", "p1"),
        ("backfill", "toy", "--from", WINDOW, "--to", "2026-01-01T01", "--dry-run", "--max-parallel", "2"),
        ("runs", "--key", "secret"),
        ("runs", "--host", "http://127.0.0.1:9"),
        ("explain", RUN),
        ("explain", "toy", WINDOW, "p1", "more"),
    ],
    ids=" ".join,
)
def test_options_and_words_that_exclude_each_other_are_refused(
    command: Command, arguments: tuple[str, ...]
) -> None:
    """Two options of which one could not act, a key without an app, an app beside a store, too few or many words: exit code 2."""
    said = command(*arguments)
    assert said.code == 2
    assert said.err.strip().splitlines()[-1].startswith("Error: Give ") or "--" in said.err


def test_near_names_are_suggested(hosted: Store, command: Command) -> None:
    """A slip in a workload or a run id costs one look."""
    assert (
        "Did you mean sensor_anomaly?"
        in command("run", "sensors_anomaly", "--window", WINDOW, store=hosted).err
    )
    assert f"Did you mean {RUN}" in command("show", f"{RUN[:-1]}1", store=hosted).err


def test_workload_and_window_name_a_run(hosted: Store, command: Command) -> None:
    """explain takes WORKLOAD WINDOW PARTITION, and says how to run a window that never ran."""
    by_id = command("explain", RUN, "p1", "--json", store=hosted)
    assert command("explain", "toy", WINDOW, "p1", "--json", store=hosted).out == by_id.out
    said = command("explain", "toy", "2026-01-01T05", "p1", store=hosted)
    assert (said.code, said.err.splitlines()[1]) == (2, "Run it: fleetscore run toy --window 2026-01-01T05")


def test_results_are_printed_and_written(hosted: Store, command: Command, tmp_path: Path) -> None:
    """The first rows as a table or JSON, all of them as a file; an ending that is neither Parquet nor CSV is refused."""
    assert len(json.loads(command("results", "toy", "--json", store=hosted).out)) == 12
    assert "and 10 more" in command("results", "toy", "--limit", "2", store=hosted).out
    for name in ("rows.parquet", "rows.csv"):
        target = tmp_path / name
        assert (
            "12 rows written"
            in command("results", "toy", "--window", WINDOW, "--out", str(target), store=hosted).out
        )
        assert target.stat().st_size > 0
    other = tmp_path / "to.csv"
    assert command("results", "toy", "--window", WINDOW, "--to", str(other), store=hosted).code == 0
    assert len(other.read_text().splitlines()) == 13
    assert command("results", "toy", "--out", str(tmp_path / "rows.txt"), store=hosted).code == 2
    latest = command("results", "toy", "--window", "latest", "--json", store=hosted)
    assert (latest.code, len(json.loads(latest.out))) == (0, 12)


def test_a_destination_that_cannot_be_written_is_named(
    hosted: Store, command: Command, tmp_path: Path
) -> None:
    """A folder that is not there, a file in its place, a circle of links, a name too long: exit code 2, and nothing is left."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "circle.csv").symlink_to(tmp_path / "circle.csv")
    for name in ("no/rows.csv", "file/rows.csv", "circle.csv", f"{'x' * 300}.csv"):
        refused = command("results", "toy", "--out", str(tmp_path / name), store=hosted)
        assert (refused.code, "cannot be written" in refused.err) == (2, True)
    assert {path.name for path in tmp_path.iterdir()} <= {"file", "circle.csv", "store"}


def test_a_table_that_csv_cannot_hold_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """A list is named with its column; what was in the file stays, also through a link."""
    target, link = tmp_path / "rows.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    with pytest.raises(InputError, match="Column many is list"):
        write_table(pa.table({"many": [[1, 2]]}), link)
    assert target.read_text() == "old"
    write_table(pa.table({"one": [1]}), link)
    assert (target.read_text(), link.is_symlink()) == ('"one"\n1\n', True)


def test_a_partition_that_cannot_be_drawn_is_named(estate: Store, command: Command, tmp_path: Path) -> None:
    """`draw --partition` of an unknown partition says that there is none, and draws nothing."""
    said = command(
        "draw", "sensor_anomaly", "--partition", "nope", "--folder", str(tmp_path / "out"), store=estate
    )
    assert said.code == 2
    assert "has no partition 'nope'" in said.err
    assert not (tmp_path / "out").exists()


def test_training_is_told_as_training(command: Command, store: Store) -> None:
    """A training says how many rows it read, not that it gave none."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    run = run_training(store, "toy", WINDOW, "2026-01-01T01").request.run
    out = command("show", run).out
    assert "1 read" in out
    assert " out" not in out


def test_piped_tables_fit_a_hundred_columns(hosted: Store, command: Command) -> None:
    """Lists and plans that are piped are at most 100 columns wide, and ids in them are whole."""
    for arguments in (("runs",), ("plan", "toy", "--window", WINDOW), ("attention",), ("costs",)):
        said = command(*arguments, store=hosted)
        assert max(len(line.rstrip()) for line in said.out.splitlines()) <= 100, said.out
    assert RUN in command("runs", store=hosted).out


def test_numbers_and_keys_of_a_wide_table_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """A table that a hundred columns do not hold is wider: a number that is cut is another number."""
    columns = ("key", *(f"c{n}" for n in range(12)))
    numbers = [f"{10**9 + n:,}" for n in range(12)]
    print_table(columns, [["pump-0005/日本", *numbers]], numbers=columns[1:])
    said = capsys.readouterr().out
    assert all(text in said for text in ("pump-0005/日本", *numbers))
    print_table(("key", "why"), [["p", "word " * 60]])
    assert max(len(line.rstrip()) for line in capsys.readouterr().out.splitlines()) <= 100


def test_attention_exits_with_10_if_something_needs_it(hosted: Store, command: Command, store: Store) -> None:
    """10 with findings, 0 without, as text and as JSON; the former name `look` always gives 0."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    for options in ((), ("--json",)):
        assert command("attention", *options, store=store).code == 0
        assert command("look", *options).code == 0
    assert command("attention", store=store).out == "Nothing needs attention.\n"


def test_control_characters_are_made_visible(command: Command, store: Store) -> None:
    """A partition or a detail that would steer the terminal is printed as an escape, in text, in tables and in errors."""
    evil = "p\x1b[2J\x9b1mq"
    write_lines(store, WINDOW, [(evil, 1, "fail"), *((f"p{n}", n, "ok") for n in range(12))])
    run_window(store, "toy", WINDOW)
    for arguments in (
        ("show", RUN),
        ("explain", RUN, evil),
        ("explain", RUN, f"{evil}?"),
        ("show", RUN, "--json"),
    ):
        said = command(*arguments)
        assert "\x1b[2J" not in said.out + said.err
        assert "\x9b" not in said.out + said.err
    assert visible("a\u202eb\tc\n") == "a\\u202eb\tc\n"


@pytest.fixture
def listed(store: Store) -> Store:
    """A store with so many runs that listing them fills a pipe."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    run_window(store, "toy", WINDOW)
    return store


def shell(script: str, store: Store) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell, in which $F is the program."""
    environment = os.environ | {"FLEETSCORE_STORE": store.url, "F": " ".join(MAIN)}
    return subprocess.run(
        ["/bin/bash", "-c", script], env=environment, capture_output=True, text=True, check=False
    )


def test_a_reader_that_goes_away_is_no_error(listed: Store) -> None:
    """`| head` ends the program as SIGPIPE would, 141, and nothing is said."""
    done = shell("(sleep 1; $F runs --json; echo $? >&2) | true", listed)
    assert done.stderr == "141\n"


def test_a_closed_or_full_output_is_told(listed: Store) -> None:
    """Closed standard output and a full disk under it: exit code 1 and one sentence, no traceback."""
    closed, full = shell("$F runs >&-", listed), shell("$F runs >/dev/full", listed)
    assert (closed.returncode, "Standard output cannot be written" in closed.stderr) == (1, True)
    assert (full.returncode, "The disk is full" in full.stderr) == (1, True)
    assert "Traceback" not in closed.stderr + full.stderr


def test_any_locale_will_do(listed: Store) -> None:
    """LC_ALL=C and an output in ASCII print what they can; an argument that is not UTF-8 is refused."""
    for script in ("LC_ALL=C $F runs", "PYTHONIOENCODING=ascii $F plan toy --window 2026-01-01T00"):
        done = shell(script, listed)
        assert (done.returncode, done.stderr) == (0, "")
    done = shell("$F show $'x\\xff'", listed)
    assert (done.returncode, "is not UTF-8" in done.stderr) == (2, True)


def test_the_local_host_takes_any_form_of_tz(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its schedules are in UTC unless WEBSITE_TIME_ZONE says otherwise, so that a POSIX TZ does not stop it."""
    monkeypatch.setenv("TZ", "CET-1CEST")
    monkeypatch.delenv("WEBSITE_TIME_ZONE", raising=False)
    assert host_environment("file:///s")["WEBSITE_TIME_ZONE"] == "UTC"
    monkeypatch.setenv("WEBSITE_TIME_ZONE", "Europe/Berlin")
    assert host_environment("file:///s")["WEBSITE_TIME_ZONE"] == "Europe/Berlin"


_INTERRUPTED_IMPORT = """
import sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
import fleetscore.cli.__main__
"""


def test_ctrl_c_in_the_first_instant_leaves_no_traceback() -> None:
    """Interrupted while it still imports, the program ends with 130 and says nothing."""
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED_IMPORT], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_next_to_nothing_is_imported_before_the_guard() -> None:
    """An import before the guard is a moment in which Ctrl-C shows a traceback: beside Python's own there are these alone."""
    code = "import sys; before = set(sys.modules); import fleetscore.cli; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=PIPELINE.parents[1],
    )
    assert done.stdout.split() == ["__future__", "fleetscore", "fleetscore.cli"]
