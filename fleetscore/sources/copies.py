"""Files of equal bytes: an export that lies under two names is read once, and both names are reported."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence

from fleetscore.errors import StoreError
from fleetscore.records import InputFile
from fleetscore.sources.places import store_of
from fleetscore.sources.records import PassedOver
from fleetscore.store import Store
from fleetscore.store.parallel_reads import side_by_side

_PIECE_BYTES = 1 << 20
_HEAD_BYTES = 64 * 1024
_REMEMBERED = 10_000
_digests: dict[tuple[str, str, str, int], str] = {}
"""Of versions of files that this process has read: a workload may list the same files for each of its months.
"""

_COMPARED = ("csv", "tsv", "jsonl", "parquet", "avro")


def without_copies(store: Store, files: Sequence[InputFile]) -> tuple[list[InputFile], list[PassedOver]]:
    """The files without those that hold the same bytes as one before, and these, each with the name of the
    other.

    Only files of one size, format and columns of the path are compared, by their beginnings first.
    """
    etags = {f.path: f.etag for f in files}
    alike = _alike(
        {f.path: (f.size_bytes, f.format, *f.columns.items()) for f in files if f.format in _COMPARED}
    )
    for limit_bytes in (_HEAD_BYTES, 0):
        digests = side_by_side(functools.partial(_digest, store, limit_bytes, etags), alike)
        keys = {path: digest for path, digest in zip(alike, digests, strict=True) if digest}
        alike = _alike({f.path: (keys[f.path], *f.columns.items()) for f in files if f.path in keys})
    first: dict[object, str] = {}
    copies = {}
    for file in files:
        if file.path in alike:
            original = first.setdefault((keys[file.path], *file.columns.items()), file.path)
            if original != file.path:
                copies[file.path] = original
    kept = [file for file in files if file.path not in copies]
    return kept, [_copy(path, original) for path, original in copies.items()]


def _alike(keys: dict[str, tuple[object, ...]]) -> list[str]:
    """The paths whose key another path has as well."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for path, key in keys.items():
        groups.setdefault(key, []).append(path)
    return [path for group in groups.values() if len(group) > 1 for path in group]


def _digest(store: Store, limit_bytes: int, etags: Mapping[str, str], path: str) -> str:
    """The SHA-256 of the file, or of its first `limit_bytes`; "" for one that cannot be read: the reader
    it says so.
    """
    known = (store.url, path, etags[path], limit_bytes)
    if known in _digests:
        return _digests[known]
    try:
        source, inside = store_of(store, path)
        digest = hashlib.sha256()
        for piece in _pieces(source, inside, limit_bytes):
            digest.update(piece)
    except (StoreError, OSError):
        return ""
    if len(_digests) >= _REMEMBERED:
        _digests.clear()
    return _digests.setdefault(known, digest.hexdigest())


def _pieces(store: Store, path: str, limit_bytes: int) -> Iterable[bytes]:
    with store.open(path) as file:
        if limit_bytes:
            yield file.read(limit_bytes)
            return
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _copy(path: str, original: str) -> PassedOver:
    return PassedOver(
        path, "copy", f"It holds the same bytes as {original}, which is read; delete one of them.", True
    )
