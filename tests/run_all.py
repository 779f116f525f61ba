"""Run every test and check, one step after the other, and write what came out to docs/test_all.md.

Run: make test-all, or python tests/run_all.py WORDS for the steps whose command has these words; the page keeps the last result
of each step, with its time and commit. A step that fails does not stop those after it; the exit code is 1 then.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "test_all.md"
KEPT = ROOT / "tests" / "all_results.json"
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
    """How a step ended: its exit code, its duration, pytest's sums ("3 passed, 1 skipped") and why tests were skipped.

    `command` is as the page shows it; `began` is in UTC, `machine` the cores and the version of Python.
    """

    command: str
    exit_code: int
    took_s: float
    counts: str
    skipped: tuple[str, ...]
    began: str
    commit: str
    machine: str


def run_step(command: str, folder: Path, commit: str) -> StepResult:
    """Run a command of the shell in a folder, show what it prints, and give how it ended."""
    now, began, lines = datetime.now(UTC), time.monotonic(), []
    shell, pipe = ["sh", "-c", command], subprocess.PIPE
    with subprocess.Popen(shell, cwd=folder, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            lines.append(line.rstrip())
        code = process.wait()
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    took_s = round(time.monotonic() - began, 1)
    return StepResult(
        _shown(command), code, took_s, *read_pytest(lines), f"{now:%d %B %Y, %H:%M}", commit, machine
    )


def read_pytest(lines: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The sums of each run of pytest in its output, joined by "; ", and its lines of skipped tests."""
    ends = [re.fullmatch(r"=* ?(\d+ \w+.*) in [\d.]+s(?: \([\d:]+\))? ?=*", line) for line in lines]
    skipped = tuple(line for line in lines if line.startswith("SKIPPED ["))
    return "; ".join(found[1] for found in ends if found), skipped


def format_page(results: Sequence[StepResult]) -> str:
    """The page of the last result of each step in Markdown; a step that has none is named as not run."""
    last = {result.command: result for result in results}
    rows = [_row(_shown(step), last.get(_shown(step))) for step in STEPS]
    skipped = [f"- `{line}`" for result in results for line in result.skipped] or ["- none"]
    return "\n".join(
        [
            "# All tests",
            "",
            "`make test-all` writes this page: what continuous integration runs, then the simulated month, the deployed package, and the",
            "offload suite on a Batch service with delays and a foreign environment. Each row is the last result of its step.",
            "",
            "| step | result | tests | minutes | began, UTC | commit | on |",
            "|---|---|---|--:|---|---|---|",
            *rows,
            "",
            "Skipped tests:",
            "",
            *skipped,
            "",
        ]
    )


def _row(step: str, result: StepResult | None) -> str:
    if result is None:
        return f"| `{step}` | not run | | | | | |"
    verdict = "passed" if result.exit_code == 0 else f"**exit code {result.exit_code}**"
    shown = (
        verdict,
        result.counts,
        _minutes(result.took_s),
        result.began,
        f"`{result.commit}`",
        result.machine,
    )
    return f"| `{step}` | {' | '.join(shown)} |"


def read_kept(file: Path) -> dict[str, StepResult]:
    """The results of earlier runs by command; those of steps that are no more are left out."""
    kept = [StepResult(**one | {"skipped": tuple(one["skipped"])}) for one in json.loads(file.read_text())]
    return {one.command: one for one in kept if one.command in map(_shown, STEPS)}


def _shown(command: str) -> str:
    return command.replace(shlex.quote(sys.executable), "python").replace("|", "\\|")


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _commit() -> str:
    """The commit that is checked out, with `-changed` where tracked files but this script's own differ from it."""
    own = [f":(exclude){file.relative_to(ROOT)}" for file in (PAGE, KEPT)]
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *own)
    return _git("rev-parse", "--short", "HEAD") + ("-changed" if changed else "")


def _git(*words: str) -> str:
    command = ["git", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def main(words: Sequence[str]) -> int:
    """Run the steps that have the words, or all, and write the page; 0 if every one of them passed, else 1."""
    chosen = [step for step in STEPS if all(word in step for word in words)]
    results = read_kept(KEPT) if KEPT.exists() else {}
    ended = [run_step(step, ROOT, _commit()) for step in chosen]
    results |= {result.command: result for result in ended}
    kept = [results[_shown(step)] for step in STEPS if _shown(step) in results]
    KEPT.write_text(json.dumps([asdict(result) for result in kept], indent=1) + "\n")
    PAGE.write_text(format_page(kept))
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} is written.\n")
    return int(not ended or any(result.exit_code for result in ended))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
