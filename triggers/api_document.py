"""The OpenAPI document of the app's own endpoints, made from the bodies that they decode."""

from __future__ import annotations

from typing import Any

import msgspec

from fleetscore import __version__
from triggers.bodies import (
    BackfillBody,
    CancelBody,
    ChallengerBody,
    MuteBody,
    NoBody,
    NoticeTestBody,
    PinBody,
    PromoteBody,
    PublishBody,
    RepairBody,
    RetireBody,
    RetryBody,
    RollbackBody,
    RunBody,
    TrainingBody,
    UnmuteBody,
    VerdictBody,
)

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "fix", "field"],
            "properties": {name: {"type": "string"} for name in ("code", "message", "fix", "field")},
        }
    },
}
ROWS = {
    "type": "object",
    "required": ["rows"],
    "additionalProperties": False,
    "properties": {"rows": {"type": "array", "minItems": 1, "maxItems": 10000, "items": {"type": "object"}}},
}


def describe_api() -> dict[str, Any]:
    """The document, as JSON values (OpenAPI 3.1)."""
    bodies = (
        RunBody, RetryBody, CancelBody, TrainingBody, BackfillBody, RepairBody, NoBody, NoticeTestBody,
        PinBody, PromoteBody, PublishBody, RollbackBody, ChallengerBody, VerdictBody, MuteBody, UnmuteBody, RetireBody,
    )  # fmt: skip
    _, schemas = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fleetscore", "version": __version__, "description": "Runs, backfills, training, mini-batches."},
        "servers": [{"url": "/api"}],
        "security": [{"key": []}],
        "paths": {**_run_paths(), **_model_paths(), **_operation_paths()},
        "components": {
            "schemas": {**schemas, "MiniBatch": ROWS, "Error": ERROR},
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "x-functions-key"}},
        },
    }  # fmt: skip


def _run_paths() -> dict[str, Any]:
    """Runs, backfills, training, results and mini-batches."""
    run = _parameter("id", "path", "a run's id")
    workload = _workload()
    return {
        "/runs": {
            "get": _endpoint("list_runs", "The newest runs, newest first.", [200, 400, 404], parameters=[
                _parameter("workload", "query", "only this workload's"),
                _parameter("limit", "query", "at most so many (1 to 10000; 100)", {"type": "integer", "minimum": 1, "maximum": 10000}),
                _parameter("before", "query", "only runs requested before this one: the `next` of the page before"),
            ]),
            "post": _endpoint("start_run", "Start the run of a window, or find it.", [200, 202, 400, 404, 422], body="RunBody"),
        },
        "/runs/{id}/wait": {"get": _wait(run)},
        "/runs/{id}": {"get": _endpoint("show_run", "How a run stands.", [200, 404], parameters=[run])},
        "/runs/{id}/cancel": {"post": _endpoint("cancel_run", "Ask a run to stop.", [202, 400, 404], parameters=[run], body="CancelBody")},
        "/runs/{id}/retry": {
            "post": _endpoint(
                "retry_run", "Score failed or missing partitions again.", [200, 202, 400, 404], body="RetryBody", parameters=[run]
            )
        },
        "/runs/{id}/publish": {
            "post": _endpoint(
                "publish_run_anyway",
                "Publish what a check held back, with a reason.", [200, 400, 404, 409], body="PublishBody", parameters=[run]
            )
        },
        "/results/{workload}/{window}": {"get": _results(workload)},
        "/runs/{id}/partitions/{partition}": {
            "get": _endpoint(
                "explain_partition", "The story of one partition.", [200, 404],
                parameters=[run, _parameter("partition", "path", "its key")],
            )
        },
        "/runs/{id}/replay/{partition}": {
            "get": _endpoint(
                "replay_partition",
                "Score one partition again, from the same bytes and the same model, and compare; writes nothing.",
                [200, 400, 404], parameters=[run, _parameter("partition", "path", "its key")],
            )
        },
        "/runs/{id}/drift": {
            "get": _endpoint(
                "describe_drift", "The partitions of a run to look at: what drifted, the worst first.", [200, 400, 404],
                parameters=[
                    run,
                    _parameter("limit", "query", "at most so many (1 to 10000; 20)", {"type": "integer", "minimum": 1, "maximum": 10000}),
                ],
            ),
        },
        "/training": {"post": _endpoint("start_training", "Train a model set.", [200, 202, 400], body="TrainingBody")},
        "/backfills": {
            "post": _endpoint(
                "start_backfill", "Run many windows, or say which would run and why.", [200, 202, 400], body="BackfillBody"
            )
        },
        "/backfills/{id}": {
            "get": _endpoint("show_backfill", "How a backfill stands.", [200, 404], parameters=[_parameter("id", "path", "its id")])
        },
        "/score/{workload}": {
            "post": _endpoint(
                "score_rows", "Answer a mini-batch at once.", [200, 400, 404, 422], body="MiniBatch", parameters=[workload], csv=True
            )
        },
    }  # fmt: skip


