"""The watchdog's lines that the alert window-overdue reads."""

import re
from datetime import UTC, datetime

from fleetscore.operations.notices.notice import Notice
from triggers.watch import overdue_lines

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def notice(kind: str, workload: str, window: str) -> Notice:
    """A notice of a window."""
    return Notice(f"{kind}-{workload}-{window}", kind, workload, "message", NOW, window)


def test_a_workload_with_overdue_windows_has_one_line() -> None:
    """However many windows are overdue, a workload has one line with the oldest; other notices have none."""
    found = [
        notice("window_overdue", "pumps", "2026-11-27T05"),
        notice("window_overdue", "pumps", "2026-11-27T04"),
        notice("window_overdue", "store_sales", "2026-W47"),
        notice("run_stalled", "pumps", "2026-11-27T06"),
    ]
    lines = overdue_lines(found)
    assert lines == [
        "window_overdue workload=pumps window=2026-11-27T04 count=2",
        "window_overdue workload=store_sales window=2026-W47 count=1",
    ]
    for line in lines:  # as the query's `parse` takes it apart
        assert re.fullmatch(r"window_overdue workload=\S+ window=\S+ .*", line)
    assert overdue_lines([]) == []
