"""Model sets are immutable and checked; pins name which one is used, with every change on record."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from fleetscore.errors import DamagedStateError, InputError, ModelError
from fleetscore.models.model_sets import list_model_sets, read_model_file, read_model_set, write_model_set
from fleetscore.models.pins import pin_version, read_pins
from fleetscore.store.base import Store

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_set_reads_back_as_it_was_written(store: Store) -> None:
    """Files, card and version survive; the same content at the same time is the same version."""
    written = write_model_set(store, "toy", {"a.npz": b"12", "b.npz": b"3"}, {"kind": "x"}, WHEN)
    again = write_model_set(store, "toy", {"a.npz": b"12", "b.npz": b"3"}, {"kind": "x"}, WHEN)
    assert written == again == read_model_set(store, "toy", written.version)
    assert read_model_file(store, written, "a.npz") == b"12"
    assert list_model_sets(store, "toy") == [written.version]


def test_an_altered_file_is_refused(store: Store) -> None:
    """A file whose SHA-256 is not the recorded one is never used."""
    model_set = write_model_set(store, "toy", {"a.npz": b"12"}, {}, WHEN)
    store.write(f"models/toy/{model_set.version}/a.npz", b"13")
    with pytest.raises(ModelError, match="SHA-256 differs"):
        read_model_file(store, model_set, "a.npz")
    store.delete(f"models/toy/{model_set.version}/a.npz")
    with pytest.raises(ModelError, match="is missing"):
        read_model_file(store, model_set, "a.npz")


def test_a_version_that_does_not_exist_cannot_be_pinned(store: Store) -> None:
    """The error lists the versions that there are; a name that is a path is refused."""
    model_set = write_model_set(store, "toy", {}, {}, WHEN)
    with pytest.raises(ModelError, match=model_set.version):
        pin_version(store, "toy", "nope")
    with pytest.raises(InputError):
        pin_version(store, "toy", "../../x")


def test_pins_resolve_partition_first_and_record_every_change(store: Store) -> None:
    """A partition's own pin wins over the current version, until it is taken away."""
    old, new = (write_model_set(store, "toy", {"m": data}, {}, WHEN).version for data in (b"1", b"2"))
    pin_version(store, "toy", new, requested_by="ann")
    pin_version(store, "toy", old, partition="p/1", requested_by="bob", why="it drifts")
    pins = read_pins(store, "toy")
    assert (pins.version_for("p/1"), pins.version_for("p/2")) == (old, new)
    pins = pin_version(store, "toy", "", partition="p/1")
    assert pins.version_for("p/1") == new
    assert [(c.who, c.partition, c.before, c.after) for c in pins.history] == [
        ("ann", "", "", new),
        ("bob", "p/1", "", old),
        ("", "p/1", old, ""),
    ]


@pytest.mark.parametrize(
    "pins",
    [
        '{"current": ".."}',
        '{"partitions": {"p/1": "a/b"}}',
        '{"challenger": "a\\u0000b"}',
        '{"keys": {"k": " "}}',
    ],
)
def test_pins_that_name_what_no_model_set_can_be_called_are_damaged(store: Store, pins: str) -> None:
    """The error names the file and the command that repairs it."""
    store.write("models/toy/pins.json", pins.encode())
    with pytest.raises(
        DamagedStateError, match=r"models/toy/pins\.json is damaged: .* not the name of a model set"
    ) as caught:
        read_pins(store, "toy")
    assert "repair" in caught.value.fix


def test_racing_pins_lose_no_change(store: Store) -> None:
    """Eight writers at once leave eight changes in the history."""
    version = write_model_set(store, "toy", {}, {}, WHEN).version
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: pin_version(store, "toy", version, partition=f"p{n}"), range(8)))
    assert len(read_pins(store, "toy").history) == len(read_pins(store, "toy").partitions) == 8
