"""The bodies that the HTTP endpoints take; unknown fields are refused by name, and every text has a limit."""

from __future__ import annotations

from typing import Annotated

import msgspec

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
"""A workload, a window, a version."""
Reason = Annotated[str, msgspec.Meta(max_length=2_000)]
"""Why something is changed."""
Keys = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)], ...], msgspec.Meta(max_length=100_000)
]
"""Partitions: keys, and patterns of keys."""
Address = Annotated[str, msgspec.Meta(max_length=4_096)]
"""A URL, or ""."""
Version = Annotated[str, msgspec.Meta(max_length=200)]
"""A model-set version, `current` for the pinned ones, or ""."""
Who = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
"""The name on record for a change, as the caller gives it: a function key proves no identity."""


class RepairBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Whether pins that can only be guessed, from what the newest window was scored with, are guessed."""

    guesses: bool = False


class RunBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which window to run; `only` names partitions, `models` a model-set version instead of the pinned one,
    `force` takes a window that is not due yet. Of a published window, `only` or `models` scores just that
    again, as a further round.

    `callBackUri` is called once when the run has ended, as the WebHook activity of Data Factory expects.
    """

    workload: Name
    window: Name
    only: Keys = ()
    models: Version = ""
    force: bool = False
    callBackUri: Address = ""  # noqa: N815 - Data Factory's name for it


class CancelBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`force` closes the run's record alone, at once, whatever its orchestration does."""

    force: bool = False


class RetryBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What to score again: failed, missing or all; or exactly the `partitions` named.

    What was scored keeps the model version of its round, unless `models` names one, or `current` for the
    pinned ones.
    """

    only: Annotated[str, msgspec.Meta(max_length=20)] = ""  # failed, unless partitions are named
    partitions: Keys = ()
    models: Version = ""
    callBackUri: Address = ""  # noqa: N815 - Data Factory's name for it


class TrainingBody(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"first": "from", "end": "to"}
):
    """Train on the windows [from, to); `pin` makes the new set the current one, or leaves it; null: as the
    settings say.
    """

    workload: Name
    first: Name
    end: Name
    pin: bool | None = None
    callBackUri: Address = ""  # noqa: N815 - Data Factory's name for it


class BackfillBody(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"first": "from", "end": "to"}
):
    """Run the windows [from, to): missing, failed (too), or all; `max_parallel` at once. A dry run only says
    which would run and why.

    With `partitions` exactly these are scored, in every window; `models` is a version to score with, or
    `current`.
    """

    workload: Name
    first: Name
    end: Name
    only: Annotated[str, msgspec.Meta(max_length=20)] = ""  # missing, unless partitions are named
    partitions: Keys = ()
    models: Version = ""
    max_parallel: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    newest_first: bool = False
    dry_run: bool = False
    force: bool = False


class NoBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Nothing is to be said."""


class ChangeBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A change on record under the name `requested_by`; `who`, its earlier name, is accepted for one
    version.
    """

    requested_by: Who = "http"
    who: Who | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if self.who is not msgspec.UNSET:
            msgspec.structs.force_setattr(self, "requested_by", self.who)


class PublishBody(ChangeBody, forbid_unknown_fields=True, frozen=True):
    """Publish what a check held back, although it did, and why."""

    why: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]


class PinBody(ChangeBody, forbid_unknown_fields=True, frozen=True):
    """Score with `version` from now on, everywhere, for one `partition`, or for one model `key`; a partition
    or key with version "" follows the current one again.
    """

    version: Version
    partition: Annotated[str, msgspec.Meta(max_length=1_024)] = ""
    why: Reason = ""
    key: Annotated[str, msgspec.Meta(max_length=1_024)] = ""


class PromoteBody(ChangeBody, forbid_unknown_fields=True, frozen=True):
    """Make `version` the current one; by default the challenger, else the newest set. With `where` better it
    scores only the partitions for which its newest verdict finds it better beyond noise.
    """

    version: Version = ""
    where: Annotated[str, msgspec.Meta(max_length=20)] = ""
    why: Reason = ""


class RollbackBody(ChangeBody, forbid_unknown_fields=True, frozen=True):
    """Return to the version that was current before."""

    why: Reason = ""


class ChallengerBody(ChangeBody, forbid_unknown_fields=True, frozen=True):
    """Let `version` score in shadow from the next run on; "" for none."""

    version: Version
    why: Reason = ""


class MuteBody(ChangeBody, forbid_unknown_fields=True, frozen=True):
    """No attention to `cause`, to `partition` (a key, or a pattern with *) or to both, until a day, a time,
    or so many days ahead (7d); or to the incident or event `normal`, which training then takes as normal.
    """

    why: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
    until: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    partition: Annotated[str, msgspec.Meta(max_length=1_024)] = ""
    cause: Version = ""
    normal: Annotated[str, msgspec.Meta(max_length=1_100)] = ""


class UnmuteBody(ChangeBody, forbid_unknown_fields=True, frozen=True):
    """Why a mute ends before its time."""

    why: Reason = ""


class RetireBody(ChangeBody, forbid_unknown_fields=True, frozen=True):
    """A partition that is expected no more, or with `undo` again."""

    partition: Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]
    why: Reason = ""
    undo: bool = False


class NoticeTestBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Send a test notice to each target of the workload, or to the `target` of that name."""

    workload: Name
    target: Annotated[str, msgspec.Meta(max_length=200)] = ""


class VerdictBody(ChangeBody, forbid_unknown_fields=True, frozen=True, rename={"first": "from", "end": "to"}):
    """Judge the challenger, or a `version` that was one, on the windows [from, to)."""

    first: Name
    end: Name
    version: Version = ""
