"""Which model format a file holds, by its first bytes and not by its name alone."""

from __future__ import annotations

import bz2
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path, PurePosixPath

from fleetscore.errors import ModelError

SIZE_LIMIT_BYTES = 1 << 30
"""A model file above this is refused unread."""

_HEAD_BYTES = 1 << 16
_PEEK_BYTES = 256


class Format(StrEnum):
    """A format that models are imported from."""

    ONNX = "onnx"
    LIGHTGBM = "lightgbm"
    XGBOOST_JSON = "xgboost_json"
    XGBOOST_UBJ = "xgboost_ubj"
    CATBOOST_JSON = "catboost_json"
    CATBOOST_CBM = "catboost_cbm"
    SKOPS = "skops"
    PICKLE = "pickle"
    MLFLOW = "mlflow"


LABELS = {
    Format.ONNX: "an ONNX graph",
    Format.LIGHTGBM: "a LightGBM text model",
    Format.XGBOOST_JSON: "an XGBoost model in JSON",
    Format.XGBOOST_UBJ: "an XGBoost model in UBJ",
    Format.CATBOOST_JSON: "a CatBoost model in JSON",
    Format.CATBOOST_CBM: "a CatBoost model in cbm",
    Format.SKOPS: "a skops file",
    Format.PICKLE: "a pickle",
    Format.MLFLOW: "an MLflow model folder",
}

_JSONS = {Format.XGBOOST_JSON, Format.CATBOOST_JSON}
_SUFFIXES: dict[str, set[Format]] = {
    ".onnx": {Format.ONNX},
    ".txt": {Format.LIGHTGBM},
    ".lgb": {Format.LIGHTGBM},
    ".json": _JSONS,
    ".ubj": {Format.XGBOOST_UBJ},
    ".cbm": {Format.CATBOOST_CBM},
    ".skops": {Format.SKOPS},
    ".pkl": {Format.PICKLE},
    ".pickle": {Format.PICKLE},
    ".joblib": {Format.PICKLE},
}
"""What a suffix promises; a suffix that is not listed promises nothing."""

_OTHER_SUFFIXES = frozenset({".model", ".bst", ".bin", ".sav", ".gz", ".z", ".bz2", ".xz", ".lzma"})

_PICKLE = re.compile(rb"\x80[\x02-\x05]|\(dp|\(lp|\(i|c[A-Za-z_][\w.]*\n[A-Za-z_]\w*\n")


def detect_format(path: Path, *, any_suffix: bool = False) -> Format:
    """The format that the file or folder at `path` holds; with `any_suffix`, whatever its suffix promises.

    Raises ModelError `empty_model` for zero bytes, `model_too_large` above SIZE_LIMIT_BYTES,
    `unknown_model_format` for content of no known format and for pipes, sockets and devices, and
    `wrong_model_suffix` where the suffix promises another format than the content.
    """
    if path.is_dir():
        return Format.MLFLOW
    size_bytes = path.stat().st_size
    if not path.is_file():
        raise ModelError(
            "It is no file but a pipe, a socket or a device.",
            fix="Write a file.",
            code="unknown_model_format",
        )
    if size_bytes == 0:
        raise ModelError("The file has zero bytes.", fix="Write the model again.", code="empty_model")
    if size_bytes > SIZE_LIMIT_BYTES:
        raise ModelError(
            f"The file has {size_bytes} bytes; at most {SIZE_LIMIT_BYTES} are read.", code="model_too_large"
        )
    with path.open("rb") as file:
        found = _format_of(file.read(_HEAD_BYTES), path)
    promised = None if any_suffix else _SUFFIXES.get(path.suffix.lower())
    if promised is not None and found not in promised:
        wanted = " or ".join(LABELS[one] for one in sorted(promised))
        raise ModelError(
            f"The file holds {LABELS[found]}, and its suffix {path.suffix} promises {wanted}.",
            fix="Give it the suffix of its format.",
            code="wrong_model_suffix",
        )
    return found


def without_suffix(name: str) -> str:
    """The name without the suffixes that model files have; what else stands behind a dot belongs to the key.

    >>> without_suffix("north/VAN-1.2.joblib.gz")
    'north/VAN-1.2'
    >>> without_suffix("VAN-1.2")
    'VAN-1.2'
    """
    path = PurePosixPath(name)
    while path.suffix.lower() in _SUFFIXES or path.suffix.lower() in _OTHER_SUFFIXES:
        path = path.with_suffix("")
    return str(path)


def _format_of(head: bytes, path: Path) -> Format:
    for test, found in _TESTS:
        if test(head):
            return found
    if head.lstrip()[:1] == b"{":
        return _json_format(head, path)
    if head.startswith(b"PK\x03\x04") and _is_skops(path):
        return Format.SKOPS
    if _PICKLE.match(_decompressed(head)):
        return Format.PICKLE
    raise ModelError(
        f"The file begins with {head[:12]!r}, which is no model format that is imported.",
        fix="Formats: ONNX, LightGBM text, XGBoost JSON or UBJ, CatBoost JSON or cbm, skops, joblib, pickle, "
        "an MLflow model folder.",
        code="unknown_model_format",
    )


def _is_onnx(head: bytes) -> bool:
    """A protobuf message that begins with the field ir_version, a small number, and goes on with a field of
    ModelProto.
    """
    return (
        len(head) > 3
        and head[0] == 0x08
        and 1 <= head[1] <= 32
        and head[2] in b"\x12\x1a\x22\x28\x32\x3a\x42"
    )


_TESTS: tuple[tuple[Callable[[bytes], bool], Format], ...] = (
    (lambda head: head.startswith((b"tree\n", b"tree\r\n")), Format.LIGHTGBM),
    (lambda head: head.startswith(b"CBM1"), Format.CATBOOST_CBM),
    (lambda head: head.startswith(b"{L\x00\x00\x00\x00"), Format.XGBOOST_UBJ),
    (_is_onnx, Format.ONNX),
)


def _json_format(head: bytes, path: Path) -> Format:
    """Which library's JSON, by names that only its models have; the end of the file decides where the head
    does not.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _HEAD_BYTES))
        ends = head + file.read(_HEAD_BYTES)
    if b'"learner"' in ends or b'"gradient_booster"' in ends:
        return Format.XGBOOST_JSON
    if any(name in ends for name in (b'"oblivious_trees"', b'"catboost_version_info"', b'"float_features"')):
        return Format.CATBOOST_JSON
    raise ModelError(
        "The file holds JSON that is a model of neither XGBoost nor CatBoost.",
        fix="Write it with `save_model` of that library.",
        code="unknown_model_format",
    )


def _is_skops(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "schema.json" in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        raise ModelError(
            "The file begins as a zip archive and is none: it is cut short or damaged.",
            fix="Write the model again.",
            code="unreadable_model",
        ) from None


def _decompressed(head: bytes) -> bytes:
    """The first bytes of what joblib compressed, or `head` itself; damaged data gives b""."""
    try:
        if head.startswith(b"\x1f\x8b") or (
            head[:1] == b"\x78" and int.from_bytes(head[:2], "big") % 31 == 0
        ):
            return zlib.decompressobj(wbits=47).decompress(head, _PEEK_BYTES)  # 47: zlib or gzip
        if head.startswith(b"BZh"):
            return bz2.BZ2Decompressor().decompress(head, _PEEK_BYTES)
        if head.startswith((b"\xfd7zXZ\x00", b"\x5d\x00\x00\x80\x00")):
            return lzma.LZMADecompressor().decompress(head, _PEEK_BYTES)
    except (zlib.error, OSError, EOFError, lzma.LZMAError):
        return b""
    return head
