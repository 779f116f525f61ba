"""Champion and challenger: the shadow costs the champion nothing, verdicts are right and kept, promotion says why."""

import json
import multiprocessing
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from app_host import Host
from hypothesis import given
from hypothesis import strategies as st
from rated_workload import write_factor
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.cli.program import run_command
from fleetscore.errors import InputError, ModelError
from fleetscore.models.pins import pin_challenger, pin_version, read_pins, replay_changes, version_before
from fleetscore.operations.champions.promotion import promote, promote_where_better, roll_back
from fleetscore.operations.champions.verdicts import (
    combine,
    decide,
    judge_challenger,
    list_verdicts,
    read_verdict_table,
)
from fleetscore.pipeline.collect import collect_run
from fleetscore.pipeline.finish import finish_run
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.plan import commit_plan
from fleetscore.pipeline.score import score_shard
from fleetscore.pipeline.submit import submit_retry, submit_run
from fleetscore.records import Only
from fleetscore.registry import EXTRA_WORKLOADS
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.runs.run_records import record_planned
from fleetscore.schemas import JUDGED
from fleetscore.store import open_store
from fleetscore.store.base import Store

NOW = datetime(2026, 1, 2, tzinfo=UTC)
WINDOW = "2026-01-01T00"
SMALL = AppSettings(inline_shard_s=3.0)


@pytest.fixture(autouse=True)
def rated(monkeypatch: pytest.MonkeyPatch, toy: None) -> None:
    """The toy workload whose models matter."""
    monkeypatch.setenv(EXTRA_WORKLOADS, "toy=rated_workload:Rated")


@pytest.fixture
def champion(store: Store) -> str:
    """The version of factor 2, pinned, over a window of ten partitions."""
    write_lines(store, WINDOW, [(f"p{i}", 10 * i, "ok") for i in range(10)])
    version = write_factor(store, "2")
    pin_version(store, "toy", version)
    return version


def published(store: Store) -> list[tuple[str, int]]:
    """The published rows, sorted."""
    table = read_results(store, read_manifest(store, "toy", WINDOW))
    return sorted(zip(table["partition"].to_pylist(), table["doubled"].to_pylist(), strict=True))


def write_actuals(store: Store, factor: float) -> None:
    """What really came: values times that factor."""
    store.write(
        f"actuals/{WINDOW}.csv", "".join(f"p{i},{int(10 * i * factor)}\n" for i in range(10)).encode()
    )


EXPECTED = sorted((f"p{i}", 20 * i) for i in range(10))


@pytest.mark.parametrize("factor", ["3", "raise"])
def test_a_challenger_changes_nothing_that_is_published(store: Store, champion: str, factor: str) -> None:
    """Good or broken, the manifest lists the champion's files and rows only; the record counts the champion's models only."""
    pin_challenger(store, "toy", write_factor(store, factor))
    record = run_window(store, "toy", WINDOW, SMALL)
    manifest = read_manifest(store, "toy", WINDOW)
    assert (published(store), dict(record.models)) == (EXPECTED, {champion: 10})
    assert not [f.path for f in manifest.files if "challenger" in f.path]
    shadows = [e.path for e in store.list("runs/") if e.path.endswith("challenger.parquet")]
    assert bool(shadows) == (factor == "3")


def _score_all(url: str, run: str, shards: int) -> None:
    for shard in range(shards):
        score_shard(open_store(url), run, shard)


def test_a_challenger_that_kills_its_process_costs_the_champion_nothing(store: Store, champion: str) -> None:
    """Every process dies of the challenger after one shard; after as many tries the run is published whole."""
    pin_challenger(store, "toy", write_factor(store, "kill"))
    asked = submit_run(store, "toy", WINDOW, NOW, "direct")
    head = commit_plan(store, asked.request, SMALL, NOW)
    record_planned(store, head, NOW)
    codes = []
    for _ in range(head.shards + 1):
        process = multiprocessing.get_context("fork").Process(
            target=_score_all, args=(store.url, head.request.run, head.shards)
        )
        process.start()
        process.join()
        codes.append(process.exitcode)
    assert codes == [-9] * head.shards + [0]
    collect_run(store, head.request.run)
    finish_run(store, head.request, NOW)
    assert published(store) == EXPECTED


