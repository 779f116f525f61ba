"""Pins of model keys: which version scores the partitions of a key, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import pandas as pd
import pytest

from fleetscore.capabilities import ScoresRows, require
from fleetscore.cli.program import run_command
from fleetscore.errors import InputError, ModelError
from fleetscore.models.pins import pin_version, pins_path, read_pins, version_before
from fleetscore.operations.champions.pinning import pin_on_request
from fleetscore.operations.explain import explain
from fleetscore.operations.repair.pins import pins_from_changes
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.submit import submit_retry
from fleetscore.records import Only
from fleetscore.registry import get_workload
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.plans import read_plan
from fleetscore.store.base import Store
from tests.model_fleets.conftest import SETTINGS, fitted, pin_models, telemetry, write_rows

WINDOW = "2026-11-21"
VANS = ["VAN-1", "VAN-2", "VAN-3"]
DEPOTS = ("depot-0", "depot-1")
"""VAN-1 and VAN-3 are of depot-0, VAN-2 of depot-1."""


@dataclass(frozen=True, slots=True)
class EarlierChange:
    """A change of pins as versions before pins of model keys read it."""

    at: datetime
    who: str
    partition: str
    before: str
    after: str
    why: str = ""
    role: str = "champion"
    partitions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EarlierPins:
    """Pins as versions before pins of model keys read them."""

    current: str = ""
    partitions: Mapping[str, str] = field(default_factory=dict)
    history: tuple[EarlierChange, ...] = ()
    challenger: str = ""
    schema: int = 1


@dataclass(frozen=True, slots=True)
class Fleet:
    """A store whose vans share their depots' models, and two versions of these; `new` is current."""

    store: Store
    old: str
    new: str

    def pin(self, key: str, version: str, partition: str = "") -> None:
        """Pin the version for the key, or for the partition."""
        pin_on_request(self.store, "vans", version, key=key, partition=partition, requested_by="ann", why="w")

    def versions(self, run: str = f"vans-{WINDOW}") -> dict[str, str]:
        """What the ledger names as the version of each van."""
        ledger = read_ledger(self.store, run)
        assert ledger["outcome"].to_pylist() == ["scored"] * ledger.num_rows
        return dict(zip(ledger["partition"].to_pylist(), ledger["model"].to_pylist(), strict=True))


@pytest.fixture
def fleet(store: Store) -> Fleet:
    """Two versions of two depots' models; no window has run."""
    text = SETTINGS.replace("[models]", '[models]\nkey = ["{van_id}", "{depot}"]')
    store.write("settings/vans.toml", text.encode())
    write_rows(store, telemetry(VANS))
    old = pin_models(store, {depot: fitted(at) for at, depot in enumerate(DEPOTS)})
    new = pin_models(store, {depot: fitted(at + 50) for at, depot in enumerate((*DEPOTS, "VAN-3"))})
    return Fleet(store, old, new)


def test_partitions_that_a_pinned_key_scores_take_its_version(fleet: Fleet) -> None:
    """A pinned depot's vans take its version, but for one with a model of its own; ledger and explain name both."""
    fleet.pin("depot-0", fleet.old)
    run_window(fleet.store, "vans", WINDOW)
    assert fleet.versions() == {"VAN-1": fleet.old, "VAN-2": fleet.new, "VAN-3": fleet.new}
    story = explain(fleet.store, f"vans-{WINDOW}", "VAN-1")
    assert (story.model.version, story.model.keys, story.model.pinned) == (
        fleet.old,
        ("depot-0",),
        "for its model key",
    )
    assert "Scored by model 'depot-0'." in story.detail
    assert explain(fleet.store, f"vans-{WINDOW}", "VAN-2").model.pinned == "current"


def test_a_partitions_own_pin_wins_over_its_keys(fleet: Fleet) -> None:
    """VAN-1 is pinned to the new version although its depot is pinned to the old one."""
    fleet.pin("depot-0", fleet.old)
    fleet.pin("", fleet.new, partition="VAN-1")
    run_window(fleet.store, "vans", WINDOW)
    assert fleet.versions()["VAN-1"] == fleet.new


def test_an_unpinned_key_follows_the_current_set_again(fleet: Fleet) -> None:
    """Unpinning takes the version away; a key that is not pinned cannot be unpinned."""
    fleet.pin("depot-1", fleet.old)
    fleet.pin("depot-1", "")
    with pytest.raises(InputError, match="'depot-1' of vans is not pinned"):
        fleet.pin("depot-1", "")
    run_window(fleet.store, "vans", WINDOW)
    assert set(fleet.versions().values()) == {fleet.new}


def test_rows_are_answered_with_the_version_of_their_key(fleet: Fleet) -> None:
    """A row of a pinned depot gets the pinned version's answer at once, as in a run."""
    fleet.pin("depot-0", fleet.old)
    kind = require(get_workload(fleet.store, "vans"), ScoresRows)
    rows = [{"van_id": van, "depot": depot, "speed": 50, "load_kg": 300} for van, depot in
            (("VAN-1", "depot-0"), ("VAN-2", "depot-1"), ("VAN-3", "depot-0"))]  # fmt: skip
    answers = kind.score_rows(fleet.store, read_pins(fleet.store, "vans"), rows)
    assert [answer["model"] for answer in answers] == [fleet.old, fleet.new, fleet.new]
    frame = pd.DataFrame({"speed": [50], "load_kg": [300]})
    assert answers[0]["kwh"] == pytest.approx(float(fitted(0).predict(frame)[0]), rel=1e-12)


