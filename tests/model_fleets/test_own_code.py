"""Own code of a fleet: a function in fleets/ scores each partition, where settings and environment both trust it, and nowhere else."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fleetscore import partitioned
from fleetscore.app_settings import AppSettings
from fleetscore.capabilities import ScoresRows, require
from fleetscore.errors import InputError, ModelError, SettingsError
from fleetscore.fleet.store_fleet import Fleet
from fleetscore.models.importers.runtime_libraries import own_requirements
from fleetscore.models.pins import read_pins
from fleetscore.models.trust import TRUSTED
from fleetscore.operations.doctor.checks import examine
from fleetscore.pipeline.collect import collect_run
from fleetscore.pipeline.finish import finish_run
from fleetscore.pipeline.local import run_window
from fleetscore.pipeline.offload import worker_environment
from fleetscore.pipeline.plan import commit_plan
from fleetscore.pipeline.score import score_shard
from fleetscore.pipeline.submit import submit_run
from fleetscore.records import RunState, to_json
from fleetscore.registry import find_workload, get_workload
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.runs.plans import read_shard_plans
from fleetscore.store.base import Store
from fleetscore.workloads.models.own_answers import fit_answer
from fleetscore.workloads.models.own_code import TYPES
from tests.model_fleets.conftest import FEATURES, SETTINGS, fitted, pin_models, telemetry, write_rows

pytestmark = pytest.mark.usefixtures("shared_import_process")
ROOT = Path(__file__).parents[2]
WINDOW = "2026-11-21"
VANS = [f"VAN-{n}" for n in range(1, 7)]
OWN = (
    SETTINGS.replace('output = "kwh"', 'score = "vans_code:predict"\ntrusted = true')
    + "[run]\nerror_threshold = 0.5\n"
)
CODE = """
from fleetscore import partitioned

@partitioned(output={"kwh": "float64", "rows_seen": "int64", "band": "string"})
def predict(rows, model):
    if rows.van_id.iloc[0] == "VAN-3":
        raise ValueError("no route\\nis known for VAN-3")
    kwh = model.predict(rows[["speed", "load_kg"]])
    return rows.assign(kwh=kwh, rows_seen=len(rows), band=["high" if one > 0.3 else "low" for one in kwh])
"""


@pytest.fixture
def write_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Write fleets/vans_code.py into a folder of its own that comes first on the path; gives that folder."""
    folder = tmp_path / "app"

    def write(text: str, name: str = "vans_code") -> Path:
        (folder / "fleets").mkdir(parents=True, exist_ok=True)
        (folder / "fleets" / f"{name}.py").write_text(textwrap.dedent(text))
        return folder

    monkeypatch.syspath_prepend(str(folder))
    _forget()
    yield write
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name == "fleets" or name.startswith("fleets.")]:
        del sys.modules[name]


