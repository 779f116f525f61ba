"""models: what there is, which is used, and every change of it on record."""

import json
from datetime import UTC, datetime

import pytest
from said import Command

from fleetscore.models.model_sets import write_model_set
from fleetscore.models.pins import read_pins
from fleetscore.store.base import Store

T1, T2, T3 = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3))


@pytest.fixture
def versions(store: Store) -> list[str]:
    """Three model sets of the toy workload, oldest first; none is pinned."""
    made = [
        write_model_set(store, "toy", {"m.bin": bytes([n])}, {"kind": n}, at)
        for n, at in enumerate((T1, T2, T3))
    ]
    return [model_set.version for model_set in made]


def test_pins_move_and_keep_their_history(command: Command, store: Store, versions: list[str]) -> None:
    """pin, promote, rollback: the current set, and who changed it why."""
    assert command("models", "pin", "toy", versions[0], "--why", "first").code == 0
    assert command("models", "promote", "toy", "--why", "newest").code == 0
    assert read_pins(store, "toy").current == versions[2]
    assert command("models", "rollback", "toy").code == 0
    pins = read_pins(store, "toy")
    assert pins.current == versions[0]
    assert [change.why for change in pins.history] == ["first", "newest", "rolled back"]
    assert all(change.who for change in pins.history)


def test_a_rollback_twice_goes_back_twice(command: Command, store: Store, versions: list[str]) -> None:
    """Rolling back does not flip between the last two."""
    for version in versions:
        command("models", "pin", "toy", version)
    current = []
    for _ in range(2):
        command("models", "rollback", "toy")
        current.append(read_pins(store, "toy").current)
    assert current == [versions[1], versions[0]]
    assert command("models", "rollback", "toy").code == 2


def test_one_partition_can_have_a_version_of_its_own(
    command: Command, store: Store, versions: list[str]
) -> None:
    """--partition pins one partition and leaves the current set alone; unpin undoes it."""
    command("models", "pin", "toy", versions[1])
    said = command("models", "pin", "toy", versions[0], "--partition", "a/b", "--json")
    assert json.loads(said.out)["partitions"] == {"a/b": versions[0]}
    assert read_pins(store, "toy").version_for("other") == versions[1]
    assert "1 partitions" in command("models", "list", "toy").out
    assert command("models", "unpin", "toy", "--partition", "a/b").code == 0
    assert read_pins(store, "toy").version_for("a/b") == versions[1]


def test_a_kind_without_model_keys_refuses_to_pin_one(
    command: Command, store: Store, versions: list[str]
) -> None:
    """One sentence says that the workload has no model keys, and nothing is pinned."""
    said = command("models", "pin", "toy", versions[0], "--model-key", "a")
    assert (said.code, "toy has no model keys." in said.err) == (2, True)
    assert read_pins(store, "toy").history == ()


def test_the_list_and_the_card(command: Command, versions: list[str]) -> None:
    """list has every set with the mark of the current one; show has the card, by default of the current one."""
    command("models", "pin", "toy", versions[1])
    listed = json.loads(command("models", "list", "toy", "--json").out)
    assert (listed["current"], [each["version"] for each in listed["sets"]]) == (versions[1], versions)
    lines = [
        line
        for line in command("models", "list", "toy").out.splitlines()
        if line.rstrip().endswith("current")
    ]
    assert [versions[1] in line for line in lines] == [True]
    assert json.loads(command("models", "show", "toy", "--json").out)["set"]["card"] == {"kind": 1}
    assert json.loads(command("models", "show", "toy", versions[2], "--json").out)["set"]["card"] == {
        "kind": 2
    }
    assert f"toy {versions[1]} (current)" in command("models", "show", "toy").out


def test_an_unknown_version_is_refused_and_nothing_changes(
    command: Command, store: Store, versions: list[str]
) -> None:
    """Exit code 2, the known versions, and the pins as they were."""
    command("models", "pin", "toy", versions[0])
    before = read_pins(store, "toy")
    said = command("models", "pin", "toy", "nope")
    assert said.code == 2
    assert versions[2] in said.err
    assert command("models", "pin", "toy", "../etc").code == 2
    assert read_pins(store, "toy") == before
