"""What a check holds back lies apart and can be read; publishing it anyway goes on record. Rows over HTTP,
page by page.
"""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars
import pyarrow.parquet as pq
import pytest
import requests
from app_host import Host
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.errors import ConflictError, DamagedStateError, InputError, MissingBlobError
from fleetscore.fleet.remote import RemoteFleet
from fleetscore.operations.housekeeping import sweep
from fleetscore.operations.repair.state_check import check_state
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.publish_anyway import publish_anyway
from fleetscore.pipeline.submit import submit_retry
from fleetscore.records import Only, PublishedAnyway, RunRecord, RunState
from fleetscore.runs.index import list_page
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.runs.result_pages import find_held, find_published, read_page
from fleetscore.runs.run_records import read_run
from fleetscore.store.base import Store
from fleetscore.store.state_files import read_truth

NOW = datetime(2026, 1, 2, tzinfo=UTC)
WINDOW = "2026-01-01T00"
RUN = f"toy-{WINDOW}"
SMALL = AppSettings(inline_shard_s=3.0)


def write_window(store: Store, window: str = WINDOW, failing: int = 3, count: int = 9) -> None:
    """Partitions, of which the first `failing` fail."""
    write_lines(store, window, [(f"p{n}", n, "fail" if n < failing else "ok") for n in range(count)])


@pytest.fixture
def stopped(store: Store) -> RunRecord:
    """A run that the error threshold stopped: six of nine scored, in several files."""
    write_window(store)
    record = run_window(store, "toy", WINDOW, SMALL)
    assert record.state is RunState.UNPUBLISHED
    return record


def table_folder(store: Store) -> list[str]:
    """The paths below the table's root."""
    return [entry.path for entry in store.list("tables/")]


def values(store: Store) -> list[int]:
    """The published values."""
    return sorted(read_results(store, read_manifest(store, "toy", WINDOW))["doubled"].to_pylist())


def test_held_results_lie_below_the_run_and_nothing_of_them_in_the_table(
    store: Store, stopped: RunRecord
) -> None:
    """The ledger names the held files, and reading them gives what would have been published."""
    assert table_folder(store) == []
    held = find_held(store, "toy", WINDOW)
    assert held.files
    assert all(file.path.startswith(f"runs/{RUN}/held/") for file in held.files)
    assert set(read_ledger(store, RUN)["file"].to_pylist()) - {""} == {file.path for file in held.files}
    rows = read_page(store, held, 0, held.rows).table
    assert sorted(rows["doubled"].to_pylist()) == [6, 8, 10, 12, 14, 16]
    with pytest.raises(MissingBlobError, match="is not published"):
        find_published(store, "toy", WINDOW)


def test_publishing_anyway_is_recorded_in_run_manifest_and_attention(
    store: Store, stopped: RunRecord
) -> None:
    """Who, why and what the check had said; the table has the rows, the held copies are gone, a second call
    changes nothing.
    """
    record = publish_anyway(store, RUN, why="the plant was closed", requested_by="ada", now=NOW)
    assert (record.state, record.error) == (RunState.PUBLISHED, "")
    assert record.facts["published_anyway"]["why"] == "the plant was closed"
    manifest = read_manifest(store, "toy", WINDOW)
    expected = PublishedAnyway("the plant was closed", "ada", NOW, stopped.error)
    assert manifest.anyway == expected
    assert read_truth(store, f"attention/toy/published/{RUN}.json", PublishedAnyway) == expected
    assert values(store) == [6, 8, 10, 12, 14, 16]
    root = store.url.removeprefix("file://") + "/tables/toy"
    assert polars.read_delta(root).height == 6
    assert not list(store.list(f"runs/{RUN}/held/"))
    assert list_page(store, "toy", 10, "").runs[0].state is RunState.PUBLISHED
    again = publish_anyway(store, RUN, why="another", requested_by="bob", now=NOW)
    assert again.facts["published_anyway"]["requested_by"] == "ada"
    assert check_state(store).bad == ()


