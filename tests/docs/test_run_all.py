"""What `make test-all` records of its steps."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.run_all import STEPS, format_page, run_step

TESTS = """
import pytest

def test_good() -> None:
    pass

@pytest.mark.skip(reason="no cluster here")
def test_elsewhere() -> None:
    pass
"""


def test_a_page_has_each_step_with_its_sums_and_every_skip(tmp_path: Path) -> None:
    """Sums and reasons come from pytest's own lines, and a step that fails is neither hidden nor the last one."""
    (tmp_path / "test_some.py").write_text(TESTS)
    steps = (
        "exit 3",
        f"{sys.executable} -m pytest -ra -p no:cacheprovider test_some.py",
        "echo 7 things in 3 boxes",
    )
    results = [run_step(step, tmp_path) for step in steps]
    assert [result.exit_code for result in results] == [3, 0, 0]
    assert [result.counts for result in results] == ["", "1 passed, 1 skipped", ""]
    page = format_page(results, datetime(2026, 11, 29, 9, tzinfo=UTC), "abc1234")
    assert "29 November 2026, 09:00 UTC, commit `abc1234`: **1 of 3 steps failed**" in page
    assert "| `exit 3` | exit code 3 |" in page
    assert "test_some.py:7: no cluster here" in page
    assert sys.executable not in page


def test_the_steps_are_those_of_continuous_integration_and_more() -> None:
    """No step of .ci/run is missing."""
    script = (Path(__file__).parents[2] / ".ci" / "run").read_text()
    assert {line for line in script.splitlines() if line.startswith("make ")} <= set(STEPS)
