"""Commands that talk to a running host: run a function, list instances, purge them."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from devhost.auth import load_keys
from devhost.errors import HostError
from devhost.functions import ORCHESTRATION

_DURABLE = "runtime/webhooks/durabletask"
_TIMEOUT_S = 60.0
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class RemoteHost:
    """The host that serves a data folder, with the key that allows everything."""

    url: str
    key: str

    def ask(self, method: str, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
        """Send a request; return the status and the JSON answer, or None where there is none."""
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.url}/{path}?{urlencode({**query, 'code': self.key})}"
        request = urllib.request.Request(  # noqa: S310  # the host's own address
            url, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310  # as above
                return answer.status, _read(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _read(error.read())
        except OSError as error:
            raise HostError(f"the host at {self.url} does not answer: {error}") from error


def _read(body: bytes) -> Any:
    return json.loads(body) if body.strip() else None


def find_host(data: Path) -> RemoteHost:
    """Return the host that serves the data folder; raises HostError when none does."""
    path = data / "address.json"
    try:
        url = str(json.loads(path.read_bytes())["url"])
    except FileNotFoundError as error:
        raise HostError(f"no host serves {data}; start one with `python -m devhost start`") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostError(f"{path} cannot be read: {error!r}; start the host again, which writes it") from error
    return RemoteHost(url, load_keys(data).master)


def invoke(host: RemoteHost, name: str, text: str | None) -> str:
    """Run a function; an orchestration is waited for. Return a line to print; raises HostError when it fails.

    `text` is the input as JSON text.
    """
    try:
        given = None if text is None else json.loads(text)
    except ValueError as error:
        raise HostError(f"the input is not JSON: {error}; put texts in quotes") from error
    _, functions = host.ask("GET", "admin/functions")
    found = next((each for each in functions or [] if each["name"].lower() == name.lower()), None)
    if found is None:
        raise HostError(
            f"the app has no function {name}; it has {', '.join(each['name'] for each in functions or [])}"
        )
    if any(binding["type"] == ORCHESTRATION for binding in found["config"]["bindings"]):
        return _run_orchestration(host, name, given)
    status, answer = host.ask("POST", f"admin/functions/{quote(name)}", {"input": text})
    if status != 202:
        raise HostError(f"{name} was not run: {status} {json.dumps(answer)}")
    return f"{name} was started; its outcome is in the host's log"


def _run_orchestration(host: RemoteHost, name: str, given: Any) -> str:
    status, answer = host.ask("POST", f"{_DURABLE}/orchestrators/{quote(name)}", given)
    if status != 202:
        raise HostError(f"{name} was not started: {status} {json.dumps(answer)}")
    path = f"{_DURABLE}/instances/{quote(answer['id'])}"
    while (found := host.ask("GET", path))[0] == 202:
        time.sleep(_POLL_S)
    if found[0] == 200 and found[1]["runtimeStatus"] == "Completed":
        return json.dumps(found[1]["output"])
    raise HostError(f"{name} {answer['id']}: {json.dumps(found[1])}")


def list_instances(host: RemoteHost, status: str | None) -> list[str]:
    """Return a line for every instance (up to 1,000): id, name, status and when it last changed."""
    query = {"top": "1000", "showInput": "false"} | ({"runtimeStatus": status} if status else {})
    _, instances = host.ask("GET", f"{_DURABLE}/instances", **query)
    return [
        f"{each['instanceId']}  {each['name']}  {each['runtimeStatus']}  {each['lastUpdatedTime']}"
        for each in instances or []
    ]


def purge(host: RemoteHost, before: str | None, status: str) -> str:
    """Delete ended instances created before a time; return a line that says how many."""
    query = {"createdTimeFrom": "1970-01-01T00:00:00Z", "runtimeStatus": status}
    code, answer = host.ask(
        "DELETE", f"{_DURABLE}/instances", **query, **({"createdTimeTo": before} if before else {})
    )
    if code not in (200, 404):
        raise HostError(f"nothing was purged: {code} {json.dumps(answer)}")
    return f"{(answer or {}).get('instancesDeleted', 0)} instances deleted"
