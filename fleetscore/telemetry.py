"""Telemetry: traces and metrics through OpenTelemetry to Azure Monitor, to an OTLP collector, or to both.

Off by default: without APPLICATIONINSIGHTS_CONNECTION_STRING and OTEL_EXPORTER_OTLP_ENDPOINT neither
OpenTelemetry's SDK nor an exporter is imported (the Durable SDK itself imports OpenTelemetry's bare
interface). It never fails a run: what it cannot do is logged. Logs are left to the Functions host, which
sends them already.

All spans of a run, of the app and of its workers, are one trace, whose id is a hash of the run's: nothing
has to be carried from one activity to the next, and a run leads to its trace. A worker gets the span that
submitted it (TRACEPARENT, as W3C writes it).
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fleetscore.telemetry_setup import (
    AUTHENTICATION,
    CONNECTION,
    OTLP_OF_WORKERS,
    SAMPLING,
    Instruments,
    is_on,
    set_up,
)

PARENT = "TRACEPARENT"
_ids = ("run", "shard", "attempt", "placement", "round", "number", "workload", "window", "purpose")


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
    with instruments.tracer.start_as_current_span(name, context, attributes=ids_of(payload)):
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
    span = instruments.tracer.start_span(name, context, attributes=ids_of(payload), start_time=began_ns)
    if error is not None:
        from opentelemetry.trace import Status, StatusCode

        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
    span.end()


def count_shard(
    counts: Mapping[str, int], seconds: float, attributes: Mapping[str, str], cost_usd: float | None = None
) -> None:
    """Count the partitions of a committed shard by outcome, how long it took, and what it cost, if that is
    known.
    """
    instruments = _instruments()
    if instruments is None:
        return
    for outcome, number in counts.items():
        instruments.partitions.add(number, {**attributes, "outcome": outcome})
    instruments.seconds.record(seconds, dict(attributes))
    if cost_usd is not None:
        instruments.cost.record(cost_usd, dict(attributes))


def count_window(workload: str, purpose: str, state: str) -> None:
    """Count a run that ended in the state: published, unpublished, failed or cancelled."""
    instruments = _instruments()
    if instruments is not None:
        instruments.windows.add(1, {"workload": workload, "purpose": purpose, "state": state})


def report_late(windows: Mapping[str, int]) -> None:
    """Report how many windows of each workload are overdue now."""
    instruments = _instruments()
    if instruments is not None:
        for workload, number in windows.items():
            instruments.late.set(number, {"workload": workload})


def report_queues(ages_s: Callable[[], Mapping[str, float]]) -> None:
    """Report how long the oldest message of each queue has waited; `ages_s` is called only where telemetry is
    on.
    """
    instruments = _instruments()
    if instruments is not None:
        for queue, age_s in ages_s().items():
            instruments.queue_age.set(age_s, {"queue": queue})


def worker_settings() -> dict[str, str]:
    """What a worker's environment needs, so that it sends where this process sends, below the span under
    way; {} where it is off.
    """
    if not is_on():
        return {}
    names = (CONNECTION, AUTHENTICATION, *SAMPLING, *OTLP_OF_WORKERS)
    return {name: os.environ[name] for name in names if os.environ.get(name)} | _traceparent()


def send_all() -> None:
    """Send what is left, and stop: nothing is traced or counted after it. It takes as long as the
    receivers take to answer, or not to.
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
def _instruments() -> Instruments | None:
    """Tracer and metrics, set up once per process; None where they are off, or cannot be had."""
    return set_up() if is_on() else None
