"""A workload's tags on its Batch jobs, where a bill of the pool is cut by them."""

import uuid

from fleetscore.batch.interface import JobSpec, ShardTaskSpec
from tests.offload.local_app import Cloud


def test_a_jobs_metadata_has_the_run_the_workload_and_the_tags(cloud: Cloud) -> None:
    """What a JobSpec names as tags stands in the job's metadata, beside the run; submitting again finds the same job."""
    compute = cloud.compute()
    name = f"tagged-{uuid.uuid4().hex[:8]}"
    spec = JobSpec(
        name, "toy-w", "fleetscore-worker", {"FLEETSCORE_PURPOSE": "probe"}, 60.0, 120.0, 0,
        {"workload": "toy", "team": "ops"},
    )  # fmt: skip
    for _ in range(2):
        compute.submit(spec, [ShardTaskSpec("probe", {})])
    job = compute._client.get_job(name)
    assert {item.name: item.value for item in job.metadata} == {
        "run": "toy-w",
        "workload": "toy",
        "team": "ops",
    }
    compute.terminate(name, "the test is over")