def test_a_retry_goes_on_from_held_results(store: Store, stopped: RunRecord) -> None:
    """What failed is scored, what was held back is published with it, and housekeeping finds nothing to lose."""
    write_window(store, failing=0)
    record = execute(store, submit_retry(store, RUN, NOW, "test").request, SMALL)
    assert (record.state, record.counts) == (RunState.PUBLISHED, {"scored": 9})
    sweep(store, datetime.now(UTC).replace(year=datetime.now(UTC).year + 2))
    assert values(store) == [2 * n for n in range(9)]
    with pytest.raises(InputError, match=r"nothing of it is held back|later round"):
        publish_anyway(store, RUN, why="x", requested_by="ada", now=NOW)


@pytest.mark.parametrize(("why", "field"), [("", "why"), ("  ", "why"), ("x" * 2_001, "why")])
def test_a_reason_is_needed(store: Store, stopped: RunRecord, why: str, field: str) -> None:
    """Nothing is published without one, nor with one of endless length."""
    with pytest.raises(InputError) as raised:
        publish_anyway(store, RUN, why=why, requested_by="ada", now=NOW)
    assert raised.value.field == field
    assert read_run(store, RUN).state is RunState.UNPUBLISHED


def test_what_scored_nothing_cannot_be_published(store: Store) -> None:
    """InputError says that there is nothing."""
    write_window(store, failing=9)
    run_window(store, "toy", WINDOW)
    with pytest.raises(InputError, match="scored no partition"):
        publish_anyway(store, RUN, why="x", requested_by="ada", now=NOW)


def test_pages_cover_every_row_once_and_belong_to_one_round(store: Store) -> None:
    """Any page size gives the same rows in the same order; a round in between is a conflict that says to
    start again.
    """
    write_window(store, failing=0, count=11)
    run_window(store, "toy", WINDOW, SMALL)
    found = find_published(store, "toy")
    whole = read_page(store, found, 0, 100).table
    for limit in (1, 2, 3, 7, 11, 12):
        rows: list[dict[str, Any]] = []
        offset: int | None = 0
        while offset is not None:
            page = read_page(store, found, offset, limit)
            rows += page.table.to_pylist()
            offset = page.next_offset
        assert rows == whole.to_pylist()
    beyond = read_page(store, found, 11, 5)
    assert (beyond.next_offset, beyond.table.num_rows, beyond.table.schema) == (None, 0, whole.schema)
    execute(store, submit_retry(store, RUN, NOW, "test", partitions=("p1",)).request)
    with pytest.raises(ConflictError, match="since the first page"):
        find_published(store, "toy", WINDOW, found.run)
    assert find_published(store, "toy").tag != found.tag == replace(found, rows=0).tag


def test_a_damaged_result_file_is_named_to_who_reads_and_who_retries(store: Store) -> None:
    """A page of it says which file is cut; a retry that would copy rows from it says so, and to score the whole window."""
    write_window(store, failing=1, count=11)
    run_window(store, "toy", WINDOW, SMALL)
    found = find_published(store, "toy")
    paths = "|".join(file.path for file in found.files)
    for file in found.files:
        store.write(file.path, store.read(file.path)[:-20])
    with pytest.raises(DamagedStateError, match=f"^({paths}) "):
        read_page(store, found, 0, 5)
    with pytest.raises(DamagedStateError, match=f"^({paths}) ") as caught:
        execute(store, submit_retry(store, RUN, NOW, "test", partitions=("p1",)).request)
    assert "--only all" in caught.value.fix


def test_pages_of_held_results_belong_to_one_run(store: Store, stopped: RunRecord) -> None:
    """A retry that is held back as well is a conflict for who reads the run before it."""
    assert find_held(store, "toy", WINDOW, RUN).run == RUN
    execute(store, submit_retry(store, RUN, NOW, "test", only=Only.ALL).request)
    with pytest.raises(ConflictError, match=f"{RUN}-r2 has begun since the first page"):
        find_held(store, "toy", WINDOW, RUN)
    assert find_held(store, "toy", WINDOW, f"{RUN}-r2").rows == find_held(store, "toy", WINDOW).rows


