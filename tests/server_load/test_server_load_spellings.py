"""One server, many spellings of its address: sums, pins, profiles, settings, keys that people type, and windows of before."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.dashboard.results_view import read_results_view
from fleetscore.dashboard.run_view import find_partitions
from fleetscore.dashboard.views import ViewRequest, read_view
from fleetscore.errors import InputError, MissingBlobError
from fleetscore.fleet import connect
from fleetscore.models.model_sets import write_model_set
from fleetscore.models.pins import pin_version, read_pins
from fleetscore.models.profiles import PROFILE_FILE, pack_profile
from fleetscore.operations.attention.mutes import Mute, mute, remaining
from fleetscore.operations.attention.overview import read_attention
from fleetscore.operations.champions.pinning import pin_on_request
from fleetscore.operations.due.late_data import find_late
from fleetscore.operations.explain import PartitionStory, explain
from fleetscore.operations.replay import replay_partition
from fleetscore.operations.retiring import retire_partition
from fleetscore.pipeline.absent import find_absent
from fleetscore.pipeline.carry_over import carry_over
from fleetscore.pipeline.local import execute, run_training, run_window
from fleetscore.pipeline.profiles import read_profile
from fleetscore.pipeline.score_rows import answer_rows
from fleetscore.pipeline.spellings import speller_of
from fleetscore.pipeline.submit import submit_run
from fleetscore.records import Only, RunRequest
from fleetscore.registry import get_workload
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.runs.retirements import list_retired
from fleetscore.store.local import LocalStore
from fleetscore.workload import Partitions, Remark, RunContext
from fleetscore.workloads.server_load import byte_grammar
from fleetscore.workloads.server_load.discovery import read_hours
from fleetscore.workloads.server_load.grammar import is_server
from fleetscore.workloads.server_load.workload import ServerLoad

_FOLDER = "data/server_load"
_IPV6 = ["2001:DB8::1", "2001:db8:0:0:0:0:0:1", "2001:0db8::0001"]
_MAPPED = ["::ffff:10.0.0.7", "::FFFF:a00:7", "010.000.000.007"]
_SMALL = 'train_rows = 1000\ncandidates = ["forest"]\nforest_trees = 5\n'


def prepared(store: LocalStore, window: str = "2016-06-09") -> Partitions:
    """What the window's run discovers, once its logs are prepared."""
    kind = get_workload(store, "server_load")
    assert isinstance(kind, ServerLoad)
    run = RunContext(store, kind, kind.parse_window(window))
    while items := kind.map_items(run):
        for item in items:
            kind.map_item(run, item)
    return kind.discover(run)


def sums_of(store: LocalStore, found: Partitions) -> list[dict[str, Any]]:
    """The hours of all servers, in order."""
    hours = read_hours(store, found.inputs, 0, 1 << 30)
    rows: list[dict[str, Any]] = sorted(hours.to_pylist(), key=lambda row: (row["server"], row["hour"]))
    return rows


@pytest.mark.parametrize(("spellings", "server"), [(_IPV6, "2001:db8::1"), (_MAPPED, "10.0.0.7")])
def test_spellings_of_an_address_are_one_server(
    spellings: list[str], server: str, store: LocalStore, logs: Callable[..., bytes]
) -> None:
    """Three spellings give the hours, to the unit, that three sessions of the canonical address give, in one file and in three."""
    plain = LocalStore(store.root.parent / "plain")
    plain.write(f"{_FOLDER}/a.csv", logs([server] * 3, 1, 9))
    store.write(f"{_FOLDER}/a.csv", logs(spellings, 1, 9))
    parted = LocalStore(store.root.parent / "parted")
    for number, spelling in enumerate(spellings):
        parted.write(f"{_FOLDER}/{number}.csv", logs([spelling], 1, 9))
    expected = sums_of(plain, prepared(plain))
    for one in (store, parted):
        found = prepared(one)
        assert found.expected["partition"].to_pylist() == [server]
        assert sums_of(one, found) == expected


