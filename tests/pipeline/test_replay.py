"""Replaying a partition gives what the run gave, or says what is different now."""

import pytest
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.errors import InputError, MissingBlobError
from fleetscore.operations.replay import replay_partition
from fleetscore.pipeline.local import run_window
from fleetscore.store.base import Store

WINDOW = "2026-01-01T00"
RUN = f"toy-{WINDOW}"


@pytest.fixture
def ran(store: Store) -> Store:
    """A store with a published window."""
    write_lines(store, WINDOW, [(f"p{i}", i, {3: "fail", 4: "late"}.get(i, "ok")) for i in range(20)])
    run_window(store, "toy", WINDOW, AppSettings(inline_shard_s=3.0))
    return store


def test_the_same_bytes_and_model_give_the_same_rows(ran: Store) -> None:
    """Nothing differs, and the store is as it was."""
    before = {entry.path: entry.etag for entry in ran.list("")}
    replayed = replay_partition(ran, RUN, "p7")
    assert (replayed.same, replayed.rows, replayed.changed_inputs) == (True, 1, ())
    assert {entry.path: entry.etag for entry in ran.list("")} == before


def test_a_failure_replays_as_the_same_failure(ran: Store) -> None:
    """Outcome and cause are compared too."""
    replayed = replay_partition(ran, RUN, "p3")
    assert (replayed.same, replayed.outcome, replayed.cause) == (True, "failed", "bad_value")


def test_changed_input_is_named_and_so_is_every_difference(ran: Store) -> None:
    """The file is not the one the run read; the value that differs is shown before and now."""
    write_lines(ran, WINDOW, [(f"p{i}", i + 1, "ok") for i in range(20)])
    replayed = replay_partition(ran, RUN, "p7")
    assert not replayed.same
    assert replayed.changed_inputs == (f"data/toy/{WINDOW}.csv",)
    assert replayed.differences == ("1 values of doubled differ, the first in row 0: 14 is 16 now",)


def test_what_was_not_scored_cannot_be_replayed(ran: Store) -> None:
    """A late partition and an unknown one say so."""
    with pytest.raises(InputError, match="late before"):
        replay_partition(ran, RUN, "p4")
    with pytest.raises(MissingBlobError, match="no partition"):
        replay_partition(ran, RUN, "ghost")