@pytest.fixture
def own(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store with settings that name and trust own code, in a trusting environment, with rows and a model for each van."""
    monkeypatch.setenv(TRUSTED, "others, vans")
    store.write("settings/vans.toml", OWN.encode())
    write_rows(store, telemetry(VANS))
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS)})
    return store


def causes(store: Store, run: str) -> dict[str, tuple[str, str, str]]:
    """Partition -> outcome, cause, detail."""
    return {
        r["partition"]: (r["outcome"], r["cause"], r["detail"]) for r in read_ledger(store, run).to_pylist()
    }


def published(store: Store) -> pd.DataFrame:
    """The published rows."""
    frame = read_results(store, read_manifest(store, "vans", WINDOW)).to_pandas()
    return frame.sort_values(["van_id", "recorded_at"], ignore_index=True)


def test_the_function_scores_each_partition_and_a_raising_one_fails_alone(
    own: Store, write_code: Callable[[str], Path]
) -> None:
    """Each van's rows with its own model; types are as declared; the ledger has the exception's last line and place in the code."""
    write_code(CODE)
    record = run_window(own, "vans", WINDOW)
    assert record.counts == {"scored": 5, "failed": 1}
    outcome, cause, detail = causes(own, record.request.run)["VAN-3"]
    assert (outcome, cause) == ("failed", "own_code_failed")
    assert "ValueError: no route is known for VAN-3 (fleets/vans_code.py, line 7)" in detail
    found = published(own)
    assert list(found.columns) == ["van_id", "recorded_at", "depot", "kwh", "rows_seen", "band", "model_key"]
    assert (found.rows_seen.dtype, set(found.rows_seen), set(found.band)) == (np.int64, {20}, {"high", "low"})
    frame = telemetry(VANS)
    for at, van in enumerate(VANS):
        if van != "VAN-3":
            expected = fitted(at).predict(frame[frame.van_id == van][FEATURES])
            np.testing.assert_allclose(found[found.van_id == van].kwh, expected, rtol=1e-12)


@pytest.mark.parametrize("lacking", ["settings", "environment"])
def test_nothing_runs_where_only_one_side_trusts(
    own: Store,
    write_code: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    lacking: str,
    tmp_path: Path,
) -> None:
    """The module is not even imported; plan, ledger, rows over HTTP and doctor say what is missing and what to do."""
    mark = tmp_path / "ran"
    write_code(f"open({str(mark)!r}, 'w').close()\n" + textwrap.dedent(CODE))
    if lacking == "settings":
        own.write("settings/vans.toml", OWN.replace("trusted = true", "").encode())
    else:
        monkeypatch.setenv(TRUSTED, "vans2")
    said = "trusted = true" if lacking == "settings" else f"{TRUSTED} does not name vans"
    record = run_window(own, "vans", WINDOW)
    assert (record.state, record.counts) == (RunState.UNPUBLISHED, {"failed": 6})
    _, cause, detail = causes(own, record.request.run)["VAN-1"]
    assert (cause, said in detail) == ("untrusted_code", True)
    assert said in " ".join(Fleet(own.url).plan("vans", WINDOW).head.remarks)
    rows = require(get_workload(own, "vans"), ScoresRows)
    with pytest.raises(ModelError) as caught:
        rows.score_rows(own, read_pins(own, "vans"), [{"van_id": "VAN-1", "speed": 1, "load_kg": 2}])
    assert caught.value.code == "untrusted_code"
    findings = examine(own, AppSettings(), lambda: datetime.now(UTC)).findings
    mine = [one for one in findings if one.state == "wrong" and one.detail.startswith("vans:")]
    assert any(said in one.detail for one in mine)
    assert any(TRUSTED in one.fix for one in mine)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_package", "fleets/vans_code.py needs the module no_such_package"),
        ("x = ", "fleets/vans_code.py cannot be imported: SyntaxError"),
        ("def predict(rows, model): return rows", "which is no function decorated with @partitioned"),
        ("predicts = 1", "fleets/vans_code.py has no predict"),
        ("import math; math.tua", "fleets/vans_code.py cannot be imported: AttributeError: module 'math'"),
        ("raise SystemExit(3)", "fleets/vans_code.py cannot be imported: SystemExit: 3"),
        ("import fleets.routes", "imports fleets.routes, but there is no fleets/routes.py here"),
        (None, "there is no fleets/vans_code.py here"),
    ],
)
def test_code_that_cannot_be_loaded_costs_its_workload_with_the_reason(
    own: Store, write_code: Callable[[str], Path], code: str | None, said: str
) -> None:
    """The workload is broken and says why; nothing of it is worth a retry."""
    write_code(code or "", "vans_code" if code is not None else "others")
    assert said in find_workload(own, "vans").reason
    with pytest.raises(SettingsError) as caught:
        run_window(own, "vans", WINDOW)
    assert not caught.value.retry


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("rows.assign(kwh='much')", "'kwh' is str in the function's table and declared as float64"),
        (
            "rows.assign(kwh=1.5, count=1.5)",
            "'count' is float64 in the function's table and declared as int64",
        ),
        ("rows.assign(kwh=1.0)[['kwh', 'depot']]", "lacks the column 'count'; it has 'kwh', 'depot'."),
        ("rows.assign(kwh=1.0, count=1).head(3)", "got 20 rows and returned 3"),
        ("7", "returned a int, not a table"),
        ("None", "returned a NoneType, not a table"),
        ("rows.assign(kwh=float('nan'), count=1)", "not finite numbers"),
    ],
)
def test_a_table_that_is_not_as_declared_is_the_partitions_failure(
    own: Store, write_code: Callable[[str], Path], returned: str, said: str
) -> None:
    """The message names the column and both types, or what else does not fit."""
    write_code(
        f"""
        from fleetscore import partitioned

        @partitioned(output={{"kwh": "float64", "count": "int64"}})
        def predict(rows, model):
            return {returned}
        """
    )
    record = run_window(own, "vans", WINDOW)
    outcome, _, detail = causes(own, record.request.run)["VAN-1"]
    assert outcome == "failed"
    assert said in detail


ROWS = pd.DataFrame({"a": [1.0, 2.0, 3.0]})
FITTING = [
    (ROWS.sort_values("a", ascending=False), "float64", [1.0, 2.0, 3.0]),
    (ROWS.a.sort_values(ascending=False), "float64", [1.0, 2.0, 3.0]),
    (ROWS.assign(a=[2, 0, 1]).set_index("a", drop=False), "int64", [2, 0, 1]),
    (ROWS.set_index(pd.Index([7, 7, 8])), "float64", [1.0, 2.0, 3.0]),
    (ROWS.assign(a=[0, 1, None]), "bool", [False, True, None]),
    (ROWS.assign(a=[True, False, True]), "float64", [1.0, 0.0, 1.0]),
    (ROWS.assign(a=np.array([0.5, 1, 2], np.float16)), "float32", [0.5, 1.0, 2.0]),
    (pa.record_batch({"a": [1.0, 2.0, 3.0]}), "float64", [1.0, 2.0, 3.0]),
    (pa.table([[1.0] * 3, [2.0] * 3, [3.0] * 3], ["a", "b", "b"]), "float64", [1.0] * 3),
]
NOT_FITTING = [
    (ROWS, "bool", "only 0 and 1 are bool"),
    (ROWS.assign(a=[0, 1, 5]), "bool", "only 0 and 1 are bool"),
    (ROWS.assign(a=[1, 2, 3]), "timestamp", "numbers and times are not mixed"),
    (ROWS.assign(a=pd.Timestamp("2026-01-01")), "int64", "times and numbers are not mixed"),
    (ROWS.assign(a=pd.Timedelta(1, "s")), "int64", "are not mixed"),
    (ROWS.assign(a=1e300), "float32", "too large for float"),
    ({"a": [2**70] * 3}, "int64", "too large"),
    ({"a": {1.0, 2.0, 3.0}}, "float64", "a set has no order"),
    ({"b": [1.0]}, "float64", "lacks the column 'a'; it has 'b'"),
    (pd.DataFrame({"A": [1.0] * 3, 7: 0, "n" * 99: 0}), "float64", "it has 'A', '7', 'n{60}'[.]"),
    (pd.DataFrame(0.0, index=range(3), columns=range(40)), "float64", "'11' and 28 more"),
    (pa.table({}), "float64", "it has none"),
    (pd.DataFrame([[1.0, 2.0]] * 3, columns=["a", "a"]), "float64", "has 2 columns 'a'"),
    (pa.table([[1.0] * 3, [2.0] * 3], ["a", "a"]), "float64", "has 2 columns 'a'"),
]


@pytest.mark.parametrize(("answer", "kind", "values"), FITTING)
def test_answers_keep_the_order_of_the_rows_and_their_meaning(
    answer: Any, kind: str, values: list[Any]
) -> None:
    """Rows that pandas sorted are matched by their index; only what has the declared meaning is cast."""
    schema = pa.schema([("a", TYPES[kind])])
    assert fit_answer(answer, schema, 3)["a"].to_pylist() == values


@pytest.mark.parametrize(("answer", "kind", "said"), NOT_FITTING)
def test_no_answer_is_cast_to_another_meaning_or_costs_other_partitions(
    answer: Any, kind: str, said: str
) -> None:
    """Each is a misfit of its column, never a value that was not returned and never another exception."""
    schema = pa.schema([("a", TYPES[kind])])
    with pytest.raises(ModelError, match=said) as caught:
        fit_answer(answer, schema, 3)
    assert (caught.value.code, caught.value.field) == ("own_code_output", "a")


def test_an_error_that_is_no_exception_costs_its_partition_alone(
    own: Store, write_code: Callable[[str], Path]
) -> None:
    """What ends programs elsewhere (a cancelled task, SystemExit, a class of its own) is one partition's failure, in any thread."""
    write_code(
        """
        import asyncio
        from fleetscore import partitioned

        class Stop(BaseException):
            pass

        KINDS = {"VAN-1": asyncio.CancelledError, "VAN-2": SystemExit, "VAN-3": Stop, "VAN-4": KeyboardInterrupt}

        @partitioned(output={"kwh": "float64"})
        def predict(rows, model):
            if rows.van_id.iloc[0] in KINDS:
                raise KINDS[rows.van_id.iloc[0]]("enough")
            return rows.assign(kwh=1.0)
        """
    )
    with ThreadPoolExecutor(1) as pool:  # as an app calls it; in the main thread KeyboardInterrupt is Ctrl-C
        record = pool.submit(run_window, own, "vans", WINDOW).result()
    found = causes(own, record.request.run)
    assert {van for van in VANS if found[van][1] == "own_code_failed"} == set(VANS[:4])
    assert "Stop: enough" in found["VAN-3"][2]
    assert {found[van][0] for van in VANS[4:]} == {"scored"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked on this system")
@pytest.mark.parametrize("ends", ["raise ValueError('the child')", "return rows"])
def test_a_process_that_the_code_forks_never_scores_on(
    own: Store, write_code: Callable[[str], Path], tmp_path: Path, ends: str
) -> None:
    """A forked child in which the function raises or returns ends there; its parent's answer is published."""
    children = tmp_path / "children"
    write_code(
        f"""
        import os
        from fleetscore import partitioned

        @partitioned(output={{"kwh": "float64"}})
        def predict(rows, model):
            child = os.fork()
            if child == 0:
                {ends}
            with open({str(children)!r}, "a") as file:
                file.write(f"{{os.getpid()}} {{os.waitpid(child, 0)[1] >> 8}}\\n")
            return rows.assign(kwh=1.0)
        """
    )
    record = run_window(own, "vans", WINDOW)
    assert record.state is RunState.PUBLISHED
    assert set(published(own)["kwh"]) == {1.0}
    parents = [line.split() for line in children.read_text().splitlines()]
    assert parents == [[str(os.getpid()), "1"]] * len(VANS)


def test_arrow_tables_and_partitions_without_a_model(own: Store, write_code: Callable[[str], Path]) -> None:
    """With rows="arrow" the function gets an Arrow table; a van without a model is called with None and is not skipped."""
    write_code(
        """
        import pyarrow.compute as pc
        from fleetscore import partitioned

        @partitioned(output={"kwh": "float32"}, rows="arrow")
        def predict(rows, model):
            assert rows["recorded_at"].type.tz == "UTC"
            return rows.append_column("kwh", pc.multiply(rows["speed"], 0.0 if model is None else 1.0))
        """
    )
    write_rows(own, telemetry([*VANS, "VAN-99"]))
    assert run_window(own, "vans", WINDOW).counts == {"scored": 7}
    found = published(own)
    assert found.kwh.dtype == np.float32
    assert (found[found.van_id == "VAN-99"].kwh == 0).all()
    assert (found[found.van_id == "VAN-1"].kwh > 0).all()


def test_rows_are_answered_at_once_by_the_function(own: Store, write_code: Callable[[str], Path]) -> None:
    """Rows of one van come to the function together, and the answers keep the order of the rows."""
    write_code(CODE)
    rows: list[dict[str, Any]] = [
        {"van_id": van, "speed": speed, "load_kg": 10}
        for van, speed in (("VAN-2", 1), ("VAN-1", 2), ("VAN-2", 3))
    ]
    kind = require(get_workload(own, "vans"), ScoresRows)
    found = kind.score_rows(own, read_pins(own, "vans"), rows)
    assert [one["rows_seen"] for one in found] == [2, 1, 2]
    assert [one["model_key"] for one in found] == ["VAN-2", "VAN-1", "VAN-2"]
    assert found[0]["kwh"] < found[2]["kwh"]
    with pytest.raises(ModelError, match=r"Row 0: .*VAN-3"):
        kind.score_rows(own, read_pins(own, "vans"), [{"van_id": "VAN-3", "speed": 1, "load_kg": 2}])


def test_rows_with_numbers_as_keys_are_answered_without_any_model(
    store: Store, monkeypatch: pytest.MonkeyPatch, write_code: Callable[[str], Path]
) -> None:
    """A function that needs no model gets the key as text."""
    monkeypatch.setenv(TRUSTED, "vans")
    store.write("settings/vans.toml", OWN.encode())
    write_code(
        """
        from fleetscore import partitioned

        @partitioned(output={"kwh": "float64"})
        def predict(rows, model):
            return rows.van_id.str.len().astype(float)
        """
    )
    kind = require(get_workload(store, "vans"), ScoresRows)
    found = kind.score_rows(store, read_pins(store, "vans"), [{"van_id": 70, "speed": 1, "load_kg": 2}])
    assert [(one["kwh"], one["model_key"]) for one in found] == [(2.0, "")]


def test_pickles_of_any_object_are_imported_for_own_code(
    own: Store, write_code: Callable[[str], Path], tmp_path: Path
) -> None:
    """A pickled dictionary stays the object that it is; without --trust-pickles it is refused."""
    folder = tmp_path / "pickles"
    folder.mkdir()
    for at, van in enumerate(VANS):
        (folder / f"{van}.pkl").write_bytes(pickle.dumps({"factor": float(at)}))
    write_code(
        """
        from fleetscore import partitioned

        @partitioned(output={"kwh": "float64", "van": "string"})
        def predict(rows, model):
            return rows.assign(kwh=rows.speed * model["factor"], van="x")
        """
    )
    fleet = Fleet(own.url)
    with pytest.raises(ModelError, match="runs code in it"):
        fleet.import_fleet("vans", folder)
    fleet.store_import("vans", fleet.import_fleet("vans", folder, trusted=True), folder)
    assert run_window(own, "vans", WINDOW).counts == {"scored": 6}
    found, frame = published(own), telemetry(VANS)
    for at, van in enumerate(VANS):
        np.testing.assert_array_equal(
            found[found.van_id == van].kwh, frame[frame.van_id == van].speed.to_numpy() * at
        )
    checked = fleet.check("vans")
    assert checked.scored == 6
    assert checked.results.keys() == {"kwh"}  # texts have no range


def _run(store: Store, app: Path, offloaded: int) -> pd.DataFrame:
    """The rows of a run whose first so many shards are scored by workers as Batch starts them, the others here."""
    now = datetime.now(UTC)
    request = submit_run(store, "vans", WINDOW, now, "test").request
    head = commit_plan(store, request, AppSettings(inline_memory_bytes=10_000), now)
    shards = read_shard_plans(store, head)
    assert len(shards) >= 3
    placed = [replace(s, placement="batch" if s.shard < offloaded else "inline") for s in shards]
    store.write(head.shard_list, to_json(placed))
    for shard in placed:
        if shard.placement == "batch":
            _work(store, app, request.run, shard.shard)
        else:
            score_shard(store, request.run, shard.shard)
    collect_run(store, request.run)
    finish_run(store, request, now)
    return published(store)


def _work(store: Store, app: Path, run: str, shard: int) -> None:
    environment = {
        "PATH": "/usr/bin:/bin", "PYTHONPATH": f"{app}:{ROOT}", "FLEETSCORE_STORE": store.url, "FLEETSCORE_RUN": run,
        "FLEETSCORE_SHARD": str(shard), "FLEETSCORE_PURPOSE": "score", TRUSTED: "vans",
    }  # fmt: skip
    command = [sys.executable, "-m", "worker_image"]
    done = subprocess.run(command, cwd=app, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 10), done.stdout + done.stderr


@pytest.mark.slow
def test_the_same_code_gives_the_same_rows_inline_on_the_worker_and_mixed(
    own: Store, write_code: Callable[[str], Path]
) -> None:
    """All shards here, all on workers as Batch starts them, and some of each publish equal rows."""
    app = write_code(CODE)
    tables = []
    for offloaded in (0, 1, 99):
        for entry in list(own.list("runs/")) + list(own.list("results/")) + list(own.list("index/")):
            own.delete(entry.path)
        tables.append(_run(own, app, offloaded))
    assert len(tables[0]) == 100
    pd.testing.assert_frame_equal(tables[0], tables[1])
    pd.testing.assert_frame_equal(tables[0], tables[2])


def test_a_worker_without_the_module_gives_up_at_once_and_names_it(
    own: Store, write_code: Callable[[str], Path], tmp_path: Path
) -> None:
    """Exit code 20, which Batch does not retry, and the module in the log."""
    write_code(CODE)
    now = datetime.now(UTC)
    request = submit_run(own, "vans", WINDOW, now, "test").request
    commit_plan(own, request, AppSettings(), now)
    empty = tmp_path / "empty"
    (empty / "fleets").mkdir(parents=True)
    (empty / "fleets" / "vans_code.py").write_text("import no_such_package\n")
    environment = {
        "PATH": "/usr/bin:/bin", "PYTHONPATH": f"{empty}:{ROOT}", "FLEETSCORE_STORE": own.url, "FLEETSCORE_RUN": request.run,
        "FLEETSCORE_SHARD": "0", TRUSTED: "vans",
    }  # fmt: skip
    command = [sys.executable, "-m", "worker_image"]
    done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 20, done.stdout + done.stderr
    assert "needs the module no_such_package" in done.stdout


def test_models_kept_in_their_library_score_only_where_trusted(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A model that no pack takes is kept as its pickle: failed with what to do, and scored by its library once both sides trust it."""
    from sklearn.gaussian_process import GaussianProcessRegressor

    x = telemetry(["a"], rows=30)[FEATURES]
    model = GaussianProcessRegressor().fit(x, x.speed)
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "VAN-1.pkl").write_bytes(pickle.dumps(model))
    write_rows(store, telemetry(["VAN-1"]))
    fleet = Fleet(store.url)
    imported = fleet.import_fleet("vans", folder, trusted=True)
    if imported.draft.card["families"] != {"library": 1}:
        pytest.skip(f"a pack takes it here: {imported.draft.card['families']}")
    fleet.store_import("vans", imported, folder)
    record = run_window(store, "vans", WINDOW)
    assert causes(store, record.request.run)["VAN-1"][1] == "untrusted_pickle"
    assert "1 models are kept as pickles; they may not run here" in " ".join(
        fleet.plan("vans", WINDOW).head.remarks
    )
    store.write(
        "settings/vans.toml", SETTINGS.replace('output = "kwh"', 'output = "kwh"\ntrusted = true').encode()
    )
    monkeypatch.setenv(TRUSTED, "vans")
    assert run_window(store, "vans", "2026-11-22").counts == {"late": 1}
    retried = Fleet(store.url).retry(record.request.run)
    assert retried.record.counts == {"scored": 1}
    expected = model.predict(telemetry(["VAN-1"])[FEATURES])
    np.testing.assert_allclose(published(store).kwh, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("nulls", "what", "state", "first"),
    [
        ("", "", RunState.UNPUBLISHED, ("failed", "result_not_finite")),
        ("nulls = 0.3", "", RunState.PUBLISHED, ("scored", "")),
        ("nulls = 0.01", "stop", RunState.UNPUBLISHED, ("scored", "")),
        ("nulls = 0.2", "partition", RunState.UNPUBLISHED, ("failed", "unexpected_result")),
        ("nulls = 0.25", "remark", RunState.PUBLISHED, ("scored", "")),
    ],
)
def test_results_may_be_missing_to_the_share_that_the_settings_name(
    own: Store,
    write_code: Callable[[str], Path],
    nulls: str,
    what: str,
    state: RunState,
    first: tuple[str, str],
) -> None:
    """Without `nulls` a missing result fails its partition; with it, more than that share is what the check finds."""
    write_code(
        """
        from fleetscore import partitioned

        @partitioned(output={"kwh": "float64"})
        def predict(rows, model):
            lacks = (rows.van_id == "VAN-1") & (rows.index % 4 == 0)  # 5 of 20
            return rows.assign(kwh=rows.speed.mask(lacks))
        """
    )
    check = f"[expect.results.kwh]\n{nulls}\n" + (f'what = "{what}"\n' if what else "")
    settings = own.read("settings/vans.toml").decode().replace("threshold = 0.5", "threshold = 0")
    own.write("settings/vans.toml", (settings + check).encode())
    record = run_window(own, "vans", WINDOW)
    assert record.state is state, record.error
    assert causes(own, record.request.run)["VAN-1"][:2] == first
    if state is RunState.PUBLISHED:
        assert published(own).kwh.isna().sum() == 5


def test_an_expectation_of_a_column_without_numbers_is_refused(
    own: Store, write_code: Callable[[str], Path]
) -> None:
    """A range of a text would be compared with no number; the column and its type are named."""
    write_code(CODE)
    settings = own.read("settings/vans.toml").decode() + "[expect.results.band]\nrange = [0, 1]\n"
    own.write("settings/vans.toml", settings.encode())
    assert "expect.results checks numbers, and band is string" in find_workload(own, "vans").reason


def test_a_declaration_with_unknown_types_is_refused() -> None:
    """The known types are listed; at least one column has to be declared."""
    with pytest.raises(InputError, match="known type"):
        partitioned(output={"kwh": "decimal"})  # type: ignore[dict-item]  # what is tested
    with pytest.raises(InputError, match="at least one column"):
        partitioned(output={})


def test_requirements_of_ones_own_are_known_by_their_plain_names(tmp_path: Path) -> None:
    """Versions, extras, comments and spelling do not matter."""
    assert own_requirements(tmp_path) == set()
    (tmp_path / "fleets").mkdir()
    (tmp_path / "fleets" / "requirements.txt").write_text(
        "# own\nXGBoost_CPU>=3\nholidays[all]==1 ; python_version>'3'\n"
    )
    assert own_requirements(tmp_path) == {"xgboost-cpu", "holidays"}


def test_workers_of_batch_are_told_what_the_app_trusts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable goes along with each task, and is not there where it is not set."""
    monkeypatch.setenv(TRUSTED, "vans")
    assert worker_environment(AppSettings(), "vans-1", "score")[TRUSTED] == "vans"
    monkeypatch.delenv(TRUSTED)
    assert TRUSTED not in worker_environment(AppSettings(), "vans-1", "score")
