"""The check of a fleet before any run: settings, data and models read together, some rows scored, and what
does not fit by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fleetscore.errors import FleetscoreError, InputError
from fleetscore.models.fit_record import FitCheck, Misfit
from fleetscore.models.importers.naming import describe_unnamed
from fleetscore.models.packs.base import ModelFacts
from fleetscore.models.packs.bundle import Bundle, open_bundle, pack_models
from fleetscore.models.packs.shard_scoring import feature_order, has_generic_names
from fleetscore.models.pins import Pins
from fleetscore.sources import Span, TimeRange, list_inputs
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workload import RunContext, Workload
from fleetscore.workloads.models.bundles import find_bundle
from fleetscore.workloads.models.discovery import WindowFiles, checked_settings, find_files
from fleetscore.workloads.models.fit_purposes import find_purpose_misfits, find_unused_columns
from fleetscore.workloads.models.fit_sample import ROWS_PER_MODEL, Sample, take_sample
from fleetscore.workloads.models.fit_trial import list_keys, try_models
from fleetscore.workloads.models.importing import Report, import_fleet
from fleetscore.workloads.models.scoring import model_features
from fleetscore.workloads.models.settings import PASS, REJECT, FleetSettings

_SHOWN = 3


def check_fit(
    kind: Workload, store: Store, pins: Pins, window: Window | None, source: Path | None, trusted: bool = False,
    report: Report | None = None,
) -> FitCheck:  # fmt: skip
    """See `ChecksFit`; InputError for settings without partition or data, ModelError where there is no
    model at all.
    """
    settings = checked_settings(RunContext(store, kind, window or _any_window(kind), pins))
    bundle, misfits = _models(kind.name, store, pins, settings, source, trusted, report)
    features = _all_features(bundle, settings)
    files, span = _files(kind, store, pins, settings, window)
    misfits += [Misfit("warning", "passed_over", text.partition(":")[0], text) for text in files.remarks]
    sample = take_sample(store, files.files, settings, bundle, features, span)
    if not sample.rows and not sample.misfits:
        misfits.append(_no_rows(settings, window))
    misfits += sample.misfits
    misfits += find_purpose_misfits(kind.name, store, settings, bundle, sample)
    misfits += find_unused_columns(kind.name, store, settings, features)
    misfits += _lacking_numbers(sample, settings)
    misfits += _keys_apart(sample, bundle, settings)
    used = [name for name in _given_features(bundle, settings) if name in sample.columns]
    misfits += (
        _signatures(bundle, sample.columns, settings) if sample.rows and not settings.models.score else []
    )
    scored, results, found = try_models(sample, bundle, settings, used, kind.name)
    check = FitCheck(
        kind.name, str(source) if source else pins.current, len(bundle), len(files.files), sample.files_read, sample.rows,
        len(sample.partitions), ROWS_PER_MODEL, scored, results,
    )  # fmt: skip
    return replace(check, misfits=tuple(dict.fromkeys((*misfits, *found))))


def _models(
    workload: str,
    store: Store,
    pins: Pins,
    settings: FleetSettings,
    source: Path | None,
    trusted: bool,
    report: Report | None,
) -> tuple[Bundle, list[Misfit]]:
    """The models to check, and a misfit for each file that cannot be imported."""
    if source is None and not pins.current:
        fix = f"Import models: fleetscore import-models {workload} --from FOLDER, or give check the folder as --from."
        return pack_models([]), [
            Misfit("error", "no_model_set", workload, f"{workload} has no pinned model set.", fix)
        ]
    if source is None:
        return find_bundle(store, workload, pins.current), []
    imported = import_fleet(source, settings, None, trusted=trusted, report=report)
    files = imported.draft.files
    refused = [
        Misfit("error", one["code"], one["file"], f"{one['file']}: {one['reason']}")
        for one in imported.draft.card["refusals"]
    ]
    if imported.unnamed:
        refused.append(Misfit("warning", "passed_over", source.name, describe_unnamed(imported.unnamed)))
    return open_bundle(files.__getitem__), refused


def _any_window(kind: Workload) -> Window:
    return kind.parse_window({"day": "2000-01-01", "week": "2000-W01", "month": "2000-01", "hour": "2000-01-01T00"}.get(
        kind.cadences[0].value, "2000-01-01T0000"
    ))  # fmt: skip


def _files(
    kind: Workload, store: Store, pins: Pins, settings: FleetSettings, window: Window | None
) -> tuple[WindowFiles, Span | None]:
    if window is not None:
        return find_files(RunContext(store, kind, window, pins)), TimeRange(window.start, window.end)
    if settings.data.database:
        raise InputError(
            "Rows of a database are read window by window.", fix="Give --window.", field="window"
        )
    listing = list_inputs(store, settings.source, None)
    return WindowFiles(listing.files, listing.remarks()), None


def _no_rows(settings: FleetSettings, window: Window | None) -> Misfit:
    where = ", ".join(settings.data.paths) or "the database"
    when = f" in {window.key}" if window else ""
    return Misfit("error", "no_rows", where, f"{where} has no row{when}.", "Correct path in [data].")


def _all_features(bundle: Bundle, settings: FleetSettings) -> tuple[str, ...]:
    """The features that the settings name and those that models name themselves: what a check looks for in
    the data.
    """
    named = dict.fromkeys(settings.data.features)
    for facts, _ in _by_facts(bundle):
        if not has_generic_names(facts, named):
            named |= dict.fromkeys(facts.feature_names)
    return tuple(named)


def _given_features(bundle: Bundle, settings: FleetSettings) -> tuple[str, ...]:
    """The features that a run would read; none where there is no model yet that could name them."""
    return model_features(bundle, settings) if settings.data.features or len(bundle) else ()


def _lacking_numbers(sample: Sample, settings: FleetSettings) -> list[Misfit]:
    """Features without a number, in all rows or in some."""
    policy = settings.expect.missing
    found = []
    for name in sorted(sample.columns if sample.rows else ()):
        lacking = sample.rows - sample.numbers[name]
        if lacking == sample.rows:
            fix = f'Map another column to it: columns = {{ {name} = "..." }} in [data].'
            detail = f"{name} has no number in any of {sample.rows:,} rows."
            found.append(Misfit("note" if policy == PASS else "error", "all_missing", name, detail, fix))
        elif lacking and policy == REJECT:
            fix = 'Set missing = "drop", "pass" or a number in [expect], or correct the data.'
            detail = f"{name} has no number in {lacking:,} of {sample.rows:,} rows; partitions whose models take it fail."
            found.append(Misfit("warning", "missing_feature", name, detail, fix))
    return found


def _keys_apart(sample: Sample, bundle: Bundle, settings: FleetSettings) -> list[Misfit]:
    """Keys of the data that no model has, and models whose key no row has."""
    found = []
    if sample.without_model and len(bundle):
        keys = sorted(sample.without_model)
        detail = f"Data without a model: {list_keys(keys, 'key')}. Partitions without a model are skipped."
        fix = "Import models for them: fleetscore import-models --add."
        found.append(Misfit("warning", "no_model", keys[0], detail, fix))
    silent = sorted(key for key in bundle.keys.to_pylist() if not sample.rows_of[key])
    if silent and sample.rows:
        late = "Their partitions are late." if settings.expects == "models" else "They score nothing."
        detail = f"Models without a row in the data that was read: {list_keys(silent, 'model')}. {late}"
        found.append(Misfit("warning", "no_data", silent[0], detail))
    return found


def _signatures(bundle: Bundle, columns: Collection[str], settings: FleetSettings) -> list[Misfit]:
    """What models take against what the data and the settings give, once for all models of the same
    signature.
    """
    given = _given_features(bundle, settings)
    found = []
    for facts, keys in _by_facts(bundle):
        misfit = _signature(facts, keys, columns, given, settings)
        found += [misfit] if misfit else []
    return found


def _signature(
    facts: ModelFacts, keys: Sequence[str], columns: Collection[str], given: Sequence[str], settings: FleetSettings
) -> Misfit | None:  # fmt: skip
    who, named = list_keys(keys, "model"), settings.data.features
    unnamed = [name for name in facts.feature_names if named and name in columns and name not in named]
    if unnamed and not has_generic_names(facts, given):
        detail = f"{who}: {', '.join(unnamed[:_SHOWN])} is taken, and features of [data] does not name it."
        return Misfit(
            "error", "feature_mismatch", keys[0], detail, "Add it to features, or leave features out."
        )
    try:
        names = feature_order(facts, dict.fromkeys(name for name in given if name in columns), given)
    except FleetscoreError as error:
        return Misfit("error", error.code, keys[0], f"{who}: {error.message}", error.fix)
    if named and list(names) != list(given) and set(names) == set(given):
        detail = f"{who}: the features are taken as {', '.join(names)}, not in the order of the settings; each gets its own by name."
        return Misfit("note", "feature_order", keys[0], detail)
    unused = [name for name in given if named and name not in names]
    return (
        Misfit("note", "unused_feature", keys[0], f"{who}: {', '.join(unused)} is not taken.")
        if unused
        else None
    )


def _by_facts(bundle: Bundle) -> Iterator[tuple[ModelFacts, list[str]]]:
    """Each distinct signature of the models with the keys of those that have it."""
    groups: dict[tuple[Any, ...], tuple[ModelFacts, list[str]]] = {}
    columns = (bundle.index[name].to_pylist() for name in ("key", "pack", "place"))
    for key, number, place in zip(*columns, strict=True):
        facts = bundle.pack(number).facts_of_model(place)
        groups.setdefault((facts.feature_names, facts.n_features), (facts, []))[1].append(key)
    yield from groups.values()