def test_a_verdict_says_who_was_nearer_to_what_came(store: Store, champion: str) -> None:
    """Actuals of factor 3: the challenger of factor 3 wins everywhere but where both say zero, and the verdict is kept as it was given."""
    challenger = write_factor(store, "3")
    pin_challenger(store, "toy", challenger)
    run_window(store, "toy", WINDOW, SMALL)
    with pytest.raises(InputError, match="can be compared"):
        judge_challenger(store, "toy", WINDOW, "2026-01-01T01", NOW, "me")
    write_actuals(store, 3)
    verdict = judge_challenger(store, "toy", WINDOW, "2026-01-01T05", NOW, "me")
    assert (verdict.champion_loss, verdict.challenger_loss, verdict.change) == (45.0, 0.0, -1.0)
    assert (verdict.promote, dict(verdict.wins), verdict.windows) == (
        True,
        {"same": 1, "challenger": 9},
        (WINDOW,),
    )
    assert list_verdicts(store, "toy") == [verdict]
    rows = {row["partition"]: row for row in read_verdict_table(store, verdict).to_pylist()}
    assert rows["p4"] == {
        "partition": "p4",
        "champion": 40.0,
        "challenger": 0.0,
        "cases": 10,
        "better": "challenger",
        "windows": 1,
        "certain": False,
    }
    pins = promote(store, "toy", "", "me", "")
    assert (pins.current, pins.challenger) == (challenger, "")
    assert verdict.id in pins.history[-1].why
    assert roll_back(store, "toy", "me", "").current == champion


def test_a_worse_challenger_is_not_recommended(store: Store, champion: str) -> None:
    """Actuals of factor 2: keep the champion."""
    pin_challenger(store, "toy", write_factor(store, "3"))
    run_window(store, "toy", WINDOW, SMALL)
    write_actuals(store, 2)
    verdict = judge_challenger(store, "toy", WINDOW, "2026-01-01T01", NOW, "me")
    assert (verdict.promote, verdict.reason) == (False, "It is not better in all.")


def test_only_partitions_with_shadow_results_are_compared_over_rounds(store: Store, champion: str) -> None:
    """A first round without a challenger and a second with one for some partitions: only those are judged."""
    run_window(store, "toy", WINDOW, SMALL)
    pin_challenger(store, "toy", write_factor(store, "3"))
    asked = submit_retry(store, f"toy-{WINDOW}", NOW, "direct", only=Only.ALL, partitions=("p3",))
    execute(store, asked.request, SMALL)
    write_actuals(store, 3)
    verdict = judge_challenger(store, "toy", WINDOW, "2026-01-01T01", NOW, "me")
    judged = read_verdict_table(store, verdict)["partition"].to_pylist()
    assert "p3" in judged
    assert len(judged) < 10


def test_promotion_where_better_pins_only_what_is_better_beyond_noise(
    store: Store, champion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over four windows: those always better are pinned in one change; one that is better half the time, and the worse, are not."""
    challenger = write_factor(store, "3")
    pin_challenger(store, "toy", challenger)
    windows = [f"2026-01-01T{hour:02d}" for hour in range(4)]
    for at, window in enumerate(windows):
        write_lines(store, window, [(f"p{i}", 10 * i, "ok") for i in range(1, 10)])
        run_window(store, "toy", window, SMALL)
        nearer = {i: 3 if i <= 3 or (i == 4 and at != 0) else 2 for i in range(1, 10)}
        lines = "".join(f"p{i},{10 * i * factor}\n" for i, factor in nearer.items())
        store.write(f"actuals/{window}.csv", lines.encode())
        if at == 1:
            judge_challenger(store, "toy", windows[0], "2026-01-01T02", NOW, "me")
            with pytest.raises(InputError, match="better beyond noise for none of 9"):
                promote_where_better(store, "toy", "", "me", "")
    judge_challenger(store, "toy", windows[0], "2026-01-01T04", NOW, "me")
    assert run_command(["models", "promote", "toy", "--where", "better", "--store", store.url]) == 0
    assert f"{challenger} scores 3 partitions; {champion} is current" in capsys.readouterr().out
    pins = read_pins(store, "toy")
    assert pins.partitions == dict.fromkeys(("p1", "p2", "p3"), challenger)
    assert (pins.current, pins.version_for("p4"), version_before(pins)) == (champion, champion, "")
    assert replay_changes(pins.history) == pins
    assert "better beyond noise for 3 of 9" in pins.history[-1].why
    with pytest.raises(InputError, match="no verdict on"):
        promote_where_better(store, "toy", champion, "me", "")


def test_the_champion_cannot_challenge_itself_and_history_keeps_the_roles_apart(
    store: Store, champion: str
) -> None:
    """Naming the champion is refused; a challenger's coming and going moves no rollback."""
    with pytest.raises(InputError, match="champion"):
        pin_challenger(store, "toy", champion)
    with pytest.raises(ModelError):
        pin_challenger(store, "toy", "ghost")
    pin_challenger(store, "toy", write_factor(store, "3"))
    pins = pin_challenger(store, "toy", "")
    assert version_before(pins) == ""
    assert [change.role for change in pins.history] == ["champion", "challenger", "challenger"]


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcd"), st.tuples(st.floats(0, 9), st.floats(0, 9), st.integers(1, 5)), min_size=1),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_losses_over_windows_are_weighted_by_cases(
    windows: list[dict[str, tuple[float, float, int]]],
) -> None:
    """The combined loss of a partition is that of all its cases together, recomputed one by one."""
    pairs = []
    for window in windows:
        keys = sorted(window)
        cases = [window[k][2] for k in keys]
        pairs.append(
            tuple(
                pa.table(
                    [pa.array(keys), pa.array([window[k][who] for k in keys]), pa.array(cases)], schema=JUDGED
                )
                for who in (0, 1)
            )
        )
    for row in combine(pairs).to_pylist():
        mine = [window[row["partition"]] for window in windows if row["partition"] in window]
        weights = [case for _, _, case in mine]
        assert row["champion"] == pytest.approx(np.average([loss for loss, _, _ in mine], weights=weights))
        assert row["challenger"] == pytest.approx(np.average([loss for _, loss, _ in mine], weights=weights))
        assert row["cases"] == sum(weights)


