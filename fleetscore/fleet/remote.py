"""A fleet behind an app: every question is a call of its HTTP API."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import quote

import msgspec
import requests

from fleetscore.errors import HostUnreachableError, StoreError
from fleetscore.fleet.answers import Answers, BackfillStarted, BackfillStatus, Started
from fleetscore.fleet.app_answers import check_address, error_of, needs_store, part, sign_in_of
from fleetscore.fleet.base import FleetBase
from fleetscore.fleet.following import call_with_retries
from fleetscore.typed_json import decode_json

if TYPE_CHECKING:
    import pyarrow as pa

    from fleetscore.capabilities import SampleReport
    from fleetscore.fleet.fleet_models import FleetModels
    from fleetscore.models.model_sets import ModelSet
    from fleetscore.operations.anomalies import AnomalyReport
    from fleetscore.operations.attention.lines import WorkloadAttention
    from fleetscore.operations.attention.mutes import Mute
    from fleetscore.operations.doctor.findings import Diagnosis
    from fleetscore.operations.drift_report import DriftReport
    from fleetscore.operations.due.backfills import BackfillPreview
    from fleetscore.operations.due.deadlines import DeadlineReport
    from fleetscore.operations.explain import PartitionStory
    from fleetscore.operations.housekeeping import Swept
    from fleetscore.operations.monthly_costs import MonthCost
    from fleetscore.operations.notices.delivery import TargetTest
    from fleetscore.operations.repair.files import Repairs
    from fleetscore.operations.replay import Replayed
    from fleetscore.operations.table_sync import TableRepair
    from fleetscore.pipeline.preview import RunPreview
    from fleetscore.runs.index import RunLine
    from fleetscore.runs.retirements import Retirement
    from fleetscore.runs.status_answer import RunStatus

Answer = TypeVar("Answer")

_ROWS_OF_A_PAGE = 100_000
_TIMEOUT_S = (10.0, 120.0)  # to connect, to answer


class RemoteFleet(FleetBase):
    """The fleet of one function app; errors that the app answers are raised as the core's own errors."""

    def __init__(self, url: str, key: str = "", token: str = "") -> None:
        """Ask the app at `url`, with a function key if it demands one, or signed in with a bearer `token`;
        InputError for what is no such address. A user and password in `url` are sent, and never shown.
        """
        self.url = check_address(url)
        self._session = requests.Session()
        self._session.auth = sign_in_of(url)
        if key:
            self._session.headers["x-functions-key"] = key
        if token:
            self._session.headers["authorization"] = f"Bearer {token}"
        self._base = f"{self.url}/api/entra" if token else f"{self.url}/api"

    def follow(self, run: str) -> RunStatus:
        """How the run stands; the request is repeated where an app restarts."""
        return call_with_retries(lambda: self.show(run))

    def follow_backfill(self, backfill: str) -> BackfillStatus:
        """How the backfill stands; the request is repeated where an app restarts."""
        return call_with_retries(lambda: self.show_backfill(backfill))

    def start_run(
        self,
        workload: str,
        window: str,
        *,
        partitions: Sequence[str] = (),
        models: str = "",
        force: bool = False,
    ) -> Started:
        """Start the window's run, or find the one that is under way or published."""
        body = {"workload": workload, "window": window, "only": partitions, "models": models, "force": force}
        return self.call("POST", "runs", Started, body)

    def start_retry(
        self, run: str, *, only: str = "", partitions: Sequence[str] = (), models: str = ""
    ) -> Started:
        """Start a new round of the run's window."""
        body = {"only": only, "partitions": partitions, "models": models}
        return self.call("POST", f"runs/{part(run)}/retry", Started, body)

    def start_training(self, workload: str, first: str, end: str, *, pin: bool | None = None) -> Started:
        """Start a training on the windows [first, end)."""
        body = {"workload": workload, "from": first, "to": end, "pin": pin}
        return self.call("POST", "training", Started, body)

    def start_backfill(
        self, workload: str, first: str, end: str, *, only: str = "", partitions: Sequence[str] = (), models: str = "",
        max_parallel: int = 4, newest_first: bool = False, force: bool = False,
    ) -> BackfillStarted:  # fmt: skip
        """Start a backfill of the windows [first, end), `max_parallel` at once."""
        body = {
            "workload": workload, "from": first, "to": end, "only": only, "partitions": partitions, "models": models,
            "max_parallel": max_parallel, "newest_first": newest_first, "force": force,
        }  # fmt: skip
        return self.call("POST", "backfills", BackfillStarted, body)

    def cancel(self, run: str, *, force: bool = False) -> RunStatus:
        """Ask the run to stop."""
        from fleetscore.runs.status_answer import RunStatus

        return self.call("POST", f"runs/{part(run)}/cancel", RunStatus, {"force": force})

    def plan(
        self, workload: str, window: str, *, partitions: Sequence[str] = (), models: str = ""
    ) -> RunPreview:
        """What the window's run would do, by the app's own settings and pool; nothing is written."""
        from fleetscore.pipeline.preview import RunPreview

        body = {"workload": workload, "window": window, "only": partitions, "models": models}
        return self.call("POST", "plans", RunPreview, body)

    def plan_backfill(
        self, workload: str, first: str, end: str, *, only: str = "", partitions: Sequence[str] = (), models: str = "",
        newest_first: bool = False,
    ) -> BackfillPreview:  # fmt: skip
        """Which of the windows [first, end) a backfill would run, and why."""
        from fleetscore.operations.due.backfills import BackfillPreview

        body = {
            "workload": workload, "from": first, "to": end, "only": only, "partitions": partitions, "models": models,
            "newest_first": newest_first, "dry_run": True,
        }  # fmt: skip
        return self.call("POST", "backfills", BackfillPreview, body)

    def runs(self, workload: str = "", limit: int = 20) -> list[RunLine]:
        """The newest runs, newest first."""
        from fleetscore.runs.index import RunPage

        return self.call("GET", f"runs?workload={part(workload)}&limit={limit}", RunPage).runs

    def show(self, run: str) -> RunStatus:
        """How the run stands or ended; MissingBlobError when there is none."""
        from fleetscore.runs.status_answer import RunStatus

        return self.call("GET", f"runs/{part(run)}", RunStatus)

    def show_backfill(self, backfill: str) -> BackfillStatus:
        """How the backfill stands."""
        return self.call("GET", f"backfills/{part(backfill)}", BackfillStatus)

    def attention(self, workload: str = "") -> list[WorkloadAttention]:
        """What needs attention, of the workload or of every one that has something."""
        from fleetscore.operations.attention.overview import Overview, WorkloadPage, list_attention

        if workload:
            path = f"dashboard?format=json&workload={part(workload)}"
            return list_attention([self.call("GET", path, WorkloadPage).workload])
        return list_attention(self.call("GET", "dashboard?format=json", Overview).workloads)

    def mute(
        self, workload: str, *, why: str, until: str, partition: str = "", cause: str = "", normal: str = ""
    ) -> Mute:
        """Have the app write down that the cause, the partition or both need no attention until then."""
        from fleetscore.operations.attention.mutes import Mute

        body = {
            "why": why, "until": until, "partition": partition, "cause": cause, "requested_by": getpass.getuser(),
        } | ({"normal": normal} if normal else {})  # fmt: skip
        return self.call("POST", f"attention/{part(workload)}/mutes", Mute, body)

    def unmute(self, workload: str, mute: str, why: str = "") -> Mute:
        """Have the app end a mute before its time."""
        from fleetscore.operations.attention.mutes import Mute

        body = {"why": why, "requested_by": getpass.getuser()}
        return self.call("POST", f"attention/{part(workload)}/mutes/{part(mute)}/end", Mute, body)

    def retire(self, workload: str, partition: str, *, why: str = "", undo: bool = False) -> Retirement:
        """Have the app expect the partition no more, or again."""
        from fleetscore.runs.retirements import Retirement

        body = {"partition": partition, "why": why, "undo": undo, "requested_by": getpass.getuser()}
        return self.call("POST", f"attention/{part(workload)}/retired", Retirement, body)

    def mutes(self, workload: str) -> list[Mute]:
        """The workload's mutes in force, oldest first."""
        from fleetscore.operations.attention.mutes import Mute

        return self.call("GET", f"attention/{part(workload)}/mutes", list[Mute])

    def explain(self, run: str, partition: str) -> PartitionStory:
        """The story of one partition."""
        from fleetscore.operations.explain import PartitionStory

        return self.call("GET", f"runs/{part(run)}/partitions/{quote(partition)}", PartitionStory)

    def replay(self, run: str, partition: str) -> Replayed:
        """One partition scored again by the app, and compared."""
        from fleetscore.operations.replay import Replayed

        return self.call("GET", f"runs/{part(run)}/replay/{quote(partition)}", Replayed)

    def anomalies(self, workload: str = "", *, since: str = "", device: str = "") -> AnomalyReport:
        """The incidents of published windows since a time, of a device or of all."""
        from fleetscore.operations.anomalies import AnomalyReport

        query = f"workload={part(workload)}&since={part(since)}&device={part(device)}"
        return self.call("GET", f"anomalies?{query}", AnomalyReport)

    def drift(self, run: str, limit: int = 20) -> DriftReport:
        """The partitions of the run that drifted, the worst first."""
        from fleetscore.operations.drift_report import DriftReport

        return self.call("GET", f"runs/{part(run)}/drift?limit={limit}", DriftReport)

    def deadlines(self, workload: str = "", days: int = 90) -> list[DeadlineReport]:
        """See FleetBase."""
        from fleetscore.operations.due.deadlines import DeadlineReport

        return self.call("GET", f"deadlines?workload={part(workload)}&days={days}", list[DeadlineReport])

    def costs(
        self, workload: str = "", since: str = "", month: str = "", by: str = "workload"
    ) -> list[MonthCost]:
        """What the workloads cost, month by month."""
        from fleetscore.operations.monthly_costs import MonthCost

        query = f"workload={part(workload)}&since={part(since)}&month={part(month)}&by={part(by)}"
        return self.call("GET", f"costs?{query}", list[MonthCost])

    def doctor(self) -> Diagnosis:
        """What the app finds when it examines itself."""
        from fleetscore.operations.doctor.findings import Diagnosis

        return self.call("GET", "doctor", Diagnosis)

    def doctor_azure(self, wait_s: float = 900.0) -> Diagnosis:
        """See FleetBase; an app submits no task, since it could not wait for it."""
        del wait_s
        from fleetscore.operations.doctor.findings import Diagnosis

        return self.call("GET", "doctor/azure", Diagnosis)

    def repair(self, *, dry_run: bool = False, guesses: bool = False) -> Repairs:
        """Repair damaged state files, or only report what would be done; what can only be guessed needs
        `guesses`.
        """
        from fleetscore.operations.repair.files import Repairs

        return (
            self.call("GET", "repair", Repairs)
            if dry_run
            else self.call("POST", "repair", Repairs, {"guesses": guesses})
        )

    def repair_tables(self, *, dry_run: bool = False) -> list[TableRepair]:
        """Have the app commit the published windows that the result tables lack, or only report which."""
        from fleetscore.operations.table_sync import TableRepair

        return self.call("GET" if dry_run else "POST", "repair/tables", list[TableRepair])

    def housekeeping(self, *, dry_run: bool = False) -> Swept:
        """Have the app remove what is old, or only report what it would remove."""
        from fleetscore.operations.housekeeping import Swept

        return self.call("GET" if dry_run else "POST", "housekeeping", Swept)

    def score(self, workload: str, rows: Sequence[Mapping[str, Any]]) -> Answers:
        """An answer for each row of a mini-batch, with the pinned models."""
        return self.call("POST", f"score/{part(workload)}", Answers, {"rows": rows})

    def models(self, workload: str) -> FleetModels:
        """The model sets of a workload."""
        from fleetscore.fleet.fleet_models import RemoteModels

        return RemoteModels(self, workload)

    def results(
        self, workload: str, window: str = "", *, partition: str = "", held: bool = False
    ) -> pa.Table:
        """All rows of the window, page after page, or those of one partition."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        query = f"format=parquet&partition={part(partition)}&held={str(held).lower()}&limit={_ROWS_OF_A_PAGE}"
        path, offset, run, parts = f"results/{part(workload)}/{part(window or 'latest')}", 0, "", []
        while True:
            tail = f"&run={run}" if run else ""
            response = self._send("GET", f"{path}?{query}&offset={offset}{tail}")
            parts.append(pq.read_table(pa.BufferReader(response.content)).replace_schema_metadata())
            run, following = response.headers.get("X-Run", ""), response.headers.get("X-Next-Offset")
            if following is None:
                return pa.concat_tables(parts, promote_options="default")
            path = f"results/{part(workload)}/{part(response.headers['X-Window'])}"
            offset = int(following)

    def publish_anyway(self, run: str, why: str) -> RunStatus:
        """Publish what a check held back of the run; the reason goes on record."""
        from fleetscore.runs.status_answer import RunStatus

        body = {"why": why, "requested_by": getpass.getuser()}
        return self.call("POST", f"runs/{part(run)}/publish", RunStatus, body)

    def test_notices(self, workload: str, target: str = "") -> list[TargetTest]:
        """Have the app send a test notice, with the addresses of its own environment."""
        from fleetscore.operations.notices.delivery import TargetTest

        body = {"workload": workload, "target": target}
        return self.call("POST", "notices/test", list[TargetTest], body)

    def samples(self, workload: str, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        """InputError: an app writes no samples."""
        del workload, scale, seed
        raise needs_store("writes no samples")

    def capture_samples(self, workload: str, *, scale: float = 1.0, seed: int = 7) -> SampleReport:
        """InputError: an app writes no samples."""
        del workload, scale, seed
        raise needs_store("writes no samples")

    def import_models(self, workload: str, source: Path, *, pin: bool = True) -> ModelSet:
        """InputError: an app reads no folder of this machine."""
        del workload, source, pin
        raise needs_store("reads no models of this machine")

    def backtest(self, workload: str, cutoffs: int, folder: Path) -> NoReturn:
        """InputError: an app runs no backtest."""
        del workload, cutoffs, folder
        raise needs_store("runs no backtest")

    def draw(
        self, workload: str, windows: Sequence[str], folder: Path, partitions: Sequence[str] = ()
    ) -> NoReturn:
        """InputError: an app writes no pictures; its dashboard shows them."""
        del workload, windows, folder, partitions
        raise needs_store("writes no pictures; its dashboard shows them")

    def call(self, method: str, path: str, kind: type[Answer], body: Any = None) -> Answer:
        """The answer of the endpoint at `path`, as `kind`.

        The app's error is raised as the core's own; HostUnreachableError where no app answers.
        """
        response = self._send(method, path, body)
        try:
            return decode_json(response.content, kind)
        except msgspec.DecodeError as error:
            raise StoreError(
                f"{self.url} is no app of Fleetscore, or one of another version: {error}.",
                fix="Check the address in --host.",
            ) from error

    def _send(self, method: str, path: str, body: Any = None) -> requests.Response:
        """The answer as it came; the app's error is raised as the core's own."""
        data = None if body is None else msgspec.json.encode(body)
        headers = {} if data is None else {"content-type": "application/json"}
        try:
            response = self._session.request(
                method, f"{self._base}/{path}", data=data, headers=headers, timeout=_TIMEOUT_S
            )
        except requests.RequestException as error:
            raise HostUnreachableError(
                f"No app answers at {self.url}: {type(error).__name__}.",
                fix="Check the address in --host, or leave --host out to use the local host.",
            ) from error
        if response.status_code >= 400:
            raise error_of(response)
        return response
