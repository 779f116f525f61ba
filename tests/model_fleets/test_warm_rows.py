"""The first rows of a process that was warmed up: nothing is left to import, to open or to compile."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleetscore.pipeline.warm_rows import warm_workloads
from fleetscore.store.base import Store
from tests.model_fleets.conftest import SETTINGS, fitted, pin_models
from tests.pipeline.app_host import Host, running, wait_until

_ROOT = Path(__file__).resolve().parents[2]
_FIRST_ROWS = """
import json, sys
from fleetscore.kernels.cache import COUNTS
from fleetscore.pipeline.score_rows import answer_rows
from fleetscore.pipeline.warm_rows import warm_workloads
from fleetscore.store import open_store
store = open_store(sys.argv[1])
warm = warm_workloads(store)
before, kernels = set(sys.modules), dict(COUNTS)
row = {"van_id": "VAN-1", "speed": 50, "load_kg": 300}
answers = answer_rows(store, "vans", [row])["answers"]
print(json.dumps([warm, len(answers), sorted(set(sys.modules) - before), COUNTS == kernels]))
"""


def test_first_rows_import_and_compile_nothing(store: Store) -> None:
    """After the warm-up the first mini-batch imports no module and loads no compiled code."""
    pin_models(store, {van: fitted(at) for at, van in enumerate(("VAN-0", "VAN-1"))})
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_ROWS, store.url],
        capture_output=True, text=True, cwd=_ROOT, env={**os.environ, "FLEETSCORE_WORKLOADS": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [["vans"], 1, [], True]


def test_a_fleet_that_cannot_be_opened_keeps_no_other_cold(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Damaged models, broken settings and a fleet without models are left out, the first with a line in the log."""
    pin_models(store, {"VAN-0": fitted(0)})
    for name, text in (("damaged", SETTINGS), ("broken", "kind = 1"), ("empty", SETTINGS)):
        store.write(f"settings/{name}.toml", text.encode())
    version = pin_models(store, {"VAN-0": fitted(0)}, "damaged")
    store.write(f"models/damaged/{version}/models.arrow", b"no index")
    assert warm_workloads(store) == ["vans"]
    assert [one.message for one in caplog.records if "damaged is not warm" in one.message]


def test_the_host_warms_up_by_itself(tmp_path: Path, store: Store) -> None:
    """Without a call of anybody the local host is warm soon after it started, and answers a fleet's rows."""
    pin_models(store, {"VAN-0": fitted(0)})
    with running(Host(tmp_path / "host", FLEETSCORE_STORE=store.url)) as host:
        wait_until(lambda: "warm for rows of vans" in host.log())
        answer = host.post("score/vans", {"rows": [{"van_id": "VAN-0", "speed": 50, "load_kg": 300}]})
    assert answer.status_code == 200, answer.text