def _model_paths() -> dict[str, Any]:
    """Model sets, pins, challengers and verdicts."""
    workload = _workload()
    return {
        "/models/{workload}": {
            "get": _endpoint("list_models", "Model sets and pins.", [200, 400], parameters=[workload]),
        },
        "/models/{workload}/current": {
            "get": _endpoint("show_current_model", "The current model set with its card.", [200, 400], parameters=[workload]),
        },
        "/models/{workload}/sets/{version}": {
            "get": _endpoint(
                "show_model",
                "A model set with its card.", [200, 400, 422],
                parameters=[workload, _parameter("version", "path", "its name")],
            ),
        },
        "/models/{workload}/pin": {
            "post": _endpoint(
                "pin_model",
                "Pin a version, everywhere, for one partition, or for one model key.", [200, 400, 422],
                body="PinBody", parameters=[workload],
            )
        },
        "/models/{workload}/promote": {
            "post": _endpoint(
                "promote_model",
                "Make a version the current one, or that of the partitions where it is better.", [200, 400, 422],
                body="PromoteBody", parameters=[workload],
            )
        },
        "/models/{workload}/rollback": {
            "post": _endpoint(
                "roll_back_model", "Return to the version before.", [200, 400, 422], body="RollbackBody", parameters=[workload]
            )
        },
        "/models/{workload}/challenger": {
            "post": _endpoint("challenge", "Let a version score in shadow.", [200, 400, 422], body="ChallengerBody", parameters=[workload])
        },
        "/models/{workload}/verdicts": {
            "get": _endpoint("list_verdicts", "The kept verdicts, newest first.", [200, 400], parameters=[workload], array=True),
            "post": _endpoint(
                "judge_challenger",
                "Judge the challenger on what came, and keep the verdict.", [200, 400, 422],
                body="VerdictBody", parameters=[workload],
            ),
        },
        "/models/{workload}/verdicts/{verdict}": {
            "get": _endpoint("show_verdict", "A verdict by partition, where the challenger does worst first.", [200, 400, 404], parameters=[
                workload, _parameter("verdict", "path", "its id, or newest"),
                _parameter("limit", "query", "at most so many (1 to 10000; 20)", {"type": "integer", "minimum": 1, "maximum": 10000}),
            ]),
        },
    }  # fmt: skip


