"""The calendar: every window once, with its newest round; what should have run and did not is told."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.operations.attention.calendar import COLUMNS, lay_calendar
from fleetscore.operations.attention.lines import group_attention
from fleetscore.operations.attention.states import Mark, mark_of
from fleetscore.records import RunState
from fleetscore.runs.index import RunLine
from fleetscore.windows import Cadence, Window, parse_window

LONG_AFTER = datetime(2090, 1, 1, tzinfo=UTC)


def line_of(
    of: Window, state: RunState = RunState.PUBLISHED, round_number: int = 1, **given: object
) -> RunLine:
    """An index line of a run of the window, requested after it."""
    asked = datetime(2026, 6, 1, tzinfo=UTC) + timedelta(seconds=of.ordinal % 10_000, days=round_number)
    facts: dict[str, object] = {
        "round": round_number, "run": f"w-{of.key}-r{round_number}", "workload": "w", "window": of.key, "purpose": "score", "state": state,
        "requested": asked, "updated": asked, "ended": asked, "partitions": 10, "counts": {"scored": 10}, "rows": 1, "seconds": 1.0,
    }  # fmt: skip
    return RunLine(**(facts | given))  # type: ignore[arg-type]  # the tests give fields of the right type


def window(cadence: Cadence, ordinal: int) -> Window:
    """A window of a calendar in 2026, or a plain week number."""
    base = {
        Cadence.QUARTER_HOUR: 1_960_000, Cadence.HOUR: 490_000, Cadence.DAY: 20_000, Cadence.WEEK: 2_900,
        Cadence.MONTH: 660, Cadence.INDEX: 50,
    }[cadence]  # fmt: skip
    return Window(cadence, base + ordinal)


@given(
    st.sampled_from(list(Cadence)),
    st.sets(st.integers(0, 300), min_size=1, max_size=40),
    st.integers(24, 170),
)
def test_every_window_shown_stands_there_once_in_order(cadence: Cadence, ran: set[int], most: int) -> None:
    """From the first that ran or the calendar's beginning to the last that ran, none twice, none left out, at most so many."""
    lines = [line_of(window(cadence, n)) for n in ran]
    calendar = lay_calendar(lines, lambda text: parse_window(text, cadence), LONG_AFTER, 300.0, most)
    shown = [parse_window(cell.window, cadence).ordinal for cell in calendar.cells()]
    last = window(cadence, max(ran)).ordinal
    assert shown == list(range(shown[0], last + 1))
    assert len(shown) <= max(most, COLUMNS[cadence])
    assert shown[0] == window(cadence, min(ran)).ordinal or len(calendar.rows) == max(
        1, most // COLUMNS[cadence]
    )
    known = {window(cadence, n).key for n in ran}
    assert all((cell.mark is Mark.GOOD) == (cell.window in known) for cell in calendar.cells())
    assert all(len(row.cells) == len(calendar.columns) == COLUMNS[cadence] for row in calendar.rows)


@pytest.mark.parametrize(
    ("key", "cadence", "row", "column"),
    [
        ("2018-08-28T23", Cadence.HOUR, "08-28", 23),
        ("2016-06-29", Cadence.DAY, "06-27", 2),  # a Wednesday
        ("2026-11-22", Cadence.DAY, "11-16", 6),  # a Sunday
    ],
)
def test_hours_stand_in_their_day_and_days_under_their_weekday(
    key: str, cadence: Cadence, row: str, column: int
) -> None:
    """The place on the calendar is the date's."""
    calendar = lay_calendar(
        [line_of(parse_window(key, cadence))], lambda t: parse_window(t, cadence), LONG_AFTER, 0.0, 60
    )
    (found,) = calendar.rows
    cells = {n for n, cell in enumerate(found.cells) if cell is not None}
    assert (found.label, cells) == (row, {column})