def test_a_partition_with_keys_of_different_versions_takes_one_and_the_plan_says_so(fleet: Fleet) -> None:
    """Of two pinned keys that with more rows decides; the plan's remarks name the partition."""
    frame = telemetry(VANS[:1])
    frame["depot"] = ["depot-0"] * 5 + ["depot-1"] * 15
    write_rows(fleet.store, frame)
    fleet.pin("depot-0", fleet.new)
    fleet.pin("depot-1", fleet.old)
    run_window(fleet.store, "vans", WINDOW)
    assert read_ledger(fleet.store, f"vans-{WINDOW}").to_pylist()[0]["model"] == fleet.old
    (remark,) = [r for r in read_plan(fleet.store, f"vans-{WINDOW}").remarks if "model keys" in r]
    assert remark.startswith("1 partitions have rows of model keys with different versions, such as VAN-1;")


def test_a_retry_keeps_the_version_of_its_round_whatever_its_key_is_pinned_to_since(fleet: Fleet) -> None:
    """A retry scores with what the round used; with `current` it takes the version that the key is pinned to now."""
    run_window(fleet.store, "vans", WINDOW)
    fleet.pin("depot-0", fleet.old)
    for models, expected in (("", fleet.new), ("current", fleet.old)):
        request = submit_retry(
            fleet.store, f"vans-{WINDOW}", datetime.now(UTC), "test", only=Only.ALL, models=models
        ).request
        execute(fleet.store, request)
        assert fleet.versions(request.run)["VAN-1"] == expected


@pytest.mark.parametrize(
    ("key", "partition", "named"),
    [
        ("depot-9", "", "has the key 'depot-9'.*'depot-[01]'"),
        ("depot-0", "VAN-1", "a partition or of a model key"),
    ],
)
def test_what_cannot_be_pinned_is_refused_by_name(fleet: Fleet, key: str, partition: str, named: str) -> None:
    """A key that the version lacks is named beside keys that it has; a partition and a key are not pinned at once."""
    before = read_pins(fleet.store, "vans")
    with pytest.raises(InputError, match=named) as refused:
        fleet.pin(key, fleet.old, partition)
    assert refused.value.field == "key"
    assert read_pins(fleet.store, "vans") == before


def test_a_version_that_is_not_there_is_refused(fleet: Fleet) -> None:
    """The error lists the versions that there are."""
    with pytest.raises(ModelError, match=fleet.old):
        fleet.pin("depot-0", "ghost")


def test_the_history_names_the_key_and_rebuilds_the_pins(fleet: Fleet) -> None:
    """Each change is kept with its key, the pins can be made anew from them, and a rollback passes over them."""
    fleet.pin("depot-0", fleet.old)
    pins = read_pins(fleet.store, "vans")
    last = pins.history[-1]
    assert (last.unit, last.partition, last.before, last.after) == ("key", "depot-0", "", fleet.old)
    assert pins_from_changes(fleet.store, "vans") == pins
    assert version_before(pins) == fleet.old
    pin_version(fleet.store, "vans", fleet.old)
    assert version_before(read_pins(fleet.store, "vans")) == ""


def test_earlier_versions_read_the_pins_and_theirs_are_read(fleet: Fleet) -> None:
    """An added field is passed over by a reader that does not know it, and absent in what it wrote is none."""
    fleet.pin("depot-0", fleet.old)
    path = pins_path("vans")
    earlier = msgspec.json.decode(fleet.store.read(path), type=EarlierPins)
    assert (earlier.current, earlier.partitions, len(earlier.history)) == (fleet.new, {}, 3)
    assert earlier.history[-1].partition == "depot-0"  # no change of the current version to such a reader
    fleet.store.write(path, msgspec.json.encode(earlier))
    read = read_pins(fleet.store, "vans")
    assert (read.current, read.keys, read.history[-1].unit) == (fleet.new, {}, "partition")


def test_commands_pin_show_and_unpin_a_key(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """`models pin --model-key`, `list`, `show` and `unpin --model-key` name the key."""
    place = ("--store", fleet.store.url)

    def said(*words: str) -> Any:
        code = run_command(["models", *words, *place])
        told = capsys.readouterr()
        return code, told.out, told.err

    assert said("pin", "vans", fleet.old, "--model-key", "depot-0")[:2] == (
        0,
        f"vans model key depot-0: {fleet.old}\n",
    )
    assert "model keys depot-0" in said("list", "vans")[1]
    shown = said("show", "vans")[1].split()  # a cell of its table may take two lines
    assert {"key", "depot-0"} <= set(shown)
    assert said("unpin", "vans", "--model-key", "depot-0")[1].endswith("the current set, as all others\n")
    assert said("unpin", "vans")[0] == 2
    code, _, told = said("pin", "vans", fleet.old, "--model-key", "depot-x")
    assert (code, "'depot-x'" in told) == (2, True)
