"""doctor --azure counts a day's storage requests: asked of a server that speaks as Resource Manager does."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.identity import CredentialUnavailableError
from resource_manager import ResourceManager, running_manager
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.errors import StoreError
from fleetscore.operations.doctor.requests import Counted, examine_requests, judge_requests
from fleetscore.pipeline.local import run_window
from fleetscore.store import account_metrics
from fleetscore.store.account_metrics import Account, account_of, count_transactions
from fleetscore.store.base import Store

NOW = datetime(2026, 3, 4, 10, 20, tzinfo=UTC)
HUB = AppSettings(hub_queue_service="https://fleethub.queue.core.windows.net/")


@dataclass(frozen=True)
class Signed:
    """A credential that gives one token for one scope."""

    token: str = "for manager"

    def get_token(self, *scopes: str) -> Any:
        assert scopes[0].endswith("/.default")
        return self


class Nobody:
    """A credential of a machine where nobody is signed in."""

    def get_token(self, *_: str) -> Any:
        raise CredentialUnavailableError("az login was not run. " * 50)


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[ResourceManager]:
    """A Resource Manager that knows two accounts; the public cloud's address leads there."""
    with running_manager() as running:
        running.accounts = {"fleetdata": 1_000, "fleethub": 7_000}
        monkeypatch.setitem(account_metrics._CLOUDS, "core.windows.net", running.url)
        yield running


def refusal(manager: ResourceManager, name: str = "fleetdata", credential: Any = None) -> StoreError:
    """What a count is refused with."""
    with pytest.raises(StoreError) as raised:
        count_transactions(Account(name, manager.url), NOW, credential or Signed())
    return raised.value


def test_the_hours_of_a_day_are_summed(manager: ResourceManager) -> None:
    """24 full hours, one of them without a request, of an account that the second page's subscription has."""
    assert count_transactions(Account("fleetdata", manager.url), NOW, Signed()) == 23_000
    assert "timespan=2026-03-03T10%3A00%3A00Z%2F2026-03-04T10%3A00%3A00Z" in manager.asked[-1]
    assert len([path for path in manager.asked if path.startswith("/subscriptions?")]) == 2


@pytest.mark.parametrize(("path", "answer", "code"), [
    ("/metrics", (403, '{"error": {"code": "AuthorizationFailed"}}'), "no_permission"),
    ("/metrics", (401, "gone"), "no_permission"),
    ("/metrics", (429, '{"error": {"code": "TooManyRequests"}}'), "no_metrics"),
    ("/metrics", (503, "<html>"), "no_metrics"),
    ("/metrics", (200, "<html>"), "no_metrics"),
    ("/metrics", (200, "[]"), "no_metrics"),
    ("/metrics", (200, "{}"), "no_metrics"),
    ("/metrics", (200, '{"value": [{"name": {"value": "Transactions"}, "timeseries": [{"data": [{"total": "x"}]}]}]}'), "no_metrics"),
    ("/metrics", (302, ""), "no_metrics"),
    ("/resources", (200, '{"value": 7}'), "no_metrics"),
    ("/subscriptions", (200, '{"value": []}'), "no_permission"),
    ("/subscriptions", (200, '{"value": [], "nextLink": "https://elsewhere.example/subscriptions"}'), "no_metrics"),
])  # fmt: skip
def test_each_refusal_is_a_sentence(
    manager: ResourceManager, path: str, answer: tuple[int, str], code: str
) -> None:
    """Missing permission names the role; what is no answer of Azure Monitor is named, and no token leaves for another server."""
    manager.answers[path] = answer
    error = refusal(manager)
    assert error.code == code
    assert error.message.endswith(".")
    assert ("Monitoring Reader" in error.fix) == (code == "no_permission")
    assert error.retry == (code == "no_metrics")


def test_accounts_and_identities_that_are_not_there_are_named(manager: ResourceManager) -> None:
    """An account that no subscription shows, a machine where nobody is signed in, a server that does not answer."""
    assert "has the storage account nobodys" in refusal(manager, "nobodys").message
    nobody = refusal(manager, credential=Nobody())
    assert (nobody.code, "az login" in nobody.fix, len(nobody.message) < 100) == ("no_identity", True, True)
    gone = replace(Account("fleetdata", ""), manager_url="http://127.0.0.1:9")
    with pytest.raises(StoreError, match="cannot be reached"):
        count_transactions(gone, NOW, Signed())


class OnAzure:
    """The store of a test under an address on Azure."""

    url = "https://fleetdata.blob.core.windows.net/store"

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_the_finding_sets_counts_beside_estimates(store: Store, manager: ResourceManager) -> None:
    """Both accounts with what was counted and what a day with one run is expected to have; without permission the estimate alone."""
    write_lines(store, "2026-03-04T00", [("a", 1, "ok")])
    run_window(store, "toy", "2026-03-04T00")
    now = datetime.now(UTC)
    placed: Any = OnAzure(store)
    found = examine_requests(placed, HUB, now, Signed())
    assert found.state == "ok"
    assert "fleetdata (data): 23,000 in 24 hours, expected about 43,260" in found.detail
    assert "fleethub (task hub): 161,000 in 24 hours, expected about 155,580" in found.detail
    manager.answers["/metrics"] = (403, '{"error": {"code": "AuthorizationFailed"}}')
    found = examine_requests(placed, HUB, now, Signed())
    assert found.state == "not checked"
    assert "may not read" in found.detail
    assert "Expected in a day: fleetdata 43,260 and fleethub 155,580." in found.detail
    assert "Monitoring Reader" in found.fix


@pytest.mark.parametrize("record", [None, b"{"], ids=["lost", "damaged"])
def test_a_record_that_cannot_be_read_counts_no_shards(
    store: Store, manager: ResourceManager, record: bytes | None
) -> None:
    """A run that the index names and whose record is lost or damaged keeps the finding from nobody."""
    write_lines(store, "2026-03-04T00", [("a", 1, "ok")])
    path = f"runs/{run_window(store, 'toy', '2026-03-04T00').request.run}/run.json"
    if record is None:
        entry = store.stat(path)
        assert entry is not None
        store.delete(path, entry.etag)
    else:
        store.write(path, record)
    placed: Any = OnAzure(store)
    assert "expected about 43,230" in examine_requests(placed, HUB, datetime.now(UTC), Signed()).detail


def test_far_more_than_expected_is_a_warning() -> None:
    """Three times the estimate is still noise; more is named with how to look into it."""
    assert judge_requests([Counted("data", "a", 300, 100)]).state == "ok"
    many = judge_requests([Counted("data", "a", 301, 100), Counted("task hub", "b", 1, 100)])
    assert (many.state, "API name" in many.fix) == ("warning", True)


def test_only_azure_counts(store: Store) -> None:
    """A folder, an emulator and an address of an unknown cloud count nothing, and say what Azure would."""
    assert examine_requests(store, AppSettings(), NOW).state == "not checked"
    for url in (
        "",
        "file:///store",
        "http://127.0.0.1:10000/devstoreaccount1/x",
        "https://a.blob.example.com/x",
    ):
        assert account_of(url) is None
    government = account_of("https://a.queue.core.usgovcloudapi.net/")
    assert government == Account("a", "https://management.usgovcloudapi.net")
