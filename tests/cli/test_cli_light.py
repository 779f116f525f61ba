"""The command line is light: what follows a run leaves the cores to the workers that score it."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from fleetscore.fleet.following import wait_s

_FOLLOWING = """
import sys
import msgspec
import fleetscore.cli.__main__, fleetscore.cli.backfill, fleetscore.fleet.remote, fleetscore.fleet.connection
import fleetscore.cli.follow, fleetscore.cli.render, fleetscore.cli.run
from fleetscore.records import GOOD
from fleetscore.runs.status_answer import EXIT_CODES, RunStatus
msgspec.json.Decoder(RunStatus)
print([name for name in ("numpy", "pandas", "pyarrow") if name in sys.modules])
"""


def test_following_a_run_takes_no_arrow() -> None:
    """Starting a run, reading how it stands and printing how it ended imports neither Arrow nor numpy."""
    done = subprocess.run([sys.executable, "-c", _FOLLOWING], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@given(st.floats(0, 1e6))
def test_news_are_told_soon_and_asked_for_seldom(passed_s: float) -> None:
    """The end of a run is noticed within 50 ms in its first ten seconds, then within 0.5 % of its time, always within a second."""
    assert 0.05 <= wait_s(passed_s) <= min(max(0.05, 0.005 * passed_s), 1.0)
