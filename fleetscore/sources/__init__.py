"""Reading users' data where it lies, for every kind of workload.

The `[data]` table of a workload's settings becomes a `DataSettings`, by which one call lists and another
reads:

>>> import tempfile
>>> from datetime import UTC, datetime
>>> from fleetscore.sources import ColumnKind, TimeRange, list_inputs, read_data_settings, read_files
>>> from fleetscore.store import open_store
>>> store = open_store(tempfile.mkdtemp())
>>> lines = b"at;van;km\\n2026-03-04 08:00;NA;12,5\\n2026-03-05 00:10;7;9\\n"
>>> _ = store.write("data/vans/2026-03-04.csv", lines)
>>> table = {"columns": {"ts": "at"}, "separator": ";", "decimal": ","}
>>> settings = read_data_settings(table, "settings/vans.toml [data]")
>>> settings = settings.with_defaults(path="data/vans/{window:%Y-%m-%d}.csv", timezone="Europe/Berlin")
>>> day = TimeRange(datetime(2026, 3, 3, 23, tzinfo=UTC), datetime(2026, 3, 4, 23, tzinfo=UTC))
>>> listing = list_inputs(store, settings, day)  # the window's files, and those passed over with the reason
>>> columns = {"ts": ColumnKind.TIME, "van": ColumnKind.KEY, "km": ColumnKind.NUMBER}
>>> read_files(store, listing.files, settings, columns, day).table.select(["van", "km"]).to_pylist()
[{'van': 'NA', 'km': 12.5}]

`columns` maps our names to a `ColumnKind`: KEY (text, always), CODED (the same, dictionary-encoded), TIME
(microseconds UTC), NUMBER (float64), TEXT, ANY; LABEL is a CODED that may be missing. `reading.table`
holds the rows whose time lies in the window; `reading.faults` the files that could not be read, each with
its FileError, and `reading.rows` what was rejected of the others. `read_table` reads one file,
`read_batches` one file piece by piece, `read_text` its lines alone. `aggregate_rows` carries out the line
`aggregate`, once all rows of a key are there.

A workload with a `database` lands first: `land(store, settings, workload, window)` gives a `Landed`,
whose `file()` is read as any other file, and `read_landed` finds it again.

A window is anything with aware `start` and `end` (exclusive): a `Window`, or a `TimeRange` for training.
Plans keep an `InputFile` (path, etag, size, format, columns of the path); reading it again gives the same
rows while the file is the same, and for a Delta table as long as the version that `etag` names exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetscore.lazy_names import offer_names
from fleetscore.records import InputFile

if TYPE_CHECKING:
    from fleetscore.sources.aggregating import aggregate_rows
    from fleetscore.sources.landing import (
        KeyedSpan,
        Landed,
        find_inputs,
        land,
        list_landings,
        read_landed,
        read_standing,
    )
    from fleetscore.sources.listing import is_matched, list_inputs
    from fleetscore.sources.patterns import Span, TimeRange
    from fleetscore.sources.readiness import TableCover, check_ready, cover_until, latest_start
    from fleetscore.sources.reading import (
        Reading,
        our_names,
        read_batches,
        read_files,
        read_names,
        read_table,
        read_text,
    )
    from fleetscore.sources.records import (
        ColumnKind,
        Listing,
        PassedOver,
        Reject,
        RejectTally,
        RowChoice,
        Rows,
    )
    from fleetscore.sources.settings import DataSettings, Melt, Ready, read_data_settings
    from fleetscore.sources.span_landing import NamedSpan, find_span_inputs, land_span, list_landed
else:
    __getattr__ = offer_names(
        __name__,
        {
            "aggregating": "aggregate_rows",
            "landing": "KeyedSpan Landed find_inputs land list_landings read_landed read_standing",
            "listing": "is_matched list_inputs",
            "patterns": "Span TimeRange",
            "readiness": "TableCover check_ready cover_until latest_start",
            "reading": "Reading our_names read_batches read_files read_names read_table read_text",
            "records": "ColumnKind Listing PassedOver Reject RejectTally RowChoice Rows",
            "settings": "DataSettings Melt Ready read_data_settings",
            "span_landing": "NamedSpan find_span_inputs land_span list_landed",
        },
    )

__all__ = [
    "ColumnKind",
    "DataSettings",
    "InputFile",
    "KeyedSpan",
    "Landed",
    "Listing",
    "Melt",
    "NamedSpan",
    "PassedOver",
    "Reading",
    "Ready",
    "Reject",
    "RejectTally",
    "RowChoice",
    "Rows",
    "Span",
    "TableCover",
    "TimeRange",
    "aggregate_rows",
    "check_ready",
    "cover_until",
    "find_inputs",
    "find_span_inputs",
    "is_matched",
    "land",
    "land_span",
    "latest_start",
    "list_inputs",
    "list_landed",
    "list_landings",
    "our_names",
    "read_batches",
    "read_data_settings",
    "read_files",
    "read_landed",
    "read_names",
    "read_standing",
    "read_table",
    "read_text",
]
