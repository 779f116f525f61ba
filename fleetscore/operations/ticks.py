"""Ticks: when each timer of the app last ran, so that a timer that stopped is noticed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleetscore.records import to_json
from fleetscore.store.base import Store
from fleetscore.store.state_files import read_hint

FOLDER = "ticks/"
MINUTE_TIMERS = ("start_due_windows", "rescue_timer")
"""The timers that run each minute."""

SILENT_AFTER = timedelta(minutes=5)
"""A timer that runs each minute counts as silent from then on."""


@dataclass(frozen=True, slots=True)
class Tick:
    """When a timer last ran to its end."""

    timer: str
    at: datetime
    schema: int = 1


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the app does its work: `problems` are sentences, none when it does; `ticks` says when each
    timer last ran.
    """

    healthy: bool
    problems: tuple[str, ...]
    ticks: Mapping[str, datetime]


def record_tick(store: Store, timer: str, now: datetime) -> None:
    """Record that the timer ran."""
    store.write(f"{FOLDER}{timer}.json", to_json(Tick(timer, now)))


def read_ticks(store: Store) -> dict[str, datetime]:
    """When each timer last ran; a tick that cannot be read counts as none, since the next one replaces it."""
    found = {}
    for entry in store.list(FOLDER):
        tick = read_hint(store, entry.path, Tick)
        if tick is not None:
            found[tick.timer] = tick.at
    return found


def judge_health(
    ticks: Mapping[str, datetime], problems: tuple[str, ...], started: datetime, now: datetime
) -> Health:
    """Healthy unless something did not load, or a timer that runs each minute has been silent for five.

    A timer that never ran counts from when the app `started`.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 11, 28, 12, tzinfo=UTC)
    >>> judge_health({"rescue_timer": noon}, (), noon, noon + timedelta(minutes=6)).healthy
    False
    """
    silent = []
    for timer in MINUTE_TIMERS:
        last = max(ticks.get(timer, started), started)
        if now - last > SILENT_AFTER:
            last_tick = f"last ran at {ticks[timer]:%Y-%m-%d %H:%M} UTC" if timer in ticks else "never ran"
            silent.append(f"{timer} runs each minute and {last_tick}.")
    return Health(not problems and not silent, (*problems, *silent), dict(ticks))