def test_few_cases_decide_nothing() -> None:
    """However much better it looks."""
    assert not decide(100.0, 0.0, 29, {"challenger": 3}).promote
    assert decide(100.0, 0.0, 30, {"challenger": 3}).promote


def test_models_over_http_and_from_the_command_line(
    host: Host, host_store: Store, command: Callable[..., tuple[int, str]]
) -> None:
    """List, show, pin, promote, roll back, challenge; every change is in the history with the name given; wrong versions are refused."""
    first, second = write_factor(host_store, "2"), write_factor(host_store, "3")
    assert host.post("models/toy/pin", {"version": first}).json()["current"] == first
    assert host.post("models/toy/challenger", {"version": second}).json()["challenger"] == second
    listed = host.get("models/toy")
    assert (listed["current"], listed["challenger"], len(listed["sets"])) == (first, second, 2)
    assert host.post("models/toy/promote", {"why": "better"}).json()["current"] == second
    assert host.post("models/toy/pin", {"version": first, "partition": "p1"}).json()["partitions"] == {
        "p1": first
    }
    assert host.post("models/toy/rollback", {}).json()["current"] == first
    named = [{}, {"requested_by": "ann"}, {"who": "bob"}]  # `who` is the field's earlier name
    for body in named:
        host.post("models/toy/challenger", {"version": "", **body})
    history = host.get(f"models/toy/sets/{second}")["pins"]["history"]
    assert [change["who"] for change in history[-3:]] == ["http", "ann", "bob"]
    assert host.post("models/toy/pin", {"version": "ghost"}).status_code == 422
    assert host.post("models/toy/challenger", {"version": first}).status_code == 400
    assert host.post("models/nobody/pin", {"version": first}).status_code == 400
    assert host.post("models/toy/verdicts", {"from": WINDOW, "to": "2026-01-01T01"}).status_code == 400
    assert host.get("models/toy/verdicts") == []
    assert read_pins(host_store, "toy").partitions == {"p1": first}


def test_challenging_and_judging_from_the_command_line(
    store: Store, champion: str, command: Callable[..., tuple[int, str]]
) -> None:
    """challenge, judge, verdicts, promote: each says what it did, and as JSON too."""
    challenger = write_factor(store, "3")
    assert challenger in command("models", "challenge", "toy", challenger)[1]
    run_window(store, "toy", WINDOW, SMALL)
    write_actuals(store, 3)
    code, said = command("models", "judge", "toy", "--from", WINDOW, "--to", "2026-01-01T01")
    assert (code, f"models promote toy {challenger}" in said) == (0, True)
    assert json.loads(command("models", "verdicts", "toy", "--json")[1])[0]["promote"]
    assert f"{challenger} is current" in command("models", "promote", "toy")[1]
    assert command("models", "challenge", "toy")[0] == 2
    assert "no version challenges" in command("models", "challenge", "toy", "--stop")[1]
