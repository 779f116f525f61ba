"""Ranges of log files to exact sums."""

import csv
import io
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.sources import DataSettings
from fleetscore.sources.request import budget_of
from fleetscore.store.local import LocalStore
from fleetscore.workloads.server_load.grammar import (
    Cause,
    clean_cell,
    is_server,
    read_number,
    read_slot,
    split_cells,
)
from fleetscore.workloads.server_load.layouts import LAYOUTS, SUMS, recognise_layout
from fleetscore.workloads.server_load.parse import Piece, digest_of, parse_piece, read_piece

Sums = dict[tuple[str, int], list[int]]
_PATH = "data/server_load/log.csv"


def add_up(table: pa.Table) -> Sums:
    """The sums of a SLOTS table per server and slot, rows of the same slot added."""
    sums: Sums = {}
    columns = [table[name].to_pylist() for name in ("sessions", *SUMS)]
    for server, slot, *values in zip(
        table["server"].to_pylist(), table["slot"].to_pylist(), *columns, strict=True
    ):
        known = sums.setdefault((server, slot), [0] * len(values))
        sums[server, slot] = [a + b for a, b in zip(known, values, strict=True)]
    return sums


def parse_slowly(text: bytes, width: int = 17) -> tuple[Sums, Counter[str]]:
    """The same by plain Python, cell by cell, with the readable grammar."""
    columns = LAYOUTS[str(width)].columns
    names = (
        "TotalLoad",
        "MbytesTransferred",
        *(f"SubService_{n}_Load" for n in range(1, 6)),
        "SecureBytes_Load",
    )
    sums: Sums = {}
    causes: Counter[str] = Counter()
    for line in text.decode("latin-1").split("\n"):
        if not line.strip(" \t\r"):
            causes["blank_line"] += 1
            continue
        cells = split_cells(line)
        slot = read_slot(cells[columns.index("SessionStart")]) if len(cells) == width else None
        if len(cells) != width:
            causes["short_row" if len(cells) < width else "long_row"] += 1
        elif slot is None:
            causes["bad_time"] += 1
        elif not is_server(server := clean_cell(cells[columns.index("ServerIP")])):
            causes["bad_server"] += 1
        else:
            read = [read_number(cells[columns.index(name)]) for name in names]
            causes.update(cause.code for _, cause in read if cause is not None)
            causes["bad_total"] += read[0][1] not in (None, Cause.ROUNDED_NUMBER)
            known = sums.setdefault((server, slot), [0] * 9)
            sums[server, slot] = [
                a + b for a, b in zip(known, [1, *(value for value, _ in read)], strict=True)
            ]
    return sums, +causes


def piece_of(text: bytes) -> Piece:
    """The whole text as one piece."""
    lines = text if text.endswith(b"\n") or not text else text + b"\n"
    data = np.frombuffer(lines + bytes(64), np.uint8)
    return Piece(data, 0, data, len(lines), 0)


_NUMBER = st.sampled_from(
    ["1", "2.5", "0.0001", "7.12345", "", "NaN", "inf", "1e9", '"3"', '"4', " 5 ", "-6", "123456789"]
)
_TIME = st.sampled_from(
    [
        "2016-06-29 01:00:00",
        "2016-06-29 01:04:59",
        "2016-06-29T01:05:00Z",
        '"2016-06-29 02:00:00"',
        "2016-06-31 00:00:00",
        "NULL",
        "",
    ]
)
_TEXT = st.sampled_from(
    ['"we"b', '"A, premium"', ' "a ""b"", c" ', '"A, b', '""', '"""', '"', '"a""', '"a" b, c"', 'x"y']
)
_SERVER = st.sampled_from(
    ["10.0.0.1", "10.0.0.2", ' "10.0.0.1" ', "IPs", "", "fe80::1", "10.0.0.256", "x" * 60]
)


@st.composite
def _row(draw: st.DrawFn) -> str:
    cells = [
        "1",
        draw(_TIME),
        "end",
        "3",
        draw(_NUMBER),
        "é",
        "1",
        draw(_TEXT),
        *(draw(_NUMBER) for _ in range(6)),
        draw(_NUMBER),
    ]
    cells += [draw(_SERVER), "client"]
    cut = draw(st.sampled_from([17, 17, 17, 17, 3, 1]))
    more = draw(st.sampled_from([0, 0, 0, 0, 2]))
    return ",".join([*cells[:cut], *["x"] * more])


_ROWS = st.lists(_row() | st.sampled_from(["", "  ", "\r"]), max_size=30)


