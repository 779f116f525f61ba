"""Sample logs: servers with daily and weekly rhythm, idle hours, dirty rows, a broken file, a silent and a
new server; and the truth.

The truth is added up from the numbers that are written, without any of the parsing that it is there to judge.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fleetscore.capabilities import SampleReport
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, window_at
from fleetscore.workloads.server_load.grammar import SLOT_S, SLOTS_PER_HOUR, UNITS
from fleetscore.workloads.server_load.labels import CLASSES, classify
from fleetscore.workloads.server_load.months import HOUR_S, hour_of

TRUTH_PATH = "samples/server_load/truth.parquet"
_LAST_DAY = datetime(2016, 6, 30, tzinfo=UTC)
_DAYS = 50
_SERVERS = 14
_WINDOWS = 4
_HORIZON_DAYS = 2
_KINDS = ("web", "database", "cache", "mail")
_DIRTY_SHARE = 0.005


@dataclass(frozen=True, slots=True)
class Shape:
    """How much to generate: servers and days, sessions in an hour that has some, and the share of such
    hours.
    """

    servers: int
    days: int
    first_day: int  # since 1970
    sessions_per_hour: float = 25.0
    occupied: float = 0.65
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Day:
    """A day of sessions as columns, and the sums per server and slot that they add up to."""

    server: Any  # int64: number of the server
    start_s: Any  # int64: since 1970
    columns: dict[str, Any]  # of the log, beside start, server and client
    load_cents: Any  # int64 per row


def server_names(count: int) -> list[str]:
    """The addresses of the sample servers.

    >>> server_names(2)
    ['10.0.0.1', '10.0.1.2']
    """
    return [f"10.{n >> 16 & 255}.{n & 255}.{n % 250 + 1}" for n in range(count)]


def generate_days(shape: Shape) -> Iterator[Day]:
    """The days of the shape, in order; a given shape gives the same numbers."""
    random = np.random.default_rng(shape.seed)
    count = shape.servers
    base = random.normal(4.25, 1.0, count)
    swing = random.uniform(0.3, 0.9, count)
    peak_hour = random.integers(8, 20, count)
    weekend = random.uniform(-0.7, 0.1, count)
    slow = random.normal(0.0, 0.5, count)
    for day in range(shape.first_day, shape.first_day + shape.days):
        slow = 0.85 * slow + random.normal(0.0, 0.26, count)
        hours = np.arange(24)
        rhythm = swing[:, None] * np.cos((hours[None, :] - peak_hour[:, None]) * (2 * np.pi / 24))
        level = base[:, None] + slow[:, None] + rhythm + random.normal(0.0, 0.25, (count, 24))
        level += weekend[:, None] * ((day + 3) % 7 >= 5)
        yield _day(random, shape, day, np.exp(level))


def _day(random: Any, shape: Shape, day: int, level: Any) -> Day:
    occupied = random.random(level.shape) < shape.occupied
    sessions = np.where(occupied, 1 + random.poisson(shape.sessions_per_hour - 1, level.shape), 0)
    server, hour = np.divmod(np.repeat(np.arange(sessions.size), sessions.ravel()), 24)
    rows = len(server)
    start_s = day * 86_400 + hour * HOUR_S + random.integers(0, HOUR_S, rows)
    share = level.ravel()[server * 24 + hour] * SLOTS_PER_HOUR / shape.sessions_per_hour
    cents = np.rint(random.gamma(2.0, 0.5, rows) * share * 100).astype(np.int64)
    end_s = start_s + random.integers(1, 600, rows)
    order = np.argsort(end_s, kind="stable")  # a session is logged when it ends
    parts = random.multinomial(100, [0.4, 0.25, 0.15, 0.1, 0.1], 64)[random.integers(0, 64, rows)]
    columns = {"SessionEnd": end_s, "ConcurrentConnectionCounts": random.integers(1, 200, rows)}
    columns |= {"MbytesTransferred": random.integers(1, 90_000, rows) / UNITS}
    columns |= {"ServiceGrade": random.integers(0, 9, rows), "HTTP1": random.integers(0, 2, rows)}
    columns |= {"ServerType": server % len(_KINDS), "SecureBytes_Load": random.integers(0, 900, rows) / 100}
    columns |= {f"SubService_{n + 1}_Load": cents * parts[:, n] // 100 / 100 for n in range(5)}
    return Day(
        server[order], start_s[order], {name: column[order] for name, column in columns.items()}, cents[order]
    )


def write_day(
    file: IO[bytes], day: Day, shape: Shape, width: int = 17, dirty_share: float = _DIRTY_SHARE
) -> int:
    """Append the day's rows as CSV, dirty ones among them; returns how many rows were written."""
    random = np.random.default_rng((shape.seed, int(day.start_s[0]) if len(day.start_s) else 0))
    frame = _frame(day, shape, random, width)
    lines = _dirty_lines(random, frame, round(dirty_share * frame.height))
    edges = np.linspace(0, frame.height, 25).astype(int)  # dirt lies between the hours of the day
    for part in range(24):
        piece = frame.slice(int(edges[part]), int(edges[part + 1] - edges[part]))
        piece.write_csv(file, include_header=False, datetime_format="%Y-%m-%d %H:%M:%S")
        file.write("".join(lines[part::24]).encode("latin-1"))
    return int(frame.height) + len(lines)


