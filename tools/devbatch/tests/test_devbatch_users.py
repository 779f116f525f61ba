"""Tasks on a strange machine: another PATH, no HOME, and a fresh user each where the service runs as root."""

import json
import os
from collections.abc import Iterator

import pytest
from azure.batch import models as m

from batch_requests import client_of, completed, make_job, make_pool, task, text_of
from devbatch.process import ServiceProcess, start_service
from devbatch.users import FOREIGN_PATH

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change users")
REPORT = "import json, os; print(json.dumps([dict(os.environ), os.getuid(), os.getgroups()]))"
SHARED = "import os; f = os.environ['AZ_BATCH_NODE_SHARED_DIR'] + '/one'; "


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service with one node of four slots whose tasks run in a foreign environment."""
    options = ("--foreign-environment", "--boot-seconds", "0", "--env", "HOME=/image", "--env", "KEPT=yes")
    service = start_service(tmp_path_factory.mktemp("foreign") / "data", *options)
    yield service
    service.stop()


@pytest.fixture
def job(foreign: ServiceProcess) -> str:
    """A job on a pool with one node."""
    client = client_of(foreign)
    return make_job(client, make_pool(client, target_dedicated_nodes=1, task_slots_per_node=4))


def report(service: ServiceProcess, job: str, task_id: str) -> tuple[dict[str, str], int, list[int]]:
    """Environment, user and groups of a task that prints them."""
    completed(client_of(service), job, task_id)
    environment, user_id, groups = json.loads(text_of(client_of(service), job, task_id))
    return environment, user_id, groups


def test_path_and_home_are_not_the_services_nor_the_images(foreign: ServiceProcess, job: str) -> None:
    """PATH is a plain machine's and HOME is absent although `--env` sets it; its other variables stay."""
    client_of(foreign).create_task(job, task("t", REPORT))
    environment, _, _ = report(foreign, job, "t")
    assert (environment["PATH"], environment.get("HOME"), environment["KEPT"]) == (FOREIGN_PATH, None, "yes")


def test_settings_of_a_task_win_over_the_foreign_environment(foreign: ServiceProcess, job: str) -> None:
    """What the task itself sets is set, PATH and HOME too."""
    own = [m.EnvironmentSetting(name="HOME", value="/own"), m.EnvironmentSetting(name="PATH", value="/bin")]
    client_of(foreign).create_task(job, task("t", REPORT, environment_settings=own))
    environment, _, _ = report(foreign, job, "t")
    assert (environment["HOME"], environment["PATH"]) == ("/own", "/bin")


@as_root
def test_every_task_is_a_user_of_its_own(foreign: ServiceProcess, job: str) -> None:
    """Two tasks have two user ids, neither root nor in a group, and each owns its working directory."""
    client = client_of(foreign)
    owner = "; import pathlib; pathlib.Path('mine').touch()"
    for name in ("a", "b"):
        client.create_task(job, task(name, REPORT + owner))
    users = [report(foreign, job, name)[1] for name in ("a", "b")]
    assert len({0, *users}) == 3
    assert report(foreign, job, "a")[2] in ([], [users[0]])
    assert {client.get_task(job, name).execution_info.exit_code for name in ("a", "b")} == {0}


@as_root
def test_what_one_task_made_in_the_shared_folder_the_next_may_read_and_not_write(
    foreign: ServiceProcess, job: str
) -> None:
    """Every task may add to the node's shared folder; what is there belongs to the task that made it."""
    client = client_of(foreign)
    client.create_task(job, task("a", SHARED + "open(f, 'w').write('a')"))
    assert completed(client, job, "a").execution_info.exit_code == 0
    client.create_task(job, task("b", SHARED + "print(open(f).read(), os.access(f, os.W_OK))"))
    completed(client, job, "b")
    assert text_of(client, job, "b") == "a False\n"


@as_root
def test_a_program_that_is_not_there_is_named(foreign: ServiceProcess, job: str) -> None:
    """A program that is not in the foreign PATH fails its task before it runs."""
    client = client_of(foreign)
    client.create_task(job, m.BatchTaskCreateOptions(id="t", command_line="no-such-program"))
    assert completed(client, job, "t").execution_info.failure_info.code == "CommandProgramNotFound"