def test_a_live_workload_shows_what_is_overdue_and_an_old_one_does_not() -> None:
    """Two windows after the last run are due; years later nobody is told that thousands are."""
    lines = [line_of(window(Cadence.HOUR, n)) for n in (0, 2)]
    end = window(Cadence.HOUR, 4).end
    parse = lambda text: parse_window(text, Cadence.HOUR)  # noqa: E731  # a name for one expression
    marks = [
        cell.mark for cell in lay_calendar(lines, parse, end + timedelta(seconds=301), 300.0, 48).cells()
    ]
    assert marks == [Mark.GOOD, Mark.MISSING, Mark.GOOD, Mark.OVERDUE, Mark.OVERDUE]
    early = lay_calendar(lines, parse, end + timedelta(seconds=299), 300.0, 48).cells()
    assert [cell.mark for cell in early] == marks[:-1]
    assert len(lay_calendar(lines, parse, LONG_AFTER, 300.0, 48).cells()) == 3


def test_the_newest_round_counts() -> None:
    """A retry that fixed a window turns its cell good, in whatever order the lines come."""
    first = line_of(window(Cadence.HOUR, 1), RunState.UNPUBLISHED)
    retry = line_of(window(Cadence.HOUR, 1), RunState.PUBLISHED, 2)
    for lines in ([first, retry], [retry, first]):
        (cell,) = lay_calendar(lines, lambda t: parse_window(t, Cadence.HOUR), LONG_AFTER, 0.0, 24).cells()
        assert (cell.mark, cell.run) == (Mark.AGAIN, retry.run)


def test_trainings_and_windows_of_another_form_are_left_out() -> None:
    """Only runs that score, of the form that ran last."""
    old = line_of(window(Cadence.INDEX, 3))
    new = line_of(window(Cadence.WEEK, 3), round_number=5)
    training = line_of(window(Cadence.WEEK, 4), round_number=6, purpose="train")
    strange = line_of(window(Cadence.WEEK, 5), window="yesterday")
    parse = lambda text: parse_window(text, Cadence.WEEK, Cadence.INDEX)  # noqa: E731  # a name for one expression
    cells = lay_calendar([old, new, training, strange], parse, LONG_AFTER, 0.0, 26).cells()
    assert [cell.window for cell in cells] == [new.window]


@pytest.mark.parametrize(
    ("state", "counts", "mark"),
    [
        (RunState.PUBLISHED, {"scored": 9, "skipped": 1}, Mark.GOOD),
        (RunState.PUBLISHED, {"scored": 9, "late": 1}, Mark.LATE),
        (RunState.PUBLISHED, {"scored": 8, "late": 1, "failed": 1}, Mark.FAILURES),
        (RunState.UNPUBLISHED, {"failed": 9}, Mark.UNPUBLISHED),
        (RunState.FAILED, {}, Mark.FAILED),
        (RunState.CANCELLED, {}, Mark.CANCELLED),
        (RunState.SCORING, {}, Mark.UNDERWAY),
        (RunState.REQUESTED, {}, Mark.UNDERWAY),
    ],
)
def test_a_mark_tells_state_and_outcomes(state: RunState, counts: dict[str, int], mark: Mark) -> None:
    """Published is good only when every outcome is."""
    assert mark_of(line_of(window(Cadence.HOUR, 1), state, counts=counts)) is mark


@pytest.mark.parametrize(
    ("given", "mark"),
    [
        ({}, Mark.GOOD),
        ({"round": 2}, Mark.AGAIN),
        ({"round": 2, "drifted": 1}, Mark.DRIFTED),
        ({"drifted": 1, "counts": {"scored": 9, "late": 1}}, Mark.LATE),
    ],
)
def test_drift_and_later_rounds_have_marks_of_their_own(given: dict[str, object], mark: Mark) -> None:
    """What was published again is told from what was good at once; drift weighs more, a missing result most."""
    assert mark_of(line_of(window(Cadence.HOUR, 1), **given)) is mark  # type: ignore[arg-type]  # fields of the line


