"""A client of the durable HTTP API, for scenarios whose answers are compared between hosts."""

import json
import re
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

RUN = uuid.uuid4().hex[:6]
"""Part of every id, so that a host can be asked several times."""
Facts = dict[str, Any]
_AT_ONCE = 8
_ENDS = ("Completed", "Failed", "Terminated", "Canceled")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")
_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_BASE = re.compile(r"https?://[^/\s\"]+/(durabletask|runtime/webhooks/durabletask)")
_LEFT_OUT = ("Correlation", "Tags", "ParentTraceContext", "ScheduledTime", "Generation")


def as_sdk(value: Any) -> str:
    """Return an input as the SDK's client sends it: a JSON text in a JSON text."""
    return json.dumps(value)


class Driver:
    """The durable HTTP API of one host."""

    def __init__(self, base: str) -> None:
        self._base = base.rstrip("/")

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: str | None = None,
        token: str = "",
        **query: str,
    ) -> tuple[int, Any, dict[str, str]]:
        """Send a request; return status, content and headers."""
        data = raw if raw is not None else (json.dumps(body) if body is not None else None)
        headers = {"Content-Type": "application/json", "x-ms-continuation-token": token}
        answer = requests.request(
            method,
            f"{self._base}/{path}",
            data=data,
            params=query,
            headers=headers,
            timeout=60,
            allow_redirects=False,
        )
        try:
            content = answer.json()
        except ValueError:
            content = answer.text
        return answer.status_code, content, dict(answer.headers)

    def start(self, name: str, instance: str, body: Any = None) -> tuple[int, Any, dict[str, str]]:
        """Start an orchestration under an id."""
        return self.call("POST", f"orchestrators/{name}/{instance}", body)

    def status(self, instance: str, **query: str) -> tuple[int, Any, dict[str, str]]:
        """Ask for an instance's status."""
        return self.call("GET", f"instances/{instance}", **query)

    def wait(self, instance: str, until: tuple[str, ...] = _ENDS, timeout_s: float = 60) -> tuple[int, Any]:
        """Wait for a status; return the last answer."""
        end = time.monotonic() + timeout_s
        while True:
            code, document, _ = self.status(instance)
            reached = isinstance(document, dict) and document.get("runtimeStatus") in until
            if reached or time.monotonic() > end:
                return code, document
            time.sleep(0.1)

    def begin(self, name: str, instance: str, body: Any = None) -> str:
        """Start an orchestration and wait until it runs; return its id."""
        self.start(name, instance, body)
        self.wait(instance, ("Running",))
        return instance

    def post(self, instance: str, verb: str, **query: str) -> tuple[int, Any]:
        """Do something to an instance."""
        return self.call("POST", f"instances/{instance}/{verb}", **query)[:2]

    def send(self, instance: str, name: str, body: Any) -> tuple[int, Any]:
        """Raise an event."""
        return self.call("POST", f"instances/{instance}/raiseEvent/{name}", body)[:2]


def run_simple(
    driver: Driver, *, label: str, name: str, body: Any, timeout_s: float, with_history: bool
) -> Facts:
    """Start, wait for the end, and record status and history."""
    instance = f"{label}-{RUN}"
    start, answer, headers = driver.start(name, instance, body)
    code, document = driver.wait(instance, timeout_s=timeout_s)
    facts = {
        "start": start,
        "keys": sorted(answer) if isinstance(answer, dict) else answer,
        "location": "Location" in headers,
        "retry_after": headers.get("Retry-After"),
        "code": code,
        "status": document,
    }
    if with_history:
        for key, query in (("history", {"showHistoryOutput": "true"}), ("history_without_output", {})):
            full = driver.status(instance, showHistory="true", **query)[1]
            facts[key] = full.get("historyEvents") if isinstance(full, dict) else full
    return facts


def neutral(value: Any) -> Any:
    """Return recorded values without ids, times and addresses."""
    if isinstance(value, dict):
        return {key: neutral(each) for key, each in sorted(value.items()) if key not in _LEFT_OUT}
    if isinstance(value, list | tuple):
        return [neutral(each) for each in value]
    if isinstance(value, str):
        text = re.sub(r"\?taskHub=[^\"\s]*", "?Q", _BASE.sub("BASE", value.replace(RUN, "RUN")))
        return _UUID.sub("UUID", _TIME.sub("TIME", text)).replace("\r\n", "\n")
    return value


def record(base: str, scenarios: dict[str, Callable[[Driver], Facts]]) -> Facts:
    """Run scenarios, several at once, and return what each of them found, by name."""
    driver = Driver(base)

    def run(name: str) -> Any:
        try:
            return neutral(scenarios[name](driver))
        except Exception as error:
            return {"driver_error": f"{type(error).__name__}: {error}"}

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(scenarios, pool.map(run, scenarios), strict=True))
