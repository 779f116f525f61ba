"""The blueprints of all triggers, which the app registers."""

from triggers.anomaly_detector_api import blueprint as anomaly_detector_api
from triggers.attention_api import blueprint as attention_api
from triggers.completions import blueprint as completions
from triggers.dashboard import blueprint as dashboard
from triggers.health import blueprint as health
from triggers.housekeeping import blueprint as housekeeping
from triggers.models_api import blueprint as models_api
from triggers.openapi import blueprint as openapi
from triggers.operate_api import blueprint as operate_api
from triggers.results_api import blueprint as results_api
from triggers.runs_api import blueprint as runs_api
from triggers.schedules import blueprint as schedules
from triggers.scoring_api import blueprint as scoring_api
from triggers.warm_scoring import blueprint as warm_scoring
from triggers.warmup import blueprint as warmup
from triggers.watch import blueprint as watch

blueprints = (
    results_api,
    runs_api,
    operate_api,
    attention_api,
    models_api,
    scoring_api,
    anomaly_detector_api,
    schedules,
    watch,
    health,
    housekeeping,
    completions,
    warmup,
    warm_scoring,
    openapi,
    dashboard,
)
