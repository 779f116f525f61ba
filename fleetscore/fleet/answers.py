"""What an app answers to a request that starts something, and how a backfill stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Started:
    """The run that answers a request; `created` if it was started for it."""

    id: str
    state: str
    created: bool
    links: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BackfillStarted:
    """A backfill that was started over so many windows."""

    id: str
    windows: int
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BackfilledWindow:
    """A window of a backfill with its newest run; `verdict` is "" until that has ended."""

    window: str
    run: str
    state: str
    verdict: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)  # outcome -> partitions, once it ended
    reason: str = ""  # why the backfill could not run it


@dataclass(frozen=True, slots=True)
class BackfillStatus:
    """How a backfill stands; `state` is the orchestration's (Running, Completed, Failed, Terminated, ...)."""

    id: str
    state: str
    windows: tuple[BackfilledWindow, ...]
    done: int
    total: int

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("Completed", "Failed", "Terminated", "Canceled")


@dataclass(frozen=True, slots=True)
class Answers:
    """One answer for each row of a mini-batch, in their order, and the model set that was pinned."""

    answers: list[dict[str, object]]
    model_set: str
