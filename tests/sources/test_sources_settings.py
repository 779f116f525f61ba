"""The [data] table: every line is checked, and the message names it."""

from typing import Any

import pytest

from fleetscore.errors import SettingsError
from fleetscore.sources import read_data_settings

GOOD: dict[str, Any] = {
    "path": [
        "data/vans/{window:%Y/%m/%d}/{van}.csv",
        "https://account.blob.core.windows.net/raw/vans/*.csv.gz",
    ],
    "path_timezone": "Europe/Berlin",
    "format": "csv",
    "columns": {"km": "Distance (km)"},
    "melt": {"id": ["ts"], "names": "sensor", "values": "value"},
    "separator": ";",
    "decimal": ",",
    "encoding": "cp1252",
    "time": "ts",
    "time_format": "%d.%m.%Y %H:%M:%S",
    "timezone": "Europe/Berlin",
    "null_values": ["", "-"],
    "aggregate": {"every": "1min", "value": "mean"},
    "late_s": 3600,
    "ready": {"marker": "data/vans/{window:%Y/%m/%d}/_DONE", "deadline": "06:30"},
}


def test_every_line_is_taken() -> None:
    """A table with every line of the documentation becomes settings with those values."""
    settings = read_data_settings(GOOD, "settings/vans.toml [data]")
    assert settings.paths == tuple(GOOD["path"])
    assert settings.melt is not None
    assert settings.melt.id == ("ts",)
    assert settings.every_s == 60
    assert settings.theirs("km") == "Distance (km)"
    assert settings.with_defaults("data/x/**", "UTC").timezone == "Europe/Berlin"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ({"pth": "x"}, "pth"),
        ({"path": 3}, "path"),
        ({"path": []}, "path is an empty list"),
        ({"path": "/data/x.csv"}, "path"),
        ({"path": "data/{window:%Q}.csv"}, "%Q"),
        ({"path": "data/{window:noon}.csv"}, "noon"),
        ({"path": "data/{Window}/*.csv"}, "{Window}"),
        ({"path": "data/{a b}.csv"}, "a b"),
        ({"path": "data/{a.csv"}, "stray"),
        ({"path": "https://account.blob.core.windows.net/raw/x.csv?sv=1&sig=abc"}, "signature"),
        ({"path": "https://account.blob.core.windows.net/raw"}, "names no files"),
        ({"path": "s3://bucket/x.csv"}, "names no files"),
        ({"path_timezone": "Mars/Phobos"}, "path_timezone"),
        ({"format": "xlsx"}, "format"),
        ({"columns": {"km": ""}}, "columns"),
        ({"columns": {"km": 3}}, "columns"),
        ({"melt": {"id": [], "names": "n", "values": "v"}}, "melt.id"),
        ({"melt": {"id": ["ts"], "names": "v", "values": "v"}}, "melt"),
        ({"separator": ";;"}, "separator"),
        ({"separator": ",", "decimal": ","}, "separator and decimal"),
        ({"decimal": "x"}, "decimal"),
        ({"encoding": "klingon"}, "encoding"),
        ({"encoding": "rot13"}, "encoding"),
        ({"path": "https://storage.example/raw/*.csv"}, "none of Azure Storage"),
        ({"path": "https://core.windows.net.example/raw/*.csv"}, "none of Azure Storage"),
        ({"path": "abfss://raw@example/vans/*.csv"}, "none of Azure Storage"),
        ({"time_format": "%d.%m. %H:%M"}, "time_format"),
        ({"time_format": "%-d.%m.%Y"}, "time_format"),
        ({"time_format": "%s"}, "time_format"),
        ({"encoding": "zlib"}, "encoding"),
        ({"time_format": "yyyy-mm-dd"}, "time_format"),
        ({"timezone": "CEST+1"}, "timezone"),
        ({"aggregate": {"every": "1 minute", "value": "mean"}}, "aggregate.every"),
        ({"aggregate": {"value": "mean"}}, "aggregate"),
        ({"aggregate": {"every": "1min", "value": "median"}}, "aggregate.value"),
        ({"late_s": -1}, "late_s"),
        ({"late_s": float("nan")}, "late_s"),
        ({"late_s": "an hour"}, "late_s"),
        ({"read_limit_s": 0}, "read_limit_s"),
        ({"read_limit_mb": float("inf")}, "read_limit_mb"),
        ({"ready": {}}, "ready"),
        ({"ready": {"marker": "x", "share": 0.5}}, "exactly one"),
        ({"ready": {"share": 1.5}}, "ready.share"),
        ({"ready": {"delta": True, "deadline": "25:00"}}, "ready.deadline"),
        ({"ready": {"marker": "data/*/_DONE"}}, "ready.marker"),
        ({"ready": {"delta": True}, "path": "lake/t", "time": "ts"}, "ready.delta"),
        ({"database": "FLEETSCORE_DATABASE_FLEET"}, "query"),
        ({"database": "PGPASSWORD", "query": "select :start, :end"}, "FLEETSCORE_DATABASE_"),
        ({"database": "FLEETSCORE_DATABASE_A", "query": "select * from t where ts >= :start"}, ":end"),
        ({"database": "FLEETSCORE_DATABASE_A", "query": "select :started, :end"}, ":start"),
        ({"path": "a.csv", "database": "FLEETSCORE_DATABASE_A", "query": "select :start, :end"}, "path and database"),
    ],
    ids=str,
)  # fmt: skip
def test_a_line_that_cannot_be_meant_is_refused_by_name(line: dict[str, Any], named: str) -> None:
    """The error says where the table stands and which line is at fault."""
    with pytest.raises(SettingsError) as caught:
        read_data_settings(line, "settings/vans.toml [data]")
    assert named in str(caught.value)
    assert "settings/vans.toml [data]" in str(caught.value)
