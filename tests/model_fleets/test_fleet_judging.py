"""[judge] of a fleet: the challenger is compared with what was published, on a column of the data that came later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pyarrow.parquet as pq
import pytest

from fleetscore.errors import InputError
from fleetscore.models.pins import pin_challenger, pin_version
from fleetscore.operations.champions.verdicts import Verdict, judge_challenger, read_verdict_table
from fleetscore.pipeline.local import run_window
from fleetscore.store.base import Store
from tests.model_fleets.conftest import FEATURES, fitted, pin_models, telemetry, write_rows

VANS = ["VAN-1", "VAN-2", "VAN-3"]
JUDGE = '\n[judge]\nactual = "kwh_used"\n'
Change = Callable[[str, str], None]


def judge(store: Store) -> Verdict:
    """The verdict on the day's window."""
    return judge_challenger(store, "vans", "2026-11-21", "2026-11-22", datetime.now(UTC), "test")


@pytest.fixture
def judged(store: Store) -> Store:
    """A window that was scored while a challenger, the true models, ran in shadow; what came is in the data."""
    store.write("settings/vans.toml", store.read("settings/vans.toml") + JUDGE.encode())
    frame = telemetry(VANS)
    true = {van: fitted(at) for at, van in enumerate(VANS)}
    for van, model in true.items():
        mine = frame.van_id == van
        frame.loc[mine, "kwh_used"] = model.predict(frame.loc[mine, FEATURES])
    write_rows(store, frame)
    challenger = pin_models(store, true)
    champion = pin_models(store, {van: fitted(at + 50) for at, van in enumerate(VANS)})
    pin_version(store, "vans", champion)
    pin_challenger(store, "vans", challenger)
    run_window(store, "vans", "2026-11-21")
    return store


def test_a_challenger_that_predicts_what_came_is_to_be_promoted(judged: Store) -> None:
    """Losses are mean absolute errors against the actual column, by partition and in all."""
    verdict = judge(judged)
    assert (verdict.cases, verdict.partitions, verdict.promote) == (60, 3, True)
    assert verdict.challenger_loss == pytest.approx(0, abs=1e-12)
    assert verdict.champion_loss == pytest.approx(0.5, rel=0.02)
    assert dict(verdict.wins) == {"challenger": 3}
    assert read_verdict_table(judged, verdict)["cases"].to_pylist() == [20, 20, 20]


def test_rows_whose_actual_has_not_come_do_not_count(judged: Store) -> None:
    """A van without actuals is not judged; the others are, on the rows that have one."""
    frame = pq.read_table(judged.open("data/telemetry/2026-11-21.parquet")).to_pandas()
    frame.loc[frame.van_id == "VAN-1", "kwh_used"] = np.nan
    frame.loc[frame.index[25], "kwh_used"] = np.nan
    write_rows(judged, frame)
    verdict = judge(judged)
    assert (verdict.partitions, verdict.cases) == (2, 39)


def test_actuals_that_are_no_numbers_do_not_count(judged: Store) -> None:
    """A column of text is read as numbers, as everywhere; a cell that is none costs its row, not the verdict."""
    frame = pq.read_table(judged.open("data/telemetry/2026-11-21.parquet")).to_pandas()
    texts = frame.kwh_used.map(repr)
    texts[0], texts[25] = "n/a", "inf"
    write_rows(judged, frame.assign(kwh_used=texts))
    verdict = judge(judged)
    assert (verdict.partitions, verdict.cases) == (3, 58)


def test_rows_of_the_same_time_are_matched_in_their_order(judged: Store) -> None:
    """Two rows of one van at one moment keep their own actuals."""
    frame = pq.read_table(judged.open("data/telemetry/2026-11-21.parquet")).to_pandas()
    frame["recorded_at"] = frame["recorded_at"].iloc[0]
    write_rows(judged, frame)
    run_window_again(judged)
    assert judge(judged).challenger_loss == pytest.approx(0, abs=1e-12)


def run_window_again(store: Store) -> None:
    """A further round of the window."""
    from fleetscore.pipeline.local import execute
    from fleetscore.pipeline.submit import submit_retry
    from fleetscore.records import Only

    execute(store, submit_retry(store, "vans-2026-11-21", datetime.now(UTC), "test", only=Only.ALL).request)


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (JUDGE, "", "does not say what came"),
        ('keep = ["recorded_at", "depot"]', 'keep = ["depot"]', "Add the time column to keep"),
        ('actual = "kwh_used"', 'actual = "kwh_burnt"', "kwh_burnt"),
    ],
)
def test_what_cannot_be_judged_says_which_line_is_missing(
    judged: Store, change_settings: Change, before: str, after: str, named: str
) -> None:
    """Without an actual, without a time in the results, and with a column that is not there, the line at fault is named."""
    change_settings(before, after)
    with pytest.raises(InputError, match=named):
        judge(judged)
