"""The [notify] table of settings: who receives which notices, in which style, and when not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time
from typing import Literal
from zoneinfo import ZoneInfo

from fleetscore.errors import SettingsError
from fleetscore.windows import check_time_of_day

Style = Literal["slack", "teams", "plain", "cloudevents"]
NoticeKind = Literal[
    "run_failed",
    "published_with_failures",
    "window_overdue",
    "run_stalled",
    "deadline_at_risk",
    "deadline_missed",
    "drift",
    "anomalies",
    "budget",
    "workload_broken",
    "recovered",
    "published",
]
_VARIABLE = re.compile(r"FLEETSCORE_NOTIFY_[A-Z0-9_]+")


@dataclass(frozen=True, slots=True)
class NotifyTarget:
    """A [[notify.targets]] table: one receiver of notices."""

    url_env: str  # environment variable with the address, which begins FLEETSCORE_NOTIFY_
    style: Style = "plain"  # the form of the body: slack, teams, plain, cloudevents
    template: str = ""  # the body, text or JSON with ${names} of a notice, instead of the style's own
    kinds: tuple[NoticeKind, ...] = ()  # the kinds of notices it receives; none: all but published
    quiet: str = ""  # hours in the workload's timezone, "22:00-06:00", whose notices are sent afterwards

    def __post_init__(self) -> None:
        if not _VARIABLE.fullmatch(self.url_env):
            raise ValueError(  # what it is may be an address: not shown
                "url_env of a target names no variable for addresses; it must begin with FLEETSCORE_NOTIFY_, and the "
                "address stays in that environment variable"
            )
        if self.quiet:
            _check_quiet(self.quiet)

    def wants(self, kind: str) -> bool:
        """Whether the target receives notices of the kind."""
        return kind in self.kinds if self.kinds else kind != "published"


@dataclass(frozen=True, slots=True)
class NotifyPolicy:
    """The [notify] table of settings."""

    targets: tuple[NotifyTarget, ...] = ()

    def __post_init__(self) -> None:
        names = [target.url_env for target in self.targets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SettingsError(
                f"{twice[0]} is the url_env of two targets.",
                fix="Give each target a variable of its own, or name all its kinds in one.",
                field=f"targets.{len(names) - 1 - names[::-1].index(twice[0])}.url_env",
            )


def is_quiet(quiet: str, zone: str, now: datetime) -> bool:
    """Whether clocks in the zone show a time within the quiet hours, whose end is exclusive; "" has none.

    >>> from datetime import UTC
    >>> is_quiet("22:00-06:00", "Europe/Berlin", datetime(2026, 1, 1, 4, 59, tzinfo=UTC))
    True
    >>> is_quiet("22:00-06:00", "Europe/Berlin", datetime(2026, 1, 1, 5, 0, tzinfo=UTC))
    False
    """
    if not quiet:
        return False
    begin, end = (time.fromisoformat(text) for text in quiet.split("-"))
    clock = now.astimezone(ZoneInfo(zone)).time()
    return begin <= clock < end if begin < end else clock >= begin or clock < end


def _check_quiet(text: str) -> None:
    begin, _, end = text.partition("-")
    try:
        check_time_of_day("its begin", begin)
        check_time_of_day("its end", end)
    except ValueError as error:
        raise ValueError(f"quiet is {text!r}; it must be two times such as 22:00-06:00: {error}") from error
    if begin == end:
        raise ValueError(f"quiet is {text!r}; it must end at another time than it begins")
