"""The settings of a workload of kind `models`: which columns are the partition, where rows and models are,
what is expected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from fleetscore.models.packs.base import METHODS
from fleetscore.sources.settings import DataSettings
from fleetscore.windows import Cadence
from fleetscore.workloads.models.train_settings import JudgeTable, TrainTable

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
REJECT, DROP, PASS = "reject", "drop", "pass"
_FIELD = re.compile(r"\{([^{}/]+)\}")
_PLACE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_SEEN = re.compile(r"seen in ([1-9][0-9]{0,2}) days?")


@dataclass(frozen=True, slots=True)
class FleetData(DataSettings):
    """The [data] table: besides where and how rows are read, which columns are features and which are
    copied into the results.
    """

    features: tuple[str, ...] = ()  # (): those that the models themselves name
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        DataSettings.__post_init__(self)
        for name, columns in (("features", self.features), ("keep", self.keep)):
            if len(set(columns)) != len(columns) or not all(columns):
                raise ValueError(f"{name} is {list(columns)}; every column may stand in it once")


@dataclass(frozen=True, slots=True)
class ModelsTable:
    """The [models] table: which model scores a row, by which method, and the name of its output."""

    key: str | tuple[str, ...] = ()  # patterns such as "{van_id}"; (): the partition; "": one model for all
    output: str | tuple[str, ...] = "prediction"  # one name, or one for each class in the model's order
    output_type: Literal["number", "text"] = "number"  # text: the classes of a classifier, as it names them
    method: str = "predict"
    # true: own Python and pickles may run, where FLEETSCORE_TRUSTED names the workload too
    trusted: bool = False
    # "module:function" of the user's own code in fleets/, which gets rows and model of a partition
    score: str = ""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r}; it must be one of {', '.join(METHODS)}")
        if self.score and not _PLACE.fullmatch(self.score):
            raise ValueError(
                f"score is {self.score!r}; it must be like vans:predict, a function of fleets/vans.py"
            )
        if self.score and (self.output_type == "text" or self.method != "predict"):
            raise ValueError("method and output_type do not go with score: the function says what it returns")
        if not self.outputs or not all(self.outputs) or len(set(self.outputs)) != len(self.outputs):
            raise ValueError(f"output is {self.output!r}; it must be a name, or different names")
        if self.output_type == "text" and (self.method != "predict" or len(self.outputs) != 1):
            raise ValueError('output_type "text" goes with method "predict" and one output')
        for pattern in self.keys:
            if "{" in _FIELD.sub("", pattern) or "}" in _FIELD.sub("", pattern):
                raise ValueError(f"key has {pattern!r}; columns stand in braces, such as {{van_id}}")

    @property
    def keys(self) -> tuple[str, ...]:
        """The patterns of keys, the first choice first."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the result columns."""
        return (self.output,) if isinstance(self.output, str) else self.output


@dataclass(frozen=True, slots=True)
class ResultCheck:
    """What is expected of a result column; `what` says what happens where it does not hold."""

    range: tuple[float, float] | None = None
    nulls: float | None = None  # largest share of missing results; None: a missing one fails its partition
    # largest change of the mean against the published window before, relative to it
    change: float | None = None
    what: Literal["remark", "partition", "stop"] = "stop"

    def __post_init__(self) -> None:
        if self.range is not None and not self.range[0] <= self.range[1]:
            raise ValueError(f"range is {list(self.range)}; its first number must not be above the second")
        if self.nulls is not None and not 0 <= self.nulls <= 1:
            raise ValueError(f"nulls is {self.nulls}; it must be a share between 0 and 1")
        if self.change is not None and self.what != "stop":
            raise ValueError('change compares whole windows, so it goes with what = "stop" only')
        if self.change is not None and not 0 <= self.change < 1e6:
            raise ValueError(f"change is {self.change}; it must be between 0 and 1000000")