def test_a_remark_names_the_spellings(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """The run says which spellings were read as which server; logs of canonical addresses have no such remark."""
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1", "010.0.0.1", *_IPV6], 1, 9))
    told = [text for text in prepared(store).remarks if "spellings" in text]
    assert len(told) == 1 and not isinstance(told[0], Remark)
    assert "010.0.0.1 as 10.0.0.1" in told[0]
    assert "2001:0db8::0001 and 2001:DB8::1 and 2001:db8:0:0:0:0:0:1 as 2001:db8::1" in told[0]
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1", "2001:db8::1"], 1, 9))
    assert not any("spellings" in text for text in prepared(store).remarks)


@given(st.ip_addresses(v=6), st.data())
@settings(max_examples=200, deadline=None)
def test_every_spelling_means_the_address(address: Any, data: st.DataObject) -> None:
    """Whatever the case, padding, and dotted end of an IPv6 address, it is read, by both forms, as the same server."""
    groups = data.draw(st.sampled_from([address.exploded, str(address), address.exploded.upper()]))
    if data.draw(st.booleans()):
        head, low = address.exploded[:29], int(address) & 0xFFFFFFFF
        groups = f"{head}:{ip_address(low)}"
    spell = speller_of(ServerLoad())
    assert spell is not None
    assert spell(groups) == spell(str(address))
    text = np.frombuffer(groups.encode() + bytes(64), np.uint8)
    assert is_server(groups) and byte_grammar.is_server_in(text, 0, len(groups))


def test_names_of_servers_stay_as_they_are(store: LocalStore) -> None:
    """Where a header names the columns a server is its text, whatever it looks like."""
    store.write("settings/server_load.toml", b'layout = "columns"\n')
    lines = [f"2016-06-08 10:00:00,{name},5" for name in ("010.0.0.1", "10.0.0.1", "2001:DB8::1")]
    store.write(f"{_FOLDER}/a.csv", "\n".join(["time,server,load", *lines]).encode())
    found = prepared(store)
    assert found.expected["partition"].to_pylist() == ["010.0.0.1", "10.0.0.1", "2001:DB8::1"]
    spell = speller_of(get_workload(store, "server_load"))
    assert spell is not None and spell("010.0.0.1") == "010.0.0.1"


def test_pins_settings_and_typed_keys_in_another_spelling(
    store: LocalStore, logs: Callable[..., bytes]
) -> None:
    """A pin, the setting `servers`, `--partition` and `explain` find the server under any spelling."""
    store.write("settings/server_load.toml", (_SMALL + 'servers = ["2001:DB8:0::1", "10.0.0.1"]\n').encode())
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1", "10.0.0.2", "2001:db8::1"], 1, 28))
    first = run_training(store, "server_load", "2016-06-10", "2016-06-26").model_set
    second = run_training(store, "server_load", "2016-06-10", "2016-06-27").model_set
    pin_version(store, "server_load", second)
    pin_version(store, "server_load", first, partition="2001:DB8::0:1")
    record = run_window(store, "server_load", "2016-06-27")
    assert record.counts == {"scored": 2, "skipped": 1}, record.error
    story = explain(store, record.request.run, "2001:0DB8::1")
    assert (story.partition, story.model.version) == ("2001:db8::1", first)
    with pytest.raises(InputError, match="no partition '2001:db8::2'"):
        explain(store, record.request.run, "2001:db8::2")
    asked = submit_run(
        store, "server_load", "2016-06-27", datetime.now(UTC), "t", partitions=("2001:DB8::1",)
    ).request
    assert asked.partitions == ("2001:DB8::1",)
    carried = carry_over(store, asked, prepared(store, "2016-06-27").expected, speller_of(ServerLoad()))
    assert carried.fresh["partition"].to_pylist() == ["2001:db8::1"]
    row = {"ServerIP": "2001:DB8::1", "SessionStartHourTime": "2016-06-29 01:00:00"}
    answer = answer_rows(store, "server_load", [row])["answers"][0]
    assert (answer["ServerIP"], answer["model"]) == ("2001:DB8::1", first)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, logs: Callable[..., bytes]) -> tuple[Path, str]:
    """The folder of a store, and its run, that published three servers of which one has other spellings."""
    store = LocalStore(folder := tmp_path_factory.mktemp("spellings"))
    store.write("settings/server_load.toml", _SMALL.encode())
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1", "10.0.0.2", "2001:db8::1"], 1, 28))
    run_training(store, "server_load", "2016-06-10", "2016-06-27")
    return folder, run_window(store, "server_load", "2016-06-27").request.run


@pytest.fixture
def published(store: LocalStore, template: tuple[Path, str]) -> str:
    """The template's run, in a store of its own."""
    folder, run = template
    shutil.copytree(folder, store.url.removeprefix("file://"), dirs_exist_ok=True)
    return run


