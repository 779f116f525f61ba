"""The models API: list, show, pin, promote, roll back, challenge and judge model sets."""

from __future__ import annotations

from datetime import UTC, datetime

import azure.durable_functions as df
import azure.functions as func

from activities.store import app_store
from triggers.bodies import ChallengerBody, PinBody, PromoteBody, RollbackBody, VerdictBody
from triggers.http_answers import answer_json, handle_errors, read_body, run_in_thread
from triggers.runs_api import read_number

blueprint = df.Blueprint()


@blueprint.route(route="models/{workload}", methods=["GET"])
@handle_errors
async def list_models(req: func.HttpRequest) -> func.HttpResponse:
    """The model sets of a workload, oldest first, and the pins."""
    from fleetscore.models.report import describe_sets

    return answer_json(await run_in_thread(describe_sets, app_store(), _workload(req)))


@blueprint.route(route="models/{workload}/sets/{version}", methods=["GET"])
@handle_errors
async def show_model(req: func.HttpRequest) -> func.HttpResponse:
    """A model set with its card, and the pins."""
    from fleetscore.models.report import describe_set

    version = str(req.route_params["version"])
    return answer_json(await run_in_thread(describe_set, app_store(), _workload(req), version))


@blueprint.route(route="models/{workload}/current", methods=["GET"])
@handle_errors
async def show_current_model(req: func.HttpRequest) -> func.HttpResponse:
    """The current model set with its card, and the pins."""
    from fleetscore.models.report import describe_set

    return answer_json(await run_in_thread(describe_set, app_store(), _workload(req)))


@blueprint.route(route="models/{workload}/pin", methods=["POST"])
@handle_errors
async def pin_model(req: func.HttpRequest) -> func.HttpResponse:
    """Score with a version from now on, everywhere, for one partition, or for one model key."""
    from fleetscore.operations.champions.pinning import pin_on_request

    workload, body = _workload(req), read_body(req, PinBody)
    return answer_json(
        await run_in_thread(
            pin_on_request,
            app_store(),
            workload,
            body.version,
            partition=body.partition,
            key=body.key,
            requested_by=body.requested_by,
            why=body.why,
        )
    )


@blueprint.route(route="models/{workload}/promote", methods=["POST"])
@handle_errors
async def promote_model(req: func.HttpRequest) -> func.HttpResponse:
    """Make a version the current one, or that of the partitions where it is better."""
    from fleetscore.operations.champions.promotion import promotion_of

    workload, body = _workload(req), read_body(req, PromoteBody)
    return answer_json(
        await run_in_thread(
            promotion_of(body.where), app_store(), workload, body.version, body.requested_by, body.why
        )
    )


@blueprint.route(route="models/{workload}/rollback", methods=["POST"])
@handle_errors
async def roll_back_model(req: func.HttpRequest) -> func.HttpResponse:
    """Return to the version that was current before."""
    from fleetscore.operations.champions.promotion import roll_back

    workload, body = _workload(req), read_body(req, RollbackBody)
    return answer_json(await run_in_thread(roll_back, app_store(), workload, body.requested_by, body.why))


@blueprint.route(route="models/{workload}/challenger", methods=["POST"])
@handle_errors
async def challenge(req: func.HttpRequest) -> func.HttpResponse:
    """Let a version score in shadow from the next run on."""
    from fleetscore.models.pins import pin_challenger

    workload, body = _workload(req), read_body(req, ChallengerBody)
    return answer_json(
        await run_in_thread(
            pin_challenger, app_store(), workload, body.version, requested_by=body.requested_by, why=body.why
        )
    )


@blueprint.route(route="models/{workload}/verdicts", methods=["POST"])
@handle_errors
async def judge_challenger(req: func.HttpRequest) -> func.HttpResponse:
    """Compare the challenger with what was published, where actuals have come, and keep the verdict."""
    from fleetscore.operations.champions.verdicts import judge_challenger as judge

    workload, body = _workload(req), read_body(req, VerdictBody)
    return answer_json(
        await run_in_thread(
            judge,
            app_store(),
            workload,
            body.first,
            body.end,
            datetime.now(UTC),
            body.requested_by,
            body.version,
        )
    )


@blueprint.route(route="models/{workload}/verdicts", methods=["GET"])
@handle_errors
async def list_verdicts(req: func.HttpRequest) -> func.HttpResponse:
    """The kept verdicts, the newest first."""
    from fleetscore.operations.champions.verdicts import list_verdicts as list_kept

    return answer_json(await run_in_thread(list_kept, app_store(), _workload(req)))


@blueprint.route(route="models/{workload}/verdicts/{verdict}", methods=["GET"])
@handle_errors
async def show_verdict(req: func.HttpRequest) -> func.HttpResponse:
    """A verdict by its id, or the `newest`, with the partitions where the challenger does worst."""
    from fleetscore.operations.champions.verdict_report import describe_verdict

    wanted = str(req.route_params["verdict"])
    verdict = "" if wanted == "newest" else wanted
    limit = read_number(req, "limit", 20, 1, 10_000)
    return answer_json(await run_in_thread(describe_verdict, app_store(), _workload(req), verdict, limit))


def _workload(req: func.HttpRequest) -> str:
    from fleetscore.registry import find_workload

    return find_workload(app_store(), str(req.route_params["workload"])).name
