"""Models that partitions share, such as one of a depot, beside models of partitions' own."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.compute as pc
import pytest

from fleetscore.cli.program import run_command
from fleetscore.partition_keys import split_key
from fleetscore.pipeline.local import run_window
from fleetscore.runs.index import index_run
from fleetscore.runs.ledgers import read_ledger, write_ledger
from fleetscore.store.base import Store
from fleetscore.windows import parse_key
from fleetscore.workloads.models.expected import seen_partitions
from tests.model_fleets.conftest import MIDNIGHT, SETTINGS, fitted, pin_models, telemetry, write_rows


def test_a_depots_model_makes_no_partition_of_its_name(store: Store) -> None:
    """With `partitions = "models"` a silent van that has a model is late, and the depots whose models score others are not."""
    text = SETTINGS.replace("[models]", '[models]\nkey = ["{van_id}", "{depot}"]')
    store.write("settings/vans.toml", f'{text}[expect]\npartitions = "models"\n'.encode())
    keys = ("VAN-1", "VAN-9", "depot-0", "depot-1")
    pin_models(store, {key: fitted(at) for at, key in enumerate(keys)})
    write_rows(store, telemetry(["VAN-1", "VAN-2"]))
    record = run_window(store, "vans", "2026-11-21")
    rows = read_ledger(store, record.request.run).to_pylist()
    found = {row["partition"]: row["outcome"] for row in rows}
    assert found == {"VAN-1": "scored", "VAN-2": "scored", "VAN-9": "late"}


@pytest.mark.parametrize(
    ("partition", "key", "models", "ledger"),
    [
        (["van_id"], "van-{van_id}", ["van-7", "van-9"], {"7": "scored", "9": "late"}),
        (["depot", "van_id"], "{depot}_{van_id}", ["a_b_7", "c_9"], {"a_b/7": "scored", "c/9": "late"}),
        (["van_id", "depot"], "{depot}/{van_id}", ["a/b/7", "c/9"], {"7/a%2Fb": "scored", "9/c": "late"}),
        (["depot", "van_id"], "{depot}/{van_id}", ["50%/7", "5/9"], {"50%25/7": "scored", "5/9": "late"}),
        (["depot", "van_id"], "{depot}_{van_id}", ["a_b_7_x"], {"a_b/7_x": "scored"}),
    ],
)
def test_partitions_of_models_are_known_by_the_pattern_of_their_keys(
    store: Store, partition: list[str], key: str, models: list[str], ledger: dict[str, str]
) -> None:
    """The first model's partition has rows and is scored, the other is late under its own name, and nothing else is expected."""
    text = SETTINGS.replace('partition = ["van_id"]', f"partition = {partition}").replace(', "depot"]', "]")
    store.write("settings/vans.toml", text.replace("[models]", f'[models]\nkey = "{key}"').encode())
    pin_models(store, {name: fitted(at) for at, name in enumerate(models)})
    present = split_key(next(iter(ledger)))
    named = dict(zip(partition, present, strict=True))
    write_rows(store, telemetry([named["van_id"]]).assign(depot=named.get("depot", "north")))
    record = run_window(store, "vans", "2026-11-21")
    rows = read_ledger(store, record.request.run).to_pylist()
    assert {row["partition"]: row["outcome"] for row in rows} == ledger


@pytest.mark.slow
def test_partitions_of_quarter_hours_are_expected_as_long_as_the_settings_say(store: Store) -> None:
    """A van that was seen 500 windows ago, five days before, is late where "seen in 14 days" is what is expected."""
    text = SETTINGS.replace("[models]", '[models]\nkey = "{depot}"')
    store.write("settings/vans.toml", f'window = "15min"\n{text}'.encode())
    pin_models(store, {"depot-0": fitted(0), "depot-1": fitted(1)})
    write_rows(store, telemetry(["VAN-1", "VAN-2"]).assign(recorded_at=MIDNIGHT))
    record = run_window(store, "vans", "2026-11-20T2300")
    ledger = read_ledger(store, record.request.run)
    first = parse_key(record.request.window)
    for at in range(1, 500):
        key = first.next(at).key
        request = replace(record.request, run=f"vans-{key}", window=key)
        write_ledger(store, request.run, ledger.filter(pc.equal(ledger["partition"], "VAN-1")))
        index_run(store, replace(record, request=request))
    assert seen_partitions(store, "vans", first.next(500), 14) == {"VAN-1", "VAN-2"}
    assert seen_partitions(store, "vans", first.next(500), 3) == {"VAN-1"}


def test_results_of_a_silent_partition_say_where_the_reason_is(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty table of a late van is followed by the command that says why."""
    pin_models(store, {"VAN-1": fitted(0), "VAN 2": fitted(1)})
    write_rows(store, telemetry(["VAN-1"]))
    run_window(store, "vans", "2026-11-21")
    words = ["results", "vans", "--window", "2026-11-21", "--partition", "VAN 2", "--store", store.url]
    assert run_command(words) == 0
    assert "fleetscore explain vans 2026-11-21 'VAN 2'" in capsys.readouterr().err
