"""Lineage: OpenLineage's events of runs and trainings arrive once, in the published form, and cost no run anything."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
from app_host import Host, running, wait_until
from notice_receiver import Receiver, receiving
from openlineage_schema import check_event
from toy_workload import write_lines

from fleetscore.operations.doctor.outboxes import find_trouble_of_lineage
from fleetscore.operations.metadata import lineage
from fleetscore.operations.metadata.lineage import hand_over_lineage, problem_of_lineage, send_lineage
from fleetscore.operations.metadata.lineage_datasets import input_datasets
from fleetscore.operations.metadata.lineage_events import id_of
from fleetscore.operations.metadata.outbox import enter, list_pending
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.pipeline.submit import submit_run
from fleetscore.records import Ending, InputFile, RunRecord, RunState
from fleetscore.runs.run_records import record_ending
from fleetscore.store.base import Store

WINDOW = "2026-01-01T00"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
SECRET = "geheim-key-123"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A lineage server of this test's own, named by the environment with a key."""
    with receiving() as receiver:
        monkeypatch.setenv("OPENLINEAGE_URL", receiver.url.partition("/hook")[0])
        monkeypatch.setenv("OPENLINEAGE_API_KEY", SECRET)
        monkeypatch.delenv("OPENLINEAGE_DISABLED", raising=False)
        yield receiver


def ran(store: Store, **behaviours: str) -> RunRecord:
    """A run of three partitions that has ended; those named behave so."""
    store.write("settings/toy.toml", b"[run]\nerror_threshold = 0.5\n")
    write_lines(store, WINDOW, [(key, 1, behaviours.get(key, "ok")) for key in ("a", "b", "c")])
    return run_window(store, "toy", WINDOW)


def sent(store: Store, record: RunRecord, server: Receiver, now: datetime = NOW) -> list[dict[str, Any]]:
    """The events of the run as they arrived, each in the published form."""
    enter(store, "lineage", record.request.run, now)
    send_lineage(store, now)
    for event in server.taken:
        check_event(event)
    return server.taken


def test_a_published_run_is_a_start_and_a_complete_event(store: Store, server: Receiver) -> None:
    """Input with its etag, result table with its version, rows, columns and quality, in two events of one run of a job."""
    record = ran(store, c="fail")
    start, end = sent(store, record, server)
    assert [start["eventType"], end["eventType"]] == ["START", "COMPLETE"]
    assert start["run"]["runId"] == end["run"]["runId"] == id_of(store, record.request.run)
    assert end["job"] | {"facets": 0} == {"namespace": "fleetscore", "name": "toy.score", "facets": 0}
    root = store.url.removeprefix("file://")
    (data,) = end["inputs"]
    entry = store.stat(f"data/toy/{WINDOW}.csv")
    assert entry is not None
    assert (data["namespace"], data["name"]) == ("file", f"{root}/data/toy/{WINDOW}.csv")
    assert data["facets"]["version"]["datasetVersion"] == entry.etag
    failed = {each["assertion"]: each for each in data["inputFacets"]["dataQualityAssertions"]["assertions"]}
    assert (failed["no_partition_failed"]["success"], failed["no_partition_failed"]["actual"]) == (False, "1")
    assert failed["no_partition_late"]["success"]
    (table,) = end["outputs"]
    assert table["name"] == f"{root}/tables/toy"
    assert table["facets"]["version"]["datasetVersion"] == str(record.facts["table_version"])
    assert [field["name"] for field in table["facets"]["schema"]["fields"]] == ["partition", "doubled"]
    assert table["outputFacets"]["outputStatistics"]["rowCount"] == record.rows == 2
    own = end["run"]["facets"]["fleetscore"]
    assert own["outcomes"] == {"scored": 2, "failed": 1}
    assert end["run"]["facets"]["nominalTime"]["nominalEndTime"] == "2026-01-01T01:00:00+00:00"