@given(_ROWS, st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_kernel_agrees_with_plain_python(rows: list[str], ending: str, final: bool) -> None:
    """Any mixture of good and dirty rows gives the sums and the counts that cell-by-cell Python gives."""
    text = ending.join(rows).encode() + (ending.encode() if final and rows else b"")
    expected, causes = parse_slowly(text.removesuffix(b"\n")) if text else ({}, Counter())
    table, counts = parse_piece(piece_of(text), LAYOUTS["17"])
    assert add_up(table) == expected
    assert counts.causes == causes
    assert counts.kept == sum(values[0] for values in expected.values())


@given(_ROWS, st.lists(st.integers(0, 3000), max_size=6), st.booleans())
@settings(max_examples=100, deadline=None)
def test_split_anywhere(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], cuts: list[int], final: bool
) -> None:
    """However a file is cut into ranges, each line is read once and the sums and counts stay the same."""
    text = "\n".join(rows).encode() + (b"\n" if final and rows else b"")
    store = LocalStore(tmp_path_factory.mktemp("split"))
    store.write(_PATH, text)
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    total: Sums = {}
    causes: Counter[str] = Counter()
    for first, stop in pairwise(edges):
        piece = read_piece(store, _PATH, first, stop, budget_of(_PATH, DataSettings()))
        assert piece is not None
        table, counts = parse_piece(piece, LAYOUTS["17"])
        causes.update(counts.causes)
        for key, values in add_up(table).items():
            total[key] = [a + b for a, b in zip(total.get(key, [0] * 9), values, strict=True)]
    whole, counts = parse_piece(piece_of(text), LAYOUTS["17"])
    assert total == add_up(whole)
    assert causes == counts.causes


def test_unclosed_quote_loses_no_line(line: Callable[..., str]) -> None:
    """An opening quote that is never closed spoils its own row only; what follows is read."""
    good = line("2016-06-29 01:00:00", "10.0.0.1", 5)
    text = f'{good}\n"{good}\n{good.replace("web", chr(34) + "web")}\n{good}\n'.encode()
    table, counts = parse_piece(piece_of(text), LAYOUTS["17"])
    assert counts.kept == 4
    assert add_up(table)["10.0.0.1", read_slot("2016-06-29 01:00:00") or 0][:2] == [4, 200_000]


def test_examples_name_the_line(store: LocalStore, line: Callable[..., str]) -> None:
    """A rejected row is shown with its cause, its byte offset in the piece, and its beginning."""
    good = line("2016-06-29 01:00:00", "10.0.0.1")
    text = "".join(f"{good}\n" for _ in range(40)) + "short,row\n" + "".join(f"{good}\n" for _ in range(40))
    store.write(_PATH, text.encode())
    piece = read_piece(store, _PATH, 0, len(text), budget_of(_PATH, DataSettings()))
    assert piece is not None
    (example,) = parse_piece(piece, LAYOUTS["17"])[1].examples
    assert (example.cause, example.text, text[example.offset :][:9]) == (
        "short_row",
        "short,row",
        "short,row",
    )


def test_byte_order_mark_is_skipped(store: LocalStore, line: Callable[..., str]) -> None:
    """A UTF-8 byte order mark is not part of the first cell."""
    store.write(_PATH, b"\xef\xbb\xbf" + line("2016-06-29 01:00:00", "10.0.0.1", width=16).encode())
    piece = read_piece(store, _PATH, 0, 1000, budget_of(_PATH, DataSettings()))
    assert piece is not None
    assert parse_piece(piece, LAYOUTS["16"])[1].kept == 1


def test_endless_line_is_no_piece(store: LocalStore) -> None:
    """A file without line ends within a mebibyte is taken for something else, from any range of it."""
    store.write(_PATH, b"x" * (3 << 20))
    assert read_piece(store, _PATH, 0, 1 << 20, budget_of(_PATH, DataSettings())) is None
    assert read_piece(store, _PATH, 1 << 20, 2 << 20, budget_of(_PATH, DataSettings())) is None


@given(st.binary(max_size=300), st.integers(0, 299), st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_digest_sees_every_byte(data: bytes, at: int, change: int) -> None:
    """Changing any one byte changes the name of the bytes; the same bytes at another place keep it."""
    text = data * 3
    if not text:
        return
    changed = bytearray(text)
    changed[at % len(text)] ^= change

    def name(content: bytes, shift: int) -> str:
        whole = np.frombuffer(bytes(shift) + content, np.uint8)[shift:]
        half = len(content) // 2
        return digest_of(Piece(whole, half, whole[half:], len(content) - half, 0))

    assert name(text, 0) == name(text, 3)
    assert name(text, 0) != name(bytes(changed), 0)


@pytest.mark.parametrize("width", [16, 17])
def test_layout_is_recognised_past_dirty_first_lines(line: Callable[..., str], width: int) -> None:
    """The width is that of most lines, not that of the first."""
    lines = ["TrafficType,header", *[line("2016-06-29 01:00:00", "10.0.0.1", width=width)] * 5]
    layout = recognise_layout("\n".join(lines).encode()).layout
    assert layout is not None
    assert layout.name == str(width)


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (b"\x1f\x8b\x08\x00", "compressed"),
        ("a,b\n".encode("utf-16"), "bad_encoding"),
        (b"a,b,c\n" * 5, "unknown_layout"),
        (b",".join([b"x"] * 17) + b"\n", "unknown_layout"),
    ],
)
def test_files_of_another_kind_are_stopped(head: bytes, problem: str) -> None:
    """A file that is no log of 16 or 17 columns is stopped with a reason, not read row by row."""
    recognised = recognise_layout(head)
    assert (recognised.layout, recognised.problem) == (None, problem)
    assert recognised.detail


