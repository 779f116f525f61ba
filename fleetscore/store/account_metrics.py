"""What Azure Monitor counted of a storage account, asked of Azure Resource Manager with an identity."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests
from azure.core.exceptions import ClientAuthenticationError

from fleetscore.errors import StoreError
from fleetscore.store.azure_access import process_identity

_CLOUDS = {
    "core.windows.net": "https://management.azure.com",
    "core.usgovcloudapi.net": "https://management.usgovcloudapi.net",
    "core.chinacloudapi.cn": "https://management.chinacloudapi.cn",
}
_ROLE = "Give it the role Monitoring Reader on the storage account, or ask with an identity that has it (az login)."
_NO_IDENTITY = "Sign in (az login), or ask the app: fleetscore doctor --azure --host URL"
_TIMEOUT_S = 30.0
_PAGES = 100


class Credential(Protocol):
    """Gives tokens, as the credentials of azure-identity do."""

    def get_token(self, *scopes: str) -> Any:
        """A token for the scopes; `token` is its text."""


@dataclass(frozen=True, slots=True)
class Account:
    """A storage account by its name, and the Resource Manager of the cloud that it is in."""

    name: str
    manager_url: str


def account_of(service_url: str) -> Account | None:
    """The account of a Blob or Queue service's address; None for emulators, folders and unknown clouds.

    >>> account_of("https://fleetdata.blob.core.windows.net/store")
    Account(name='fleetdata', manager_url='https://management.azure.com')
    >>> account_of("http://127.0.0.1:10000/devstoreaccount1/store"), account_of("")
    (None, None)
    """
    host = (urlsplit(service_url).hostname or "").split(".", 2)
    manager = _CLOUDS.get(host[2]) if len(host) == 3 else None
    return Account(host[0], manager) if manager else None


def count_transactions(account: Account, now: datetime, credential: Credential | None = None) -> int:
    """The requests that the account answered in the 24 hours before the last full hour.

    Without a credential it asks as this process's identity. StoreError `no_permission` where the identity may
    not read the account's metrics, `no_identity` where there is none, `no_metrics` for every other refusal.
    """
    manager = _Manager(account.manager_url, credential or process_identity())
    end = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    answer = manager.get(
        f"{_find(manager, account.name)}/providers/Microsoft.Insights/metrics",
        {
            "api-version": "2018-01-01",
            "metricnames": "Transactions",
            "aggregation": "Total",
            "interval": "PT1H",
            "timespan": f"{end - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}/{end:%Y-%m-%dT%H:%M:%SZ}",
        },
    )
    try:
        return round(sum(_totals(answer)))
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise _refused(
            f"Azure Monitor's answer on {account.name} has another form than documented"
        ) from error


def _totals(answer: Mapping[str, Any]) -> Iterator[float]:
    """The hours' totals; an hour without requests has none."""
    for metric in answer["value"]:
        if metric["name"]["value"] == "Transactions":
            for series in metric["timeseries"]:
                yield from (float(hour.get("total") or 0.0) for hour in series["data"])


def _find(manager: _Manager, name: str) -> str:
    """The resource id of the account, in whichever subscription the identity sees it."""
    wanted = f"resourceType eq 'Microsoft.Storage/storageAccounts' and name eq '{name}'"
    for subscription in manager.pages("/subscriptions", {"api-version": "2022-12-01"}):
        path = f"/subscriptions/{subscription['subscriptionId']}/resources"
        for found in manager.pages(path, {"api-version": "2021-04-01", "$filter": wanted}):
            return str(found["id"])
    raise StoreError(
        f"No subscription that this identity can read has the storage account {name}.",
        fix=_ROLE,
        code="no_permission",
        retry=False,
    )


class _Manager:
    """Azure Resource Manager, read with one identity."""

    def __init__(self, url: str, credential: Credential) -> None:
        self._url, self._credential = url, credential

    def pages(self, path: str, query: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        """The values of all pages of a list."""
        answer = self.get(path, query)
        for _ in range(_PAGES):
            try:
                yield from answer["value"]
            except (KeyError, TypeError) as error:
                raise _refused(f"{path} is no list of Resource Manager") from error
            following = str(answer.get("nextLink") or "")
            if not following:
                return
            if not following.startswith(f"{self._url}/"):  # the token is for this address alone
                raise _refused(f"{path} goes on at {following[:100]}, which is another server")
            answer = self.get(following.removeprefix(self._url), {})

    def get(self, path: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        """The answer to GET; StoreError for anything but 200 with a JSON object."""
        try:
            token = self._credential.get_token(f"{self._url}/.default").token
            answer = requests.get(
                f"{self._url}{path}",
                params=dict(query),
                headers={"Authorization": f"Bearer {token}"},
                timeout=_TIMEOUT_S,
                allow_redirects=False,
            )
        except ClientAuthenticationError as error:  # the credentials' own words take pages
            raise StoreError(
                f"Nobody is signed in whom {self._url} knows.",
                fix=_NO_IDENTITY,
                code="no_identity",
                retry=False,
            ) from error
        except requests.RequestException as error:
            raise _refused(f"{self._url} cannot be reached: {type(error).__name__}") from error
        if answer.status_code in (401, 403):
            reason = f"This identity may not read {path} ({_code_of(answer)})."
            raise StoreError(reason, fix=_ROLE, code="no_permission", retry=False)
        if answer.status_code != 200:
            raise _refused(f"{path} was answered {answer.status_code} ({_code_of(answer)})")
        return _object_of(answer, path)


def _object_of(answer: requests.Response, path: str) -> Mapping[str, Any]:
    try:
        found = answer.json()
    except ValueError as error:
        raise _refused(f"{path} was answered with what is no JSON") from error
    if not isinstance(found, dict):
        raise _refused(f"{path} was answered with another form than documented")
    return found


def _code_of(answer: requests.Response) -> str:
    """Azure's code of a refusal, or the status where the body has none."""
    try:
        return str(json.loads(answer.text)["error"]["code"])[:100]
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)


def _refused(reason: str) -> StoreError:
    return StoreError(
        f"{reason}.",
        fix="Ask again later, or look at the account's metrics in the portal.",
        code="no_metrics",
    )
