"""The warm-up: imports what nearly every function needs, once per instance, before the first request has to
wait for it.

The local host calls it before it forks its workers. On Azure it is not registered: Flex Consumption calls
no warm-up, and functions import the same at their first call.
"""

from __future__ import annotations

import os
from importlib import import_module

import azure.durable_functions as df
import azure.functions as func

blueprint = df.Blueprint()

_NEEDED = (
    "pyarrow.acero",
    "pyarrow.compute",
    "pyarrow.parquet",
    "fleetscore.operations.notices.ended_runs",
    "fleetscore.pipeline.submit",
    "fleetscore.runs.status",
    "fleetscore.pipeline.finish",
    "fleetscore.pipeline.prepare",
    "fleetscore.pipeline.score",
    "fleetscore.pipeline.train",
)
"""No science: a workload imports its learning library when it scores."""


def warmup(context: func.warmup.WarmUpContext) -> None:
    """Import the pipeline, Arrow, the workloads' descriptions and what the store needs.

    Nothing is opened, since what is open here all local workers would share.
    """
    from fleetscore.arrow_startup import block_pandas_import
    from fleetscore.store import store_class

    block_pandas_import()
    from fleetscore.registry import load_kind, shipped_kinds
    from fleetscore.telemetry_setup import import_exporters

    for module in _NEEDED:
        import_module(module)
    for kind in shipped_kinds():
        load_kind(kind)
    import_exporters()
    store_class(os.environ.get("FLEETSCORE_STORE", ""))


# Flex Consumption calls no warm-up, and its placeholder app has a function of this very name: an app that has one too
# cannot be distinguished from the placeholder while its own functions are not listed yet.
if "WEBSITE_SITE_NAME" not in os.environ:
    blueprint.warm_up_trigger(arg_name="context")(warmup)
