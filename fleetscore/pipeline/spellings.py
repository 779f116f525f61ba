"""Spellings: partitions that pins, profiles, earlier rounds or people name otherwise than discovery does.

Where a kind has one spelling of each partition, nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.capabilities import Respells
from fleetscore.models.pins import Pins
from fleetscore.partition_keys import find_unescaped
from fleetscore.registry import find_workload, workload_names
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path
from fleetscore.store.tables import open_truth
from fleetscore.workload import Workload

Speller = Callable[[str], str]


def speller_of(kind: Workload) -> Speller | None:
    """What gives the canonical spelling of a key; None where the kind has one spelling of each."""
    return kind.canonical_key if isinstance(kind, Respells) else None


def speller_in(store: Store, workload: str) -> Speller | None:
    """The speller of the store's workload of that name; None also for one that is not there any more or
    cannot run.
    """
    if workload not in workload_names(store):
        return None
    kind = find_workload(store, workload).workload
    return speller_of(kind) if kind is not None else None


def key_in_run(store: Store, workload: str, run: str, partition: str) -> str:
    """The key that the run's ledger has for the partition which `partition` means, in another spelling or
    with slashes and per cent signs that are not escaped; `partition` itself where there is no such key, or
    several.
    """
    spell = speller_in(store, workload)
    path = run_path(run, "ledger.parquet")
    is_own = spell is None and not {"/", "%"} & set(partition)
    if is_own or store.stat(path) is None:
        return partition
    with open_truth(store, path) as source:
        if _has_key(source, partition):
            return partition
        keys = pq.read_table(source, columns=["partition"])["partition"].to_pylist()
    found = find_spelled([partition], keys, spell)
    if len(found) == 1 and found[0] != partition:
        return found[0]
    return find_unescaped(partition, keys) or partition


def _has_key(ledger: pa.NativeFile, partition: str) -> bool:
    """Whether the ledger has the key; of the file only the row groups whose range holds it are read."""
    return bool(
        pq.read_table(ledger, columns=["partition"], filters=[("partition", "=", partition)]).num_rows
    )


def find_spelled(names: Sequence[str], known: Iterable[str], spell: Speller | None) -> tuple[str, ...]:
    """The names, with those that are not known replaced by the known keys that are other spellings of them.

    >>> find_spelled(["A", "b", "c*"], ["a", "b"], str.lower)
    ('a', 'b', 'c*')
    """
    keys = set(known) if spell else set()
    if spell is None or keys >= set(names):
        return tuple(names)
    others: dict[str, list[str]] = {}
    for key in sorted(keys):
        others.setdefault(spell(key), []).append(key)
    return tuple(
        key for name in names for key in ([name] if name in keys else others.get(spell(name), [name]))
    )


def spell_unless(known: Iterable[str], spell: Speller) -> Speller:
    """The speller that leaves known keys as they are."""
    keys = frozenset(known)
    return lambda key: key if key in keys else spell(key)


def respell_pins(kind: Workload, pins: Pins) -> Pins:
    """The pins, with those under another spelling under the canonical key too, unless that has one itself."""
    spell = speller_of(kind)
    if spell is None or not pins.partitions:
        return pins
    spelled = {spell(key): version for key, version in pins.partitions.items()}
    return replace(pins, partitions=spelled | dict(pins.partitions))


def respell_column(table: pa.Table, spell: Speller) -> pa.Table:
    """The table with canonical keys in its column `partition`; rows stay, so that a key may come twice."""
    keys = pa.array([spell(key) for key in table["partition"].to_pylist()], pa.string())
    return table.set_column(table.schema.get_field_index("partition"), "partition", keys)


def respell_profile(kind: Workload, profile: pa.Table) -> pa.Table:
    """The profile, with a row under each canonical key that it has only in other spellings: of several the
    one with the most values.
    """
    spell = speller_of(kind)
    if spell is None:
        return profile
    spelled = respell_column(profile, spell)
    spelled = spelled.filter(pc.invert(pc.is_in(spelled["partition"], profile["partition"])))
    rank = [("n", "descending")] if "n" in spelled.column_names else []
    spelled = spelled.sort_by([*rank, ("partition", "ascending")])
    first: dict[str, int] = {}
    for place, key in enumerate(spelled["partition"].to_pylist()):
        first.setdefault(key, place)
    return pa.concat_tables([profile, spelled.take(pa.array(first.values(), pa.int64()))])
