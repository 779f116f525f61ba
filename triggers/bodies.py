"""The bodies that the HTTP doors take; unknown fields are refused by name."""

from __future__ import annotations

from typing import Annotated

import msgspec

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
"""A workload, a window, a version."""
Who = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
"""Who asks, in their own words: a key says only that they may. It goes on record."""


class RunBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which window to run; `only` names partitions, `models` a model-set version instead of the pinned one."""

    workload: Name
    window: Name
    only: tuple[str, ...] = ()
    models: str = ""


class RetryBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What to score again: failed, missing or all; or exactly the `partitions` named."""

    only: str = "failed"
    partitions: tuple[str, ...] = ()


class TrainingBody(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"first": "from", "stop": "to"}
):
    """Train on the windows [from, to); the new set is pinned unless `pin` is false."""

    workload: Name
    first: Name
    stop: Name
    pin: bool = True


class BackfillBody(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"first": "from", "stop": "to"}
):
    """Run the windows [from, to): missing, failed (too), or all; `max_parallel` at once. A dry run only says which would run and why."""

    workload: Name
    first: Name
    stop: Name
    only: str = "missing"
    max_parallel: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    newest_first: bool = False
    dry_run: bool = False


class NoBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Nothing is to be said."""


class PinBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Score with `version` from now on, everywhere or for one `partition`; a partition with version "" follows the current one again."""

    version: str
    partition: str = ""
    why: str = ""
    who: Who = "http"


class PromoteBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Make `version` the current one; by default the challenger, else the newest set."""

    version: str = ""
    why: str = ""
    who: Who = "http"


class RollbackBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Return to the version that was current before."""

    why: str = ""
    who: Who = "http"


class ChallengerBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Let `version` score in shadow from the next run on; "" for none."""

    version: str
    why: str = ""
    who: Who = "http"


class VerdictBody(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"first": "from", "stop": "to"}
):
    """Judge the challenger, or a `version` that was one, on the windows [from, to)."""

    first: Name
    stop: Name
    version: str = ""
    who: Who = "http"
