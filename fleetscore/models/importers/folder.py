"""Importing a folder of models: a stream of results, one for each file, in bounded memory."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from fleetscore.errors import ModelError
from fleetscore.models.importers.formats import Format, detect_format
from fleetscore.models.importers.limits import ImportLimits
from fleetscore.models.importers.naming import SourceModel, list_source_models
from fleetscore.models.importers.process import ImportProcess
from fleetscore.models.packs.base import METHODS, CompiledModel
from fleetscore.models.packs.families import open_pack
from fleetscore.models.packs.proof import Proof

_AHEAD = 4
"""Files under way or done per process before their results are taken: what bounds the memory."""

_FILES_PER_PROCESS = 25
"""Files for which a further process is worth its start, which takes as long as importing about so many."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one file: a compiled model with its proof and the facts for its card, or a refusal.

    `number` of `total` says how far the import is; `key` is "" for a refusal without one, and for the one
    model of all.
    """

    name: str
    key: str
    number: int
    total: int
    model: CompiledModel | None = None
    proof: Proof | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    refusal: ModelError | None = None


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How to import: whether pickles may run, what the models must answer, what is known of the features,
    and limits.

    `ranges` gives lowest and highest value by feature name, for the proof; `method` is "" where any will do.
    """

    trusted: bool = False
    method: str = ""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    limits: ImportLimits = field(default_factory=ImportLimits)
    processes: int = 2  # at most; few files take one
    keeps_pickles: bool = False  # a pickle stays the object that it is, for a function of the user's own


def import_models(
    source: Path,
    patterns: Sequence[str] = ("{key}",),
    *,
    manifest: Path | None = None,
    options: ImportOptions | None = None,
) -> Iterator[Imported]:
    """Import every model below `source`, one result a file, in the order of the names.

    Keys come from names by `patterns`, or from a manifest (see `list_source_models`). What cannot be
    imported comes as a refusal with a code and a fix; it never ends the stream. InputError for a source,
    pattern or manifest that cannot be used.
    """
    options = options or ImportOptions()
    if options.method and options.method not in METHODS:
        raise ValueError(f"{options.method!r} is not one of {METHODS}")
    models = list_source_models(source, patterns, manifest)
    return _stream(models, options)


def _stream(models: Sequence[SourceModel], options: ImportOptions) -> Iterator[Imported]:
    with ExitStack() as stack:
        free: SimpleQueue[ImportProcess] = SimpleQueue()
        pool = ThreadPoolExecutor(max(1, options.processes))
        stack.callback(pool.shutdown, cancel_futures=True)  # after the processes: who stops waits for no file
        for _ in range(min(options.processes, -(-len(models) // _FILES_PER_PROCESS))):
            free.put(stack.enter_context(ImportProcess()))
        pending: deque[Future[Imported]] = deque()
        for number, model in enumerate(models, start=1):
            pending.append(pool.submit(_import_by, free, model, number, len(models), options))
            if len(pending) >= _AHEAD * options.processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _import_by(
    free: SimpleQueue[ImportProcess], model: SourceModel, number: int, total: int, options: ImportOptions
) -> Imported:
    if model.refusal is not None:
        return Imported(model.name, model.key, number, total, refusal=model.refusal)
    process = free.get()
    try:
        return _import(process, model, number, total, options)
    except ModelError as error:
        return Imported(model.name, model.key, number, total, refusal=error)
    except OSError as error:
        refusal = ModelError(f"The file cannot be read: {error.strerror}.", code="unreadable_model")
        return Imported(model.name, model.key, number, total, refusal=refusal)
    finally:
        free.put(process)


def _import(
    process: ImportProcess, model: SourceModel, number: int, total: int, options: ImportOptions
) -> Imported:
    kind = detect_format(model.path)
    request = {
        "path": str(model.path.resolve()),
        "trusted": options.trusted,
        "method": options.method,
        "keeps_pickles": options.keeps_pickles,
        "ranges": {name: list(bounds) for name, bounds in options.ranges.items()},
        "limits": asdict(options.limits),
    }
    header, payload = process.ask(request)
    if header["code"]:
        raise ModelError(header["message"], fix=header["fix"], code=header["code"], field=model.name)
    card = header["card"] | {"file": model.name, "format": str(kind)} | _fingerprint(model.path, kind)
    compiled = open_pack(payload).model(0)
    return Imported(model.name, model.key, number, total, compiled, Proof(**header["proof"]), card)


def _fingerprint(path: Path, kind: Format) -> dict[str, Any]:
    """Size and SHA-256 of a file, for the card; an MLflow folder has neither."""
    if kind is Format.MLFLOW:
        return {}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size_bytes": path.stat().st_size, "sha256": digest}
