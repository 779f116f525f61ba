"""The page on a terabyte: its figures are those of the pool and of the price list that plans are made with."""

import json
import re
import tomllib
from pathlib import Path

from benchmarks import scale

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text()
FOUND = json.loads(scale.RESULTS.read_text())


def test_the_page_is_what_the_script_makes_of_the_measurement() -> None:
    """docs/scale.md was made anew after its measurement, the price list or an assumption changed."""
    node = scale.read_node()
    assert scale.page(FOUND, scale.compute(FOUND, node), node) == PAGE


def test_the_node_is_the_pool_s_own() -> None:
    """Size, price and boot time are those of the template's default pool and of the plan's price list."""
    template = (ROOT / "infra" / "main.bicep").read_text()
    assert re.search(r"param poolVmSize string = '(\w+)'", template)[1] == scale.NODE_SIZE  # type: ignore[index]
    prices = tomllib.loads(scale.PRICES.read_text())
    node = scale.read_node()
    assert node.boot_min == prices["pool"]["boot_s"] / 60
    assert node.spot_usd_per_hour < node.usd_per_hour


def test_a_price_is_a_range_and_its_upper_end_is_the_dedicated_price() -> None:
    """Compute is told as "up to" the price of dedicated nodes, with the Spot price as the lower end."""
    node = scale.read_node()
    made = scale.compute(FOUND, node)
    assert made.usd_at_most == made.node_hours * node.usd_per_hour
    assert made.usd_at_least == made.node_hours * node.spot_usd_per_hour
    assert f"up to ${made.usd_at_most:.2f}" in PAGE
    assert "unverified" in PAGE


def test_like_is_compared_with_like() -> None:
    """The ratio to the reference is that of the race's own table: whole runs on both sides."""
    slow = scale.scaled_core_hours(FOUND, "spark, the reference way")
    fast = scale.scaled_core_hours(FOUND, "fleetscore, 1 process")
    assert f"{slow / fast:.1f} to 1" in PAGE
    assert f"| fleetscore, 1 process | {FOUND['engines']['fleetscore, 1 process']['cpu_s']:.1f}" in PAGE
