"""The function app: builds the app and registers the blueprints. It never raises: what does not load is
logged and told by GET /api/health.
"""

import logging
import os

import azure.functions as func

_log = logging.getLogger("fleetscore.health")


def load() -> func.FunctionRegister:
    """The app with the product's functions; every name that an orchestrator calls was looked for among them."""
    import azure.durable_functions as df

    from activities import blueprint as activities
    from orchestrators import blueprint as orchestrators
    from orchestrators.calls import missing_names
    from triggers.blueprints import blueprints as triggers
    from triggers.health import PROBLEMS

    app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
    for blueprint in (activities, orchestrators, *triggers):
        app.register_functions(blueprint)
    if os.environ.get("FLEETSCORE_AUTH"):
        from triggers.signed_in import blueprint as signed_in

        app.register_functions(signed_in)
    names = {builder._function.get_function_name() for builder in app._function_builders}
    for name in missing_names(names):
        PROBLEMS.append(f"An orchestrator calls {name}, which is no function of the app.")
        _log.error("%s Its runs would wait for ever.", PROBLEMS[-1])
    return app


def serve_reason(reason: str) -> func.FunctionRegister:
    """An app that answers 503 with the reason at the health endpoint, and has no other function."""
    app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)

    @app.route(route="health", methods=["GET"])  # type: ignore[untyped-decorator]  # the SDK has no types here
    def show_health(req: func.HttpRequest) -> func.HttpResponse:
        del req
        return func.HttpResponse(f"The app did not load: {reason}", status_code=503)

    return app


try:
    app = load()
except Exception as error:  # whatever a module raises: an app that raises here shows no reason anywhere
    _log.exception("The app did not load")
    app = serve_reason(f"{type(error).__name__}: {error}")
