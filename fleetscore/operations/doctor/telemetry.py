"""What the doctor finds about the OTLP collector: whether it takes an empty export of each signal now."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from fleetscore.errors import FleetscoreError
from fleetscore.operations.doctor.findings import Finding
from fleetscore.operations.outbound.posting import post_json
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.telemetry_setup import OTLP, SIGNALS, otlp_endpoint, problem_of_otlp

_LIMIT_S = 10.0
_FIX = f"Correct {OTLP}, or start the collector. No run waits for it; what is not taken meanwhile is lost."


def find_trouble_of_telemetry() -> Iterator[Finding]:
    """Whether traces and metrics arrive at the collector that the environment names; nothing where none
    is.
    """
    signals = [signal for signal in SIGNALS if otlp_endpoint(signal)]
    if not signals:
        return
    if problem := problem_of_otlp():
        yield Finding(
            "telemetry", "warning", f"Nothing is sent by OTLP. {problem}", f"Correct or unset {OTLP}."
        )
        return
    yield from side_by_side(_probe, signals)


def _probe(signal: str) -> Finding:
    """Post an empty export, which is no byte at all in protobuf."""
    url = otlp_endpoint(signal)
    try:
        post_json(
            url, b"", allow_private=True, content_type="application/x-protobuf", headers=_headers_of(signal),
            receiver=f"collector of {signal}", limit_s=_LIMIT_S,
        )  # fmt: skip
    except FleetscoreError as error:
        return Finding("telemetry", "warning", error.message, _FIX)
    return Finding("telemetry", "ok", f"The collector at {urlsplit(url).hostname} takes {signal}.")


def _headers_of(signal: str) -> Mapping[str, str]:
    from opentelemetry.util.re import parse_env_headers

    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_HEADERS", "")
    return parse_env_headers(own or os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True)