def test_commands_read_held_results_and_publish_them(
    store: Store, stopped: RunRecord, command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    """results --held prints and writes them; publish says what it needs, and why it cannot twice over."""
    code, said = command("results", "toy", "--window", WINDOW, "--held", "--json")
    assert (code, len(json.loads(said))) == (0, 6)
    assert command("results", "toy", "--held")[0] == 2
    target = tmp_path / "held.parquet"
    assert command("results", "toy", "--window", WINDOW, "--held", "--out", str(target))[0] == 0
    assert pq.read_table(target).num_rows == 6
    for words in (("publish", RUN), ("publish", RUN, "--anyway"), ("publish", RUN, "--why", "x")):
        assert command(*words)[0] == 2
    code, said = command("publish", RUN, "--anyway", "--why", "closed day")
    assert (code, "is published: closed day" in said) == (0, True)
    code, said = command("results", "toy", "--window", WINDOW, "--partition", "p5", "--json")
    assert json.loads(said) == [{"partition": "p5", "doubled": 10}]
    assert command("results", "toy", "--window", WINDOW, "--held")[0] == 2


def test_rows_and_publishing_over_http(
    host: Host, host_store: Store, command: Callable[..., tuple[int, str]]
) -> None:
    """JSON lines and Parquet, one partition or all, pages linked; held results, and publishing them with a
    reason.
    """
    window = "2026-01-03T00"
    write_window(host_store, window, failing=0)
    place = ("--host", host.url, "--key", host.key)
    assert command("run", "toy", "--window", window, *place)[0] == 0
    keys = {"x-functions-key": host.key}

    def get(path: str, status: int = 200) -> requests.Response:
        answer = requests.get(f"{host.url}/api/results/{path}", headers=keys, timeout=30)
        assert answer.status_code == status, answer.text
        return answer

    first = get(f"toy/{window}?limit=4")
    rows = [json.loads(line) for line in first.text.splitlines()]
    while "next" in first.links:
        first = requests.get(first.links["next"]["url"], headers=keys, timeout=30)
        rows += [json.loads(line) for line in first.text.splitlines()]
    assert sorted(row["partition"] for row in rows) == [f"p{n}" for n in range(9)]
    parquet = pq.read_table(io.BytesIO(get(f"toy/{window}?format=parquet&partition=p3").content))
    assert parquet.to_pylist() == [{"partition": "p3", "doubled": 6}]
    assert RemoteFleet(host.url, host.key).results("toy", window).num_rows == 9
    tag = get(f"toy/{window}?limit=4").headers["ETag"]
    for condition, status in ((tag, 304), (f'"x", {tag}', 304), ("*", 304), ('"x"', 200)):
        kept = requests.get(
            f"{host.url}/api/results/toy/{window}", headers={**keys, "If-None-Match": condition}, timeout=30
        )
        assert (kept.status_code, kept.headers["ETag"], bool(kept.content)) == (status, tag, status == 200)
    get(f"toy/{window}?format=xml", 400)
    get(f"toy/{window}?limit=0", 400)
    get(f"toy/{window}?partition=nobody", 404)
    get(f"toy/{window}?run=another", 409)
    get("toy/2031-01-01T00", 404)
    get("toy/noon", 400)
    get("nothing/latest", 400)
    held = "2026-01-03T01"
    write_window(host_store, held)
    assert command("run", "toy", "--window", held, *place)[0] == 20
    assert len(get(f"toy/{held}?held=true").text.splitlines()) == 6
    code, said = command("publish", f"toy-{held}", "--anyway", "--why", "a test", *place)
    assert (code, "is published" in said) == (0, True)
    assert read_manifest(host_store, "toy", held).anyway is not None
