"""Mutes: what needs no attention until a set time, and why. Each act is a small file below
attention/<workload>/, written once.

A mute names a cause, partitions, both, or neither (all of the workload). It hides lines of attention and
the notices about them; outcomes, the calendar and exit codes of runs stay as they are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.pipeline.spellings import Speller
from fleetscore.records import to_json
from fleetscore.requesters import format_name
from fleetscore.runs.normal_marks import NormalEvent, list_acts
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.paths import mute_path
from fleetscore.store.state_files import read_truth

LONGEST = timedelta(days=366)
OVERDUE = "overdue"
"""What a mute names as cause to be about windows that are overdue, which have no other."""
_MOST_CHARACTERS = 2_000
_LONGEST_CAUSE = 200
_LONGEST_KEY = 1_024
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}|\d{8}")
_TIME = re.compile(r"\d{4}-?\d{2}-?\d{2}[T ]")


@dataclass(frozen=True, slots=True)
class Mute:
    """What needs no attention before `until`: `partition` is a key or a pattern with * ([*] is a plain
    asterisk), "" for all; `cause` is a code, "" for all.

    With `normal` it is about these events alone, which are normal.
    """

    id: str
    workload: str
    why: str
    until: datetime
    requested_by: str
    at: datetime
    partition: str = ""
    cause: str = ""
    normal: tuple[NormalEvent, ...] = ()
    schema: int = 1

    def covers(self, cause: str) -> bool:
        """Whether the mute is about this cause, of whatever partitions."""
        return not self.normal and self.cause in ("", cause)

    def covers_partition(self, partition: str, spell: Speller | None = None) -> bool:
        """Whether the mute is about this partition, by the canonical spelling of both where there are
        several.
        """
        if not self.partition or partition == self.partition or _pattern(self.partition).fullmatch(partition):
            return True
        return spell is not None and spell(partition) == spell(self.partition)


@dataclass(frozen=True, slots=True)
class Unmute:
    """The end of a mute before its time."""

    id: str
    why: str
    requested_by: str
    at: datetime
    schema: int = 1


def mute(
    store: Store, workload: str, *, why: str, until: str, now: datetime, requested_by: str, partition: str = "",
    cause: str = "", normal: tuple[NormalEvent, ...] = (),
) -> Mute:  # fmt: skip
    """Write down a mute and return it; InputError for a reason that is missing and an end that is past or
    further than a year.
    """
    end = parse_until(until, now)
    reason = why.strip()
    if not reason or len(reason) > _MOST_CHARACTERS:
        raise InputError(
            f"The reason has {len(reason)} characters.", fix=f"Write 1 to {_MOST_CHARACTERS}.", field="why"
        )
    for field, text, limit in (("cause", cause, _LONGEST_CAUSE), ("partition", partition, _LONGEST_KEY)):
        if len(text) > limit:
            raise InputError(
                f"The {field} has {len(text)} characters.", fix=f"Write at most {limit}.", field=field
            )
    act = Mute("", workload, reason, end, requested_by, now, partition, cause, normal)
    digest = hashlib.sha256(to_json(act)).hexdigest()[:8]
    act = replace(act, id=f"{now:%Y%m%dT%H%M%SZ}-{digest}")
    store.create(mute_path(workload, "mutes", act.id), to_json(act))
    return act


def unmute(store: Store, workload: str, mute_id: str, *, why: str, now: datetime, requested_by: str) -> Mute:
    """End the mute and return it; MissingBlobError for an id that is not in force."""
    in_force = {act.id: act for act in list_mutes(store, workload, now)}
    if mute_id not in in_force:
        known = f"In force: {', '.join(in_force)}." if in_force else "None is in force."
        raise MissingBlobError(
            f"{workload} has no mute {mute_id!r} in force.", fix=known, code="no_mute", field="id"
        )
    store.create(mute_path(workload, "unmutes", mute_id), to_json(Unmute(mute_id, why, requested_by, now)))
    return in_force[mute_id]


def list_mutes(store: Store, workload: str, now: datetime) -> list[Mute]:
    """The mutes in force, oldest first; DamagedStateError names a file that cannot be read."""
    acts = side_by_side(lambda path: read_truth(store, path, Mute), list_acts(store, workload))
    return [act for act in acts if act.until > now]


def parse_until(text: str, now: datetime) -> datetime:
    """The moment that `text` names: a day (it ends with it), an ISO time (UTC without an offset), or days
    ahead such as 7d.

    >>> parse_until("7d", datetime(2026, 11, 28, tzinfo=UTC)).isoformat()
    '2026-12-05T00:00:00+00:00'
    >>> parse_until("2026-12-01", datetime(2026, 11, 28, tzinfo=UTC)).isoformat()
    '2026-12-02T00:00:00+00:00'
    """
    moment = _parse_moment(text.strip(), now)
    if moment is None:
        raise InputError(
            f"{text!r} is no end of a mute.",
            fix="Write a day (2026-12-24), a time (2026-12-24T18:00Z) or days ahead (7d).",
            field="until",
        )
    if not now < moment <= now + LONGEST:
        when, fix = (
            ("past", "Give an end that lies ahead, such as 7d.")
            if moment <= now
            else (f"more than {LONGEST.days} days ahead", "Give an earlier end, and mute it again then.")
        )
        raise InputError(f"{moment:%Y-%m-%d %H:%M} UTC is {when}.", fix=fix, field="until")
    return moment


def remaining(
    partitions: Iterable[str], cause: str, mutes: Sequence[Mute], spell: Speller | None = None
) -> list[str]:
    """The partitions with the cause that no mute is about."""
    about = [act for act in mutes if act.covers(cause)]
    return [key for key in partitions if not any(act.covers_partition(key, spell) for act in about)]


def mutes_all(cause: str, mutes: Sequence[Mute]) -> bool:
    """Whether a mute is about the cause whatever the partition."""
    return any(not act.partition and act.covers(cause) for act in mutes)


def format_mute(act: Mute) -> str:
    """What is muted, until when, by whom and why, as one line."""
    cause = act.cause or "every cause"
    subject = f"{cause} of {act.partition}" if act.partition else cause
    if act.normal:
        subject = f"{', '.join(one.event for one in act.normal)} as normal"
    return f"{subject}, until {act.until:%Y-%m-%d %H:%M} UTC, by {format_name(act.requested_by)}: {act.why}"


def escape_key(partition: str) -> str:
    """The pattern that means this partition alone."""
    return partition.replace("*", "[*]")


@cache
def _pattern(text: str) -> re.Pattern[str]:
    parts = re.split(r"(\[\*\]|\*)", text)
    return re.compile(
        "".join(".*" if p == "*" else re.escape("*" if p == "[*]" else p) for p in parts), re.DOTALL
    )


def _parse_moment(text: str, now: datetime) -> datetime | None:
    try:
        if text.endswith("d") and text[:-1].isdecimal():
            return now + timedelta(days=int(text[:-1]))
        if _DAY.fullmatch(text):
            return datetime.combine(date.fromisoformat(text), time(), UTC) + timedelta(days=1)
        if not _TIME.match(text):
            return None
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
