"""A worker that waits a minute for its telemetry: on a busy machine imports alone take the four seconds that it has."""

import runpy

import worker_image.attempt_telemetry

worker_image.attempt_telemetry.PATIENCE_S = 60.0
runpy.run_module("worker_image", run_name="__main__", alter_sys=True)