def test_a_training_names_the_model_set_and_its_pin(store: Store, server: Receiver) -> None:
    """The model set is the output of the training, and an input of the run that it scores."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    trained = run_training(store, "toy", WINDOW, "2026-01-01T01")
    _, end = sent(store, trained, server)
    assert end["job"]["name"] == "toy.train"
    assert [each["facets"]["version"]["datasetVersion"] for each in end["outputs"]] == [trained.model_set]
    own = end["run"]["facets"]["fleetscore"]
    assert (own["modelSet"], own["pinnedAs"]) == (trained.model_set, "current")
    server.taken.clear()
    start, _ = sent(store, run_window(store, "toy", WINDOW), server)
    assert f"/models/toy/{trained.model_set}" in "".join(each["name"] for each in start["inputs"])


@pytest.mark.parametrize(
    ("state", "kind"),
    [(RunState.FAILED, "FAIL"), (RunState.UNPUBLISHED, "FAIL"), (RunState.CANCELLED, "ABORT")],
)
def test_a_run_that_ends_badly_says_why(store: Store, server: Receiver, state: RunState, kind: str) -> None:
    """FAIL, or ABORT where it was cancelled, with the reason and no output; also where it was never planned."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    request = submit_run(store, "toy", WINDOW, NOW, "test").request
    record = record_ending(store, request.run, Ending(state, "Why: 'ü'."), None, NOW, {})
    start, end = sent(store, record, server)
    assert (start["eventType"], end["eventType"], end["outputs"]) == ("START", kind, [])
    assert end["run"]["facets"]["errorMessage"]["message"] == "Why: 'ü'."


def test_delta_tables_and_landed_files_have_their_versions_and_many_files_are_a_folder() -> None:
    """A Delta table's version is its log's, a landed file is named, and a hundred files are one dataset with their sizes."""
    many = [InputFile(f"data/vans/day/{number}.csv", f"e{number}", 10) for number in range(100)]
    special = [
        InputFile("data/vans/table", "7", 5, "delta"),
        InputFile("landed/vans/w/x.parquet", "e", 9, "parquet"),
    ]
    table, landed, folder = input_datasets("https://acct.blob.core.windows.net/fleet", [*special, *many], {})
    assert (table.name, table.facets["version"].datasetVersion) == ("data/vans/table", "7")  # type: ignore[index, attr-defined]
    assert landed.name == "landed/vans/w/x.parquet"
    sizes: Any = (folder.inputFacets or {})["inputStatistics"]
    assert (folder.name, sizes.size, sizes.fileCount) == ("data/vans/day", 1000, 100)


