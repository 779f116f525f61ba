"""The part of MLflow's REST API that experiments need: find or make a run, log to it, and put a file
beside it.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from fleetscore.errors import StoreError
from fleetscore.operations.outbound.posting import describe_answer
from fleetscore.typed_json import decode_json

if TYPE_CHECKING:
    from requests import Response

Answer = TypeVar("Answer")
URL = "MLFLOW_TRACKING_URI"
_TIMEOUT_S = (5.0, 20.0)  # to connect, and between bytes of the answer
_TOTAL_S = 30.0  # however slowly the answer arrives
_ANSWER_BYTES = 5_000_000
_PIECE_BYTES = 65_536
_PROXIED = "mlflow-artifacts:/"


class NotThereError(StoreError):
    """The server knows no such thing."""


@dataclass(frozen=True, slots=True)
class RunPlace:
    """A run of MLflow, and the address of its artifacts."""

    run_id: str
    artifact_uri: str = ""


@dataclass(frozen=True, slots=True)
class _ExperimentId:
    experiment_id: str


@dataclass(frozen=True, slots=True)
class _Experiment:
    experiment: _ExperimentId


@dataclass(frozen=True, slots=True)
class _Run:
    info: RunPlace


@dataclass(frozen=True, slots=True)
class _OneRun:
    run: _Run


@dataclass(frozen=True, slots=True)
class _Runs:
    runs: tuple[_Run, ...] = ()


@dataclass(frozen=True, slots=True)
class _Done:
    """An answer of which nothing is needed."""


def find_experiment(name: str) -> str:
    """The id of the experiment, which is made where it is missing."""
    path = f"experiments/get-by-name?experiment_name={quote(name, safe='')}"
    try:
        return _call("GET", path, _Experiment).experiment.experiment_id
    except NotThereError:
        return _call("POST", "experiments/create", _ExperimentId, {"name": name}).experiment_id


def find_run(experiment: str, tag: str, value: str) -> RunPlace | None:
    """The run with the tag, if there is one; `value` has no quotes."""
    query = {"experiment_ids": [experiment], "filter": f"tags.`{tag}` = '{value}'", "max_results": 1}
    runs = _call("POST", "runs/search", _Runs, query).runs
    return runs[0].info if runs else None


def create_run(experiment: str, name: str, started_ms: int, tags: Mapping[str, str]) -> RunPlace:
    """Make a run that is under way."""
    body = {"experiment_id": experiment, "run_name": name, "start_time": started_ms, "tags": _pairs(tags)}
    return _call("POST", "runs/create", _OneRun, body).run.info


def get_run(run_id: str) -> RunPlace:
    """The run of the id."""
    return _call("GET", f"runs/get?run_id={quote(run_id, safe='')}", _OneRun).run.info


def log_batch(run_id: str, metrics: Mapping[str, float], params: Mapping[str, str], at_ms: int) -> None:
    """Log metrics (finite) and parameters; the same ones again change nothing."""
    logged = [{"key": key, "value": value, "timestamp": at_ms, "step": 0} for key, value in metrics.items()]
    _call("POST", "runs/log-batch", _Done, {"run_id": run_id, "metrics": logged, "params": _pairs(params)})


def put_artifact(place: RunPlace, name: str, data: bytes) -> bool:
    """Put a file beside the run; False where the server does not take files for its artifact store."""
    if not place.artifact_uri.startswith(_PROXIED):
        return False
    folder = urlsplit(place.artifact_uri).path.strip("/")
    _request(
        "PUT", f"mlflow-artifacts/artifacts/{quote(folder)}/{quote(name)}", data, "application/octet-stream"
    )
    return True


def finish_run(run_id: str, ended_ms: int) -> None:
    """Say that the run has ended well."""
    _call("POST", "runs/update", _Done, {"run_id": run_id, "status": "FINISHED", "end_time": ended_ms})


def _pairs(values: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _call(method: str, path: str, kind: type[Answer], body: Mapping[str, Any] | None = None) -> Answer:
    data = b"" if body is None else msgspec.json.encode(body)
    answer = _request(method, f"mlflow/{path}", data, "application/json")
    try:
        return decode_json(answer, kind)
    except (msgspec.MsgspecError, ValueError):
        what = path.partition("?")[0]
        raise StoreError(
            f"The MLflow server at {_host()} answered {what} in another form than MLflow's."
        ) from None


def _request(method: str, path: str, data: bytes, content_type: str) -> bytes:
    """What the server answers; StoreError, without address and token, where it takes nothing in 30
    seconds.
    """
    import requests
    from urllib3.exceptions import HTTPError

    url, headers = os.environ[URL], _authorization()
    end = time.monotonic() + _TOTAL_S
    try:
        with requests.request(
            method, f"{url.rstrip('/')}/api/2.0/{path}", data=data, timeout=_TIMEOUT_S, allow_redirects=False,
            headers={**headers, "content-type": content_type, "accept-encoding": "identity"}, stream=True,
        ) as answer:  # fmt: skip
            status, content = answer.status_code, _read(answer, end)
    except (requests.RequestException, HTTPError, ValueError, OSError) as error:  # their texts repeat the URL
        raise StoreError(f"The MLflow server at {_host()} does not answer: {type(error).__name__}.") from None
    if 200 <= status < 300:
        return content
    said = describe_answer(content, url, headers)
    kind = NotThereError if status == 404 and b"RESOURCE_DOES_NOT_EXIST" in content else StoreError
    raise kind(f"The MLflow server at {_host()} answered {status}{f': {said}' if said else '.'}")


def _read(answer: Response, end: float) -> bytes:
    """The answer's bytes; StoreError where they are too many, or have not arrived when the clock shows
    `end`.
    """
    data = bytearray()
    while piece := answer.raw.read1(_PIECE_BYTES, decode_content=True):
        data += piece
        if time.monotonic() > end:
            raise StoreError(
                f"The MLflow server at {_host()} does not answer: not all within {_TOTAL_S:.0f} seconds."
            )
        if len(data) > _ANSWER_BYTES:
            raise StoreError(f"The MLflow server at {_host()} answered more than {_ANSWER_BYTES:,} bytes.")
    return bytes(data)


def _authorization() -> dict[str, str]:
    """The token, or user and password, of the variables that MLflow's own client reads."""
    token, user = os.environ.get("MLFLOW_TRACKING_TOKEN", ""), os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    if token:
        return {"authorization": f"Bearer {token}"}
    if user:
        both = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}
    return {}


def _host() -> str:
    return urlsplit(os.environ[URL]).hostname or ""
