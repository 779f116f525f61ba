"""Delta tables as input: found by their log, pinned to a version, and read only where every row of the
snapshot is read rightly.

The log is copied and read by the library `deltalake`; the data files are read as all others are, through
the store. So a table needs no other access than the store has, and its files obey the same limits.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.errors import FleetscoreError, InputError
from fleetscore.exhaustion import raise_lack, raise_passing
from fleetscore.records import InputFile
from fleetscore.sources.patterns import Pattern
from fleetscore.sources.records import PassedOver
from fleetscore.sources.settings import DataSettings
from fleetscore.store import Entry, Store
from fleetscore.store.parallel_reads import side_by_side

LOG = "_delta_log/"
INSTALL = (
    "Add deltalake==1.6.6 (see requirements-sources.txt) to fleets/requirements.txt, and run `make lock`."
)

_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.")
# a file, so many parts, or a file of version 2, whose actions may lie in others beside it
_WHOLE = re.compile(
    r"\.checkpoint(?:\.parquet|\.\d{10}\.(\d{10})\.parquet|\.[0-9a-fA-F-]{36}\.(?:parquet|json))"
)
_SIDECARS = "_sidecars/"
_READ_RIGHTLY = frozenset(
    {"timestampNtz", "vacuumProtocolCheck", "v2Checkpoint", "deletionVectors", "columnMapping"}
)
_LOG_LIMIT_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The live files of one version of a table: `actions` has a row per file, `columns` are the table's, in
    order.
    """

    version: int
    actions: pa.Table
    columns: tuple[str, ...]
    partitioned_by: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """The bytes of the live files."""
        return sum(self.actions["size_bytes"].to_pylist())


def find_tables(
    store: Store, pattern: Pattern, entries: Sequence[Entry], settings: DataSettings
) -> list[str]:
    """The roots ("" or ending with "/") of the Delta tables that the entries, or the pattern itself, belong
    to.
    """
    if settings.format not in ("", "parquet", "delta"):
        return []
    if settings.format == "delta" and not entries:
        return [pattern.text + "/"]
    roots = {e.path.partition("/" + LOG)[0] + "/" for e in entries if "/" + LOG in e.path}
    folders = {e.path.rpartition("/")[0] for e in entries if e.path.lower().endswith(".parquet")}
    above = {"/".join(f.split("/")[:n]) + "/" for f in folders for n in range(1, f.count("/") + 2)} - roots
    roots |= {root for root in above | {""} if folders and any(store.list(root.lstrip("/") + LOG, 1))}
    return sorted(root.lstrip("/") for root in roots)


def pin_tables(
    store: Store, tables: Sequence[str], pattern: Pattern, entries: Sequence[Entry], settings: DataSettings
) -> Iterator[InputFile | PassedOver]:
    """Each table that the pattern names at its newest version, or the reason why it is refused."""
    for root in tables:
        name = root.rstrip("/")
        below = (e.path for e in entries if e.path.startswith(root) and not e.path.startswith(root + LOG))
        if settings.format != "delta" and not any(pattern.match(path) for path in below):
            yield PassedOver(
                name, "not_matched", f"The pattern {pattern.text} does not match this Delta table.", True
            )
            continue
        try:
            snapshot = open_snapshot(store, name, None)
        except FleetscoreError as error:
            raise_passing(error)
            yield PassedOver(name, error.code, f"{error.message} {error.fix}".strip(), True)
        else:
            # no match where the pattern names the table and not its files
            columns, _ = pattern.match(name) or ({}, ())
            yield InputFile(name, str(snapshot.version), snapshot.size_bytes, "delta", columns)


def open_snapshot(store: Store, root: str, version: int | None) -> Snapshot:
    """The table's snapshot at a version (None: the newest).

    Raises InputError: `delta_missing` where the library is not installed, `delta_feature` for a table that
    needs what is not read rightly, `delta_version` for a version that is no longer there, `unreadable_file`
    for a log that cannot be read.
    """
    if find_spec("deltalake") is None:
        raise InputError(
            f"{root} is a Delta table, which needs the package deltalake.", fix=INSTALL, code="delta_missing"
        )
    with _copied_log(store, root, version) as folder:
        table = _opened(root, folder, version)
        _check_features(root, table)
        actions = pa.table(table.get_add_actions(flatten=True))
        columns = tuple(f.name for f in table.schema().fields)
        return Snapshot(table.version(), actions, columns, tuple(table.metadata().partition_columns))


def _opened(root: str, folder: Path, version: int | None) -> Any:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        return DeltaTable(folder, version=version)
    except (DeltaError, OSError, ValueError) as error:
        code = "unreadable_file" if version is None else "delta_version"
        wanted = "" if version is None else f" at version {version}"
        said = str(error).splitlines()[0] if str(error) else type(error).__name__  # what follows is its trace
        raise InputError(
            f"The Delta table {root} cannot be opened{wanted}: {said}.",
            fix="Run the window again, which reads the newest version, or restore the table's log.",
            code=code,
            field=root,
        ) from error


