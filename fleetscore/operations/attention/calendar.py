"""The calendar of a workload's last windows: which there are, how each stands, and how they are laid out in
rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleetscore.errors import InputError
from fleetscore.operations.attention.states import Mark, mark_of
from fleetscore.records import Cause, count_bad
from fleetscore.runs.index import RunLine, newest_rounds
from fleetscore.windows import Cadence, Window, due_windows, window_at

COLUMNS = {
    Cadence.QUARTER_HOUR: 24,
    Cadence.HOUR: 24,
    Cadence.DAY: 7,
    Cadence.WEEK: 13,
    Cadence.MONTH: 12,
    Cadence.INDEX: 13,
}
_DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
_QUIET = {
    Cadence.QUARTER_HOUR: 336,
    Cadence.HOUR: 84,
    Cadence.DAY: 28,
    Cadence.WEEK: 26,
    Cadence.MONTH: 12,
}
"""For so many windows a workload that has gone quiet is shown as overdue; after that, as it was."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A window on the calendar; `run` is its newest round, "" if it never ran; `bad` counts the partitions
    that its mark is about.
    """

    window: str
    mark: Mark
    run: str = ""
    bad: int = 0
    first_cause: str = ""
    first_partition: str = ""
    first_detail: str = ""
    causes: tuple[Cause, ...] = ()  # of the partitions that need attention
    error: str = ""  # why it was not published


@dataclass(frozen=True, slots=True)
class Row:
    """Six hours, a day, a week, a quarter or a year of windows; None where there is no window."""

    label: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class Calendar:
    """Rows, newest last; every row has as many cells as there are column names."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def cells(self) -> list[Cell]:
        """All windows, oldest first."""
        return [cell for row in self.rows for cell in row.cells if cell is not None]

    def newest_rows(self, most: int) -> Calendar:
        """The last rows, as many as hold `most` windows, but at least one."""
        count = max(1, most // max(1, len(self.columns)))
        return Calendar(self.columns, self.rows[-count:])


def lay_calendar(
    lines: Iterable[RunLine],
    parse: Callable[[str], Window],
    now: datetime,
    watermark_s: float,
    most: int,
    after_last: Mark = Mark.OVERDUE,
    started: datetime | None = None,
) -> Calendar:
    """The calendar of the last `most` windows (rounded down to whole rows, at least one) that ran, or are
    due and did not.

    A window between others that never ran is missing; one after the last that is due has the mark
    `after_last`, unless the workload has been quiet for long: then the past is shown as it is. `started` is
    until when due windows were to be started, by default `now`. Windows
    that are further ahead of the clock than the next one are left out, so that a mistyped year moves
    nothing out of view; plain numbers have no clock.
    """
    newest = _by_window(lines, parse)
    if not newest:
        return Calendar((), ())
    cadence = max(newest, key=lambda window: newest[window].requested).cadence
    shown = _until_now({w: line for w, line in newest.items() if w.cadence is cadence}, now)
    last = max(shown)
    stop = _last_shown(last, started or now, watermark_s)
    width = COLUMNS[last.cadence]
    rows = max(1, most // width)
    first_place = _row_of(stop)[0] - rows + 1
    start = min(shown)
    found: dict[int, dict[int, Cell]] = {}
    for ordinal in range(max(start.ordinal, stop.ordinal - rows * width), stop.ordinal + 1):
        window = Window(last.cadence, ordinal, last.zone)
        row, column = _row_of(window)
        if row >= first_place:
            found.setdefault(row, {})[column] = _cell(
                window, shown.get(window), after_last if window > last else Mark.MISSING
            )
    calendar_rows = tuple(
        Row(_label(last.cadence, row, cells), tuple(cells.get(c) for c in range(width)))
        for row, cells in sorted(found.items())
    )
    return Calendar(_column_names(last.cadence), calendar_rows)


def count_marks(cells: Sequence[Cell]) -> Mapping[str, int]:
    """How many windows stand how, in the order of Mark."""
    marks = [cell.mark for cell in cells]
    return {str(mark): marks.count(mark) for mark in Mark if mark in marks}


def _by_window(lines: Iterable[RunLine], parse: Callable[[str], Window]) -> dict[Window, RunLine]:
    """The newest round of each window; those of a form that the workload took once are left out."""
    found = {}
    for key, line in newest_rounds(lines).items():
        with suppress(InputError):
            found[parse(key)] = line
    return found


def _until_now(shown: Mapping[Window, RunLine], now: datetime) -> Mapping[Window, RunLine]:
    """The windows up to the one after that of the present, by its zone; all of them where all lie ahead."""
    some = next(iter(shown))
    if some.cadence is Cadence.INDEX:
        return shown
    limit = window_at(now, some.cadence, some.zone).next()
    return {window: line for window, line in shown.items() if window <= limit} or shown


def _last_shown(last: Window, now: datetime, watermark_s: float) -> Window:
    if last.cadence is Cadence.INDEX:
        return last
    due = due_windows(now, last.cadence, timedelta(seconds=watermark_s), None, 1, last.zone)[0]
    return due if last < due and due.ordinal - last.ordinal <= _QUIET[last.cadence] else last


def _cell(window: Window, line: RunLine | None, mark_without_run: Mark) -> Cell:
    return Cell(window.key, mark_without_run) if line is None else cell_of(line, window.key)


def cell_of(line: RunLine, window: str) -> Cell:
    """How the window stands after this run, its newest round."""
    mark = mark_of(line)
    bad = line.drifted if mark is Mark.DRIFTED else count_bad(line.counts)
    first = (line.first_cause, line.first_partition, line.first_detail)
    if mark is Mark.REMARKS:
        bad, first = (
            line.causes[0].partitions,
            (line.causes[0].cause, line.causes[0].example, line.causes[0].detail),
        )
    return Cell(
        window, mark, line.run, bad if line.ended else 0, *first, causes=line.causes, error=line.error
    )


def _row_of(window: Window) -> tuple[int, int]:
    """The row, counted from the beginning of time, and the column of a window."""
    if window.cadence is Cadence.DAY:  # 1970-01-01 was a Thursday
        return divmod(window.ordinal + 3, 7)
    return divmod(window.ordinal, COLUMNS[window.cadence])


def _label(cadence: Cadence, row: int, cells: Mapping[int, Cell]) -> str:
    first = cells[min(cells)].window
    if cadence is Cadence.QUARTER_HOUR:
        return first[5:13]
    if cadence is Cadence.HOUR:
        return first[5:10]
    if cadence is Cadence.MONTH:
        return first[:4]
    if cadence is Cadence.DAY:
        monday = Window(Cadence.DAY, 7 * row - 3)
        return monday.key[5:]
    return first


def _column_names(cadence: Cadence) -> tuple[str, ...]:
    if cadence is Cadence.HOUR:
        return tuple(f"{hour:02d}" if hour % 6 == 0 else "" for hour in range(24))
    if cadence is Cadence.MONTH:
        return tuple(f"{month:02d}" for month in range(1, 13))
    if cadence is Cadence.DAY:
        return _DAYS
    return ("",) * COLUMNS[cadence]
