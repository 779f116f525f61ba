"""Telemetry: traces and metrics through OpenTelemetry to Azure Monitor, where a connection string and the
package are there.

Off by default: without APPLICATIONINSIGHTS_CONNECTION_STRING neither OpenTelemetry's SDK nor an exporter is
imported (the Durable SDK itself imports OpenTelemetry's bare interface). It never fails a run: what it
cannot do is logged. Logs are left to the Functions host, which sends them already.

All spans of a run, of the app and of its workers, are one trace, whose id is a hash of the run's: nothing
has to be carried from one activity to the next, and a run leads to its trace. A worker gets the span that
submitted it (TRACEPARENT, as W3C writes it).
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

CONNECTION = "APPLICATIONINSIGHTS_CONNECTION_STRING"
PARENT = "TRACEPARENT"
_AUTHENTICATION = "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"
_SAMPLING = ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG")
_ids = ("run", "shard", "attempt", "placement", "round", "number", "workload", "window", "purpose")
_log = logging.getLogger("fleetscore.telemetry")


@contextmanager
def span(name: str, payload: Mapping[str, Any]) -> Iterator[None]:
    """Trace what happens in the block as `name`, with the ids in the activity's payload; an exception marks
    it as failed.
    """
    instruments = _instruments()
    if instruments is None:
        yield
        return
    context = run_context(_flat(payload).get("run", ""))
    with instruments["tracer"].start_as_current_span(name, context, attributes=ids_of(payload)):
        yield


def note_ids(**ids: str) -> None:
    """Add ids that came up meanwhile (attempt, placement) to the span under way."""
    if _instruments() is not None:
        from opentelemetry import trace

        trace.get_current_span().set_attributes(ids_of(ids))


def describe_span(
    name: str, payload: Mapping[str, Any], began_ns: int, parent: str = "", error: BaseException | None = None
) -> None:
    """Trace what began at `began_ns` (of the epoch) and ends now, below the span that `parent` (a
    traceparent) names, if any.
    """
    instruments = _instruments()
    if instruments is None:
        return
    context = _parent_context(parent) or run_context(_flat(payload).get("run", ""))
    span = instruments["tracer"].start_span(name, context, attributes=ids_of(payload), start_time=began_ns)
    if error is not None:
        from opentelemetry.trace import Status, StatusCode

        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
    span.end()


def count_shard(counts: Mapping[str, int], seconds: float, attributes: Mapping[str, str]) -> None:
    """Count the partitions of a committed shard by outcome, and how long it took."""
    instruments = _instruments()
    if instruments is None:
        return
    for outcome, number in counts.items():
        instruments["partitions"].add(number, {**attributes, "outcome": outcome})
    instruments["seconds"].record(seconds, dict(attributes))


def worker_settings() -> dict[str, str]:
    """What a worker's environment needs, so that it sends where this process sends, below the span under
    way; {} where it is off.
    """
    names = (CONNECTION, _AUTHENTICATION, *_SAMPLING)
    if not os.environ.get(CONNECTION):
        return {}
    return {name: os.environ[name] for name in names if os.environ.get(name)} | _traceparent()


def send_all() -> None:
    """Send what is left, and stop: nothing is traced or counted after it. It takes as long as Azure Monitor
    takes to answer, or not to.
    """
    if _instruments() is not None:
        from opentelemetry import metrics, trace

        providers: tuple[Any, ...] = (trace.get_tracer_provider(), metrics.get_meter_provider())
        for provider in providers:
            if hasattr(provider, "shutdown"):  # OTEL_TRACES_EXPORTER or OTEL_METRICS_EXPORTER may be none
                provider.shutdown()


def ids_of(payload: Mapping[str, Any]) -> dict[str, str]:
    """The ids in an activity's input, as attributes.

    >>> ids_of({"request": {"run": "toy-w", "workload": "toy", "who": "me"}, "round": 1})
    {'fleetscore.round': '1', 'fleetscore.run': 'toy-w', 'fleetscore.workload': 'toy'}
    """
    flat = _flat(payload)
    return {f"fleetscore.{name}": str(flat[name]) for name in sorted(_ids) if name in flat}


def trace_of(run: str) -> str:
    """The id of a run's trace (32 hexadecimal digits), by which Application Insights finds it as
    operation_Id.

    >>> trace_of("toy-2026-01-01T00")
    '1957ccfa395015359355e67fb85c6c73'
    """
    return _digest(run)[:32]


def run_context(run: str) -> Any:
    """The context whose spans belong to the run's trace, below a span of its own that is never sent; None
    (a trace apart) without a run.
    """
    if not run:
        return None
    from opentelemetry import trace

    place = trace.SpanContext(
        int(trace_of(run), 16), int(_digest(run)[32:48], 16), is_remote=True, trace_flags=trace.TraceFlags(1)
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(place))


def _digest(run: str) -> str:
    return hashlib.sha256(run.encode()).hexdigest()


def _flat(payload: Mapping[str, Any]) -> dict[str, Any]:
    request = payload.get("request")
    return {**payload, **(request if isinstance(request, dict) else {})}


def _traceparent() -> dict[str, str]:
    """The span under way, for a process that is started from here."""
    if _instruments() is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return {PARENT: carrier["traceparent"]} if carrier else {}


def _parent_context(traceparent: str) -> Any:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
    return context if trace.get_current_span(context).get_span_context().is_valid else None


@functools.cache
def _instruments() -> dict[str, Any] | None:
    """Tracer and metrics, set up once per process; None where they are off, or cannot be had."""
    if not os.environ.get(CONNECTION):
        return None
    try:
        return _set_up()
    except ImportError:
        _log.info("No traces: %s is set, but azure-monitor-opentelemetry is not installed.", CONNECTION)
    except Exception:  # a wrong connection string, say: that is no reason to score nothing
        _log.exception("No traces: what %s says cannot be used.", CONNECTION)
    return None


def _set_up() -> dict[str, Any]:
    os.environ.setdefault("OTEL_LOGS_EXPORTER", "none")  # the host sends logs; twice would cost twice
    if _SAMPLING[0] not in os.environ:  # ours are few; at five a second shards would be missing
        os.environ |= dict(zip(_SAMPLING, ("microsoft.fixed_percentage", "1.0"), strict=True))
    from azure.monitor.opentelemetry import configure_azure_monitor
    from opentelemetry import metrics, trace

    configure_azure_monitor(
        credential=_credential(),
        instrumentation_options=_no_instrumentation(),
        enable_live_metrics=False,  # the host has its own, and a worker has ended before they are read
        enable_performance_counters=False,
        disable_offline_storage=True,  # it would lie in a folder for temporary files until another process sends it as its own
    )
    meter = metrics.get_meter("fleetscore")
    return {
        "tracer": trace.get_tracer("fleetscore"),
        "partitions": meter.create_counter("fleetscore.partitions", description="partitions by outcome"),
        "seconds": meter.create_histogram("fleetscore.shard.seconds", "s", "wall time of committed shards"),
    }


def _credential() -> Any:
    """This process's identity, where telemetry is taken from identities only."""
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
