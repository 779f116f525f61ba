"""Telemetry: traces and metrics through OpenTelemetry to Azure Monitor, where a connection string and the package are there.

Off by default: without APPLICATIONINSIGHTS_CONNECTION_STRING neither OpenTelemetry's SDK nor an exporter is imported (the Durable
SDK itself imports OpenTelemetry's bare interface). Logs are left to the Functions
host, which sends them already.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

CONNECTION = "APPLICATIONINSIGHTS_CONNECTION_STRING"
_AUTHENTICATION = "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"
_ids = ("run", "shard", "round", "number", "workload", "window", "purpose")
_log = logging.getLogger("fleetscore.telemetry")


@contextmanager
def span(name: str, asked: Mapping[str, Any]) -> Iterator[None]:
    """Trace what happens in the block as `name`, with the ids that the activity was asked about; an exception marks it as failed."""
    instruments = _instruments()
    if instruments is None:
        yield
        return
    with instruments["tracer"].start_as_current_span(name, attributes=ids_of(asked)):
        yield


def count_shard(counts: Mapping[str, int], seconds: float, attributes: Mapping[str, str]) -> None:
    """Count the partitions of a committed shard by outcome, and how long it took."""
    instruments = _instruments()
    if instruments is None:
        return
    for outcome, number in counts.items():
        instruments["partitions"].add(number, {**attributes, "outcome": outcome})
    instruments["seconds"].record(seconds, dict(attributes))


def ids_of(asked: Mapping[str, Any]) -> dict[str, str]:
    """The ids in an activity's input, as attributes.

    >>> ids_of({"request": {"run": "toy-w", "workload": "toy", "who": "me"}, "round": 1})
    {'fleetscore.round': '1', 'fleetscore.run': 'toy-w', 'fleetscore.workload': 'toy'}
    """
    request = asked.get("request")
    flat = {**asked, **(request if isinstance(request, dict) else {})}
    return {f"fleetscore.{name}": str(flat[name]) for name in sorted(_ids) if name in flat}


@functools.cache
def _instruments() -> dict[str, Any] | None:
    """Tracer and metrics, set up once per process; None where they are off."""
    if not os.environ.get(CONNECTION):
        return None
    os.environ.setdefault("OTEL_LOGS_EXPORTER", "none")  # the host sends logs; twice would cost twice
    if "OTEL_TRACES_SAMPLER" not in os.environ:  # ours are few; at five a second shards would be missing
        os.environ |= {"OTEL_TRACES_SAMPLER": "microsoft.fixed_percentage", "OTEL_TRACES_SAMPLER_ARG": "1.0"}
    try:
        from azure.monitor.opentelemetry import configure_azure_monitor
        from opentelemetry import metrics, trace
    except ImportError:
        _log.info("No traces: %s is set, but azure-monitor-opentelemetry is not installed.", CONNECTION)
        return None
    configure_azure_monitor(credential=_credential(), instrumentation_options=_no_instrumentation())
    meter = metrics.get_meter("fleetscore")
    return {
        "tracer": trace.get_tracer("fleetscore"),
        "partitions": meter.create_counter("fleetscore.partitions", description="partitions by outcome"),
        "seconds": meter.create_histogram("fleetscore.shard.seconds", "s", "wall time of committed shards"),
    }


def _credential() -> Any:
    """This app's identity, where telemetry is taken from identities only."""
    if "Authorization=AAD" not in os.environ.get(_AUTHENTICATION, ""):
        return None
    from azure.identity import ManagedIdentityCredential

    from fleetscore.app_settings import read_app_settings

    client_id = read_app_settings().identity_client_id
    return ManagedIdentityCredential(client_id=client_id) if client_id else ManagedIdentityCredential()


def _no_instrumentation() -> dict[str, dict[str, bool]]:
    """A span per store request would drown ours."""
    names = ("azure_sdk", "django", "fastapi", "flask", "psycopg2", "requests", "urllib", "urllib3")
    return {name: {"enabled": False} for name in names}
