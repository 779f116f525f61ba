"""Run every test and check, one step after the other, and write what came out to docs/test_all.md.

Run: make test-all. A step that fails does not stop those after it; the exit code is 1 then.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "test_all.md"
_MONTH = "tests/operate/test_operate_month.py tests/operate/test_operate_month_browser.py"
_PYTEST = f"{shlex.quote(sys.executable)} -m pytest"
STEPS = (
    "make test",
    "make test-slow",
    "make lint",
    "make infra-check",
    "make demo",
    f"{_PYTEST} -m slow {_MONTH}",
    f"{_PYTEST} -m slow tests/deploy",
    'FLEETSCORE_TEST_BATCH_OPTIONS="--enable-autoscale after-interval --foreign-environment" '
    f'{_PYTEST} -m "slow or not slow" tests/offload',
)


@dataclass(frozen=True, slots=True)
class StepResult:
    """How a step ended: its exit code, its duration, pytest's sums ("3 passed, 1 skipped") and why tests were skipped."""

    command: str
    exit_code: int
    took_s: float
    counts: str
    skipped: tuple[str, ...]


def run_step(command: str, folder: Path) -> StepResult:
    """Run a command of the shell in a folder, show what it prints, and give how it ended."""
    began, lines = time.monotonic(), []
    shell, pipe = ["sh", "-c", command], subprocess.PIPE
    with subprocess.Popen(shell, cwd=folder, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            lines.append(line.rstrip())
        code = process.wait()
    return StepResult(command, code, time.monotonic() - began, *read_pytest(lines))


def read_pytest(lines: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The sums of each run of pytest in its output, joined by "; ", and its lines of skipped tests."""
    ends = [re.fullmatch(r"=* ?(\d+ \w+.*) in [\d.]+s(?: \([\d:]+\))? ?=*", line) for line in lines]
    skipped = tuple(line for line in lines if line.startswith("SKIPPED ["))
    return "; ".join(found[1] for found in ends if found), skipped


def format_page(results: Sequence[StepResult], now: datetime, commit: str) -> str:
    """The page of all results in Markdown."""
    total_s = sum(result.took_s for result in results)
    failed = sum(result.exit_code != 0 for result in results)
    verdict = f"{failed} of {len(results)} steps failed" if failed else "every step passed"
    head = f"{now:%d %B %Y, %H:%M} UTC, commit `{commit}`: **{verdict}**, in {total_s / 60:.0f} minutes on {os.cpu_count()} cores"
    rows = [
        f"| `{_shown(result.command)}` | {'passed' if result.exit_code == 0 else f'exit code {result.exit_code}'} "
        f"| {result.counts} | {_minutes(result.took_s)} |"
        for result in results
    ]
    skipped = [f"- `{line}`" for result in results for line in result.skipped] or ["- none"]
    return "\n".join(
        [
            "# All tests",
            "",
            "`make test-all` writes this page: what continuous integration runs, then the simulated month, the deployed package, and the",
            "offload suite on a Batch service with delays and a foreign environment.",
            "",
            f"{head}, Python {platform.python_version()}.",
            "",
            "| step | result | tests | minutes |",
            "|---|---|---|--:|",
            *rows,
            "",
            "Skipped tests:",
            "",
            *skipped,
            "",
        ]
    )


def _shown(command: str) -> str:
    return command.replace(shlex.quote(sys.executable), "python").replace("|", "\\|")


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _commit() -> str:
    """The commit that is checked out, with `-changed` where tracked files differ from it."""
    command = ["git", "describe", "--always", "--dirty=-changed", "--exclude=*"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """Run all steps and write the page; 0 if every step passed, else 1."""
    now, commit = datetime.now(UTC), _commit()
    results = [run_step(step, ROOT) for step in STEPS]
    PAGE.write_text(format_page(results, now, commit))
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} is written.\n")
    return int(any(result.exit_code for result in results))


if __name__ == "__main__":
    sys.exit(main())
