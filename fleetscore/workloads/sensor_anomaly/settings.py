"""The settings of sensor_anomaly, read from settings/sensor_anomaly.toml."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from fleetscore.errors import SettingsError
from fleetscore.settings_tables import CHOICES
from fleetscore.sources.settings import DataSettings
from fleetscore.windows import Cadence
from fleetscore.workloads.sensor_anomaly.intervals import check_aggregate
from fleetscore.workloads.sensor_anomaly.steps import LENGTHS, step_of


def _check(name: str, value: float, fits: bool, expected: str) -> None:
    if not fits:
        raise SettingsError(f"Setting {name} is {value}; it must be {expected}.", field=name)


@dataclass(frozen=True, slots=True)
class DetectSettings:
    """The [detect] table: how much each detector's calibrated score weighs in a reading's severity; 0
    leaves it out.
    """

    median: float = 1.0  # distance of the reading to the sensor's median
    kmeans8: float = 1.0  # distance of the last 8 bins to the nearest of the usual courses
    kmeans32: float = 1.0  # the same of the last 32 bins
    day_before: float = 1.5  # level of the last two hours against the day before: the only one that sees it
    season: float = 1.0  # distance to the usual level of the hour of the day, where the history carries one
    svm: float = 0.25  # the decision value of the one-class SVM, which goes with the median

    def __post_init__(self) -> None:
        """Check the ranges."""
        for setting in fields(self):
            value = getattr(self, setting.name)
            _check(f"[detect] {setting.name}", value, 0.0 <= value <= 1000.0, "between 0 and 1,000")

    @property
    def weights(self) -> tuple[float, ...]:
        """The weights in the order of the fields, which is that of `detect.model.DETECTORS`."""
        return tuple(float(getattr(self, setting.name)) for setting in fields(self))


@dataclass(frozen=True, slots=True)
class EventSettings:
    """The [events] table: which marked readings are one event."""

    gap_minutes: float = 120.0  # marks further apart belong to different events

    def __post_init__(self) -> None:
        """Check the ranges."""
        _check(
            "[events] gap_minutes", self.gap_minutes, 5.0 <= self.gap_minutes <= 720.0, "between 5 and 720"
        )


_FOLDER = "data/sensor_anomaly/"
TIME_NAMES = ("ts", "time", "timestamp")
"""What a column of times is called, in any case, where no setting names it."""


@dataclass(frozen=True, slots=True)
class SensorSettings:
    """Which columns hold what, what is too bad to publish, how models are trained and when a reading is an
    anomaly.

    A column setting that is "" means: recognise the column by its name (see `columns.recognise_columns`).
    SettingsError when out of range.
    """

    window: Cadence = field(default=Cadence.HOUR, metadata={CHOICES: LENGTHS})
    data: DataSettings = field(default_factory=DataSettings)
    timezone: str = "UTC"  # of times without a zone, unless [data] names one
    time_column: str = ""
    device_column: str = ""
    sensor_column: str = ""
    value_column: str = ""
    reject_limit: float = 0.1  # a partition with a larger share of rejected readings is quarantined
    gamma: float = 0.05  # width of the kernel on standardised values
    nu: float = 0.001  # bound on the share of training readings left outside
    train_rows_min: int = 50  # a sensor with fewer usable readings gets no model
    train_rows_max: int = 2000  # evenly picked from all readings of the span
    alarms_per_sensor_day: float = 0.05  # false events that a sensor may cause in a day
    detect: DetectSettings = DetectSettings()
    events: EventSettings = EventSettings()

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.window not in LENGTHS:
            known = ", ".join(f'"{length}"' for length in LENGTHS)
            raise SettingsError(
                f'Setting window is "{self.window}"; it must be one of {known}.', field="window"
            )
        _check("reject_limit", self.reject_limit, 0.0 <= self.reject_limit <= 1.0, "between 0 and 1")
        _check("gamma", self.gamma, 0.0 < self.gamma < 1e6, "above 0")
        _check("nu", self.nu, 0.0 < self.nu <= 1.0, "above 0 and at most 1")
        _check("train_rows_min", self.train_rows_min, self.train_rows_min >= 2, "2 or more")
        in_order = self.train_rows_min <= self.train_rows_max <= 100_000
        _check("train_rows_max", self.train_rows_max, in_order, "between train_rows_min and 100,000")
        alarms = self.alarms_per_sensor_day
        _check("alarms_per_sensor_day", alarms, 0.001 <= alarms <= 10.0, "between 0.001 and 10")
        check_aggregate(self.data.aggregate, self.value_column, self.step_us)

    @property
    def step_us(self) -> int:
        """Readings are counted by steps of so many microseconds."""
        return step_of(self.window, self.timezone)

    @property
    def folder(self) -> str:
        """The first folder of the input."""
        return self.source.prefixes(_FOLDER)[0]

    @property
    def source(self) -> DataSettings:
        """How input is listed and read; `aggregate` comes after, when all readings of a sensor are there."""
        data = replace(self.data, aggregate={})
        if data.database:
            mapped = next((name for name in data.columns if name.lower() in TIME_NAMES), TIME_NAMES[0])
            data = replace(data, time=data.time or self.time_column or mapped)
        return data.with_defaults(_FOLDER, self.timezone)
