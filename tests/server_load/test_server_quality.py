"""The servers' part of the quality benchmark: that the page shows what was measured, and what the loads look like."""

from __future__ import annotations

import json

import numpy as np

from benchmarks.quality import PAGE, SERVERS_BEGIN, SERVERS_END, SERVERS_RESULT, with_block
from benchmarks.server_quality import DAYS, generate_hours, render_servers
from fleetscore.workloads.server_load.peaks import HOURS


def test_page_shows_the_figures_that_were_measured() -> None:
    """The servers' block of docs/quality.md is what the kept figures give."""
    text, found = PAGE.read_text(), json.loads(SERVERS_RESULT.read_text())
    assert with_block(text, render_servers(found), SERVERS_BEGIN, SERVERS_END) == text


def test_loads_are_generated_as_logs_give_them() -> None:
    """The same seed gives the same hours, in order, of every server, nine of ten of them."""
    hours = generate_hours(5, seed=3)
    assert hours.equals(generate_hours(5, seed=3)) and not hours.equals(generate_hours(5, seed=4))
    assert hours.schema == HOURS
    assert abs(hours.num_rows / (5 * DAYS * 24) - 0.9) < 0.02
    order = np.asarray(hours["server"].combine_chunks().indices) * 1_000_000 + hours["hour"].to_numpy()
    assert (np.diff(order) > 0).all()
