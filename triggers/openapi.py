"""GET /api/openapi.json: the OpenAPI document of the app's own endpoints."""

import azure.durable_functions as df
import azure.functions as func

from triggers.api_document import describe_api
from triggers.http_answers import answer_json, handle_errors

blueprint = df.Blueprint()


@blueprint.route(route="openapi.json", methods=["GET"])
@handle_errors
async def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """What the app's endpoints take and answer."""
    return answer_json(describe_api())
