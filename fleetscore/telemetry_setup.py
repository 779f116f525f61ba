"""Set-up of OpenTelemetry's providers: to Azure Monitor, to an OTLP collector, or to both, as the environment
says.

An OTLP collector is named by the variables of OpenTelemetry's own specification
(OTEL_EXPORTER_OTLP_ENDPOINT and those beside it); what is sent is http/protobuf.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fleetscore import __version__
from fleetscore.request_logs import hide_paths

CONNECTION = "APPLICATIONINSIGHTS_CONNECTION_STRING"
AUTHENTICATION = "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"
SAMPLING = ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG")
OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"
OTLP_OF_WORKERS = tuple(
    f"OTEL_EXPORTER_OTLP_{signal}{what}"
    for signal in ("", "TRACES_", "METRICS_")
    for what in ("ENDPOINT", "HEADERS", "TIMEOUT", "COMPRESSION", "PROTOCOL")
)
"""What a worker needs to send where the app sends; files of certificates are not on its node."""
SIGNALS = ("traces", "metrics")
_SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0)
_USD = (1e-6, 1e-5, 1e-4, 1e-3, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_log = logging.getLogger("fleetscore.telemetry")


@dataclass(frozen=True, slots=True)
class Instruments:
    """The tracer, and what is measured; names and units as docs/howto/opentelemetry.md lists them."""

    tracer: Any
    partitions: Any
    seconds: Any
    cost: Any
    windows: Any
    late: Any
    queue_age: Any


def otlp_endpoint(signal: str, environment: Mapping[str, str] | None = None) -> str:
    """The URL that a signal ("traces" or "metrics") is posted to; "" where none is set, or it is switched
    off.

    >>> otlp_endpoint("traces", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"})
    'http://collector:4318/v1/traces'
    >>> otlp_endpoint("traces", {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318/v1/metrics"})
    ''
    """
    source = os.environ if environment is None else environment
    if (
        source.get(f"OTEL_{signal.upper()}_EXPORTER", "") == "none"
        or source.get("OTEL_SDK_DISABLED") == "true"
    ):
        return ""
    own, base = source.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", ""), source.get(OTLP, "")
    return own or (f"{base.rstrip('/')}/v1/{signal}" if base else "")


def is_on() -> bool:
    """Whether the environment names an address that telemetry is sent to."""
    return bool(os.environ.get(CONNECTION)) or any(otlp_endpoint(signal) for signal in SIGNALS)


def problem_of_otlp() -> str:
    """Why nothing can be sent to the OTLP collector that the environment names; "" where it can."""
    for name in (
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        *(f"OTEL_EXPORTER_OTLP_{s.upper()}_PROTOCOL" for s in SIGNALS),
    ):
        protocol = os.environ.get(name, "")
        if protocol not in ("", "http/protobuf"):
            return f"{name} is {protocol}; only http/protobuf is sent (port 4318 of most collectors)."
    for signal in SIGNALS:
        if problem := _problem_of_url(otlp_endpoint(signal)):
            return problem
    try:
        import opentelemetry.exporter.otlp.proto.http  # noqa: F401  # whether it is there
    except ImportError:
        return f"{OTLP} is set, but opentelemetry-exporter-otlp-proto-http is not installed: pip install 'fleetscore[telemetry]'"
    return ""


def _problem_of_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_good = not url or (parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0)
    except ValueError:  # its message repeats the address
        is_good = False
    return "" if is_good else f"{OTLP} is no http(s) address."


def set_up() -> Instruments | None:
    """Set the providers of this process; None where nothing can be sent, which the log says."""
    otlp = _otlp_signals()
    if os.environ.get(CONNECTION):
        try:
            _set_up_azure(otlp)
            return _make_instruments()
        except ImportError:
            _log.info("No traces: %s is set, but azure-monitor-opentelemetry is not installed.", CONNECTION)
        except Exception:  # a wrong connection string, say: that is no reason to score nothing
            _log.exception("No traces: what %s says cannot be used.", CONNECTION)
    if not otlp:
        return None
    try:
        _set_up_otlp(otlp)
        return _make_instruments()
    except Exception as error:  # an unreadable certificate, say; its text may hold an address with a secret
        _log.error("No traces: what %s and its like say cannot be used: %s.", OTLP, type(error).__name__)
    return None


def import_exporters() -> None:
    """Import what `set_up` needs for an OTLP collector, where one is named, without starting anything: once
    for all processes that are forked afterwards.
    """
    if any(otlp_endpoint(signal) for signal in SIGNALS) and not problem_of_otlp():
        import opentelemetry.exporter.otlp.proto.http.metric_exporter
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.metrics.export
        import opentelemetry.sdk.trace.export  # noqa: F401  # each process makes its own of them


def _otlp_signals() -> list[str]:
    """The signals that go to an OTLP collector."""
    signals = [signal for signal in SIGNALS if otlp_endpoint(signal)]
    if signals and (problem := problem_of_otlp()):
        _log.warning("No traces by OTLP: %s", problem)
        return []
    return signals


def _set_up_azure(otlp: list[str]) -> None:
    os.environ.setdefault("OTEL_LOGS_EXPORTER", "none")  # the host sends logs; twice would cost twice
    if SAMPLING[0] not in os.environ:  # ours are few; at five a second shards would be missing
        os.environ |= dict(zip(SAMPLING, ("microsoft.fixed_percentage", "1.0"), strict=True))
    from azure.monitor.opentelemetry import configure_azure_monitor

    beside: dict[str, Any] = {"resource": _resource()} if otlp else {}
    configure_azure_monitor(
        credential=_credential(),
        instrumentation_options=_no_instrumentation(),
        enable_live_metrics=False,  # the host has its own, and a worker has ended before they are read
        enable_performance_counters=False,
        disable_offline_storage=True,  # it would lie in a folder for temporary files until another process sends it as its own
        span_processors=_span_processors(otlp),
        metric_readers=_metric_readers(otlp),
        **beside,
    )


def _set_up_otlp(otlp: list[str]) -> None:
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    tracers = TracerProvider(resource=_resource())
    for processor in _span_processors(otlp):
        tracers.add_span_processor(processor)
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(MeterProvider(_metric_readers(otlp), resource=_resource()))


def _make_instruments() -> Instruments:
    from opentelemetry import metrics, trace

    meter = metrics.get_meter("fleetscore", __version__)
    return Instruments(
        trace.get_tracer("fleetscore", __version__),
        meter.create_counter("fleetscore.partitions", "{partition}", "partitions by outcome"),
        meter.create_histogram(
            "fleetscore.shard.seconds", "s", "wall time of committed shards",
            explicit_bucket_boundaries_advisory=_SECONDS,
        ),
        meter.create_histogram(
            "fleetscore.shard.cost", "{USD}", "what committed shards cost at the listed prices",
            explicit_bucket_boundaries_advisory=_USD,
        ),
        meter.create_counter("fleetscore.windows", "{window}", "runs of windows that ended, by state"),
        meter.create_gauge("fleetscore.windows.late", "{window}", "windows that are overdue"),
        meter.create_gauge("fleetscore.queue.age", "s", "age of the oldest message that waits in a queue"),
    )  # fmt: skip


def _resource() -> Any:
    """What names this process: a collector adds up counters of processes by their instance."""
    from opentelemetry.sdk.resources import Resource

    name = os.environ.get("OTEL_SERVICE_NAME") or os.environ.get("WEBSITE_SITE_NAME") or "fleetscore"
    return Resource.create(
        {"service.name": name, "service.version": __version__, "service.instance.id": _INSTANCE}
    )


_INSTANCE = str(uuid.uuid4())


def _span_processors(otlp: list[str]) -> list[Any]:
    if "traces" not in otlp:
        return []
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    _quieten()
    return [BatchSpanProcessor(_logging_refusals(OTLPSpanExporter(), "traces"))]


def _metric_readers(otlp: list[str]) -> list[Any]:
    if "metrics" not in otlp:
        return []
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    _quieten()
    return [PeriodicExportingMetricReader(_logging_refusals(OTLPMetricExporter(), "metrics"))]


def _logging_refusals(exporter: Any, signal: str) -> Any:
    """The exporter, with one line in the log when the collector stops taking the signal, and one when it
    takes it again.
    """
    send, host, state = exporter.export, urlsplit(otlp_endpoint(signal)).hostname, {"taken": True}

    def export(*arguments: Any, **options: Any) -> Any:
        result = send(*arguments, **options)
        taken = result.name == "SUCCESS"
        if state["taken"] and not taken:
            _log.warning(
                "The collector at %s takes no %s. They are lost; see `fleetscore doctor`.", host, signal
            )
        elif taken and not state["taken"]:
            _log.warning("The collector at %s takes %s again.", host, signal)
        state["taken"] = taken
        return result

    exporter.export = export
    return exporter


def _quieten() -> None:
    """The exporter's own lines repeat the address, which may hold a secret, at every try."""
    hide_paths()
    for name in ("opentelemetry.exporter", "opentelemetry.sdk.metrics._internal.export"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _credential() -> Any:
    """This process's identity, where telemetry is taken from identities only."""
    if "Authorization=AAD" not in os.environ.get(AUTHENTICATION, ""):
        return None
    from azure.identity import ManagedIdentityCredential

    from fleetscore.app_settings import read_app_settings

    client_id = read_app_settings().identity_client_id
    return ManagedIdentityCredential(client_id=client_id) if client_id else ManagedIdentityCredential()


def _no_instrumentation() -> dict[str, dict[str, bool]]:
    """A span per store request would drown ours."""
    names = ("azure_sdk", "django", "fastapi", "flask", "psycopg2", "requests", "urllib", "urllib3")
    return {name: {"enabled": False} for name in names}
