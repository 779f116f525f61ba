"""Pins, made anew: from the files that hold each change, or guessed from the newest published window."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import DamagedStateError, MissingBlobError
from fleetscore.models.pins import PinChange, Pins, changes_folder, replay_changes
from fleetscore.records import Outcome
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import find_latest, read_manifest
from fleetscore.runs.plans import read_plan
from fleetscore.store.base import Store
from fleetscore.store.state_files import read_truth
from fleetscore.store.tables import open_truth


def pins_from_changes(store: Store, workload: str) -> Pins | None:
    """What all kept changes lead to; None where there are none, or one of them is missing or damaged."""
    folder = changes_folder(workload)
    paths = [entry.path for entry in store.list(folder)]
    if not paths or paths != [f"{folder}{number:06d}.json" for number in range(1, len(paths) + 1)]:
        return None
    try:
        return replay_changes([read_truth(store, path, PinChange) for path in paths])
    except DamagedStateError:
        return None


def guess_pins(store: Store, workload: str, now: datetime) -> Pins | None:
    """The versions that scored the newest published window: the most frequent as the current one, others
    partition by partition.

    None where no window is published, or none of its partitions names a version.
    """
    latest = find_latest(store, workload)
    if latest is None:
        return None
    manifest = read_manifest(store, workload, latest.window)
    versions = _versions(store, manifest.run)
    counts = Counter(versions.values())
    if not counts:
        return None
    current = counts.most_common(1)[0][0]
    others = {key: version for key, version in versions.items() if version != current}
    why = f"made anew from what {manifest.run} was scored with"
    changes = [PinChange(now, "fleetscore repair", "", "", current, why)]
    changes += [PinChange(now, "fleetscore repair", key, "", version, why) for key, version in others.items()]
    return replay_changes(changes)


def _versions(store: Store, run: str) -> dict[str, str]:
    """Partition -> the version that scored it: by the run's ledger, and by its plan where the ledger names
    none.
    """
    ledger = read_ledger(store, run)
    found = _pairs(ledger.filter(pc.equal(ledger["outcome"], Outcome.SCORED)))
    if not found:
        with (
            suppress(MissingBlobError, DamagedStateError),
            open_truth(store, read_plan(store, run).table) as source,
        ):
            found = _pairs(pq.read_table(source, columns=["partition", "model"]))
    return found


def _pairs(table: pa.Table) -> dict[str, str]:
    pairs = zip(table["partition"].to_pylist(), table["model"].to_pylist(), strict=True)
    return {partition: version for partition, version in pairs if version}
