"""What `make test-all` records of its steps."""

import json
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

from tests.run_all import STEPS, format_page, read_kept, run_step

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
    results = [run_step(step, tmp_path, "abc1234") for step in steps]
    assert [result.exit_code for result in results] == [3, 0, 0]
    assert [result.counts for result in results] == ["", "1 passed, 1 skipped", ""]
    page = format_page([replace(one, command=step) for one, step in zip(results, STEPS, strict=False)])
    assert f"| `{STEPS[0]}` | **exit code 3** |" in page
    assert re.search(rf"\| `{re.escape(STEPS[1])}` \| passed \| 1 passed, 1 skipped \| \d+:\d\d \|", page)
    assert f"{results[0].began} | `abc1234` | " in page
    assert f"| `{STEPS[3]}` | not run |" in page
    assert "test_some.py:7: no cluster here" in page
    assert sys.executable not in page


def test_results_of_steps_stay_until_they_run_again(tmp_path: Path) -> None:
    """What an earlier run kept of a step is read back; a step that is no more is left out."""
    old = replace(run_step("true", tmp_path, "abc1234"), command=STEPS[0])
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps([asdict(old), asdict(replace(old, command="make what-was"))]))
    assert read_kept(kept) == {STEPS[0]: old}


def test_the_steps_are_those_of_continuous_integration_and_more() -> None:
    """No step of .ci/run is missing."""
    script = (Path(__file__).parents[2] / ".ci" / "run").read_text()
    assert {line for line in script.splitlines() if line.startswith("make ")} <= set(STEPS)
