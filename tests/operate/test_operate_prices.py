"""Prices that cannot be read cost a run its costs, and nothing else."""

import json
from collections.abc import Callable

import pytest
from toy_workload import write_lines

from fleetscore.pipeline.local import run_window
from fleetscore.records import RunState
from fleetscore.store.base import Store

HOUR = "2026-01-01T00"


@pytest.mark.parametrize(
    "text", [b"not = toml = either", b"date = 1", b"\xff\xfe", b"", b"a = " + b"[" * 5000]
)
def test_a_run_goes_on_with_unknown_costs(
    store: Store, text: bytes, command: Callable[..., tuple[int, str]]
) -> None:
    """It is published, its costs are null, and plan and doctor name the file and the fault."""
    write_lines(store, HOUR, [("a", 1, "ok"), ("b", 2, "ok")])
    store.write("settings/prices.toml", text)
    code, said = command("plan", "toy", "--window", HOUR)
    assert code == 0
    assert "Costs are unknown: settings/prices.toml" in said.replace("\n", " ")
    record = run_window(store, "toy", HOUR)
    assert (record.state, record.facts["cost_usd"], record.facts["inline_usd"]) == (
        RunState.PUBLISHED,
        None,
        None,
    )
    assert any("Costs are unknown" in remark for remark in record.remarks)
    code, said = command("doctor", "--json")
    wrong = [f for f in json.loads(said)["findings"] if f["state"] == "wrong" and f["check"] == "settings"]
    assert code == 1
    assert ["settings/prices.toml" in finding["detail"] for finding in wrong] == [True]
