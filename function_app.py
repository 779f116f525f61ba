"""The function app: builds the app and registers the blueprints; nothing else."""

import azure.durable_functions as df
import azure.functions as func

from activities import blueprint as activities
from orchestrators import blueprint as orchestrators
from triggers import blueprints as triggers

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
for blueprint in (activities, orchestrators, *triggers):
    app.register_functions(blueprint)