@pytest.mark.parametrize("status", [400, 500, 302])
def test_a_refused_event_is_tried_again_and_seen_by_the_doctor(
    store: Store, server: Receiver, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The doctor shows status and body without the key; when the server takes events again each arrives once."""
    record = ran(store)
    server.refusals, server.refusal, server.answer = 1, status, f"no, {SECRET}".encode()
    with caplog.at_level(logging.DEBUG):
        assert sent(store, record, server) == []
        (finding,) = find_trouble_of_lineage(store, NOW)
        assert sent(store, record, server) == []  # not due yet
        assert server.asked == 1
        assert len(sent(store, record, server, NOW + timedelta(minutes=5))) == 2
    assert (finding.check, finding.state) == ("lineage", "warning")
    assert f"answered {status}: no, ***" in finding.detail
    assert SECRET not in caplog.text
    assert [found.state for found in find_trouble_of_lineage(store, NOW)] == ["ok"]
    hand_over_lineage(store, record.request.run, NOW)
    assert len(sent(store, record, server, NOW + timedelta(days=1))) == 2


def test_a_server_that_hangs_or_is_down_holds_nobody(
    store: Store, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handing over returns at once; after four days the run is given up, which the doctor counts."""
    monkeypatch.setattr(lineage, "_TOTAL_S", 0.3)
    record = ran(store)
    server.wait_s = 2.0
    enter(store, "lineage", record.request.run, NOW)
    assert send_lineage(store, NOW) == 0
    (entry,) = list_pending(store, "lineage")
    assert "nothing within" in entry.refusal
    monkeypatch.setenv("OPENLINEAGE_URL", f"http://user:{SECRET}@127.0.0.1:9/{SECRET}")
    monkeypatch.setattr(lineage, "_TOTAL_S", 30.0)
    assert send_lineage(store, NOW + timedelta(days=5)) == 0
    (finding,) = find_trouble_of_lineage(store, NOW)
    assert "1 were given up" in finding.detail
    assert SECRET not in finding.detail + "".join(entry.refusal for entry in list_pending(store, "lineage"))


@pytest.mark.parametrize("address", ["nonsense", "http://[geheim-key-123", "ftp://x"])
def test_an_address_that_is_none_is_named_without_itself(
    store: Store, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Doctor says that it is no address; nothing is raised, and the run stays to be sent."""
    monkeypatch.setenv("OPENLINEAGE_URL", address)
    record = ran(store)
    enter(store, "lineage", record.request.run, NOW)
    assert send_lineage(store, NOW) == 0
    assert problem_of_lineage() == "OPENLINEAGE_URL is no http(s) address."
    (finding,) = find_trouble_of_lineage(store, NOW)
    assert SECRET not in finding.detail


def test_nothing_is_noted_where_no_server_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OPENLINEAGE_URL, or switched off, the outbox stays empty and the doctor finds nothing."""
    monkeypatch.delenv("OPENLINEAGE_URL", raising=False)
    record = ran(store)
    hand_over_lineage(store, record.request.run, NOW)
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    hand_over_lineage(store, record.request.run, NOW)
    assert list(store.list("outbox/")) == []
    assert list(find_trouble_of_lineage(store, NOW)) == []


def test_a_damaged_entry_is_sent_as_if_it_were_new(store: Store, server: Receiver) -> None:
    """Bytes that are no entry cost nothing but that START may arrive again."""
    record = ran(store)
    store.write(f"outbox/lineage/pending/{record.request.run}.json", b"\xff{")
    assert len(sent(store, record, server, NOW + timedelta(days=400))) == 2


def test_the_schema_of_the_tests_refuses_what_the_published_one_refuses(
    store: Store, server: Receiver
) -> None:
    """An event without its run's id, with a time that is none, or with a facet of another form is not valid."""
    _, end = sent(store, ran(store), server)
    broken: list[dict[str, Any]] = [
        end | {"run": {"facets": {}}},
        end | {"eventTime": "yesterday"},
        end | {"run": {**end["run"], "facets": {"errorMessage": {**end["run"]["facets"]["nominalTime"], "nominalStartTime": 5}}}},
    ]  # fmt: skip
    for event in broken:
        with pytest.raises(jsonschema.ValidationError):
            check_event(event)


@pytest.mark.slow
@pytest.mark.timeout(400)  # of a busy machine
def test_the_app_sends_events_of_its_runs(tmp_path: Any, server: Receiver) -> None:
    """A run of the app is told with START and COMPLETE though the server refuses the first try, and both arrive once."""
    server.refusals = 1
    url = server.url.partition("/hook")[0]
    with running(Host(tmp_path, OPENLINEAGE_URL=url, FLEETSCORE_WORKLOADS="toy=toy_workload:Toy")) as app:
        write_lines(app.store, WINDOW, [("a", 1, "ok")])
        run = app.post("runs", {"workload": "toy", "window": WINDOW}).json()["id"]
        assert app.ended(run)["state"] == "published"
        wait_until(lambda: [entry for entry in list_pending(app.store, "lineage") if entry.refusal], 120)
    assert send_lineage(app.store, datetime.now(UTC) + timedelta(hours=1)) in (0, 1)
    for event in server.taken:
        check_event(event)
    assert [event["eventType"] for event in server.taken] == ["START", "COMPLETE"]
