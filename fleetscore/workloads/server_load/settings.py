"""What a user may set for server_load, in settings/server_load.toml."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from msgspec import Meta

from fleetscore.sources.settings import DataSettings
from fleetscore.workloads.server_load.addresses import canonical_server

_FOLDER = "data/server_load/"
_Positive = Annotated[float, Meta(gt=0.0)]


@dataclass(frozen=True, slots=True)
class ServerLoadSettings:
    """The defaults are the reference month's: one month of logs, US holidays, classes at 100 and 500."""

    data: DataSettings = field(default_factory=DataSettings)
    timezone: str = "UTC"  # of times without a zone where a header names the columns, unless [data] names one
    # columns of the logs: recognised per file, declared, or named by a header and [data]
    layout: Literal["auto", "17", "16", "columns"] = "auto"
    files: str = "*"  # which files of the data folder are read, as a glob over their path there
    servers: tuple[str, ...] = ()  # score and train on these only; all when empty
    medium_above: _Positive = 100.0  # peak load of an hour above which its class is medium
    high_above: _Positive = 500.0  # and above which it is high
    country: str = "US"  # whose public holidays count (ISO 3166 code; US are the federal ones, as observed)
    # hours ahead of the window's end that are classified
    horizon_hours: Annotated[int, Meta(ge=1, le=48)] = 48
    # without a session for so long, a server is late
    late_after_hours: Annotated[int, Meta(ge=1, le=720)] = 24
    # share of unusable rows that quarantines a file
    reject_limit: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.2
    range_mb: Annotated[int, Meta(ge=1, le=512)] = 128  # larger files are parsed in ranges of this many MiB
    buckets: Annotated[int, Meta(ge=1, le=256)] = 16  # groups of servers that are reduced one after the other
    test_days: Annotated[int, Meta(ge=1, le=60)] = 2  # the last days of a training span, kept to judge on
    # server-hours trained on; a fixed sample beyond that
    train_rows: Annotated[int, Meta(ge=1000)] = 1_000_000
    # the best is kept
    candidates: tuple[Literal["forest", "boosting", "load"], ...] = ("forest", "boosting", "load")
    forest_trees: Annotated[int, Meta(ge=1, le=1000)] = 100
    forest_depth: Annotated[int, Meta(ge=1, le=30)] = 8
    schema: int = 1

    def __post_init__(self) -> None:
        if self.data.aggregate:
            raise ValueError(
                "aggregate is not for server_load, which adds up the sessions of five minutes itself, over all files: "
                "give one row for five minutes where a row is a measurement"
            )

    @property
    def folder(self) -> str:
        """The first folder of the input."""
        return self.source.prefixes(_FOLDER)[0]

    @property
    def source(self) -> DataSettings:
        """How input is listed, and read where its columns are named."""
        data = replace(self.data, time=self.data.time or "time") if self.data.database else self.data
        return data.with_defaults(_FOLDER, self.timezone)

    def canonical_name(self, text: str) -> str:
        """The name of the server that `text` means: any text where a header names the columns, else an
        address in its canonical spelling; "" for none.
        """
        return text if self.names_columns else canonical_server(text)

    @property
    def wanted_servers(self) -> tuple[str, ...]:
        """The setting `servers`, as they are written and in canonical spelling."""
        spelled = filter(None, map(self.canonical_name, self.servers))
        return tuple(dict.fromkeys((*self.servers, *spelled)))

    @property
    def names_columns(self) -> bool:
        """Whether the rows of all files have named columns: by a header, as [data] says."""
        return self.layout == "columns" or not self.source.is_plain
