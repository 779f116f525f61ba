"""Logs as users have them: named columns in any format, servers with names, and files that are not read named with the reason."""

import gzip
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from fleetscore.errors import InputError, SettingsError
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.registry import get_workload
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.local import LocalStore
from fleetscore.workload import RunContext
from fleetscore.workloads.server_load.discovery import read_hours
from fleetscore.workloads.server_load.sources import find_sources
from fleetscore.workloads.server_load.workload import ServerLoad

_FOLDER = "data/server_load"
WINDOW = "2016-06-09"


def prepared(store: LocalStore) -> tuple[RunContext, Any]:
    """The run of the window and what it discovers, once its logs are prepared."""
    kind = get_workload(store, "server_load")
    assert isinstance(kind, ServerLoad)
    run = RunContext(store, kind, kind.parse_window(WINDOW))
    while items := kind.map_items(run):
        for item in items:
            kind.map_item(run, item)
    return run, kind.discover(run)


def hours_of(store: LocalStore, inputs: Any) -> list[dict[str, Any]]:
    """The hours of load and bytes of all servers."""
    hours = read_hours(store, inputs, 0, 1 << 30, ["server", "hour", "sessions", "load", "bytes"])
    rows: list[dict[str, Any]] = sorted(hours.to_pylist(), key=lambda row: (row["server"], row["hour"]))
    return rows


def sessions(content: bytes) -> list[dict[str, Any]]:
    """The sessions of a log of 17 columns under the names of described columns."""
    rows = [line.split(",") for line in content.decode().splitlines()]
    return [
        {"time": row[1], "server": row[15], "load": float(row[14]), "bytes": float(row[4])} for row in rows
    ]


def configure(store: LocalStore, text: str) -> None:
    store.write("settings/server_load.toml", text.encode())


@pytest.fixture
def plain(store: LocalStore, logs: Callable[..., bytes]) -> list[dict[str, Any]]:
    """The hours of a plain log of two servers, which is then taken away."""
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1", "10.0.0.2"], 1, 9))
    _, found = prepared(store)
    store.delete(f"{_FOLDER}/a.csv")
    return hours_of(store, found.inputs)


