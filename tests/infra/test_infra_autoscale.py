"""The autoscale formula as the template fills it in: every parameter arrives, and the result does what the pool should do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devbatch.autoscale import evaluate
from devbatch.autoscale_functions import Sample, Samples
from tests.infra.bicep_reader import read_template
from tests.infra.bicep_values import Values
from tests.infra.places import INFRA

MAIN = read_template(INFRA / "main.bicep")
RANGES = {
    "poolMaxSpot": (0, 1000, "maxSpot"),
    "poolMaxDedicated": (0, 1000, "maxDedicated"),
    "poolDedicatedFloor": (0, 1000, "floorDedicated"),
    "poolWarmNodes": (0, 1000, "warmNodes"),
    "poolWarmMinutes": (5, 1440, "warmWindow"),
    "poolStallMinutes": (10, 120, "stallWindow"),
}


def formula(**parameters: int) -> str:
    """The formula that the pool gets with these parameters."""
    return str(Values(MAIN, parameters, lambda name, path: name).variable("autoscaleFormula"))


@given(st.fixed_dictionaries({name: st.integers(low, high) for name, (low, high, _) in RANGES.items()}))
def test_every_parameter_arrives(parameters: dict[str, int]) -> None:
    """Whatever the parameters, each stands in the formula's own line and the rest of the formula is untouched."""
    lines = formula(**parameters).splitlines()
    original = (INFRA / "autoscale.formula").read_text().splitlines()
    names = {variable: parameters[name] for name, (_, _, variable) in RANGES.items()}
    changed = {}
    for new, old in zip(lines, original, strict=True):
        variable = old.partition(" = ")[0]
        if variable in names:
            changed[variable] = int(new.partition(" = ")[2].rstrip(";").split()[0])
        else:
            assert new == old
    assert changed == names


def test_the_ranges_are_the_template_s() -> None:
    """The ranges above are those that the template lets through."""
    for name, (low, high, _) in RANGES.items():
        bounds = (MAIN.decorator_number(name, "minValue"), MAIN.decorator_number(name, "maxValue"))
        assert bounds == (low, high)


def held(minutes: float, value: float) -> list[Sample]:
    """A value held for so many minutes until now, oldest sample first."""
    return [Sample(30.0 * step, value) for step in range(int(minutes * 2), 0, -1)]


def nodes(text: str, *, pending: float, active: float, running: float) -> tuple[float, float]:
    """Dedicated and Spot nodes that the formula asks for after an hour of this, four slots to a node."""
    samples = Samples(
        series={
            "$PendingTasks": held(60, pending),
            "$ActiveTasks": held(60, active),
            "$RunningTasks": held(60, running),
            "$PreemptedNodeCount": held(60, 0),
        },
        constants={"$TaskSlotsPerNode": 4},
    )
    result = evaluate(text, samples)
    return float(result["$TargetDedicatedNodes"]), float(result["$TargetLowPriorityNodes"])


@pytest.mark.parametrize(
    ("parameters", "load", "expected"),
    [
        ({}, {"pending": 0, "active": 0, "running": 0}, (0, 0)),
        ({}, {"pending": 10_000, "active": 9_920, "running": 80}, (1, 20)),
        ({"poolMaxSpot": 50}, {"pending": 10_000, "active": 9_920, "running": 80}, (1, 50)),
        ({"poolMaxDedicated": 9}, {"pending": 400, "active": 400, "running": 0}, (9, 20)),
        ({"poolMaxDedicated": 0}, {"pending": 400, "active": 400, "running": 0}, (0, 20)),
        ({"poolDedicatedFloor": 3}, {"pending": 40, "active": 20, "running": 20}, (3, 7)),
        ({"poolWarmNodes": 6}, {"pending": 1, "active": 0, "running": 1}, (1, 5)),
    ],
    ids=["idle", "burst", "more spot", "stalled", "no dedicated", "floor", "warm"],
)
def test_parameters_do_what_they_say(
    parameters: dict[str, int], load: dict[str, float], expected: tuple[int, int]
) -> None:
    """Limits, floor and warm nodes of the template are those that the pool follows."""
    assert nodes(formula(**parameters), **load) == expected
