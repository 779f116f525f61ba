"""Which format a file has: by its suffix, unless the settings say; and whether a file that no pattern takes
looks like data.
"""

from __future__ import annotations

from dataclasses import dataclass

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_BY_SUFFIX = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet", ".avro": "avro",
}  # fmt: skip
_PACKED = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
_ARCHIVE = b"PK\x03\x04"
_PARQUET = b"PAR1\x15"  # its mark, and the first byte of a header: a column may be called PAR1
_TEXT = ("csv", "tsv", "jsonl")
_DATA_WORDS = (
    ".csv", ".tsv", ".json", ".parquet", ".avro", ".orc", ".xlsx", ".xls", ".feather", ".arrow", ".txt", ".log", ".dat",
    ".gz", ".zst", ".zip", ".bz2", ".xz", ".snappy", ".lz4", ".7z", ".tar", ".sqlite", ".db",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format, and how the file is compressed as a whole: "" (not at all), gzip or zstd."""

    name: str
    compression: str = ""


def format_of(path: str, declared: str = "") -> FileFormat | None:
    """The format of a file by its suffix, or as declared; None where it is of no format that is read.

    >>> format_of("a/B.CSV.gz")
    FileFormat(name='csv', compression='gzip')
    """
    name = path.rpartition("/")[2].lower()
    compression = next((kind for suffix, kind in COMPRESSIONS.items() if name.endswith(suffix)), "")
    bare = name.rpartition(".")[0] if compression else name
    if declared in ("avro", "capture", "parquet", "delta"):
        return FileFormat(declared)
    if declared:
        return FileFormat(declared, compression)
    found = _BY_SUFFIX.get("." + bare.rpartition(".")[2]) if "." in bare else None
    if found is None or (compression and found not in _TEXT):
        return None
    return FileFormat(found, compression)


@dataclass(frozen=True, slots=True)
class Misnamed:
    """What a file is that is named as text, and what to do about it."""

    what: str
    fix: str


def find_misnamed(path: str, head: bytes) -> Misnamed | None:
    """What a file whose text begins with `head` is instead of text: packed, or Parquet; None for anything
    else.

    >>> find_misnamed("a/b.csv", bytes.fromhex("1f8b0800")).fix
    'Name it a/b.csv.gz, or unpack it.'
    """
    packed = next((kind for kind, mark in _PACKED.items() if head.startswith(mark)), "")
    if packed:
        suffix = next(suffix for suffix, kind in COMPRESSIONS.items() if kind == packed)
        is_named = path.lower().endswith(tuple(COMPRESSIONS))
        fix = "Unpack it once." if is_named else f"Name it {path}{suffix}, or unpack it."
        return Misnamed(f"compressed with {packed}{', twice' if is_named else ''}", fix)
    if head.startswith(_ARCHIVE):
        return Misnamed("a ZIP archive or an Excel workbook", "Unpack it, or export it as CSV.")
    if head.startswith(_PARQUET):
        stem = path.rpartition(".")[0] or path
        return Misnamed("a Parquet file", f'Name it {stem}.parquet, or set format = "parquet" in [data].')
    return None


def looks_like_data(path: str) -> bool:
    """Whether a file that was passed over has a name that people give to data."""
    name = path.rpartition("/")[2].lower()
    return any(word in name for word in _DATA_WORDS)


def is_hidden(path: str, folder: str) -> bool:
    """Whether a name below `folder` begins with "." or "_", as those of markers, logs and unfinished files
    do.
    """
    parts = path.removeprefix(folder).split("/")
    return any(part.startswith(".") or (part.startswith("_") and "=" not in part) for part in parts)
