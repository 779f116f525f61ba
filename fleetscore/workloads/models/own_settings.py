"""What settings that name code of the user's mean here: whether it may run, and which columns it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from fleetscore.errors import SettingsError
from fleetscore.models.packs.bundle import Bundle
from fleetscore.models.packs.library import WHY_SLOW
from fleetscore.models.trust import find_distrust, trust_fix
from fleetscore.workloads.models.settings import FleetSettings

UNTRUSTED = "untrusted_code"


def distrust_own_code(workload: str, settings: FleetSettings) -> str:
    """Why the function that the settings name may not run here, and what to do; "" where there is none, or
    it may.
    """
    if not settings.models.score:
        return ""
    reason = find_distrust(workload, is_trusted=settings.models.trusted)
    return f"{settings.models.score} may not run here: {reason}. {trust_fix(workload)}" if reason else ""


def distrust_settings(workload: str, settings: FleetSettings) -> str | None:
    """Why what the settings trust or name may not run here; "" where it may, None where they do neither."""
    if settings.models.score:
        return distrust_own_code(workload, settings)
    if not settings.models.trusted:
        return None
    reason = find_distrust(workload, is_trusted=True)
    return f"Models kept as pickles may not run here: {reason}. {trust_fix(workload)}" if reason else ""


def read_own_function(
    workload: str, settings: FleetSettings
) -> tuple[FleetSettings, Sequence[tuple[str, pa.DataType]] | None]:
    """The settings with the outputs that the user's function declares, and their types; as they are where
    none may run.

    SettingsError where the function cannot be loaded, or [expect.results] names a column that it does not
    give, or that holds no numbers.
    """
    if not settings.models.score or distrust_own_code(workload, settings):
        return settings, None
    from fleetscore.workloads.models.own_code import load_function, output_fields

    own = load_function(settings.models.score, workload)
    unknown = sorted(settings.expect.results.keys() - own.output.keys())
    others = sorted(
        n for n in settings.expect.results if own.output.get(n) in ("string", "timestamp", "bool")
    )
    taken = sorted(own.output.keys() & {*settings.partition, *settings.data.keep, "model_key"})
    if unknown or taken or others:
        problem = f"expect.results has {unknown}" if unknown else f"the results have {taken} already"
        if others:
            problem = f"expect.results checks numbers, and {others[0]} is {own.output[others[0]]}"
        raise SettingsError(
            f"settings/{workload}.toml: {settings.models.score} gives {list(own.output)}; {problem}.",
            fix="Let the names of output in @partitioned and those of the settings agree.",
            field="models.score",
        )
    models = replace(settings.models, output=tuple(own.output))
    return replace(settings, models=models), output_fields(own)


def describe_code(workload: str, settings: FleetSettings, bundle: Bundle | None) -> list[str]:
    """Sentences for plans: which code of the user's runs, whether it may, and why it is slow."""
    remarks = []
    distrust = distrust_own_code(workload, settings)
    if distrust:
        remarks.append(distrust)
    elif settings.models.score:
        remarks.append(
            f"Own code scores: {settings.models.score}, trusted by settings and environment; it is called once a partition."
        )
    kept = bundle.families().get("library", 0) if bundle is not None else 0
    if kept and not settings.models.score:
        reason = find_distrust(workload, is_trusted=settings.models.trusted)
        tail = f"they may not run here: {reason}. {trust_fix(workload)}" if reason else f"{WHY_SLOW}."
        remarks.append(f"{kept:,} models are kept as pickles; {tail}")
    return remarks
