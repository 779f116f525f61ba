"""The line that every ended run logs, from which the alerts of the deployment are made."""

import logging

import pytest
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.pipeline.local import run_window
from fleetscore.store.base import Store

WINDOW = "2026-01-01T00"


@pytest.mark.parametrize(
    ("fails", "level", "state"),
    [("score", logging.INFO, "published"), ("fail", logging.ERROR, "unpublished")],
    ids=["published", "not published"],
)
def test_an_ended_run_logs_one_line(
    store: Store, caplog: pytest.LogCaptureFixture, fails: str, level: int, state: str
) -> None:
    """One line with run, workload, window, state and reason; an error unless the window is published."""
    caplog.set_level(logging.INFO, "fleetscore.runs")
    behaviour = {"p1": "fail", "p2": "fail"} if fails == "fail" else {}
    write_lines(store, WINDOW, [(f"p{n}", n, behaviour.get(f"p{n}", "")) for n in range(4)])
    record = run_window(store, "toy", WINDOW, AppSettings(inline_shard_s=3.0, parallelism=2))
    (line,) = [entry for entry in caplog.records if entry.name == "fleetscore.runs"]
    assert line.levelno == level
    assert line.getMessage() == (
        f"run_ended run=toy-{WINDOW} workload=toy window={WINDOW} state={state} reason={record.error}"
    )
