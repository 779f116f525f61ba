"""The model sets of a fleet's workload, from its store or from an app: the same answers and errors either
way.
"""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote

if TYPE_CHECKING:
    from fleetscore.models.pins import Pins
    from fleetscore.models.report import ModelSets, PinnedSet
    from fleetscore.operations.champions.verdict_report import VerdictReport
    from fleetscore.operations.champions.verdicts import Verdict
    from fleetscore.store.base import Store

Answer = TypeVar("Answer")


class FleetModels(Protocol):
    """The model sets of one workload. Every change records the name of the user of this process."""

    def list_sets(self) -> ModelSets:
        """All model sets, oldest first, and which are used."""

    def show_set(self, version: str = "") -> PinnedSet:
        """One model set with its card, by default ("") the current one."""

    def pin(self, version: str, partition: str = "", why: str = "", *, key: str = "") -> Pins:
        """Use `version` everywhere, for one partition, or for one model key ("" as version: the current one
        again).
        """

    def promote(self, version: str = "", why: str = "", *, where: str = "") -> Pins:
        """Make `version` current, by default the challenger, else the newest set.

        With `where` "better" it scores only the partitions for which its newest verdict finds it better
        beyond noise.
        """

    def roll_back(self, why: str = "") -> Pins:
        """Make the version before current."""

    def challenge(self, version: str, why: str = "") -> Pins:
        """Let `version` score in shadow; "" for none."""

    def judge(self, first: str, end: str, version: str = "") -> Verdict:
        """Judge the challenger, or `version`, on the windows [first, end), and keep the verdict."""

    def list_verdicts(self) -> list[Verdict]:
        """The kept verdicts, newest first."""

    def show_verdict(self, verdict: str = "", limit: int = 20) -> VerdictReport:
        """The verdict of that id, by default ("") the newest, with the partitions where the challenger does
        worst.
        """


class StoreModels:
    """Answers from the store."""

    def __init__(self, store: Store, workload: str) -> None:
        """Answer for the workload's model sets in `store`."""
        self._store = store
        self._workload = workload

    def list_sets(self) -> ModelSets:
        """See FleetModels."""
        from fleetscore.models.report import describe_sets

        return describe_sets(self._store, self._workload)

    def show_set(self, version: str = "") -> PinnedSet:
        """See FleetModels."""
        from fleetscore.models.report import describe_set

        return describe_set(self._store, self._workload, version)

    def pin(self, version: str, partition: str = "", why: str = "", *, key: str = "") -> Pins:
        """See FleetModels."""
        from fleetscore.operations.champions.pinning import pin_on_request

        return pin_on_request(
            self._store, self._workload, version, partition=partition, key=key, requested_by=_requested_by(), why=why
        )  # fmt: skip

    def promote(self, version: str = "", why: str = "", *, where: str = "") -> Pins:
        """See FleetModels."""
        from fleetscore.operations.champions.promotion import promotion_of

        return promotion_of(where)(self._store, self._workload, version, _requested_by(), why)

    def roll_back(self, why: str = "") -> Pins:
        """See FleetModels."""
        from fleetscore.operations.champions.promotion import roll_back

        return roll_back(self._store, self._workload, _requested_by(), why)

    def challenge(self, version: str, why: str = "") -> Pins:
        """See FleetModels."""
        from fleetscore.models.pins import pin_challenger

        return pin_challenger(self._store, self._workload, version, requested_by=_requested_by(), why=why)

    def judge(self, first: str, end: str, version: str = "") -> Verdict:
        """See FleetModels."""
        from fleetscore.operations.champions.verdicts import judge_challenger

        return judge_challenger(
            self._store, self._workload, first, end, datetime.now(UTC), _requested_by(), version
        )

    def list_verdicts(self) -> list[Verdict]:
        """See FleetModels."""
        from fleetscore.operations.champions.verdicts import list_verdicts

        return list_verdicts(self._store, self._workload)

    def show_verdict(self, verdict: str = "", limit: int = 20) -> VerdictReport:
        """See FleetModels."""
        from fleetscore.operations.champions.verdict_report import describe_verdict

        return describe_verdict(self._store, self._workload, verdict, limit)


class CallsApp(Protocol):
    """An app over HTTP."""

    def call(self, method: str, path: str, kind: type[Answer], body: Any = None) -> Answer:
        """The answer of the endpoint at `path`, as `kind`; the app's error is raised as the core's own."""


class RemoteModels:
    """Asks an app."""

    def __init__(self, app: CallsApp, workload: str) -> None:
        """Ask the app about the workload's model sets."""
        self._app = app
        self._endpoint = f"models/{quote(workload, safe='')}"

    def list_sets(self) -> ModelSets:
        """See FleetModels."""
        from fleetscore.models.report import ModelSets

        return self._app.call("GET", self._endpoint, ModelSets)

    def show_set(self, version: str = "") -> PinnedSet:
        """See FleetModels."""
        from fleetscore.models.report import PinnedSet

        tail = f"sets/{quote(version, safe='')}" if version else "current"
        return self._app.call("GET", f"{self._endpoint}/{tail}", PinnedSet)

    def pin(self, version: str, partition: str = "", why: str = "", *, key: str = "") -> Pins:
        """See FleetModels."""
        body = {"version": version, "partition": partition, "why": why}
        # unknown to apps of earlier versions
        return self._change("pin", body | ({"key": key} if key else {}))

    def promote(self, version: str = "", why: str = "", *, where: str = "") -> Pins:
        """See FleetModels."""
        return self._change("promote", {"version": version, "why": why, "where": where})

    def roll_back(self, why: str = "") -> Pins:
        """See FleetModels."""
        return self._change("rollback", {"why": why})

    def challenge(self, version: str, why: str = "") -> Pins:
        """See FleetModels."""
        return self._change("challenger", {"version": version, "why": why})

    def judge(self, first: str, end: str, version: str = "") -> Verdict:
        """See FleetModels."""
        from fleetscore.operations.champions.verdicts import Verdict

        body = {"from": first, "to": end, "version": version, "requested_by": _requested_by()}
        return self._app.call("POST", f"{self._endpoint}/verdicts", Verdict, body)

    def list_verdicts(self) -> list[Verdict]:
        """See FleetModels."""
        from fleetscore.operations.champions.verdicts import Verdict

        return self._app.call("GET", f"{self._endpoint}/verdicts", list[Verdict])

    def show_verdict(self, verdict: str = "", limit: int = 20) -> VerdictReport:
        """See FleetModels."""
        from fleetscore.operations.champions.verdict_report import VerdictReport

        tail = f"verdicts/{quote(verdict or 'newest', safe='')}?limit={limit}"
        return self._app.call("GET", f"{self._endpoint}/{tail}", VerdictReport)

    def _change(self, tail: str, body: dict[str, Any]) -> Pins:
        from fleetscore.models.pins import Pins

        return self._app.call(
            "POST", f"{self._endpoint}/{tail}", Pins, body | {"requested_by": _requested_by()}
        )


def _requested_by() -> str:
    return getpass.getuser()