@dataclass(frozen=True, slots=True)
class ExpectTable:
    """The [expect] table: which partitions have to come, on which days, and what holds for input and
    results.
    """

    partitions: str = ""  # models, data, or "seen in N days"; "": models where the key is the partition, else seen in 14 days
    least_scored: float = 0.0  # scored / (expected - skipped) below which nothing is published
    days: str = ""  # such as mon-sat or mon,wed; "": all
    missing: str | float = REJECT  # a missing feature: reject, drop, pass, or a number to fill in
    results: Mapping[str, ResultCheck] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.partitions not in ("", "models", "data") and self.seen_days is None:
            raise ValueError(
                f'partitions is {self.partitions!r}; it must be "models", "data" or like "seen in 14 days"'
            )
        if not 0 <= self.least_scored <= 1:
            raise ValueError(f"least_scored is {self.least_scored}; it must be a share between 0 and 1")
        if isinstance(self.missing, str) and self.missing not in (REJECT, DROP, PASS):
            raise ValueError(
                f"missing is {self.missing!r}; it must be reject, drop, pass or a number to fill in"
            )
        if not isinstance(self.missing, str) and not isfinite(self.missing):
            raise ValueError(f"missing is {self.missing}; the number to fill in must be finite")
        read_days(self.days)

    @property
    def seen_days(self) -> int | None:
        """The days of "seen in N days"; None for anything else."""
        match = _SEEN.fullmatch(self.partitions)
        return int(match[1]) if match else None


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """The lines of settings/<workload>.toml of a workload of kind `models`."""

    partition: tuple[str, ...] = ()
    window: Literal["15min", "hour", "day", "week", "month"] = "day"
    timezone: str = "UTC"
    data: FleetData = field(default_factory=FleetData)
    models: ModelsTable = field(default_factory=ModelsTable)
    expect: ExpectTable = field(default_factory=ExpectTable)
    train: TrainTable = field(default_factory=TrainTable)
    judge: JudgeTable = field(default_factory=JudgeTable)

    def __post_init__(self) -> None:
        if not all(self.partition) or len(set(self.partition)) != len(self.partition):
            raise ValueError(f"partition is {list(self.partition)}; it must name different columns")
        if self.models.output_type == "text" and self.expect.results:
            raise ValueError("expect.results checks numbers; the output is text")
        unknown = self.expect.results.keys() - set(self.models.outputs)
        if unknown and not self.models.score:
            raise ValueError(f"expect.results has {sorted(unknown)}; results are {list(self.models.outputs)}")
        self._check_columns()

    def _check_columns(self) -> None:
        """ValueError where two columns of the results would have one name, a column is aggregated away,
        or a key's column lacks braces.
        """
        given = {*self.partition, "model_key"}
        doubled = [name for name in self.models.outputs if name in given]
        if doubled and not self.models.score:
            raise ValueError(f"models.output has {doubled}, which the results have already")
        doubled = [name for name in self.data.keep if name in {*given, *self.models.outputs}]
        if doubled:
            raise ValueError(f"data.keep has {doubled}, which the results have already")
        if self.data.aggregate:
            there = {*self.partition, *self.key_columns, *self.data.aggregate, self.data.time}
            dropped = [name for name in (*self.data.features, *self.data.keep) if name not in there]
            if dropped:
                raise ValueError(
                    f"data.aggregate has no statistic of {dropped[0]!r}, which data.features or data.keep names; give "
                    f'it one, such as {dropped[0]} = "last"'
                )
        columns = {*self.partition, *self.data.features, *self.data.keep}
        bare = [pattern for pattern in self.models.keys if pattern in columns]
        if bare:
            raise ValueError(f"models.key has {bare[0]!r}; a column stands in braces: {{{bare[0]}}}")

    @property
    def cadence(self) -> Cadence:
        """How long a window is."""
        return Cadence(self.window)

    @property
    def source(self) -> DataSettings:
        """How input is listed and read: [data], with the workload's zone for stamps without one."""
        return self.data.with_defaults("", self.timezone)

    @property
    def key_patterns(self) -> tuple[str, ...]:
        """The patterns of model keys, the first choice first; the partition where none are given."""
        return self.models.keys or ("/".join(f"{{{name}}}" for name in self.partition),)

    @property
    def key_words(self) -> str:
        """The patterns as a message names them, the one model of all as ""."""
        return ", ".join(pattern or '""' for pattern in self.key_patterns)

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns that the patterns name, each once."""
        named = [name for pattern in self.key_patterns for name in _FIELD.findall(pattern)]
        return tuple(dict.fromkeys(named))

    @property
    def is_key_partition(self) -> bool:
        """Whether a model of the first choice belongs to one partition."""
        return sorted(_FIELD.findall(self.key_patterns[0])) == sorted(self.partition)

    @property
    def expects(self) -> str:
        """Who is expected although silent: "models", "data" or "seen"."""
        expected = self.expect.partitions
        if expected in ("models", "data"):
            return expected
        return "models" if not expected and self.is_key_partition and len(self.key_patterns) == 1 else "seen"

    @property
    def seen_days(self) -> int:
        """For how many days a partition is expected after it was seen."""
        return self.expect.seen_days or 14


def read_days(text: str) -> frozenset[int]:
    """The days of the week (Monday is 0) on which data is expected; ValueError when the text names none.

    >>> sorted(read_days("mon-wed,sun"))
    [0, 1, 2, 6]
    """
    if not text:
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.lower().replace(" ", "").split(","):
        first, _, last = part.partition("-")
        if first not in WEEKDAYS or (last and last not in WEEKDAYS):
            raise ValueError(f"days is {text!r}; it must be like mon-sat or mon,wed,fri")
        start, end = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
        found |= {day % 7 for day in range(start, end + 1 if end >= start else end + 8)}
    return frozenset(found)
