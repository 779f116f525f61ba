"""models copy: a set from one store in another, as it is, and pinned only when asked."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from said import Command

from fleetscore.fleet.store_fleet import Fleet
from fleetscore.models.model_sets import list_model_sets, read_model_file, read_model_set, write_model_set
from fleetscore.models.pins import pin_version, read_pins
from fleetscore.store import open_store
from fleetscore.store.base import Store

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def other(tmp_path: Path) -> Store:
    """Another store with two sets of the toy workload, the first of which is its current one."""
    store = open_store(str(tmp_path / "other"))
    first = write_model_set(store, "toy", {"a.bin": b"a" * 1000, "deep/b.bin": b"b"}, {"rows": 7}, AT)
    write_model_set(store, "toy", {"a.bin": b"c"}, {}, AT.replace(day=2))
    pin_version(store, "toy", first.version)
    return store


def test_a_copied_set_is_the_same_set(command: Command, store: Store, other: Store) -> None:
    """Version, card, files and hashes are kept, where it came from is recorded, and nothing is pinned."""
    store.write("data/here", b"")
    said = command("models", "copy", "toy", "--from", other.url)
    assert said.code == 0, said.err
    version = read_pins(other, "toy").current
    mine, theirs = read_model_set(store, "toy", version), read_model_set(other, "toy", version)
    assert (mine.files, mine.card, mine.created) == (theirs.files, theirs.card, theirs.created)
    assert read_model_file(store, mine, "deep/b.bin") == b"b"
    assert mine.origin is not None
    assert mine.origin.store == other.url
    assert mine.origin.requested_by
    assert read_pins(store, "toy").current == ""
    assert f"fleetscore models pin toy {version}" in said.out
    assert other.url in command("models", "show", "toy", version).out


@pytest.mark.parametrize(("role", "pinned"), [("current", "current"), ("challenger", "challenger")])
def test_as_pins_the_copy(command: Command, store: Store, other: Store, role: str, pinned: str) -> None:
    """--as makes the copy the current set or the challenger, with its origin as the reason; --version chooses the set."""
    store.write("data/here", b"")
    version = list_model_sets(other, "toy")[1]
    said = command("models", "copy", "toy", "--from", other.url, "--version", version, "--as", role, "--json")
    assert json.loads(said.out)["set"]["version"] == version
    pins = read_pins(store, "toy")
    assert getattr(pins, pinned) == version
    assert other.url in pins.history[-1].why


def test_copying_again_changes_nothing_and_a_third_store_names_the_first(
    command: Command, store: Store, other: Store, tmp_path: Path
) -> None:
    """A set that is there stays as it is; a copy of a copy still names the store where it was made."""
    store.write("data/here", b"")
    command("models", "copy", "toy", "--from", other.url)
    version = read_pins(other, "toy").current
    before = store.read(f"models/toy/{version}/set.json")
    assert "was here already" in command("models", "copy", "toy", "--from", other.url).out
    assert store.read(f"models/toy/{version}/set.json") == before
    pin_version(store, "toy", version)
    third = open_store(str(tmp_path / "third"))
    third.write("data/here", b"")
    Fleet(third.url).copy_models("toy", store.url)
    assert read_model_set(third, "toy", version).origin == read_model_set(store, "toy", version).origin


def test_what_cannot_be_copied_is_named_and_leaves_nothing(
    command: Command, store: Store, other: Store, tmp_path: Path
) -> None:
    """No such store, no such version, nothing pinned, a damaged file, and another set under the same version."""
    store.write("data/here", b"")
    version = read_pins(other, "toy").current
    assert "There is no store at" in command("models", "copy", "toy", "--from", str(tmp_path / "none")).err
    assert version in command("models", "copy", "toy", "--from", other.url, "--version", "ghost").err
    other.write(f"models/toy/{version}/a.bin", b"damaged")
    assert "SHA-256" in command("models", "copy", "toy", "--from", other.url).err
    assert list_model_sets(store, "toy") == []
    unpinned = open_store(str(tmp_path / "unpinned"))
    write_model_set(unpinned, "toy", {"a.bin": b"a"}, {}, AT)
    assert "Name one with --version" in command("models", "copy", "toy", "--from", unpinned.url).err
    write_model_set(store, "toy", {"a.bin": b"mine"}, {}, AT)
    known = list_model_sets(store, "toy")[0]
    store.write(f"models/toy/{version}/set.json", store.read(f"models/toy/{known}/set.json"))
    said = command("models", "copy", "toy", "--from", other.url, "--version", version)
    assert said.code != 0
    assert "its files differ" in said.err
