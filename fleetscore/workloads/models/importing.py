"""Importing the models of a fleet: files to packs, one model set, with a card that says what became of
every file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fleetscore.capabilities import FleetImport
from fleetscore.errors import FleetscoreError, ModelError
from fleetscore.models.importers.folder import Imported, ImportOptions, import_models
from fleetscore.models.importers.naming import list_unnamed
from fleetscore.models.packs.base import CompiledModel
from fleetscore.models.packs.bundle import Bundle, count_changes, join_bundles, pack_models
from fleetscore.workload import ModelSetDraft
from fleetscore.workloads.models.settings import FleetSettings

Report = Callable[[str, int, int, str], None]
_REFUSALS_SHOWN = 1_000


def import_fleet(
    source: Path, settings: FleetSettings, before: Bundle | None, *, add: bool = False, trusted: bool = False,
    manifest: Path | None = None, report: Report | None = None, method: str | None = None,
) -> FleetImport:  # fmt: skip
    """Import every model below `source`; with `add`, the models of `before` stay where the source has none
    of the same key.

    `trusted` lets pickles run, in a limited process of their own. Models have to answer `method`, by
    default that of the settings; "" for any. ModelError when no file at all could be imported.
    """
    progress = _Told(report)
    wanted = settings.models.method if method is None else method
    options = ImportOptions(
        trusted=trusted,
        method="" if settings.models.score else wanted,
        keeps_pickles=bool(settings.models.score),
    )
    stream = import_models(source, settings.key_patterns, manifest=manifest, options=options)
    fresh = pack_models(progress.models(stream))
    if not len(fresh):
        raise _nothing_imported(source, progress)
    changes = count_changes(before, fresh) if before else {"replaced": 0, "new": len(fresh), "kept": 0}
    bundle = join_bundles(before, fresh) if before and add else fresh
    lost = (
        ()
        if add or before is None
        else tuple(sorted(set(before.keys.to_pylist()) - set(fresh.keys.to_pylist())))
    )
    unnamed = list_unnamed(source, manifest)
    counts = {"imported": len(fresh), "refused": len(progress.refused), **changes, "lost": len(lost)}
    counts |= {"kept": changes["kept"] if add else 0, "unnamed": len(unnamed)}
    card = _card(bundle, progress, counts) | ({"unnamed": unnamed[:_REFUSALS_SHOWN]} if unnamed else {})
    return FleetImport(ModelSetDraft(dict(bundle.files()), card), counts, lost, unnamed=tuple(unnamed))


class _Told:
    """What the stream of imported files said, kept while it passes."""

    def __init__(self, report: Report | None) -> None:
        self.refused: list[Imported] = []
        self.libraries: Counter[str] = Counter()
        self.warnings: Counter[str] = Counter()
        self._report = report

    def models(self, stream: Iterator[Imported]) -> Iterator[tuple[str, CompiledModel]]:
        for one in stream:
            if self._report is not None:
                self._report(one.name, one.number, one.total, str(one.refusal or ""))
            if one.model is None:
                self.refused.append(one)
                continue
            self.libraries[_written_by(one.model, one.card)] += 1
            self.warnings.update(one.card.get("warnings", ()))
            yield one.key, one.model


def _written_by(model: CompiledModel, card: Mapping[str, Any]) -> str:
    """The library of the model and the version that wrote it, which only the card knows of scikit-learn."""
    library = model.facts.library
    version = card.get("versions", {}).get(library) if library == "scikit-learn" else ""
    return f"{library} {version or model.facts.library_version}".strip()


def _card(bundle: Bundle, progress: _Told, counts: dict[str, int]) -> dict[str, Any]:
    refused = [
        {"file": one.name, "key": one.key, "code": one.refusal.code, "reason": str(one.refusal)}
        for one in progress.refused[:_REFUSALS_SHOWN]
        if one.refusal is not None
    ]
    return {
        "models": len(bundle),
        "import": dict(counts),
        "families": bundle.families(),
        "libraries": dict(progress.libraries),
        "warnings": dict(progress.warnings),
        "refusals": refused,
    }


def _nothing_imported(source: Path, progress: _Told) -> FleetscoreError:
    first = next((one for one in progress.refused if one.refusal is not None), None)
    if first is None or first.refusal is None:
        return ModelError(
            f"{source} holds no model file.", fix="Name the folder of the models.", code="no_model"
        )
    return ModelError(
        f"None of {len(progress.refused)} files could be imported; the first, {first.name}: {first.refusal.message}",
        fix=first.refusal.fix,
        code=first.refusal.code,
        field=first.name,
    )
