"""The summary and the page of the demo: sums that add up, and text that is escaped."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleetscore.cli.demo.command import _activation
from fleetscore.cli.demo.page import render_page
from fleetscore.cli.demo.summary import format_judged, last_published, stored_set, sum_chapter
from fleetscore.errors import PublishError
from fleetscore.records import Cause, RunRecord, RunRequest, RunState

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(hour: int, state: RunState = RunState.PUBLISHED, **counts: int) -> RunRecord:
    """A run that ended."""
    window = f"2026-01-01T{hour:02d}"
    request = RunRequest(f"toy-{window}", "toy", window, 1, NOW, "test")
    causes = (
        Cause("skipped", "no_model", 1, "s", ""),
        Cause("failed", "bad", counts.get("failed", 0), "<p>", ""),
    )
    return RunRecord(
        request, state, NOW, partitions=sum(counts.values()), counts=counts, rows=10, input_rows=20,
        causes=causes, manifest=f"results/toy/{window}/manifest.json" if state is RunState.PUBLISHED else "",
    )  # fmt: skip


def test_a_chapter_adds_its_runs_up() -> None:
    """Partitions, outcomes and rows are sums over the windows; results point to the newest published one."""
    records = [record(0, scored=5, failed=1), record(1, scored=6), record(2, RunState.UNPUBLISHED, failed=6)]
    summary = sum_chapter("toy", records, 2.0, (), {}, [])
    assert (summary.windows, summary.windows_published, summary.expected) == (3, 2, 18)
    assert summary.counts == {"scored": 11, "failed": 7}
    assert (summary.input_rows, summary.rows, summary.rows_per_second) == (60, 30, 30.0)
    assert summary.results == "results/toy/2026-01-01T01/manifest.json"
    assert summary.ledger == "runs/toy-2026-01-01T01/ledger.parquet"
    assert summary.example == ("toy-2026-01-01T00", "<p>")


def test_the_last_published_window_is_drawn_or_the_reason_said() -> None:
    """A window at the end that was not published is passed over; where none was, the last run and its reason are named."""
    held = replace(record(2, RunState.UNPUBLISHED, failed=6), error="6 of 6 partitions failed.")
    assert last_published([record(0, scored=5), record(1, scored=6), held]) == "2026-01-01T01"
    with pytest.raises(
        PublishError,
        match=r"No window of toy .*toy-2026-01-01T02 ended unpublished: 6 of 6 partitions failed",
    ):
        last_published([held])


def test_a_training_without_models_says_what_happened_to_its_partitions() -> None:
    """The cause's own sentence stands in the error: the services in which it could be looked up end with the command."""
    held = replace(
        record(2, RunState.UNPUBLISHED, failed=6),
        error="6 of 6 partitions failed.",
        causes=(Cause("failed", "not_committed", 6, "p", "Its Batch job is missing."),),
    )
    with pytest.raises(PublishError, match=r"stored no model set: 6 of 6 .* Its Batch job is missing\."):
        stored_set(held)
    assert stored_set(replace(held, model_set="2026")) == "2026"


def test_figures_that_nobody_planted_are_told_by_their_names() -> None:
    """Numbers only; anything else is left to --json."""
    assert format_judged({"f1": 0.98765, "rows_seen": 1234, "confusion": [[1]], "fine": True}) == [
        "f1 0.988, rows seen 1,234"
    ]
    assert format_judged({}) == []


def test_the_page_escapes_what_comes_from_data(tmp_path: Path) -> None:
    """A workload, a remark or a path with markup in it is shown, not run."""
    picture = tmp_path / "x.png"
    picture.write_bytes(b"png")
    summary = sum_chapter(
        "<b>toy</b>", [record(0, scored=1)], 1.0, ("<script>alert(1)</script>",), {}, [str(picture)]
    )
    page = render_page([summary], "file:///<store>", 1.0)
    assert "<script>" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;store&gt;" in page


def test_commands_to_go_on_with_work_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `fleetscore` is not on the path, what puts it there comes first; where it is, nothing does."""
    environment = tmp_path / "here" / ".venv"
    program = environment / "bin" / "fleetscore"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("sys.prefix", str(environment))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _activation() == ". .venv/bin/activate; "
    monkeypatch.setenv("PATH", str(program.parent))
    assert _activation() == ""