def _operation_paths() -> dict[str, Any]:
    """Attention, costs, the dashboard and what keeps a deployment well."""
    workload = _workload()
    return {
        "/health": {
            "get": _unchecked(_endpoint("show_health", "Whether the app does its work; it starts what a silent timer left.", [200, 503]))
        },
        "/plans": {"post": _endpoint("preview_run", "What a run would do and cost; writes nothing.", [200, 400, 422], body="RunBody")},
        "/doctor/azure": {
            "get": _endpoint("examine_azure", "What of Azure the app can answer: package, compiled code, the pool's formula.", [200])
        },
        "/doctor": {"get": _endpoint("examine", "What is wrong with the deployment, and how to fix it.", [200])},
        "/notices/test": {
            "post": _endpoint(
                "test_notices",
                "Send a test notice to the targets of a workload.", [200, 400], body="NoticeTestBody", array=True
            )
        },
        "/repair": {
            "get": _endpoint("preview_repair", "Which state files are damaged, and what can be done about each.", [200]),
            "post": _endpoint("repair_state", "Repair damaged state files.", [200, 400], body="RepairBody"),
        },
        "/repair/tables": {
            "get": _endpoint("preview_table_repair", "The published windows that the result tables lack.", [200], array=True),
            "post": _endpoint("repair_result_tables", "Commit them, and copy their files in.", [200, 400], body="NoBody", array=True),
        },
        "/housekeeping": {
            "get": _endpoint("preview_housekeeping", "What housekeeping would remove now.", [200]),
            "post": _endpoint("keep_house", "Remove now what housekeeping would remove tonight.", [200, 400], body="NoBody"),
        },
        "/costs": {
            "get": _endpoint("list_costs", "What the workloads cost, month by month.", [200, 400], parameters=[
                _parameter("workload", "query", "only this workload's"),
                _parameter("since", "query", "from this month on (YYYY-MM)"),
                _parameter("month", "query", "of this month only (YYYY-MM)"),
                _parameter("by", "query", "summed by workload, or by the value of the tag of this name"),
            ], array=True),
        },
        "/deadlines": {
            "get": _endpoint("list_deadlines", "By when windows had to be published, and whether they were.", [200, 400, 404], parameters=[
                _parameter("workload", "query", "only this workload's"),
                _parameter("days", "query", "of so many last days (1 to 90; 90)", {"type": "integer", "minimum": 1, "maximum": 90}),
            ], array=True),
        },
        "/dashboard": {"get": _dashboard()},
        "/attention": {
            "get": _endpoint("list_attention", "What needs attention, of each workload that has something.", [200, 404], parameters=[
                _parameter("workload", "query", "only this workload"),
            ], array=True),
        },
        "/anomalies": {
            "get": _endpoint("list_anomalies", "The incidents of published windows.", [200, 400], parameters=[
                _parameter("workload", "query", "only this workload's"),
                _parameter("since", "query", "from this time on: a day, an ISO time, or days back such as 7d"),
                _parameter("device", "query", "only of this device"),
            ]),
        },
        "/attention/{workload}/mutes": {
            "get": _endpoint("list_mutes", "The mutes in force.", [200, 404], parameters=[workload], array=True),
            "post": _endpoint(
                "mute_attention", "Ask for no attention until a set time.", [200, 400, 404], body="MuteBody", parameters=[workload]
            ),
        },
        "/attention/{workload}/mutes/{id}/end": {
            "post": _endpoint("unmute_attention", "End a mute before its time.", [200, 400, 404], body="UnmuteBody", parameters=[
                workload, _parameter("id", "path", "the mute's id"),
            ]),
        },
        "/attention/{workload}/retired": {
            "get": _endpoint("list_retired", "The partitions that are expected no more.", [200, 404], parameters=[workload], array=True),
            "post": _endpoint(
                "retire_partition", "Expect a partition no more, or again.", [200, 400, 404], body="RetireBody", parameters=[workload]
            ),
        },
    }  # fmt: skip


def _workload() -> dict[str, Any]:
    pattern = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,39}$"}
    return _parameter("workload", "path", "a workload's name", pattern)


