"""Orchestrators: deterministic flows, one file each. The generators are plain functions; this file
decorates them.
"""

import azure.durable_functions as df

from orchestrators.backfill import backfill, backfill_lane
from orchestrators.groups import prepare_group, score_group
from orchestrators.offload import offload
from orchestrators.run import run

blueprint = df.Blueprint()
for flow in (run, offload, score_group, prepare_group, backfill, backfill_lane):
    blueprint.orchestration_trigger(context_name="context")(flow)