@pytest.mark.parametrize("typed", ["2001:DB8::1", "2001:0db8:0:0::0001", "2001:db8::1"])
def test_what_people_ask_about_a_server_finds_any_spelling(
    typed: str, published: str, store: LocalStore, tmp_path: Path
) -> None:
    """Replay, results, the dashboard's search and drawing find the server that a typed key spells otherwise, and name it."""
    key = "2001:db8::1"
    again = replay_partition(store, published, typed)
    assert (again.partition, again.same) == (key, True)
    fleet = connect(store.url)
    assert set(fleet.results("server_load", partition=typed)["server"].to_pylist()) == {key}
    found = find_partitions(store, published, text=typed)
    assert [match.partition for match in found.first] == [key]
    pages = read_view(store, ViewRequest({"run": published, "find": typed}), datetime.now(UTC))
    assert isinstance(pages[0], PartitionStory) and pages[0].partition == key
    assert read_results_view(store, "server_load", "", [typed]).drawing is not None
    assert fleet.draw("server_load", [], tmp_path, [typed])


def test_an_unknown_server_is_named_as_it_was_typed(published: str, store: LocalStore) -> None:
    """A key that no spelling makes one of the run is refused in the words that were typed."""
    with pytest.raises(MissingBlobError, match="no partition '2001:DB8::2'"):
        replay_partition(store, published, "2001:DB8::2")
    with pytest.raises(MissingBlobError, match=r"no partition '010\.0\.0\.9'"):
        connect(store.url).results("server_load", partition="010.0.0.9")


def test_a_mute_is_about_the_server_in_any_spelling() -> None:
    """A mute hides the lines of a server whatever spelling the mute or the window of before has."""
    spell = speller_of(ServerLoad())
    now = datetime(2026, 11, 28, tzinfo=UTC)
    for typed, listed in (
        ("2001:DB8::1", "2001:db8::1"),
        ("2001:db8::1", "2001:0DB8::1"),
        ("010.0.0.1", "10.0.0.01"),
    ):
        act = Mute("1", "server_load", "known", now, "t", now, partition=typed)
        assert remaining([listed, "10.0.0.2"], "late", [act], spell) == ["10.0.0.2"]
        assert remaining([listed], "late", [act]) == [listed]


