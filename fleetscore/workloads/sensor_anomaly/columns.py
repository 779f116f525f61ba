"""Which column of an input file holds the time, the device, the sensor and the value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleetscore.errors import InputError
from fleetscore.workloads.sensor_anomaly.settings import TIME_NAMES, SensorSettings

_KNOWN = {
    "time": TIME_NAMES,
    "device": ("device",),
    "sensor": ("sensor", "tag"),
    "value": ("value",),
}


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the four columns as they stand in one file."""

    time: str
    device: str
    sensor: str
    value: str


def recognise_columns(names: Sequence[str], settings: SensorSettings) -> Columns:
    """Find the four columns among `names`: the one the settings name, else the known names in any case.

    Raises InputError with code `missing_column` or `ambiguous_column`.

    >>> recognise_columns(["TS", "Device", "Tag", "Value"], SensorSettings())
    Columns(time='TS', device='Device', sensor='Tag', value='Value')
    """
    found = {role: _recognise(role, names, getattr(settings, f"{role}_column")) for role in _KNOWN}
    return Columns(**found)


def _recognise(role: str, names: Sequence[str], mapped: str) -> str:
    matches = [n for n in names if (n == mapped if mapped else n.strip().lower() in _KNOWN[role])]
    if len(matches) == 1:
        return matches[0]
    wanted = repr(mapped) if mapped else "/".join(_KNOWN[role])
    listed = ", ".join(map(repr, names)) or "none"
    what = "has no" if not matches else f"has {len(matches)}"
    raise InputError(
        f"The file {what} {role} column ({wanted}); its columns: {listed}.",
        fix=f"Name it in the setting {role}_column.",
        field=f"{role}_column",
        code="ambiguous_column" if matches else "missing_column",
    )
