"""The doctor's question about storage requests: what Azure Monitor counted in a day beside what is
expected.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fleetscore.app_settings import AppSettings
from fleetscore.errors import DamagedStateError, MissingBlobError, StoreError
from fleetscore.operations.doctor.findings import Finding
from fleetscore.registry import workload_names
from fleetscore.runs.index import list_runs_since
from fleetscore.runs.run_records import read_run
from fleetscore.store.account_metrics import Account, Credential, account_of, count_transactions
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side

_HUB_POLLS = 9 * 86_400 // 5  # 8 partitions' queues and one of work items, each at least every 5 s
_COMPLETION_POLLS = 86_400 // 2  # the queue of completions, at most 2 s apart
_PER_SHARD_OR_WINDOW = 30
_PER_ACTIVITY = 12  # messages, history and leases of one activity in the hub
_MANY = 3.0  # so often the estimate is no longer noise
_RECORDS = 2_000


@dataclass(frozen=True, slots=True)
class Counted:
    """An account's requests of a day: what was counted and what is expected."""

    use: str
    account: str
    counted: int
    expected: int


def examine_requests(
    store: Store, app: AppSettings, now: datetime, credential: Credential | None = None
) -> Finding:
    """The requests of the last 24 hours to the accounts of the store and of the task hub, beside the
    estimate.

    It is "not checked" where these are not on Azure, and where this process's identity may not read the
    accounts' metrics; a warning where an account had three times what is expected.
    """
    accounts = [("data", account_of(store.url)), ("task hub", account_of(app.hub_queue_service))]
    known = [(use, account) for use, account in accounts if account]
    if not known:
        detail = (
            f"{store.url} counts no requests; on Azure a day has about {_HUB_POLLS:,} of Durable's queues, "
        )
        detail += f"and some {_PER_SHARD_OR_WINDOW} for each shard and window."
        return Finding("requests", "not checked", detail)
    expected = _expect(store, now)
    try:
        counted = [_count(use, account, expected[use], now, credential) for use, account in known]
    except StoreError as error:
        names = " and ".join(f"{account.name} {expected[use]:,}" for use, account in known)
        return Finding("requests", "not checked", f"{error.message} Expected in a day: {names}.", error.fix)
    return judge_requests(counted)


def judge_requests(counted: list[Counted]) -> Finding:
    """What the counts mean beside the estimates."""
    detail = "; ".join(
        f"{each.account} ({each.use}): {each.counted:,} in 24 hours, expected about {each.expected:,}"
        for each in counted
    )
    if all(each.counted <= _MANY * each.expected for each in counted):
        return Finding("requests", "ok", f"{detail}.")
    fix = "Split the metric Transactions by API name in the portal: readers outside the app count as well."
    return Finding("requests", "warning", f"{detail}.", fix)


def _count(
    use: str, account: Account, expected: int, now: datetime, credential: Credential | None
) -> Counted:
    return Counted(use, account.name, count_transactions(account, now, credential), expected)


def _expect(store: Store, now: datetime) -> dict[str, int]:
    """The requests that the runs of the last 24 hours, and polling, are expected to have made, by account."""
    since = now - timedelta(days=1)
    lines = [
        line for name in workload_names(store) for line in list_runs_since(store, name, f"{since:%Y-%m-%d}")
    ]
    runs = [line.run for line in lines if line.requested >= since]
    shards = sum(side_by_side(lambda run: _count_shards(store, run), runs[:_RECORDS]))
    shards = shards * len(runs) // _RECORDS if len(runs) > _RECORDS else shards
    return {
        "data": _COMPLETION_POLLS + _PER_SHARD_OR_WINDOW * (shards + len(runs)),
        "task hub": _HUB_POLLS + _PER_ACTIVITY * (shards + 4 * len(runs)),
    }


def _count_shards(store: Store, run: str) -> int:
    """The shards of the run; 0 where its record is lost or damaged, which another check names."""
    try:
        return read_run(store, run).shards
    except (MissingBlobError, DamagedStateError):
        return 0
