"""Which files of a folder are models, and which key each gets: by its name, or by a manifest."""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fleetscore.errors import InputError, ModelError
from fleetscore.models.importers.formats import detect_format, without_suffix

MANIFEST = "keys.csv"
"""A file of this name in the source folder gives the keys where no manifest is named."""

_MANIFEST_FORM = "Its first line is key,file; each further line has a key and a file below the folder, separated by a comma."

MODEL_FOLDER_FILE = "MLmodel"
"""What makes a folder an MLflow model."""

_KEY_LIMIT = 1024
_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class SourceModel:
    """A model file, or an MLflow model folder, and its key; `refusal` says why it has none."""

    name: str
    path: Path
    key: str = ""
    refusal: ModelError | None = None


def list_source_models(
    source: Path, patterns: Sequence[str] = ("{key}",), manifest: Path | None = None
) -> list[SourceModel]:
    """The models below `source` in the order of their names, each with its key or a refusal.

    `patterns` are those of `[models] key`: the first that a name without its suffix fits gives the key.
    `manifest`, or a keys.csv in the folder, gives keys instead: its columns are `key` and `file`. A source
    that is one file has the key "" where a pattern is "", else that of its name. Raises InputError for a
    source that is not there, a manifest that cannot be read, and a pattern that is none.
    """
    if not source.exists():
        raise InputError(f"{source} does not exist.", fix="Name the folder of the models.", field="from")
    if _is_model(source):
        return [_single(source, patterns)]
    manifest = find_manifest_of(source, manifest)
    found = _by_manifest(source, manifest, "" in patterns) if manifest else _by_name(source, patterns)
    return _refuse_shared_keys(sorted(found, key=lambda model: model.name))


def find_manifest_of(source: Path, manifest: Path | None) -> Path | None:
    """The manifest that gives the keys of `source`: the one named, else its keys.csv; None where names do."""
    if manifest is None and (source / MANIFEST).is_file():
        return source / MANIFEST
    return manifest


def list_unnamed(source: Path, manifest: Path | None = None) -> list[str]:
    """The names of the models below `source` that its manifest does not name; none where names give the keys.

    A model is what begins as one; a line's file counts as named whatever becomes of the line.
    """
    manifest = find_manifest_of(source, manifest)
    if manifest is None or _is_model(source):
        return []
    named = {model.path.resolve() for model in _by_manifest(source, manifest, takes_all=True)}
    others = (path for path in _walk(source) if path.resolve() not in named)
    return sorted(path.relative_to(source).as_posix() for path in others if _begins_as_model(path))


def describe_unnamed(names: Sequence[str]) -> str:
    """How many models the manifest does not name, with examples; "" for none.

    >>> describe_unnamed(["a.onnx", "b.onnx"])
    '2 models of the folder were passed over, since the manifest does not name them: a.onnx, b.onnx.'
    """
    if not names:
        return ""
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
    passed = "1 model of the folder was" if len(names) == 1 else f"{len(names):,} models of the folder were"
    them = "it" if len(names) == 1 else "them"
    return f"{passed} passed over, since the manifest does not name {them}: {shown}."


def _begins_as_model(path: Path) -> bool:
    try:
        detect_format(path, any_suffix=True)
    except (ModelError, OSError):
        return False
    return True


def _single(source: Path, patterns: Sequence[str]) -> SourceModel:
    """The one model of a source that is a file: of all partitions where a pattern says so, else of the key
    in its name.
    """
    if "" in patterns:
        return SourceModel(source.name, source)
    expressions = [_expression(pattern) for pattern in patterns]
    try:
        return SourceModel(source.name, source, _key_of(source.name, source.is_dir(), expressions, patterns))
    except ModelError as error:
        return SourceModel(source.name, source, refusal=error)


def _is_model(path: Path) -> bool:
    return path.is_file() or (path / MODEL_FOLDER_FILE).is_file()


def _by_name(source: Path, patterns: Sequence[str]) -> Iterator[SourceModel]:
    expressions = [_expression(pattern) for pattern in patterns]
    for path in _walk(source):
        name = path.relative_to(source).as_posix()
        try:
            yield SourceModel(name, path, _key_of(name, path.is_dir(), expressions, patterns))
        except ModelError as error:
            yield SourceModel(name, path, refusal=error)


def _walk(source: Path) -> Iterator[Path]:
    """Model files and MLflow folders; what begins with a dot is none, and links to folders are not
    followed.
    """
    for folder, folders, files in os.walk(source):
        here = Path(folder)
        models = sorted(one for one in folders if (here / one / MODEL_FOLDER_FILE).is_file())
        folders[:] = [one for one in folders if one not in models and not one.startswith(".")]
        yield from (here / one for one in models)
        yield from (here / one for one in files if not one.startswith("."))


