"""What the doctor finds: one finding for each check, and the diagnosis of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from fleetscore.errors import FleetscoreError

State = Literal["ok", "warning", "wrong", "not checked"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `fix` says what to do unless it is ok."""

    check: str
    state: State
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings; `healthy` if none is wrong."""

    healthy: bool
    findings: tuple[Finding, ...]


def run_check(check: str, find: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """The check's findings; an error is one as well, after those that came before it."""
    findings: list[Finding] = []
    try:
        findings.extend(find())
    except FleetscoreError as error:
        findings.append(Finding(check, "wrong", error.message, error.fix or "See docs/reference/errors.md."))
    return findings
