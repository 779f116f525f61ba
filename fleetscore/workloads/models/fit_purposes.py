"""What of [train] and [judge] does not fit settings, models and data, found before a training or a
judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fleetscore.errors import InputError
from fleetscore.models.fit_record import Misfit
from fleetscore.models.packs.bundle import Bundle
from fleetscore.settings import read_settings_file, workload_settings_path
from fleetscore.settings_tables import add_line
from fleetscore.sources.patterns import parse_pattern
from fleetscore.sources.places import split_place
from fleetscore.store.base import Store
from fleetscore.workloads.models.estimator_names import make_estimator
from fleetscore.workloads.models.fit_sample import Sample
from fleetscore.workloads.models.judging import check_judging
from fleetscore.workloads.models.settings import FleetSettings
from fleetscore.workloads.models.training_rows import training_features


def find_purpose_misfits(
    workload: str, store: Store, settings: FleetSettings, bundle: Bundle, sample: Sample
) -> list[Misfit]:
    """A misfit for each estimator, parameter, target or actual that there is not, or that cannot be used."""
    found: list[Misfit | None] = []
    if settings.train.estimators:
        checks: tuple[Callable[[], object], ...] = (
            lambda: make_estimator(settings.train),
            lambda: training_features(settings, bundle if len(bundle) else None),
            lambda: _check_column(sample, settings, "train.target", settings.train.target),
        )
        found += [_misfit(workload, store, check) for check in checks]
    if settings.judge.actual:
        found += [
            _misfit(workload, store, lambda: check_judging(workload, settings)),
            _misfit(
                workload,
                store,
                lambda: _check_column(sample, settings, "judge.actual", settings.judge.actual),
            ),
        ]
    return [one for one in found if one is not None]


def find_unused_columns(
    workload: str, store: Store, settings: FleetSettings, features: Sequence[str]
) -> list[Misfit]:
    """A note, with file and line, for each `{column}` of the path that nothing reads: it matches as `*` does,
    which a misspelt name is not meant to. Features are those of settings and models.
    """
    data, tables = settings.source, read_settings_file(store, workload)
    ours = {*settings.partition, *settings.key_columns, *features, *settings.data.keep}
    ours |= {data.time, settings.judge.actual, settings.train.target}
    used = {data.theirs(name) for name in ours} | set(data.melt.id if data.melt else ())
    named = dict.fromkeys(name for path in data.paths for name in parse_pattern(split_place(path)[1]).columns)
    found = []
    for name in (name for name in named if name not in used):
        error = InputError(
            f"path names the column {{{name}}}, and nothing reads it.",
            fix="Correct its name, or write * in its place.",
            field="data.path", code="unused_column",
        )  # fmt: skip
        told = add_line(error, tables, workload_settings_path(workload))
        found.append(Misfit("note", told.code, name, told.message, told.fix))
    return found


def _check_column(sample: Sample, settings: FleetSettings, field: str, name: str) -> None:
    """InputError where no file that was read has the column; files that are melted name theirs in rows."""
    theirs = settings.source.theirs(name)
    if theirs in sample.names or not sample.names:
        return
    raise InputError(
        f"{field} is {name!r}, and no file that was read has a column {theirs!r}.",
        fix=f'Correct it, or map a column to it: columns = {{ {name} = "..." }} in [data].',
        field=field, code="missing_column",
    )  # fmt: skip


def _misfit(workload: str, store: Store, check: Callable[[], object]) -> Misfit | None:
    """What the check raises, with the line of its setting; None where it passes."""
    try:
        check()
    except InputError as error:
        told = add_line(error, read_settings_file(store, workload), workload_settings_path(workload))
        return Misfit("error", told.code, told.field, told.message, told.fix)
    return None
