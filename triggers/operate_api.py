"""The operations API: look again at what runs did, and at how the fleet is."""

from __future__ import annotations

from datetime import UTC, datetime

import azure.durable_functions as df
import azure.functions as func

from activities.store import app_store
from triggers.bodies import NoBody, NoticeTestBody, RepairBody, RunBody
from triggers.http_answers import answer_json, handle_errors, read_body, run_in_thread
from triggers.runs_api import partition_in_route, read_number, run_in_route

blueprint = df.Blueprint()


@blueprint.route(route="plans", methods=["POST"])
@handle_errors
async def preview_run(req: func.HttpRequest) -> func.HttpResponse:
    """What a run of a window would do and cost, with the app's own settings and pool; writes nothing."""
    from fleetscore.app_settings import read_app_settings
    from fleetscore.pipeline.preview import preview_run as preview

    body = read_body(req, RunBody)
    return answer_json(
        await run_in_thread(
            preview, app_store(), read_app_settings(), datetime.now(UTC),
            body.workload, body.window, body.only, body.models,
        )
    )  # fmt: skip


@blueprint.route(route="runs/{id}/replay/{*partition}", methods=["GET"])
@handle_errors
async def replay_partition(req: func.HttpRequest) -> func.HttpResponse:
    """Score one partition again, from the same bytes and with the same model version, and compare; writes
    nothing.
    """
    from fleetscore.operations.replay import replay_partition as replay

    return answer_json(await run_in_thread(replay, app_store(), run_in_route(req), partition_in_route(req)))


@blueprint.route(route="costs", methods=["GET"])
@handle_errors
async def list_costs(req: func.HttpRequest) -> func.HttpResponse:
    """What the workloads cost, month by month, newest first."""
    from fleetscore.operations.monthly_costs import WORKLOAD
    from fleetscore.operations.monthly_costs import list_costs as list_months

    wanted = [req.params.get(name, "") for name in ("workload", "since", "month")]
    by = req.params.get("by") or WORKLOAD
    return answer_json(await run_in_thread(list_months, app_store(), *wanted, by))


@blueprint.route(route="deadlines", methods=["GET"])
@handle_errors
async def list_deadlines(req: func.HttpRequest) -> func.HttpResponse:
    """By when windows had to be published, whether they were, and which are at risk now."""
    from fleetscore.operations.due.deadlines import KEPT_DAYS
    from fleetscore.operations.due.deadlines import list_deadlines as list_all

    workload, days = req.params.get("workload", ""), read_number(req, "days", KEPT_DAYS, 1, KEPT_DAYS)
    return answer_json(await run_in_thread(list_all, app_store(), workload, days, datetime.now(UTC)))


@blueprint.route(route="runs/{id}/drift", methods=["GET"])
@handle_errors
async def describe_drift(req: func.HttpRequest) -> func.HttpResponse:
    """The partitions of a run to look at, the worst first."""
    from fleetscore.operations.drift_report import describe_drift as describe

    limit = read_number(req, "limit", 20, 1, 10_000)
    return answer_json(await run_in_thread(describe, app_store(), run_in_route(req), limit))


@blueprint.route(route="doctor/azure", methods=["GET"])
@handle_errors
async def examine_azure(req: func.HttpRequest) -> func.HttpResponse:
    """What of Azure the app itself can answer: its package, compiled code, and the pool's formula. Submits
    no task.
    """
    from fleetscore.app_settings import read_app_settings
    from fleetscore.operations.doctor.azure import examine_azure as examine_all

    return answer_json(
        await run_in_thread(examine_all, app_store(), read_app_settings(), lambda: datetime.now(UTC), 0.0)
    )


@blueprint.route(route="doctor", methods=["GET"])
@handle_errors
async def examine(req: func.HttpRequest) -> func.HttpResponse:
    """What is wrong with the deployment as the app sees it, and how to fix it."""
    from fleetscore.app_settings import read_app_settings
    from fleetscore.operations.doctor.checks import examine as examine_all

    return answer_json(
        await run_in_thread(examine_all, app_store(), read_app_settings(), lambda: datetime.now(UTC))
    )


@blueprint.route(route="repair", methods=["GET"])
@handle_errors
async def preview_repair(req: func.HttpRequest) -> func.HttpResponse:
    """Which state files are damaged, and what can be done about each; writes nothing."""
    from fleetscore.operations.repair.files import repair

    return answer_json(await run_in_thread(repair, app_store(), datetime.now(UTC), dry_run=True))


@blueprint.route(route="repair", methods=["POST"])
@handle_errors
async def repair_state(req: func.HttpRequest) -> func.HttpResponse:
    """Do what can be done about damaged state files; pins are guessed only if the body says so."""
    from fleetscore.operations.repair.files import repair

    body = read_body(req, RepairBody)
    return answer_json(await run_in_thread(repair, app_store(), datetime.now(UTC), guesses=body.guesses))


@blueprint.route(route="repair/tables", methods=["GET"])
@handle_errors
async def preview_table_repair(req: func.HttpRequest) -> func.HttpResponse:
    """The published windows that the result tables lack."""
    from fleetscore.operations.table_sync import repair_tables

    return answer_json(await run_in_thread(repair_tables, app_store(), datetime.now(UTC), dry_run=True))


@blueprint.route(route="repair/tables", methods=["POST"])
@handle_errors
async def repair_result_tables(req: func.HttpRequest) -> func.HttpResponse:
    """Commit the published windows that the result tables lack."""
    from fleetscore.operations.table_sync import repair_tables

    read_body(req, NoBody)
    return answer_json(await run_in_thread(repair_tables, app_store(), datetime.now(UTC)))


@blueprint.route(route="notices/test", methods=["POST"])
@handle_errors
async def test_notices(req: func.HttpRequest) -> func.HttpResponse:
    """Send a test notice to the targets of a workload, with the app's own addresses, and say what each
    answered.
    """
    from fleetscore.app_settings import read_app_settings
    from fleetscore.operations.notices.delivery import send_test

    body = read_body(req, NoticeTestBody)
    return answer_json(
        await run_in_thread(
            send_test, app_store(), read_app_settings(), body.workload, datetime.now(UTC), body.target
        )
    )
