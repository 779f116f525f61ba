"""The function app: builds the app and registers the blueprints. It never raises: what does not load is
told by GET /api/health.
"""

import logging
import os

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)


def load(app: df.DFApp) -> None:
    """Register the product's functions, and check that every name that an orchestrator calls is one of them."""
    from activities import blueprint as activities
    from orchestrators import blueprint as orchestrators
    from orchestrators.calls import missing_names
    from triggers import blueprints as triggers
    from triggers.health import PROBLEMS

    for blueprint in (activities, orchestrators, *triggers):
        app.register_functions(blueprint)
    if os.environ.get("FLEETSCORE_AUTH"):
        from triggers.signed_in import blueprint as signed_in

        app.register_functions(signed_in)
    names = {builder._function.get_function_name() for builder in app._function_builders}
    PROBLEMS.extend(
        f"An orchestrator calls {name}, which is no function of the app." for name in missing_names(names)
    )


def serve_reason(app: df.DFApp, reason: str) -> None:
    """Answer 503 with the reason at the health endpoint of an app that could not be loaded."""

    @app.route(route="health", methods=["GET"])  # type: ignore[untyped-decorator]  # the SDK has no types here
    def show_health(req: func.HttpRequest) -> func.HttpResponse:
        del req
        return func.HttpResponse(f"The app did not load: {reason}", status_code=503)


try:
    load(app)
except Exception as error:  # whatever a module raises: an app that raises here shows no reason anywhere
    logging.getLogger("fleetscore.health").exception("The app did not load")
    app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
    serve_reason(app, f"{type(error).__name__}: {error}")