def _frame(day: Day, shape: Shape, random: Any, width: int) -> Any:
    import polars as pl

    clients = [f"192.168.{n // 250}.{n % 250 + 1}" for n in range(1000)]
    names = server_names(shape.servers)

    def moments(seconds: Any) -> pl.Series:
        return pl.Series(seconds * 1000, dtype=pl.Int64).cast(pl.Datetime("ms"))

    def named(numbers: Any, texts: list[str]) -> pl.Series:
        return pl.Series(texts).gather(numbers)

    rows = len(day.server)
    c = day.columns
    columns = {"TrafficType": random.integers(1, 9, rows), "SessionStart": moments(day.start_s)}
    columns |= {"SessionEnd": moments(c["SessionEnd"])}
    plain = ("ConcurrentConnectionCounts", "MbytesTransferred", "ServiceGrade", "HTTP1")
    columns |= {name: c[name] for name in plain}
    columns |= {"ServerType": named(c["ServerType"], list(_KINDS))}
    columns |= {f"SubService_{n}_Load": c[f"SubService_{n}_Load"] for n in range(1, 6)}
    columns |= {"SecureBytes_Load": c["SecureBytes_Load"], "TotalLoad": day.load_cents / 100}
    server, client = named(day.server, names), named(random.integers(0, len(clients), rows), clients)
    if width == 17:
        return pl.DataFrame(columns | {"ServerIP": server, "ClientIP": client})
    del columns["TrafficType"]
    return pl.DataFrame(columns | {"ClientIP": client, "ServerIP": server})


def _dirty_lines(random: Any, frame: Any, count: int) -> list[str]:
    """Lines made from real rows that add nothing to any sum: each is rejected, or carries no readable
    number.
    """
    import polars as pl

    chosen = frame[np.sort(random.integers(0, max(frame.height, 1), count))] if frame.height else frame
    text = chosen.with_columns(pl.col(pl.Datetime).dt.to_string("%Y-%m-%d %H:%M:%S")).cast(pl.String)
    at = {name: n for n, name in enumerate(frame.columns)}
    numbers = [
        n for name, n in at.items() if name.endswith("_Load") or name in ("MbytesTransferred", "TotalLoad")
    ]
    return [_spoil(list(row), n % 8, at, numbers) for n, row in enumerate(text.iter_rows())]


