"""The client of the app's HTTP API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec
import requests

from fleetscore.errors import FleetscoreError, InputError, MissingBlobError, StoreError

if TYPE_CHECKING:
    from fleetscore.operations.attention import WorkloadAttention
    from fleetscore.operations.backfills import BackfillPreview
    from fleetscore.operations.doctor import Diagnosis
    from fleetscore.operations.drift_report import DriftReport
    from fleetscore.operations.explain import PartitionStory
    from fleetscore.operations.housekeeping import Swept
    from fleetscore.operations.monthly_costs import MonthCost
    from fleetscore.operations.replay import Replayed
    from fleetscore.pipeline.preview import RunPreview
    from fleetscore.runs.index import RunLine
    from fleetscore.runs.status_answer import RunStatus

Answer = TypeVar("Answer")

_TIMEOUT_S = (10.0, 120.0)  # to connect, to answer


class HostUnreachableError(StoreError):
    """Nobody answers at the host's address."""

    code = "no_host"


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
    links: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BackfilledWindow:
    """A window of a backfill with its newest run; `verdict` is "" until that has ended."""

    window: str
    run: str
    state: str
    verdict: str = ""


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


class HostClient:
    """Calls the API of one function app; errors that it answers with are raised as the core's own errors."""

    def __init__(self, url: str, key: str = "") -> None:
        """Talk to the app at `url`, with a function key if it asks for one."""
        self.url = url.rstrip("/")
        self._session = requests.Session()
        if key:
            self._session.headers["x-functions-key"] = key

    def start_run(
        self, workload: str, window: str, partitions: tuple[str, ...] = (), models: str = ""
    ) -> Started:
        """Start the window's run, or find the one that is under way or published."""
        body = {"workload": workload, "window": window, "only": partitions, "models": models}
        return self.call("POST", "runs", Started, body)

    def preview_run(
        self, workload: str, window: str, partitions: tuple[str, ...] = (), models: str = ""
    ) -> RunPreview:
        """What the window's run would do, by the app's own settings and pool; nothing is written."""
        from fleetscore.pipeline.preview import RunPreview

        body = {"workload": workload, "window": window, "only": partitions, "models": models}
        return self.call("POST", "plans", RunPreview, body)

    def retry_run(self, run: str, only: str, partitions: tuple[str, ...] = ()) -> Started:
        """Score some of the run's window again, as a new round."""
        return self.call(
            "POST", f"runs/{quote(run)}/retry", Started, {"only": only, "partitions": partitions}
        )

    def start_training(self, workload: str, first: str, stop: str, *, pin: bool) -> Started:
        """Train a new model set on the windows [first, stop)."""
        body = {"workload": workload, "from": first, "to": stop, "pin": pin}
        return self.call("POST", "training", Started, body)

    def start_backfill(
        self, workload: str, first: str, stop: str, *, only: str, max_parallel: int, newest_first: bool
    ) -> BackfillStarted:
        """Run the windows [first, stop), `max_parallel` at once."""
        body = {
            "workload": workload, "from": first, "to": stop,
            "only": only, "max_parallel": max_parallel, "newest_first": newest_first,
        }  # fmt: skip
        return self.call("POST", "backfills", BackfillStarted, body)

    def preview_backfill(
        self, workload: str, first: str, stop: str, *, only: str, newest_first: bool
    ) -> BackfillPreview:
        """Which of the windows [first, stop) a backfill would run, and why."""
        from fleetscore.operations.backfills import BackfillPreview

        body = {
            "workload": workload, "from": first, "to": stop,
            "only": only, "newest_first": newest_first, "dry_run": True,
        }  # fmt: skip
        return self.call("POST", "backfills", BackfillPreview, body)

    def describe_backfill(self, backfill: str) -> BackfillStatus:
        """How the backfill stands."""
        return self.call("GET", f"backfills/{quote(backfill)}", BackfillStatus)

    def describe_run(self, run: str) -> RunStatus:
        """How the run stands; MissingBlobError when there is none."""
        from fleetscore.runs.status_answer import RunStatus

        return self.call("GET", f"runs/{quote(run)}", RunStatus)

    def cancel_run(self, run: str) -> RunStatus:
        """Ask the run to stop."""
        from fleetscore.runs.status_answer import RunStatus

        return self.call("POST", f"runs/{quote(run)}/cancel", RunStatus)

    def list_runs(self, workload: str, limit: int) -> list[RunLine]:
        """The newest runs, newest first."""
        from fleetscore.runs.index import RunPage

        return self.call("GET", f"runs?workload={quote(workload)}&limit={limit}", RunPage).runs

    def list_attention(self, workload: str) -> list[WorkloadAttention]:
        """What wants somebody, of the workload, or of each that has something."""
        from fleetscore.operations.overview import Overview, WorkloadPage, list_attention

        if workload:
            path = f"dashboard?format=json&workload={quote(workload)}"
            return list_attention([self.call("GET", path, WorkloadPage).workload])
        return list_attention(self.call("GET", "dashboard?format=json", Overview).workloads)

    def explain(self, run: str, partition: str) -> PartitionStory:
        """The story of one partition."""
        from fleetscore.operations.explain import PartitionStory

        return self.call("GET", f"runs/{quote(run)}/partitions/{quote(partition)}", PartitionStory)

    def replay(self, run: str, partition: str) -> Replayed:
        """Have one partition scored again, and compared."""
        from fleetscore.operations.replay import Replayed

        return self.call("GET", f"runs/{quote(run)}/replay/{quote(partition)}", Replayed)

    def describe_drift(self, run: str, limit: int) -> DriftReport:
        """The run's partitions to look at."""
        from fleetscore.operations.drift_report import DriftReport

        return self.call("GET", f"runs/{quote(run)}/drift?limit={limit}", DriftReport)

    def examine(self) -> Diagnosis:
        """What the app finds when it examines itself."""
        from fleetscore.operations.doctor import Diagnosis

        return self.call("GET", "doctor", Diagnosis)

    def sweep(self, *, dry_run: bool) -> Swept:
        """Have what is old removed, or only be told what would be."""
        from fleetscore.operations.housekeeping import Swept

        return self.call("GET" if dry_run else "POST", "housekeeping", Swept)

    def list_costs(self, workload: str, since: str) -> list[MonthCost]:
        """What the workloads cost, month by month."""
        from fleetscore.operations.monthly_costs import MonthCost

        return self.call("GET", f"costs?workload={quote(workload)}&since={quote(since)}", list[MonthCost])

    def answers(self) -> bool:
        """Whether the app is there and serves its API."""
        try:
            return self._session.get(f"{self.url}/api/runs?limit=1", timeout=5.0).status_code < 500
        except requests.RequestException:
            return False

    def call(self, method: str, path: str, kind: type[Answer], body: Any = None) -> Answer:
        """What the door at `path` answers, as `kind`; its error is raised as the core's own, HostUnreachableError where nobody is there."""
        data = None if body is None else msgspec.json.encode(body)
        try:
            response = self._session.request(method, f"{self.url}/api/{path}", data=data, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise HostUnreachableError(
                f"Nobody answers at {self.url}: {type(error).__name__}.",
                fix="Check the address in --host, or leave --host out to use the local host.",
            ) from error
        if response.status_code >= 400:
            raise _error(response)
        return msgspec.json.decode(response.content, type=kind)


def _error(response: requests.Response) -> FleetscoreError:
    """The core error that the app's answer tells of; a plain one where a gateway or another app answered."""
    status = response.status_code
    try:
        told = msgspec.json.decode(response.content, type=dict[str, dict[str, str]])["error"]
    except (msgspec.DecodeError, KeyError):
        if status in (401, 403):
            return InputError(
                "The app asks for a function key.", fix="Give it as --key, or in FLEETSCORE_KEY.", field="key"
            )
        return StoreError(f"{response.url} answered {status} {response.reason}: {response.text[:200]}")
    kind = {400: InputError, 422: InputError, 404: MissingBlobError}.get(status, FleetscoreError)
    return kind(
        told.get("message", ""),
        fix=told.get("fix", ""),
        field=told.get("field", ""),
        code=told.get("code", ""),
    )