def _endpoint(
    function: str,
    summary: str,
    statuses: list[int],
    body: str = "",
    parameters: list[dict[str, Any]] | None = None,
    csv: bool = False,
    array: bool = False,
) -> dict[str, Any]:
    """The operation that the app's function of that name carries out."""
    described: dict[str, Any] = {
        "operationId": function,
        "summary": summary,
        "responses": {str(status): _answer(status, array) for status in sorted({*statuses, 400, 401})},
    }
    if parameters:
        described["parameters"] = parameters
    if body:
        content: dict[str, Any] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{body}"}}}
        if csv:
            content["text/csv"] = {"schema": {"type": "string"}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _dashboard() -> dict[str, Any]:
    """The one endpoint that answers pages; with format=json the same data."""
    descriptions = {
        "workload": "a workload's page",
        "run": "a run's page",
        "partition": "with run: a partition's story; with view: what to draw (may be given many times)",
        "view": "results: a published window, drawn",
        "window": "with view: the window, the newest without it",
        "find": "partitions whose key holds this text",
        "outcome": "with run: only partitions with this outcome",
        "cause": "with run: only partitions with this cause",
        "before": "with workload: only runs requested before this one",
        "log": "with run: a log of it, by its path",
        "format": "html or json",
    }
    described = _endpoint(
        "dashboard", "The dashboard: workloads, runs, partitions and results as a page.", [200, 400, 404]
    )
    for answer in described["responses"].values():
        answer.setdefault("content", {})["text/html"] = {"schema": {"type": "string"}}
    return described | {
        "parameters": [_parameter(name, "query", says) for name, says in descriptions.items()]
    }


def _results(workload: dict[str, Any]) -> dict[str, Any]:
    """The endpoint that answers rows: JSON lines or Parquet, page by page."""
    numbers = {"type": "integer", "minimum": 0}
    described = _endpoint(
        "read_results",
        "Rows of a window, page by page: the header Link names the next page.",
        [200, 304, 400, 404, 409],
        parameters=[
            workload,
            _parameter("window", "path", "a window's key, or latest"),
            _parameter("format", "query", "jsonl (the default) or parquet"),
            _parameter("partition", "query", "only this partition, all its rows"),
            _parameter("offset", "query", "from this row on (0)", numbers),
            _parameter(
                "limit",
                "query",
                "at most so many rows (1 to 100000; 10000)",
                {"type": "integer", "minimum": 1, "maximum": 100_000},
            ),
            _parameter(
                "run", "query", "409 unless this run has published the window: pages that fit each other"
            ),
            _parameter("held", "query", "true: what a check of the newest run holds back"),
            _parameter("If-None-Match", "header", "304 where the rows are still those of this ETag"),
        ],
    )
    described["responses"]["200"]["content"] = {
        "application/x-ndjson": {"schema": {"type": "string"}},
        "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
    }
    described["responses"]["304"] = {"description": "The rows are still those of the given ETag."}
    return described


def _wait(run: dict[str, Any]) -> dict[str, Any]:
    """The endpoint that the token in its address opens: pollers follow it without a key."""
    token = _parameter("token", "query", "the token in the address that the start of the run answered")
    described = _endpoint(
        "wait_for_run",
        "Wait for a run: 202 until it has ended, 500 where nothing was published.",
        [200, 202, 404, 500],
        parameters=[run, token],
    )
    described["responses"]["500"]["content"]["application/json"]["schema"] = {"type": "object"}
    return _unchecked(described) | {"security": []}


def _unchecked(described: dict[str, Any]) -> dict[str, Any]:
    """The endpoint, which takes any query parameter."""
    return described | {
        "responses": {n: answer for n, answer in described["responses"].items() if n != "400"}
    }


def _answer(status: int, array: bool = False) -> dict[str, Any]:
    if status == 401:
        return {"description": "The key is missing or wrong; the answer has no body of ours."}
    schema: dict[str, Any] = {"$ref": "#/components/schemas/Error"}
    if status < 400:
        schema = {"type": "array", "items": {"type": "object"}} if array else {"type": "object"}
    text = (
        "As requested."
        if status < 400
        else "An error with its code, a sentence, what to do, and the field at fault."
    )
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _parameter(name: str, where: str, says: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": says,
        "schema": schema or {"type": "string"},
    }