def _expression(pattern: str) -> re.Pattern[str]:
    """The regular expression of the names that fit a pattern such as `{depot}/{van_id}`.

    >>> _expression("{depot}/van-{van_id}").fullmatch("north/van-0012").groups()
    ('north', '0012')
    """
    parts = re.split(r"(\{[^{}/]+\})", pattern)
    if any("{" in part or "}" in part for part in parts[::2]):
        raise InputError(
            f"{pattern!r} is not a pattern of keys.",
            fix="Write column names in braces: {van_id}.",
            field="key",
        )
    return re.compile("".join("([^/]+)" if part.startswith("{") else re.escape(part) for part in parts))


def _key_of(
    name: str, is_folder: bool, expressions: Sequence[re.Pattern[str]], patterns: Sequence[str]
) -> str:
    """The key of a name; in names, `%2F` and the like stand for characters that files cannot have."""
    _check_encoding(name)
    stem = name if is_folder else without_suffix(name)
    if "" in patterns and stem == "default":
        return ""
    if not any(expression.fullmatch(stem) for expression in expressions):
        wanted = ", ".join(repr(pattern) for pattern in patterns if pattern) or "'default'"
        raise ModelError(
            f"The name {stem!r} does not fit {wanted}.",
            fix="Rename it, or name keys in a manifest keys.csv.",
            code="no_model_key",
        )
    return _checked_key(unicodedata.normalize("NFC", unquote(stem)))


def _check_encoding(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ModelError(
            "The file's name is not UTF-8.", fix="Rename it, or name keys in a manifest.", code="no_model_key"
        ) from None


def _checked_key(key: str) -> str:
    control = next((character for character in key if ord(character) < 32), "")
    if control:
        problem = f"has the control character {control!r}; only printable ones are allowed"
    elif len(key) > _KEY_LIMIT:
        problem = f"has {len(key):,} characters; at most {_KEY_LIMIT:,} are allowed"
    else:
        return key
    raise ModelError(f"The key {problem}.", fix="Name another in keys.csv.", code="no_model_key")


def _by_manifest(source: Path, manifest: Path, takes_all: bool) -> list[SourceModel]:
    """The manifest's models; an empty key is that of all, where `takes_all` says that there is one."""
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            names = list(reader.fieldnames or ())
            if not {"key", "file"} <= set(names):
                has = f"has the columns {names}" if names else "is empty"
                raise InputError(f"{manifest} {has}.", fix=_MANIFEST_FORM, field="manifest")
            listed = [_listed(source, manifest, reader.line_num, row, takes_all) for row in reader]
    except UnicodeDecodeError as error:
        raise InputError(
            f"{manifest} is not UTF-8 text: byte {error.object[error.start]:#04x} at place {error.start}.",
            fix="Save it as UTF-8.",
            field="manifest",
        ) from error
    except (OSError, csv.Error) as error:
        raise InputError(
            f"{manifest} cannot be read: {error}.", fix=_MANIFEST_FORM, field="manifest"
        ) from error
    if not listed:
        raise InputError(f"{manifest} names no model.", fix=_MANIFEST_FORM, field="manifest")
    return listed


def _listed(
    source: Path, manifest: Path, line: int, row: dict[str | Any, str | Any], takes_all: bool
) -> SourceModel:
    name, key = row["file"] or "", row["key"]
    path = source / name
    listed = SourceModel(name, path, key or "")
    where = f"Line {line} of {manifest.name}"
    if None in row:  # where the reader puts cells beyond the first line's
        problem = f"{where} has more cells than the first line; a name with a comma stands in quotes."
    elif key is None or not name or not (key or takes_all):
        problem = f"{where} has no key or no file."
    elif not path.resolve().is_relative_to(source.resolve()):
        problem = f"{where} names a file outside the folder."
    elif not _is_model(path):
        problem = f"{where} names a file that does not exist."
    else:
        try:
            _checked_key(key)
            return listed
        except ModelError as error:
            return replace(listed, refusal=error)
    return replace(listed, refusal=ModelError(problem, fix="Correct the manifest.", code="no_model_key"))


def _refuse_shared_keys(models: list[SourceModel]) -> list[SourceModel]:
    """Of several files with one key none is taken, because nothing says which is meant."""
    by_key: dict[str, list[str]] = defaultdict(list)
    for model in models:
        if model.refusal is None:
            by_key[model.key].append(model.name)
    return [
        replace(model, refusal=_shared(model, by_key[model.key]))
        if model.refusal is None and len(by_key[model.key]) > 1
        else model
        for model in models
    ]


def _shared(model: SourceModel, names: Sequence[str]) -> ModelError:
    others = ", ".join(sorted(name for name in names if name != model.name)[:3]) or "the same file again"
    return ModelError(
        f"The key {model.key!r} is also that of {others}.",
        fix="Keep one file for each key.",
        code="two_models_for_key",
    )