def test_quoted_comma_shifts_no_column(line: Callable[..., str]) -> None:
    """A comma between quotes is text: the layout is that of the columns, and the server is the server."""
    row = line("2016-06-29 01:00:00", "10.0.0.1", 5, width=16).replace(
        ",4,1,web,", ',"A, premium",1,"w""e,b",'
    )
    layout = recognise_layout(row.encode()).layout
    assert layout == LAYOUTS["16"]
    table, counts = parse_piece(piece_of(row.encode()), LAYOUTS["16"])
    assert add_up(table) == {
        ("10.0.0.1", read_slot("2016-06-29 01:00:00")): [1, 50_000] + [n * 10_000 for n in range(1, 8)]
    }
    assert not counts.causes


@pytest.mark.parametrize("declared", ["auto", "17"])
def test_shifted_columns_are_refused_by_name(line: Callable[..., str], declared: str) -> None:
    """Rows of 16 columns that an unquoted comma makes 17 wide are no log of layout 17; the column that tells is named."""
    row = line("2016-06-29 01:00:00", "10.0.0.1", width=16).replace(",web,", ",web, fast,")
    recognised = recognise_layout(f"{row}\n".encode() * 5, declared)
    assert (recognised.layout, recognised.problem) == (None, "unknown_layout")
    assert "In layout 17 column 1 should be TrafficType" in recognised.detail


@pytest.mark.parametrize(
    "column", ["SessionEnd", "MbytesTransferred", "SubService_3_Load", "SecureBytes_Load"]
)
def test_columns_of_another_type_are_refused_by_name(line: Callable[..., str], column: str) -> None:
    """A column of the layout whose cells are of another type in most rows is named."""
    cells = line("2016-06-29 01:00:00", "10.0.0.1").split(",")
    cells[LAYOUTS["17"].columns.index(column)] = "7" if column == "SessionEnd" else "10.0.0.9"
    recognised = recognise_layout(",".join(cells).encode())
    assert recognised.layout is None
    assert f"should be {column}," in recognised.detail


def test_declared_layout_must_fit(line: Callable[..., str]) -> None:
    """A declared layout is checked against the lines."""
    recognised = recognise_layout(line("2016-06-29 01:00:00", "10.0.0.1").encode(), "16")
    assert recognised.problem == "unknown_layout"
    assert "17" in recognised.detail


def test_csv_module_writes_what_we_read(line: Callable[..., str]) -> None:
    """Cells that a CSV writer quotes without need are read as if they were not quoted."""
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(
        line("2016-06-29 01:00:00", "10.0.0.1", 2.5).split(",")
    )
    table, counts = parse_piece(piece_of(buffer.getvalue().encode()), LAYOUTS["17"])
    assert not counts.causes
    assert table["load"].to_pylist() == [25_000]


def test_a_layout_that_does_not_fit_counts_the_lines_that_do(line: Callable[..., str]) -> None:
    """A file is refused with the exact number of its first lines that read well, however often equal cells repeat in them."""
    rows = [line("2016-06-01 00:00:00", "10.0.0.1", load="?" if n % 5 < 3 else n % 7) for n in range(1000)]
    found = recognise_layout("\n".join(rows).encode())
    assert found.problem == "unknown_layout"
    assert "reads so in only 400 of the first 1000 lines" in found.detail
    assert recognise_layout("\n".join(rows[:1] + rows[3:5]).encode()).layout is not None


def test_recognising_a_layout_costs_little(line: Callable[..., str]) -> None:
    """A thousand lines are judged in a few milliseconds of the processor, since every file is judged before it is parsed."""
    rows = [
        line(f"2016-06-01 {n // 60 % 24:02d}:{n % 60:02d}:{n % 59:02d}", "10.0.0.1", load=n / 8)
        for n in range(1000)
    ]
    head = "\n".join(rows).encode()
    seconds = []
    for _ in range(5):
        begun = time.thread_time()
        assert recognise_layout(head).layout is not None
        seconds.append(time.thread_time() - begun)
    assert min(seconds) < 0.025


@pytest.mark.parametrize(
    "line",
    [
        b"2016-06-01 00:00:00 10.0.0.1 GET /a.htm - 80 - 192.168.0.7 Mozilla/5.0+(Win) 200 0 0 138",
        b"192.168.0.7, -, 6/1/16, 00:00:00, W3SVC2, WEB0, 10.0.0.1, 134, 163, 3223, 200, 0, GET, /a.htm, -,",
    ],
)
def test_logs_of_web_servers_are_set_aside_with_what_to_do(line: bytes) -> None:
    """A web server's own log without a header is no layout, and the reason says how other columns are read."""
    found = recognise_layout(b"\n".join([line] * 50) + b"\n", "auto")
    assert found.problem == "unknown_layout"
    assert 'layout = "columns"' in found.detail
