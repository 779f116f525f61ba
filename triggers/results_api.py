"""The results API: rows of a window as Parquet or JSON lines, page by page, and the publishing of what was
held back.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import azure.durable_functions as df
import azure.functions as func

from activities.store import app_store
from fleetscore.errors import InputError
from triggers.bodies import PublishBody
from triggers.http_answers import answer_json, handle_errors, read_body, run_in_thread
from triggers.runs_api import read_number, run_in_route

if TYPE_CHECKING:
    from fleetscore.runs.result_pages import Page, WindowResults

blueprint = df.Blueprint()
MOST_ROWS = 100_000
_ROWS = 10_000
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


@blueprint.route(route="results/{workload}/{window}", methods=["GET"])
@handle_errors
async def read_results(req: func.HttpRequest) -> func.HttpResponse:
    """A page of a window's rows; the header Link names the next one. 304 where the caller has this round."""
    form = req.params.get("format", "") or "jsonl"
    if form not in ("jsonl", "parquet"):
        raise InputError(f"format is {form[:40]!r}.", fix="Expected jsonl or parquet.", field="format")
    offset = read_number(req, "offset", 0, 0, 10**15)
    limit = read_number(req, "limit", _ROWS, 1, MOST_ROWS)
    found = await run_in_thread(
        _find, str(req.route_params["workload"]), str(req.route_params["window"]), read_flag(req, "held"),
        req.params.get("run", ""),
    )  # fmt: skip
    if has_tag(req.headers.get("If-None-Match", ""), found.tag):
        return func.HttpResponse(status_code=304, headers=_headers_of(found))
    page = await run_in_thread(_read, found, req.params.get("partition", ""), offset, limit)
    return await run_in_thread(_answer, req, page, form, limit)


@blueprint.route(route="runs/{id}/publish", methods=["POST"])
@handle_errors
async def publish_run_anyway(req: func.HttpRequest) -> func.HttpResponse:
    """Publish what a check held back, with the reason on record."""
    from fleetscore.app_settings import read_app_settings
    from fleetscore.operations.notices.ended_runs import hand_over_ending_notices
    from fleetscore.pipeline.publish_anyway import publish_anyway
    from fleetscore.runs.status import describe_run

    run, body = run_in_route(req), read_body(req, PublishBody)
    now = datetime.now(UTC)
    record = await run_in_thread(
        publish_anyway, app_store(), run, why=body.why, requested_by=body.requested_by, now=now
    )
    await run_in_thread(hand_over_ending_notices, app_store(), read_app_settings(), record)
    return answer_json(await run_in_thread(describe_run, app_store(), run, now))


def read_flag(req: func.HttpRequest, name: str) -> bool:
    """Whether the query's flag is set; InputError for what is neither true nor false."""
    text = req.params.get(name, "").lower()
    if text not in ("", "true", "false", "1", "0"):
        raise InputError(f"{name} is {text[:40]!r}.", fix="Expected true or false.", field=name)
    return text in ("true", "1")


def has_tag(condition: str, tag: str) -> bool:
    """Whether a header If-None-Match names the tag, or whatever there is.

    >>> has_tag('"other", W/"a1"', "a1"), has_tag("*", "a1"), has_tag("", "a1")
    (True, True, False)
    """
    named = [each.strip().removeprefix("W/").strip('"') for each in condition.split(",")]
    return tag in named or "*" in named


def _find(workload: str, window: str, held: bool, run: str) -> WindowResults:
    from fleetscore.pipeline.window_checks import read_window
    from fleetscore.registry import get_workload
    from fleetscore.runs.result_pages import LATEST, find_held, find_published

    store = app_store()
    kind = get_workload(store, workload)
    key = window if window == LATEST else read_window(kind, window).key
    return (find_held if held else find_published)(store, workload, key, run)


def _read(found: WindowResults, partition: str, offset: int, limit: int) -> Page:
    from fleetscore.pipeline.spellings import key_in_run
    from fleetscore.registry import get_workload
    from fleetscore.runs.result_pages import read_page, read_partition

    store = app_store()
    if not partition:
        return read_page(store, found, offset, limit)
    kind = get_workload(store, found.workload)
    own = key_in_run(store, found.workload, found.run, partition)
    return read_partition(store, found, kind.result_schema, kind.partition_columns, own)


def _headers_of(found: WindowResults) -> dict[str, str]:
    """What the answer is of; its tag is weak, since the bytes of a Parquet file depend on its writer."""
    return {
        **_HEADERS,
        "ETag": f'W/"{found.tag}"',
        "X-Run": found.run,
        "X-Window": found.window,
        "X-Rows": str(found.rows),
    }


def _answer(req: func.HttpRequest, page: Page, form: str, limit: int) -> func.HttpResponse:
    from fleetscore.runs.result_pages import write_json_lines, write_parquet

    headers = _headers_of(page.results)
    if page.next_offset is not None:
        query = {"format": form, "offset": page.next_offset, "limit": limit, "run": page.results.run}
        query |= {"held": "true"} if read_flag(req, "held") else {}
        base = f"{req.url.split('/api/', 1)[0]}/api/results/{page.results.workload}/{page.results.window}"
        headers["Link"] = f'<{base}?{urlencode(query)}>; rel="next"'
        headers["X-Next-Offset"] = str(page.next_offset)
    if form == "parquet":
        return func.HttpResponse(
            write_parquet(page), headers=headers, mimetype="application/vnd.apache.parquet"
        )
    return func.HttpResponse(write_json_lines(page.table), headers=headers, mimetype="application/x-ndjson")
