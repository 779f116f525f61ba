"""A fresh process whose eight threads use everything for the first time at the same moment, as after a cold start on Azure.

Run: python first_use_program.py prepare STORE, which prints the jobs, then: python first_use_program.py use STORE JOBS LIFE.
It prints what failed, and how many rows each window has; LIFE chooses which window each thread takes.
"""

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Job = tuple[str, str]
THREADS = 8


def prepare(url: str) -> list[Job]:
    """Samples and models of the shipped kinds and of a fleet, two windows each."""
    from threads_program import SPANS, WINDOWS, prepare_samples

    from fleetscore.pipeline.local import run_training
    from fleetscore.store import open_store

    WINDOWS.update(dict.fromkeys(WINDOWS, 2))
    store = open_store(url)
    jobs = [
        job
        for name in ("sensor_anomaly", "store_sales", "server_load")
        for job in prepare_samples(store, name)
    ]
    for name, span in SPANS.items():
        run_training(store, name, *span)
    return jobs


def run_by_activities(job: Job) -> None:
    """Run the window through the app's activities, all of whose imports are in this thread."""
    from datetime import UTC, datetime

    from activities.collect_run import collect_run
    from activities.plan_run import plan_run
    from activities.prepare_item import prepare_item
    from activities.publish_run import publish_run
    from activities.score_shard import score_shard
    from activities.store import app_store
    from fleetscore.pipeline.submit import submit_run
    from fleetscore.runs.orchestration_inputs import run_input

    request = run_input(submit_run(app_store(), *job, datetime.now(UTC), "test").request)
    number, plan = 0, ask(plan_run, request=request, round=0)
    while plan["items"]:
        for item in range(plan["items"]):
            assert not ask(prepare_item, request=request, round=number, number=item)["error"]
        number += 1
        plan = ask(plan_run, request=request, round=number)
    for first, stop in plan["inline"]:
        for shard in range(first, stop):
            ask(score_shard, run=request["run"], shard=shard, purpose="score")
    ask(collect_run, run=request["run"], reasons={})
    ending = ask(publish_run, request=request)
    assert ending["state"] == "published", ending


def ask(activity: Callable[[dict[str, Any]], dict[str, Any]], **payload: Any) -> Any:
    """The activity's value; AssertionError where it answers an error."""
    answer = activity(payload)
    assert answer["ok"], answer["error"]
    return answer["value"]


def look(job: Job) -> None:
    """Ask what a timer, the doctor and the dashboard ask."""
    from datetime import UTC, datetime

    from activities.store import app_store
    from fleetscore.app_settings import read_app_settings
    from fleetscore.dashboard.views import ViewRequest, read_view
    from fleetscore.operations.doctor.checks import examine
    from fleetscore.operations.due.windows import submit_due
    from fleetscore.pipeline.score_rows import answer_rows

    now = datetime.now(UTC)
    submit_due(app_store(), now)
    examine(app_store(), read_app_settings(), lambda: now)
    read_view(app_store(), ViewRequest({}), now)
    row = {"ServerIP": "10.0.0.1", "SessionStartHourTime": "2016-06-29 01:00:00"}
    assert answer_rows(app_store(), "server_load", [row])["answers"], job


def import_science(job: Job) -> None:
    """Import what scores and trains, as a workload of one's own may do first; pandas is there for all of them."""
    del job
    import lightgbm.compat
    import pandas
    import sklearn.ensemble

    assert lightgbm.compat.PANDAS_INSTALLED
    frame = pandas.DataFrame({"a": [1.0, 2.0]})
    assert sklearn.ensemble.IsolationForest(n_estimators=2).fit(frame).n_features_in_ == 1


def use(url: str, jobs: list[Job], life: int) -> dict[str, Any]:
    """Do everything at once; what failed, and the rows of each window."""
    os.environ["FLEETSCORE_STORE"] = url
    import activities  # noqa: F401  # as function_app does before the first call comes

    sys.setswitchinterval(1e-6)
    barrier, failed = threading.Barrier(THREADS), []
    steps: list[Callable[[Job], None]] = [run_by_activities] * 6 + [look, import_science]

    turned = steps[life % THREADS :] + steps[: life % THREADS]
    runs = iter(jobs[life % len(jobs) :] + jobs[: life % len(jobs)])
    mine = [next(runs) if step is run_by_activities else jobs[0] for step in turned]

    def work(number: int) -> None:
        barrier.wait()
        try:
            turned[number]((mine[number][0], mine[number][1]))
        except BaseException:
            failed.append(traceback.format_exc())

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    from activities.store import app_store
    from fleetscore.runs.manifests import read_manifest

    done = [job for job, step in zip(mine, turned, strict=True) if step is run_by_activities]
    rows = (
        {" ".join(job): sum(f.rows for f in read_manifest(app_store(), *job).files) for job in done}
        if not failed
        else {}
    )
    return {"failed": failed, "rows": rows}


if __name__ == "__main__":
    _, what, place, *rest = sys.argv
    said = prepare(place) if what == "prepare" else use(place, json.loads(rest[0]), int(rest[1]))
    print(json.dumps(said))  # noqa: T201  # what this process is for
