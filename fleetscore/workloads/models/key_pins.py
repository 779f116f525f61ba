"""Versions that pins of model keys give to partitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.models.packs.bundle import Bundle
from fleetscore.models.pins import Pins
from fleetscore.workloads.models.settings import FleetSettings

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class KeyVersions:
    """The version of each partition that a pinned key scores, and the partitions whose keys disagree."""

    versions: Mapping[str, str] = field(default_factory=dict)
    mixed: tuple[str, ...] = ()

    def remarks(self) -> tuple[str, ...]:
        """A sentence on partitions whose rows have keys of different versions; none where there are none."""
        if not self.mixed:
            return ()
        named = ", ".join(self.mixed[:_SHOWN])
        return (
            f"{len(self.mixed):,} partitions have rows of model keys with different versions, such as {named}; each is"
            " scored by one, that of its pinned key with the most rows.",
        )


def find_key_versions(
    keyed: pa.Table, settings: FleetSettings, pins: Pins, current: Bundle | None
) -> KeyVersions:
    """The versions by the rows per partition and keys (`keyed`: partition, key_0 ..., rows).

    A row belongs to the first of its keys that is pinned or has a model in `current`. A partition with a
    pin of its own is left out; one with several pinned keys takes the version of that with the most rows,
    then the first.
    """
    if not pins.keys or not keyed.num_rows:
        return KeyVersions()
    columns = [keyed[f"key_{at}"].combine_chunks() for at in range(len(settings.key_patterns))]
    versions = _pinned_versions(columns, pins, current)
    rows: dict[str, dict[str, int]] = {}
    triples = zip(keyed["partition"].to_pylist(), versions, keyed["rows"].to_pylist(), strict=True)
    for partition, version, count in triples:
        if partition not in pins.partitions:
            of_partition = rows.setdefault(partition, {})
            of_partition[version] = of_partition.get(version, 0) + count
    chosen = {partition: _most_rows(counts) for partition, counts in rows.items() if set(counts) != {""}}
    mixed = sorted(p for p in chosen if len({version or pins.current for version in rows[p]}) > 1)
    return KeyVersions(chosen, tuple(mixed))


def versions_of_rows(
    tried: Sequence[pa.Array], partitions: Sequence[str], pins: Pins, current: Bundle | None
) -> list[str]:
    """The version that scores each row; `tried` has the rows' keys, the first choice first."""
    by_key = _pinned_versions(tried, pins, current) if pins.keys else [""] * len(partitions)
    return [
        pins.version_for(partition) if partition in pins.partitions or not version else version
        for partition, version in zip(partitions, by_key, strict=True)
    ]


def _pinned_versions(columns: Sequence[pa.Array], pins: Pins, current: Bundle | None) -> list[str]:
    """The version that each row's key is pinned to; "" where the row belongs to a key that is not pinned.

    Where the models in use cannot be opened, nobody knows whether a first choice has one: no later choice
    counts.
    """
    versions = np.full(len(columns[0]), "", object)
    is_open = np.ones(len(versions), bool)
    pinned_keys = pa.array(list(pins.keys), pa.string())
    pinned_versions = np.array(list(pins.keys.values()), object)
    for keys in columns if current is not None or not pins.current else columns[:1]:
        place = _numbers(pc.index_in(keys, value_set=pinned_keys))
        hit = is_open & (place >= 0)
        versions[hit] = pinned_versions[place[hit]]
        has_model = current.find(keys)[0] >= 0 if current is not None else np.zeros(len(keys), bool)
        is_open &= ~(hit | has_model)
    found: list[str] = versions.tolist()
    return found


def _numbers(column: pa.Array) -> npt.NDArray[np.int64]:
    return np.asarray(pc.fill_null(column, -1).to_numpy(zero_copy_only=False), np.int64)


def _most_rows(rows: Mapping[str, int]) -> str:
    """The pinned version with the most rows, of equal ones the first by name."""
    return min((version for version in rows if version), key=lambda version: (-rows[version], version))
