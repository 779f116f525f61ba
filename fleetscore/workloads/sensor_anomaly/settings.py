"""The settings of sensor_anomaly, read from settings/sensor_anomaly.toml."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleetscore.errors import SettingsError
from fleetscore.sources.settings import DataSettings


@dataclass(frozen=True, slots=True)
class SensorSettings:
    """Which columns hold what, what is too bad to publish, and how models are trained; SettingsError when out of range.

    A column setting that is "" means: recognise the column by its name (see `columns.recognise_columns`).
    """

    data: DataSettings = field(default_factory=DataSettings)
    time_column: str = ""
    device_column: str = ""
    sensor_column: str = ""
    value_column: str = ""
    reject_limit: float = 0.1  # a partition with a larger share of rejected readings is quarantined
    gamma: float = 0.05  # width of the kernel on standardised values
    nu: float = 0.001  # bound on the share of training readings left outside
    train_rows_min: int = 50  # a sensor with fewer usable readings gets no model
    train_rows_max: int = 2000  # evenly picked from all readings of the span

    def __post_init__(self) -> None:
        """Check the ranges."""
        _check("reject_limit", self.reject_limit, 0.0 <= self.reject_limit <= 1.0, "between 0 and 1")
        _check("gamma", self.gamma, 0.0 < self.gamma < 1e6, "above 0")
        _check("nu", self.nu, 0.0 < self.nu <= 1.0, "above 0 and at most 1")
        _check("train_rows_min", self.train_rows_min, self.train_rows_min >= 2, "2 or more")
        in_order = self.train_rows_min <= self.train_rows_max <= 100_000
        _check("train_rows_max", self.train_rows_max, in_order, "between train_rows_min and 100,000")
        if self.data != DataSettings(path=self.data.path):
            raise ValueError("data has more than path, which is all that this kind takes")

    @property
    def folder(self) -> str:
        """The folder of the input."""
        return self.data.with_defaults("data/sensor_anomaly/", "UTC").prefixes("")[0]


def _check(name: str, value: float, fits: bool, expected: str) -> None:
    if not fits:
        raise SettingsError(f"Setting {name} is {value}; it must be {expected}.", field=name)
