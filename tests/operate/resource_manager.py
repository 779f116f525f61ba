"""Azure Resource Manager and Azure Monitor as documented, for one identity: a real HTTP server on loopback."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

SUBSCRIPTIONS = ("11111111-0000-0000-0000-000000000000", "22222222-0000-0000-0000-000000000000")


@dataclass
class ResourceManager:
    """What the server answers and what it was asked."""

    url: str = ""
    accounts: dict[str, int] = field(
        default_factory=dict
    )  # name -> transactions an hour, in the second subscription
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)  # part of a path -> another answer
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        """Status and body."""
        for part, (status, text) in self.answers.items():
            if part in path:
                return status, text
        if path == "/subscriptions":
            return 200, self._subscriptions(query)
        if path.endswith("/resources"):
            name = query["$filter"][0].split("'")[3]
            found = (
                [{"id": self._id(name), "name": name}]
                if SUBSCRIPTIONS[1] in path and name in self.accounts
                else []
            )
            return 200, {"value": found}
        if path.endswith("/providers/Microsoft.Insights/metrics"):
            return 200, _metrics(self.accounts[path.split("/")[8]], query)
        return 404, {"error": {"code": "NotFound", "message": path}}

    def _subscriptions(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """One on each of two pages."""
        page = int(query.get("$skiptoken", ["0"])[0])
        following = (
            {"nextLink": f"{self.url}/subscriptions?api-version=2022-12-01&$skiptoken=1"} if page == 0 else {}
        )
        return {"value": [{"subscriptionId": SUBSCRIPTIONS[page]}], **following}

    def _id(self, name: str) -> str:
        return f"/subscriptions/{SUBSCRIPTIONS[1]}/resourceGroups/fleet/providers/Microsoft.Storage/storageAccounts/{name}"


def _metrics(an_hour: int, query: dict[str, list[str]]) -> dict[str, Any]:
    """An hour without requests has no total, as the documentation's samples show."""
    assert (query["metricnames"], query["aggregation"], query["interval"]) == (
        ["Transactions"],
        ["Total"],
        ["PT1H"],
    )
    start, end = (datetime.fromisoformat(text) for text in query["timespan"][0].split("/"))
    hours = [start + timedelta(hours=n) for n in range((end - start) // timedelta(hours=1))]
    data = [{"timeStamp": f"{hour:%Y-%m-%dT%H:%M:%SZ}", "total": float(an_hour)} for hour in hours]
    del data[3]["total"]
    metric = {
        "id": "...",
        "type": "Microsoft.Insights/metrics",
        "name": {"value": "Transactions", "localizedValue": "Transactions"},
        "unit": "Count",
        "timeseries": [{"metadatavalues": [], "data": data}],
    }
    return {"cost": 1439, "timespan": query["timespan"][0], "interval": "PT1H", "value": [metric]}


@contextmanager
def running_manager() -> Iterator[ResourceManager]:
    """The server, for as long as the block lasts."""
    manager = ResourceManager()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            manager.asked.append(self.path)
            status, body = manager.answer(parts.path, parse_qs(parts.query))
            if self.headers["Authorization"] != "Bearer for manager":
                status, body = 401, {"error": {"code": "InvalidAuthenticationToken"}}
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    manager.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield manager
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