@pytest.mark.parametrize("form", ["columns", "gzip", "jsonl", "path"])
def test_named_columns_give_the_hours_of_the_log(
    form: str, store: LocalStore, logs: Callable[..., bytes], plain: Any
) -> None:
    """A header, other names, gzip, JSON lines and a server from the path give the sums that the log gives."""
    rows = sessions(logs(["10.0.0.1", "10.0.0.2"], 1, 9))
    if form == "jsonl":
        store.write(f"{_FOLDER}/a.jsonl", "\n".join(map(json.dumps, rows)).encode())
    elif form == "path":
        for server in ("10.0.0.1", "10.0.0.2"):
            lines = [f"{r['time']},{r['load']},{r['bytes']}" for r in rows if r["server"] == server]
            store.write(f"in/{server}/x.csv", "\n".join(["time,load,bytes", *lines]).encode())
        configure(store, 'layout = "columns"\n[data]\npath = "in/{server}/*.csv"\n')
    else:
        lines = [
            ";".join([r["time"], r["server"], *(str(r[n]).replace(".", ",") for n in ("load", "bytes"))])
            for r in rows
        ]
        text = "\n".join(["Beginn;Server;Last;MB", *lines]).encode()
        name = "a.csv.gz" if form == "gzip" else "a.csv"
        store.write(f"{_FOLDER}/{name}", gzip.compress(text) if form == "gzip" else text)
        configure(
            store,
            '[data]\nseparator = ";"\ndecimal = ","\n'
            'columns = { time = "Beginn", server = "Server", load = "Last", bytes = "MB" }\n',
        )
    _, found = prepared(store)
    assert hours_of(store, found.inputs) == plain
    assert found.expected["partition"].to_pylist() == ["10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("piece_bytes", [1 << 12, 1 << 25])
def test_compressed_logs_give_the_hours_and_counts_of_the_log(
    suffix: str,
    piece_bytes: int,
    store: LocalStore,
    logs: Callable[..., bytes],
    plain: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A log without a header, compressed as a whole and read in pieces, is summed, counted and told as the same log plain."""
    monkeypatch.setattr("fleetscore.sources.byte_stream.PIECE_BYTES", piece_bytes)
    text = b"\xef\xbb\xbf" + logs(["10.0.0.1", "10.0.0.2"], 1, 9) + b"bad,line\n" * 9 + b"last,without,end"
    packed = gzip.compress(text) if suffix == "gz" else pa.compress(text, "zstd", asbytes=True)
    store.write(f"{_FOLDER}/a.csv.{suffix}", packed)
    run, found = prepared(store)
    assert hours_of(store, found.inputs) == plain
    [record] = find_sources(store, run.settings, run.workload).usable
    assert dict(record.counts.causes) == {"short_row": 10}
    assert [example.text for example in record.counts.examples] == ["bad,line"] * 3
    assert record.counts.lines == text.count(b"\n") + 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (gzip.compress(b"x" * 100_000)[:-20], "unreadable_file"),
        (b"no gzip at all", "unreadable_file"),
        (gzip.compress("Zeit,Last\n".encode("utf-16") * 9), "bad_encoding"),
        (gzip.compress(b"a,b,c\n" * 9), "unknown_layout"),
        (gzip.compress(b"x,y\n" * 600_000), "too_large"),
    ],
    ids=["cut_short", "no_gzip", "utf_16", "no_log", "too_large"],
)
def test_compressed_files_that_are_no_logs_are_set_aside(
    store: LocalStore, logs: Callable[..., bytes], content: bytes, problem: str
) -> None:
    """One that is cut short, no gzip, no text, no log or too large is named with its cause; the others are read."""
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1"], 1, 9))
    store.write(f"{_FOLDER}/b.csv.gz", content)
    configure(store, "[data]\nread_limit_mb = 2\n")
    run, found = prepared(store)
    [aside] = find_sources(store, run.settings, run.workload).aside
    assert (aside.path, aside.cause) == (f"{_FOLDER}/b.csv.gz", problem)
    assert found.expected["partition"].to_pylist() == ["10.0.0.1"]


def test_an_empty_compressed_log_is_no_fault(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """A compressed file of no bytes has no rows."""
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1"], 1, 9))
    store.write(f"{_FOLDER}/b.csv.gz", gzip.compress(b""))
    run, _ = prepared(store)
    assert [record.counts.lines for record in find_sources(store, run.settings, run.workload).usable][1:] == [
        0
    ]


def test_servers_with_names_are_trained_and_scored(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """A server may be a name, one with a slash too; local times are those of the workload's zone."""
    rows = sessions(logs(["10.0.0.1", "10.0.0.2"], 1, 28))
    names = {"10.0.0.1": "web/1", "10.0.0.2": "NA"}
    for row in rows:
        local = datetime.fromisoformat(row["time"]) + timedelta(hours=2)
        row |= {"server": names[row["server"]], "time": local.isoformat()}
    store.write(f"{_FOLDER}/a.jsonl", "\n".join(map(json.dumps, rows)).encode())
    configure(
        store,
        'timezone = "Europe/Berlin"\nlayout = "columns"\ntrain_rows = 1000\ncandidates = ["forest"]\nforest_trees = 5\n',
    )
    record = run_training(store, "server_load", "2016-06-10", "2016-06-27")
    assert record.model_set, record.error
    record = run_window(store, "server_load", "2016-06-27")
    assert record.counts == {"scored": 2}, (record.counts, record.remarks, record.error)
    results = read_results(store, read_manifest(store, "server_load", "2016-06-27"))
    assert sorted(set(results["server"].to_pylist())) == ["NA", "web/1"]


def test_rows_of_the_hour_that_a_zone_has_twice_are_told(store: LocalStore) -> None:
    """They are added to both hours by their order, and a remark says how many there are."""
    stamps = [f"2015-10-25 02:{minute:02}:00" for minute in (10, 40, 10, 40)]
    rows = [{"time": stamp, "server": "a", "load": 5} for stamp in ["2015-10-25 01:00:00", *stamps]]
    store.write(f"{_FOLDER}/a.jsonl", "\n".join(map(json.dumps, rows)).encode())
    configure(store, 'timezone = "Europe/Berlin"\nlayout = "columns"\n')
    kind = get_workload(store, "server_load")
    run = RunContext(store, kind, kind.parse_window("2015-10-26"))
    while items := kind.map_items(run):
        for item in items:
            kind.map_item(run, item)
    found = kind.discover(run)
    assert [row["sessions"] for row in hours_of(store, found.inputs)] == [1, 2, 2]
    assert any(
        "a.jsonl: 4 rows stand in the hour that Europe/Berlin had twice" in one for one in found.remarks
    )


def test_bad_rows_are_counted_and_a_file_without_columns_is_set_aside(store: LocalStore) -> None:
    """Unreadable times, servers and loads count against the file's limit; a missing column is named."""
    good = '{"time": "2016-06-08 10:00:00", "server": "a", "load": 5}'
    bad = [
        '{"time": "?", "server": "a", "load": 5}',
        '{"time": "2016-06-08 10:00:00", "server": "", "load": 5}',
    ]
    worse = ['{"time": "2016-06-08 10:00:00", "server": "a", "load": "much"}', '{"time": 1, "load": 2}']
    store.write(f"{_FOLDER}/a.jsonl", "\n".join([good] * 9 + bad[:1]).encode())
    store.write(f"{_FOLDER}/b.jsonl", "\n".join([good, *bad, worse[0]]).encode())
    store.write(f"{_FOLDER}/c.jsonl", worse[1].encode())
    _, found = prepared(store)
    told = "\n".join(found.remarks)
    assert "b.jsonl: 3 of 4 rows are unusable" in told
    assert "c.jsonl has no column server" in told
    assert "1 rejected" in told


def test_files_that_are_passed_over_are_remarks(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """A log under any name is read; empty files and those that the pattern leaves out are named."""
    store.write("logs/june.log", logs(["10.0.0.1"], 1, 9))
    store.write("logs/empty.log", b"")
    store.write("logs/old/july.csv", b"x")
    configure(store, '[data]\npath = "logs/*.log"\n')
    _, found = prepared(store)
    assert found.expected["partition"].to_pylist() == ["10.0.0.1"]
    assert any("logs/empty.log: It has no byte" in remark for remark in found.remarks)
    assert any("logs/old/july.csv: The pattern logs/*.log does not match it" in r for r in found.remarks)


def test_a_row_of_a_request_may_name_a_server(store: LocalStore) -> None:
    """Where columns are named a server is any name; by default it is an address."""
    row = {"ServerIP": "web-1", "SessionStartHourTime": "2016-06-29 01:00:00"}
    with pytest.raises(InputError, match="ServerIP") as caught:
        get_workload(store, "server_load").score_rows(store, _pins(store), [row])  # type: ignore[attr-defined]
    assert "an IP address" in caught.value.fix
    configure(store, 'layout = "columns"\n')
    with pytest.raises(InputError, match="no model set is pinned for web-1"):
        get_workload(store, "server_load").score_rows(store, _pins(store), [row])  # type: ignore[attr-defined]


def _pins(store: LocalStore) -> Any:
    from fleetscore.models.pins import read_pins

    return read_pins(store, "server_load")


def test_lines_that_months_of_logs_cannot_have_are_refused(store: LocalStore) -> None:
    """Intervals are refused by name."""
    configure(store, '[data]\naggregate = { every = "1min", load = "mean" }\n')
    with pytest.raises(SettingsError, match="not for server_load"):
        get_workload(store, "server_load")
