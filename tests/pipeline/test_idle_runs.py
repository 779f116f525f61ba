"""Runs that had nothing to do: their records say so in a field, and those of earlier versions by their reason."""

import json
import logging
from datetime import UTC, datetime

import pytest

from fleetscore.operations.notices.ended_runs import notices_of
from fleetscore.records import (
    NOTHING_EXPECTED,
    Ending,
    PublishedAnyway,
    RunRecord,
    RunRequest,
    RunState,
    is_idle,
)
from fleetscore.runs.index import RunLine, line_of, list_runs
from fleetscore.runs.run_records import read_run, record_ending, record_published_anyway, request_run
from fleetscore.runs.status import judge
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path
from fleetscore.typed_json import convert_value

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
RUN = "toy-2026-11-22T00"
BEFORE = f"{NOTHING_EXPECTED} on Sunday, and none came."
"""What versions wrote that had no field."""


def ended(store: Store, reason: str, *, idle: bool) -> RunRecord:
    """The record of a run that ended without results."""
    request_run(store, RunRequest(RUN, "toy", "2026-11-22T00", 1, NOW, "test"))
    return record_ending(store, RUN, Ending(RunState.UNPUBLISHED, reason, idle=idle), None, NOW, {})


@pytest.mark.parametrize(
    ("reason", "idle"), [("The shop is closed.", True), (BEFORE, False)], ids=["idle", "a text alone"]
)
def test_the_field_decides_and_not_the_words(store: Store, reason: str, idle: bool) -> None:
    """A reason in other words costs an idle run nothing, and the usual ones do not make a run idle that is not."""
    record = ended(store, reason, idle=idle)
    (line,) = list_runs(store, "toy")
    assert (is_idle(record), is_idle(line), is_idle(read_run(store, RUN))) == (idle, idle, idle)
    assert (judge(record) == "good", not notices_of(record)) == (idle, idle)


@pytest.mark.parametrize(("reason", "idle"), [(BEFORE, True), ("None was scored.", False)])
def test_records_and_lines_of_earlier_versions_go_by_their_reason(
    store: Store, reason: str, idle: bool
) -> None:
    """Without the field, a run is idle where its reason begins as theirs did; so it stays when this version writes it again."""
    record = ended(store, reason, idle=not idle)
    stored = json.loads(store.read(run_path(RUN, "run.json")))
    del stored["idle"]
    store.write(run_path(RUN, "run.json"), json.dumps(stored).encode())
    line = {name: getattr(line_of(record), name) for name in RunLine.__slots__ if name != "idle"}
    assert is_idle(read_run(store, RUN)) is idle
    assert is_idle(line_of(read_run(store, RUN))) is idle
    assert is_idle(convert_value(line, RunLine)) is idle


def test_what_was_published_anyway_is_idle_no_more(store: Store) -> None:
    """Its failures count as those of any published run."""
    ended(store, "Nothing was due.", idle=True)
    anyway = PublishedAnyway("test", "test", NOW, "Nothing was due.")
    record = record_published_anyway(store, RUN, "results/toy/m.json", anyway, None, NOW)
    assert (record.state, record.idle) == (RunState.PUBLISHED, False)


def test_the_log_line_of_an_idle_run_sets_off_no_alert(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Its state is `idle`, which the alert of failed runs does not look for, and its level is that of a published run."""
    caplog.set_level(logging.INFO, "fleetscore.runs")
    ended(store, BEFORE, idle=True)
    (line,) = [entry for entry in caplog.records if "run_ended " in entry.getMessage()]
    assert (line.levelno, " state=idle " in line.getMessage()) == (logging.INFO, True)