def _spoil(row: list[str], how: int, at: dict[str, int], numbers: list[int]) -> str:
    if how == 0:
        return ",".join(row[: len(row) // 2]) + "\n"
    if how == 1:
        return ",".join([*row, "extra"]) + "\n"
    if how == 2:
        row[at["SessionStart"]] = "2016-06-31 25:00:00"
    elif how == 3:
        row[at["ServerIP"]] = "IPs"
    elif how == 4:
        row[at["SessionStart"]] = '"' + row[at["SessionStart"]]  # a quote that is never closed
    elif how == 5:
        row[at["SessionStart"]] = row[at["SessionStart"]][:17] + "60"
    else:
        for n in numbers:
            row[n] = "1e999" if how == 6 else ""
        row[at["TotalLoad"]] = "inf" if how == 6 else "NaN"
    return ",".join(row) + ("\r\n" if how == 7 else "\n")


def write_samples(store: Store, folder: str, scale: float, seed: int) -> SampleReport:
    """A file a day in `folder`, one of 16 columns, one broken; the true peaks and classes under samples/."""
    last = hour_of(_LAST_DAY) // 24
    servers = max(round(_SERVERS * scale), 6)
    shape = Shape(servers, _DAYS, last - _DAYS + 1, seed=seed)
    names = server_names(servers)
    rows = 0
    truth = []
    for number, day in enumerate(generate_days(shape)):
        day = _planted(day, servers, _DAYS - 1 - number)
        when = np.datetime64(shape.first_day + number, "D")
        with store.sink(f"{folder}sessions-{when}.csv") as file:
            rows += write_day(file, day, shape, width=16 if number == _DAYS // 2 else 17)
        truth.append(_peaks_of(day))
    broken = names[servers - 3]
    store.write(f"{folder}sessions-broken.csv", _broken_file(broken, last - _HORIZON_DAYS - 1))
    _write_truth(store, truth, names)
    stop = window_at(_LAST_DAY, Cadence.DAY).next(1 - _HORIZON_DAYS)
    facts = {"train_from": stop.next(-_WINDOWS - 26).key, "train_to": stop.next(-_WINDOWS).key}
    facts |= {"silent": names[servers - 1], "new": names[servers - 2], "broken": broken}
    return SampleReport(
        stop.next(-_WINDOWS),
        stop,
        servers,
        rows,
        (
            f"{_DIRTY_SHARE:.1%} of the rows are dirty: cut or overlong, impossible times, infinite loads, open quotes.",
            f"{facts['silent']} stops sending some days before the end, so it is late.",
            f"{facts['new']} appears after the training span, and is scored all the same.",
            f"{broken} has a file of which half cannot be read, so it is quarantined.",
        ),
        facts,
    )


def _planted(day: Day, servers: int, days_left: int) -> Day:
    """The day without the sessions of the silent server near the end and of the new one before its
    beginning.
    """
    keep = np.ones(len(day.server), bool)
    if days_left < _HORIZON_DAYS + _WINDOWS + 2:
        keep &= day.server != servers - 1
    if days_left > _HORIZON_DAYS + _WINDOWS + 1:
        keep &= day.server != servers - 2
    columns = {name: column[keep] for name, column in day.columns.items()}
    return Day(day.server[keep], day.start_s[keep], columns, day.load_cents[keep])


def _peaks_of(day: Day) -> tuple[Any, Any, Any]:
    """Server number, hour and peak (cents) of the day's occupied hours, straight from the numbers."""
    key = day.server * (1 << 32) + day.start_s // SLOT_S
    slots, inverse = np.unique(key, return_inverse=True)
    sums = np.zeros(len(slots), np.int64)
    np.add.at(sums, inverse, day.load_cents)
    server, hour = slots >> 32, (slots & 0xFFFFFFFF) // SLOTS_PER_HOUR
    hours, first = np.unique(server * (1 << 32) + hour, return_index=True)
    peaks = np.maximum.reduceat(sums, first) if len(first) else sums
    return hours >> 32, hours & 0xFFFFFFFF, peaks


def _write_truth(store: Store, parts: list[tuple[Any, Any, Any]], names: list[str]) -> None:
    server, hour, cents = (np.concatenate(column) for column in zip(*parts, strict=True))
    truth = classify(cents / 100, 100.0, 500.0)
    table = pa.table(
        {
            "server": [names[n] for n in server],
            "hour": pa.array(hour * (HOUR_S * 1_000_000)).cast(pa.timestamp("us", "UTC")),
            "peak_load": cents / 100,
            "load_class": [CLASSES[n] for n in truth],
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    store.write(TRUTH_PATH, buffer.getvalue())


def _broken_file(server: str, day: int) -> bytes:
    """A day's log of one server of which more than the reject limit, but not most, cannot be read."""
    when = np.datetime64(day, "D")
    good = f"1,{when} 09:00:00,{when} 09:01:00,3,1.5,1,1,web,1,1,1,1,1,0.5,5,{server},192.168.0.1"
    bad = f"1,{when} 09:61:00,{when} 09:01:00,3,1.5,1,1,web,1,1,1,1,1,0.5,5,{server},192.168.0.1"
    return "".join(f"{bad if n % 5 < 2 else good}\n" for n in range(200)).encode()
