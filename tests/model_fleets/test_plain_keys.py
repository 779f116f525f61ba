"""Keys as people write them: a slash or per cent sign in a van's name is not escaped."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fleetscore import Fleet
from fleetscore.errors import InputError, MissingBlobError
from fleetscore.operations.explain import explain
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.submit import submit_retry
from fleetscore.runs.ledgers import read_ledger
from fleetscore.store.base import Store
from tests.model_fleets.conftest import fitted, pin_models, telemetry, write_rows

VANS = {"N/1": "N%2F1", "50%": "50%25", "%2F": "%252F"}
"""Vans whose names need escaping -> their keys."""
RUN = "vans-2026-11-21"


@pytest.fixture
def ran(store: Store) -> Store:
    """A store whose window is published."""
    write_rows(store, telemetry([*VANS, "VAN-1"]))
    pin_models(store, {key: fitted(at) for at, key in enumerate([*VANS, "VAN-1"])})
    assert run_window(store, "vans", "2026-11-21").state == "published"
    return store


@pytest.mark.parametrize("written", VANS)
def test_a_name_as_written_is_its_key_wherever_one_is_given(ran: Store, written: str) -> None:
    """Results, explain and a retry take the van's name for its escaped key, and the key itself."""
    fleet = Fleet(str(ran.root))
    rows = fleet.results("vans", "2026-11-21", partition=VANS[written])
    assert set(rows["van_id"].to_pylist()) == {written}
    assert fleet.results("vans", "2026-11-21", partition=written).equals(rows)
    assert explain(ran, RUN, written).partition == VANS[written]
    request = submit_retry(ran, RUN, datetime.now(UTC), "test", partitions=(written,)).request
    assert execute(ran, request).state == "published"
    again = read_ledger(ran, request.run).to_pylist()
    assert [line["partition"] for line in again if line["run"] == request.run] == [VANS[written]]


@pytest.mark.parametrize("written", ["N/2", "VAN/1", "N%2f1/", "/", "%"])
def test_a_name_that_no_van_has_is_refused(ran: Store, written: str) -> None:
    """What is no van's name, escaped or not, is an error that repeats it as it was written."""
    with pytest.raises(MissingBlobError, match=f"no partition '{written}'"):
        Fleet(str(ran.root)).results("vans", "2026-11-21", partition=written)
    with pytest.raises(InputError, match=f"no partition '{written}'"):
        explain(ran, RUN, written)
    with pytest.raises(InputError, match=f"partition {written},"):
        submit_retry(ran, RUN, datetime.now(UTC), "test", partitions=(written,))