def _check_features(root: str, table: Any) -> None:
    features = set(table.protocol().reader_features or ())
    settings = table.metadata().configuration
    mapping = settings.get("delta.columnMapping.mode", "none")
    wrong = sorted(features - _READ_RIGHTLY)
    wrong += [f"column mapping (mode {mapping})"] if mapping != "none" else []
    wrong += ["deletion vectors"] if _has_deletion_vectors(table, features, settings) else []
    if wrong:
        raise InputError(
            f"The Delta table {root} uses {', '.join(wrong)}, which would be read wrongly.",
            fix="Write the rows that live to a table without it: REORG TABLE ... APPLY (PURGE), or a copy.",
            code="delta_feature",
            field=root,
        )


def _has_deletion_vectors(table: Any, features: set[str], settings: Any) -> bool:
    """Whether rows of live files are deleted without their files having been written anew; a vector that
    lies in a file of its own cannot be opened here, which says the same.
    """
    enabled = str(settings.get("delta.enableDeletionVectors", "")).lower() == "true"
    if not enabled and "deletionVectors" not in features:
        return False
    try:
        found: pa.Table = pa.table(table.deletion_vectors().read_all())
    except Exception as error:
        raise_lack(error)
        return True
    return len(found) > 0


@contextlib.contextmanager
def _copied_log(store: Store, root: str, version: int | None) -> Iterator[Path]:
    """A folder on this machine that holds the table's log from its last checkpoint before the version on."""
    prefix = f"{root}/{LOG}".lstrip("/")
    there = {e.path.removeprefix(prefix): e for e in store.list(prefix)}
    names = needed_log(list(there), version)
    if not names:
        raise InputError(
            f"{root} holds no Delta table: there is no {LOG[:-1]} in it.", code="no_table", field=root
        )
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / LOG
        (log / _SIDECARS).mkdir(parents=True)
        _copy_log(store, root, [there[name] for name in names], log, prefix)
        beside = [name for name in names if _WHOLE.fullmatch(name, 20)] if _has_sidecars(there) else []
        sidecars = {_SIDECARS + sidecar for name in beside for sidecar in _sidecars_of(log / name)}
        _copy_log(store, root, [there[name] for name in sorted(sidecars & there.keys())], log, prefix)
        yield Path(folder)


def _copy_log(store: Store, root: str, entries: Sequence[Entry], log: Path, prefix: str) -> None:
    if sum(e.size_bytes for e in entries) > _LOG_LIMIT_BYTES:
        raise InputError(
            f"The log of the Delta table {root} is larger than 1 GiB.",
            fix="Let its writer make checkpoints and clean the log up.",
            code="too_large",
            field=root,
        )
    side_by_side(
        lambda entry: (log / entry.path.removeprefix(prefix)).write_bytes(store.read(entry.path)), entries
    )


def _has_sidecars(names: Iterable[str]) -> bool:
    return any(name.startswith(_SIDECARS) for name in names)


def _sidecars_of(checkpoint: Path) -> set[str]:
    """The names of the files that hold actions of a checkpoint beside its own; none of one that cannot be
    read, which opening the table says.
    """
    try:
        if checkpoint.suffix == ".json":
            lines = checkpoint.read_bytes().splitlines()
            rows = [json.loads(line).get("sidecar") for line in lines if line.strip()]
        else:
            names = pq.read_schema(checkpoint).names
            rows = (
                pq.read_table(checkpoint, columns=["sidecar"])["sidecar"].to_pylist()
                if "sidecar" in names
                else []
            )
        return {unquote(str(row["path"])).rpartition("/")[2] for row in rows if row}
    except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException):
        return set()


def needed_log(names: Sequence[str], version: int | None) -> list[str]:
    """The files of a log that say what lives at a version (None: the newest): the newest whole checkpoint up
    to it, and what was written since; everything where no checkpoint is whole.

    >>> at = "{:020d}{}".format
    >>> log = [at(n, ".json") for n in range(4)] + [at(2, ".checkpoint.parquet"), "_last_checkpoint"]
    >>> [name[18:] for name in needed_log(log, None)], [name[18:] for name in needed_log(log, 1)]
    (['02.checkpoint.parquet', '02.json', '03.json'], ['00.json', '01.json'])
    """
    numbers = {name: int(name[:20]) for name in names if _COMMIT.fullmatch(name) or _CHECKPOINT.match(name)}
    wanted = {name: at for name, at in numbers.items() if version is None or at <= version}
    parts: dict[tuple[int, int], int] = Counter()
    for name, at in wanted.items():
        if whole := _WHOLE.fullmatch(name, 20):
            parts[at, int(whole[1] or 1)] += 1
    first = max((at for (at, count), found in parts.items() if found == count), default=0)
    return sorted(name for name, at in wanted.items() if at >= first)