def test_drifted_windows_are_something_to_look_at_with_the_first_partition() -> None:
    """The cell counts who drifted and names one of them; windows that failed come first."""
    drifted = {"drifted": 3, "first_cause": "drifted", "first_partition": "pump/5"}
    lines = [
        line_of(window(Cadence.HOUR, 1), RunState.FAILED, first_cause="The plan broke."),
        line_of(window(Cadence.HOUR, 2), **drifted),  # type: ignore[arg-type]  # fields of the line
    ]
    cells = lay_calendar(lines, lambda t: parse_window(t, Cadence.HOUR), LONG_AFTER, 0.0, 48).cells()
    first, second = group_attention(cells)
    assert (first.newest.mark, first.newest.first_cause) == (Mark.FAILED, "The plan broke.")
    assert (second.newest.mark, second.newest.bad, second.newest.first_partition) == (
        Mark.DRIFTED,
        3,
        "pump/5",
    )


def test_windows_that_nobody_expects_are_not_overdue() -> None:
    """Due windows after the last one have the mark that is given: overdue with a schedule, never run without."""
    now = window(Cadence.HOUR, 4).start
    for mark in (Mark.OVERDUE, Mark.MISSING):
        lines = [line_of(window(Cadence.HOUR, 1))]
        cells = lay_calendar(lines, lambda t: parse_window(t, Cadence.HOUR), now, 0.0, 48, mark).cells()
        assert [cell.mark for cell in cells if not cell.run] == [mark, mark]
    assert group_attention(cells) == ()


def test_an_overview_s_calendar_is_the_end_of_the_whole() -> None:
    """The newest rows, as many as hold so many windows, at least one; the rest stays to be looked at."""
    lines = [line_of(window(Cadence.HOUR, n)) for n in range(100)]
    calendar = lay_calendar(lines, lambda t: parse_window(t, Cadence.HOUR), LONG_AFTER, 0.0, 744)
    assert len(calendar.cells()) == 100
    assert calendar.newest_rows(50).rows == calendar.rows[-2:]
    assert calendar.newest_rows(1).rows == calendar.rows[-1:]


def test_windows_that_stand_alike_for_the_same_cause_are_one_thing_to_look_at() -> None:
    """Grouped by mark and first cause, those without results first, then the newest; good windows are nobody's business."""
    causes = ["no_data", "", "bad_model", "no_data"]
    lines = [
        line_of(window(Cadence.HOUR, n), first_cause=cause, counts={"scored": 9, "late": 1 if cause else 0})
        for n, cause in enumerate(causes)
    ]
    lines.append(
        line_of(window(Cadence.HOUR, -1), RunState.UNPUBLISHED, first_cause="no_data", counts={"late": 9})
    )
    cells = lay_calendar(lines, lambda t: parse_window(t, Cadence.HOUR), LONG_AFTER, 0.0, 48).cells()
    told = [(look.newest.first_cause, look.windows) for look in group_attention(cells)]
    assert told == [("no_data", 1), ("no_data", 2), ("bad_model", 1)]
    both_ends = group_attention(cells)[1]
    assert (both_ends.oldest.window, both_ends.newest.window) == (lines[0].window, lines[3].window)


def test_a_mistyped_year_does_not_move_the_view() -> None:
    """A window far ahead of the clock leaves the real ones on the calendar and in attention; the next window stays."""
    lines = [line_of(window(Cadence.HOUR, n), RunState.UNPUBLISHED, first_cause="no_data") for n in range(3)]
    now = window(Cadence.HOUR, 3).start
    ahead = [line_of(window(Cadence.HOUR, 4)), line_of(window(Cadence.HOUR, 300_000), RunState.UNPUBLISHED)]
    cells = lay_calendar([*lines, *ahead], lambda t: parse_window(t, Cadence.HOUR), now, 0.0, 48).cells()
    assert [cell.window for cell in cells if cell.run] == [line.window for line in [*lines, ahead[0]]]
    assert [look.windows for look in group_attention(cells)] == [3]
    only = lay_calendar(ahead[1:], lambda t: parse_window(t, Cadence.HOUR), now, 0.0, 48).cells()
    assert [cell.window for cell in only if cell.run] == [ahead[1].window]
