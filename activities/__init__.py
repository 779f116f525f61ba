"""Activities: one verb per file, each a thin call of the core. They import the core when first called, not
when the app loads.
"""

import azure.durable_functions as df

from activities.ask_window import ask_window
from activities.check_shards import check_shards
from activities.collect_run import collect_run
from activities.fail_run import fail_run
from activities.keep_logs import keep_logs
from activities.plan_run import plan_run
from activities.prepare_item import prepare_item
from activities.publish_run import publish_run
from activities.score_shard import score_shard
from activities.submit_shards import submit_shards

blueprint = df.Blueprint()
for verb in (
    ask_window,
    plan_run,
    prepare_item,
    score_shard,
    submit_shards,
    check_shards,
    keep_logs,
    collect_run,
    publish_run,
    fail_run,
):
    blueprint.activity_trigger(input_name="payload")(verb)