def test_attention_follows_a_mute_in_another_spelling(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """The line of a late server goes when it is muted by another spelling of its address."""
    store.write("settings/server_load.toml", (_SMALL + "[run]\nwatermark_s = 0\n").encode())
    rows = logs(["10.0.0.1"], 1, 28) + logs(["2001:db8::1"], 1, 26)
    store.write(f"{_FOLDER}/a.csv", rows)
    run_training(store, "server_load", "2016-06-10", "2016-06-25")
    record = run_window(store, "server_load", "2016-06-28")
    assert record.counts == {"scored": 1, "late": 1}
    when = datetime(2016, 6, 30, tzinfo=UTC)

    def causes() -> list[str]:
        return [
            look.newest.first_cause
            for one in read_attention(store, "server_load", when)
            for look in one.looks
        ]

    assert "no_recent_sessions" in causes()
    mute(
        store, "server_load", why="known", until="2016-07-10", now=when, requested_by="t", partition="2001:DB8::0:1"
    )  # fmt: skip
    assert "no_recent_sessions" not in causes()


def test_a_server_is_retired_and_expected_again_in_any_spelling(published: str, store: LocalStore) -> None:
    """Retiring writes the canonical key down, whatever was typed, and `undo` finds it by a third spelling."""
    now, later = datetime(2026, 11, 28, tzinfo=UTC), datetime(2026, 11, 29, tzinfo=UTC)
    act = retire_partition(store, "server_load", "2001:DB8::1", why="", now=now, requested_by="t")
    assert act.partition == "2001:db8::1"
    assert [one.partition for one in list_retired(store, "server_load")] == ["2001:db8::1"]
    retire_partition(store, "server_load", "2001:0db8::1", why="", now=later, requested_by="t", undo=True)
    assert not list_retired(store, "server_load")
    with pytest.raises(MissingBlobError, match=r"no partition '010\.0\.0\.9' that is expected"):
        retire_partition(store, "server_load", "010.0.0.9", why="", now=now, requested_by="t")


def test_a_pin_is_put_under_the_canonical_key_and_ends_in_any_spelling(
    published: str, store: LocalStore
) -> None:
    """A partition's pin is found and ended by any spelling, those of an earlier version among them."""
    version = read_pins(store, "server_load").current
    pin_version(store, "server_load", version, partition="2001:DB8::1")
    pin_on_request(store, "server_load", version, partition="2001:0db8::1")
    assert set(read_pins(store, "server_load").partitions) == {"2001:DB8::1", "2001:db8::1"}
    pin_on_request(store, "server_load", "", partition="2001:db8:0::1")
    assert not read_pins(store, "server_load").partitions


def test_models_of_an_old_spelling_are_not_missed(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set whose predecessor names a server otherwise lacks nobody, and what its card misses is expected once."""
    kind = get_workload(store, "server_load")
    monkeypatch.setattr(type(kind), "modelled_partitions", lambda self, read: read("names").decode().split())
    before = write_model_set(store, "server_load", {"names": b"2001:DB8::1 010.0.0.2"}, {}).version
    assert find_absent(store, kind, before, {"names": b"2001:db8::1 10.0.0.2"}) == []
    assert find_absent(store, kind, before, {"names": b"10.0.0.2"}) == ["2001:db8::1"]


def test_profiles_under_an_old_spelling_are_found(store: LocalStore) -> None:
    """A profile that an earlier version kept under another spelling is that of the server; its other rows stay."""
    rows = {"partition": ["010.0.0.1", "10.0.0.01", "10.0.0.2"], "n": [5.0, 9.0, 1.0]}
    profile = pa.table(rows | {"mean": [1.0, 2.0, 3.0], "std": [1.0, 1.0, 1.0]})
    version = write_model_set(store, "server_load", {PROFILE_FILE: pack_profile(profile)}, {}).version
    found = read_profile(store, get_workload(store, "server_load"), version)
    assert found is not None
    means = dict(zip(found["partition"].to_pylist(), found["mean"].to_pylist(), strict=True))
    assert means == {"010.0.0.1": 1.0, "10.0.0.01": 2.0, "10.0.0.1": 2.0, "10.0.0.2": 3.0}


@pytest.fixture
def old_window(store: LocalStore, logs: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> RunRequest:
    """A window that was published when each spelling was a server, as an earlier version published it."""
    from fleetscore.workloads.server_load import parse, partials

    store.write("settings/server_load.toml", _SMALL.encode())
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.2", "2001:DB8::1", "2001:db8:0::1"], 1, 28))
    with monkeypatch.context() as patch:
        patch.setattr(
            parse, "join_spellings", lambda texts: (texts, np.arange(len(texts), dtype=np.int32), {})
        )
        assert run_training(store, "server_load", "2016-06-10", "2016-06-27").model_set
        record = run_window(store, "server_load", "2016-06-27")
    assert record.counts == {"scored": 3}, record.error
    for path in [entry.path for entry in store.list("partials/")]:
        store.delete(path)
    partials._remembered.clear()  # of this process, which made them otherwise
    return record.request


def test_published_windows_stay_readable_and_join_when_scored_again(
    store: LocalStore, old_window: RunRequest
) -> None:
    """A window of before keeps its rows, and its partitions are found; scored again, the server has one line in place of two."""
    servers = set(
        read_results(store, read_manifest(store, "server_load", "2016-06-27"))["server"].to_pylist()
    )
    assert servers == {"10.0.0.2", "2001:DB8::1", "2001:db8:0::1"}
    assert explain(store, old_window.run, "010.0.0.2").partition == "10.0.0.2"
    with pytest.raises(InputError) as several:
        explain(store, old_window.run, "2001:db8::1")
    assert "2001:DB8::1, 2001:db8:0::1" in several.value.fix
    expected = prepared(store, "2016-06-27").expected
    request = replace(old_window, round=2, previous=old_window.run, run="r2", only=Only.FAILED)
    spell = speller_of(ServerLoad())
    untouched = carry_over(store, request, expected, spell)
    assert untouched.fresh.num_rows == 0 and not untouched.rewritten
    assert sorted(untouched.table["partition"].to_pylist()) == sorted(servers)
    joined = carry_over(store, replace(request, partitions=("2001:DB8:0::1",)), expected, spell)
    assert joined.fresh["partition"].to_pylist() == ["2001:db8::1"]
    assert sorted(joined.table["partition"].to_pylist()) == ["10.0.0.2", "2001:db8::1"]
    kind = get_workload(store, "server_load")
    assert find_late(store, kind, "2016-06-27", old_window.run) is None
    again = submit_run(
        store, "server_load", "2016-06-27", datetime.now(UTC), "t", partitions=("2001:db8::1",)
    )
    record = execute(store, again.request)
    assert record.counts == {"scored": 2}, record.error
    after = read_results(store, read_manifest(store, "server_load", "2016-06-27"))
    assert set(after["server"].to_pylist()) == {"10.0.0.2", "2001:db8::1"}
    assert after.num_rows == 2 * 48
    assert read_ledger(store, old_window.run).num_rows == 3
