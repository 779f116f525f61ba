"""Pins: which version of a workload's models scores a window, a partition or a model key.

models/<workload>/pins.json names the current version, versions of single partitions and model keys, and every
change ever made to them; each change also lies in a file of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

import msgspec

from fleetscore.errors import ConflictError, InputError, MissingBlobError
from fleetscore.models.model_sets import check_version, read_model_set
from fleetscore.store.base import Store
from fleetscore.store.state_files import damaged, decode_truth


@dataclass(frozen=True, slots=True)
class PinChange:
    """One change of a pin: of the current version (`partition` is ""), of one partition or of `partitions`,
    or of the challenger. Where `unit` is "key", `partition` is a model key.
    """

    at: datetime
    who: str
    partition: str
    before: str
    after: str
    why: str = ""
    role: Literal["champion", "challenger"] = "champion"
    partitions: tuple[str, ...] = ()  # that were pinned to `after` by one change
    unit: Literal["partition", "key"] = "partition"


@dataclass(frozen=True, slots=True)
class Pins:
    """Which version is used: `partitions[key]` where it is there, else `keys[key]` of the model key that
    scores the partition, else `current`; "" is none. The challenger scores in shadow.
    """

    current: str = ""
    partitions: Mapping[str, str] = field(default_factory=dict)
    history: tuple[PinChange, ...] = ()
    challenger: str = ""
    schema: int = 1
    keys: Mapping[str, str] = field(default_factory=dict)

    def version_for(self, partition: str) -> str:
        """The version that scores `partition`, as long as no pin of its model key says otherwise.

        >>> Pins("v1", {"7/2": "v0"}).version_for("7/2")
        'v0'
        """
        return self.partitions.get(partition, self.current)


def read_pins(store: Store, workload: str) -> Pins:
    """The pins; empty ones when nothing was ever pinned."""
    return _read_tagged_pins(store, workload)[0]


def pin_version(
    store: Store,
    workload: str,
    version: str,
    *,
    partition: str = "",
    requested_by: str = "",
    why: str = "",
    now: datetime | None = None,
    replaces: str | None = None,
) -> Pins:
    """Make `version` the current one, or that of one `partition` ("" as version unpins the partition); the
    change is recorded.

    ConflictError where the current version is not `replaces` any more; None: whatever it is.
    """
    if version or not partition:
        read_model_set(store, workload, version)
    at = now or datetime.now(UTC)

    def changed(pins: Pins) -> Pins:
        if replaces is not None and pins.current != replaces:
            raise ConflictError(
                f"{version} of {workload} is stored, but not current: {pins.current} became so meanwhile, in place of "
                f"{replaces or 'none'}, which it was compared with.",
                fix=f"Import again, on top of {pins.current}; or use it as it is: fleetscore models pin {workload} {version}",
            )
        return _changed(pins, version, partition, requested_by, why, at)

    return _change(store, workload, changed)


def pin_key(
    store: Store,
    workload: str,
    version: str,
    key: str,
    *,
    requested_by: str = "",
    why: str = "",
    now: datetime | None = None,
) -> Pins:
    """Let `version` score the partitions of the model key ("" as version unpins it); the change is recorded.
    InputError for unpinning a key that is not pinned.
    """
    if version:
        read_model_set(store, workload, version)
    at = now or datetime.now(UTC)

    def changed(pins: Pins) -> Pins:
        if not version and key not in pins.keys:
            pinned = ", ".join(sorted(pins.keys)[:10]) or "none"
            raise InputError(
                f"The model key {key!r} of {workload} is not pinned.", fix=f"Pinned keys: {pinned}.", field="key"
            )  # fmt: skip
        change = PinChange(at, requested_by, key, pins.keys.get(key, ""), version, why, unit="key")
        return _with_key(pins, change)

    return _change(store, workload, changed)


def _with_key(pins: Pins, change: PinChange) -> Pins:
    others = {key: version for key, version in pins.keys.items() if key != change.partition}
    pinned = {change.partition: change.after} if change.after else {}
    return replace(pins, keys=others | pinned, history=(*pins.history, change))


def pin_partitions(
    store: Store,
    workload: str,
    version: str,
    partitions: Sequence[str],
    *,
    requested_by: str = "",
    why: str = "",
    now: datetime | None = None,
) -> Pins:
    """Let `version` score each of the partitions; recorded as one change."""
    read_model_set(store, workload, version)
    at = now or datetime.now(UTC)
    change = PinChange(at, requested_by, "", "", version, why, partitions=tuple(partitions))
    return _change(store, workload, lambda pins: _with_partitions(pins, change))


def _with_partitions(pins: Pins, change: PinChange) -> Pins:
    pinned = {**pins.partitions, **dict.fromkeys(change.partitions, change.after)}
    return replace(pins, partitions=pinned, history=(*pins.history, change))


def pin_challenger(
    store: Store,
    workload: str,
    version: str,
    *,
    requested_by: str = "",
    why: str = "",
    now: datetime | None = None,
) -> Pins:
    """Let `version` score in shadow from the next run on ("" for none); InputError for the champion itself.
    The change is recorded.
    """
    if version:
        read_model_set(store, workload, version)
    at = now or datetime.now(UTC)

    def changed(pins: Pins) -> Pins:
        if version and version == pins.current:
            raise InputError(f"{version} is the champion of {workload} already.", field="version")
        change = PinChange(at, requested_by, "", pins.challenger, version, why, "challenger")
        return replace(pins, challenger=version, history=(*pins.history, change))

    return _change(store, workload, changed)


def _change(store: Store, workload: str, changed: Callable[[Pins], Pins]) -> Pins:
    """Change the pins by compare-and-swap."""
    for _ in range(20):
        pins, etag = _read_tagged_pins(store, workload)
        new = changed(pins)
        try:
            store.replace(pins_path(workload), msgspec.json.encode(new), etag)
        except ConflictError:
            continue
        _keep_changes(store, workload, new)
        return new
    raise ConflictError(f"The pins of {workload} change faster than this call can follow.", fix="Try again.")


def replay_changes(changes: Iterable[PinChange]) -> Pins:
    """The pins that the changes, all from the first on, lead to.

    >>> moment = datetime(2026, 1, 1, tzinfo=UTC)
    >>> replay_changes([PinChange(moment, "", "", "", "v1"), PinChange(moment, "", "7/2", "", "v0")]).version_for("7/2")
    'v0'
    """
    pins = Pins()
    for change in changes:
        if change.role == "challenger":
            pins = replace(pins, challenger=change.after, history=(*pins.history, change))
        elif change.unit == "key":
            pins = _with_key(pins, change)
        elif change.partitions:
            pins = _with_partitions(pins, change)
        else:
            pins = _changed(pins, change.after, change.partition, change.who, change.why, change.at)
    return pins


def changes_folder(workload: str) -> str:
    """Where each change of the workload's pins lies in a file of its own, so that pins.json can be made
    anew.
    """
    return f"models/{workload}/pins/"


def _keep_changes(store: Store, workload: str, pins: Pins) -> None:
    """Write each change that has no file yet beside the pins; the first call for an older store writes them
    all.
    """
    folder = changes_folder(workload)
    there = {entry.path for entry in store.list(folder)}
    for number, change in enumerate(pins.history, 1):
        if (path := f"{folder}{number:06d}.json") not in there:
            store.create(path, msgspec.json.encode(change))


def version_before(pins: Pins) -> str:
    """The version that a rollback returns to: what was current before the current one came; "" when there
    is none.

    >>> moment = datetime(2026, 1, 1, tzinfo=UTC)
    >>> changes = [PinChange(moment, "", "", "", "v1"), PinChange(moment, "", "", "v1", "v2")]
    >>> version_before(Pins("v2", {}, tuple(changes)))
    'v1'
    >>> version_before(Pins("v1", {}, (*changes, PinChange(moment, "", "", "v2", "v1"))))
    ''
    """
    line: list[str] = []
    for change in pins.history:
        if change.partition or change.partitions or change.role != "champion":
            continue
        if len(line) > 1 and line[-2] == change.after:
            line.pop()  # a return to the one before, so that a second rollback goes further back
        elif change.after != (line[-1] if line else ""):
            line.append(change.after)
    return line[-2] if len(line) > 1 else ""


def _changed(pins: Pins, version: str, partition: str, requested_by: str, why: str, at: datetime) -> Pins:
    before = pins.partitions.get(partition, "") if partition else pins.current
    history = (*pins.history, PinChange(at, requested_by, partition, before, version, why))
    if not partition:
        # promoted: it is no challenger now
        challenger = "" if pins.challenger == version else pins.challenger
        return replace(pins, current=version, history=history, challenger=challenger)
    others = {key: pinned for key, pinned in pins.partitions.items() if key != partition}
    return replace(pins, partitions=others | ({partition: version} if version else {}), history=history)


def _read_tagged_pins(store: Store, workload: str) -> tuple[Pins, str | None]:
    path = pins_path(workload)
    try:
        data, etag = store.read_tagged(path)
    except MissingBlobError as error:
        if next(iter(store.list(changes_folder(workload), 1)), None) is not None:
            raise damaged(path, error) from error
        return Pins(), None
    pins = decode_truth(data, path, Pins)
    for version in {pins.current, pins.challenger, *pins.partitions.values(), *pins.keys.values()} - {""}:
        try:
            check_version(version)
        except InputError as error:
            raise damaged(path, error) from error
    return pins, etag


def pins_path(workload: str) -> str:
    """The pins of the workload."""
    return f"models/{workload}/pins.json"
