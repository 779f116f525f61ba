"""Cost: what shards cost inline and on a pool, before a run from predictions and after it from what was
measured.

Prices are data with a date and a region: prices.toml beside this file, or settings/prices.toml in the store.
"""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscore.errors import SettingsError
from fleetscore.predictions import Forecast
from fleetscore.settings import read_if_there
from fleetscore.settings_tables import convert_values, parse_settings, place_of
from fleetscore.typed_json import convert_value

if TYPE_CHECKING:
    from fleetscore.store.base import Store

PRICES_PATH = "settings/prices.toml"
_SHIPPED = Path(__file__).with_name("prices.toml")


@dataclass(frozen=True, slots=True)
class InlinePrice:
    """An instance of the function app: its memory, and what a gigabyte of it costs for a second."""

    memory_gb: float
    usd_per_gb_s: float


@dataclass(frozen=True, slots=True)
class PoolGuess:
    """What is taken for true of a pool before runs on it were measured: seconds until a task starts, share
    of Spot among its nodes.
    """

    boot_s: float
    start_s: float
    spot_share: float


@dataclass(frozen=True, slots=True)
class NodePrice:
    """A node by its VM size. A Spot price varies up to that of a dedicated node: the one here is the one
    that was listed.
    """

    vm_size: str
    cores: int
    memory_gb: float
    usd_per_hour: float
    spot_usd_per_hour: float


@dataclass(frozen=True, slots=True)
class GrantedQuota:
    """Cores that the Batch account was granted; None is not known."""

    dedicated_cores: int | None = None
    spot_cores: int | None = None


@dataclass(frozen=True, slots=True)
class Prices:
    """A file of prices in USD, as of `date` in `region`; `problem` says why the store's own cannot be used:
    costs are unknown then.
    """

    date: str
    region: str
    inline: InlinePrice
    pool: PoolGuess
    nodes: tuple[NodePrice, ...]
    quota: GrantedQuota = field(default_factory=GrantedQuota)
    problem: str = ""

    @property
    def inline_usd_per_s(self) -> float | None:
        """What a second of one core costs inline; None where prices are unknown."""
        return None if self.problem else self.inline.memory_gb * self.inline.usd_per_gb_s

    @property
    def origin(self) -> str:
        """Of when and where the prices are."""
        return "unknown" if self.problem else f"{self.date} in {self.region}"

    def node_usd_per_s(self, vm_size: str) -> float | None:
        """What a second of a pool's node costs at the listed prices, Spot and dedicated mixed; None for a
        size without a price.
        """
        node = self.node(vm_size)
        if node is None or self.problem:
            return None
        share = self.pool.spot_share
        return (share * node.spot_usd_per_hour + (1 - share) * node.usd_per_hour) / 3600

    def node_usd_per_s_at_most(self, vm_size: str) -> float | None:
        """What a second of a pool's node costs at most, every Spot node at the dedicated price; None for a
        size without a price.
        """
        node = self.node(vm_size)
        return None if node is None or self.problem else node.usd_per_hour / 3600

    def node(self, vm_size: str) -> NodePrice | None:
        """The node of that size, or None."""
        return next((node for node in self.nodes if node.vm_size.lower() == vm_size.lower()), None)


def read_prices(store: Store) -> Prices:
    """The prices of the store, else those that ship; SettingsError names the line at fault, or what stands in
    the place of the file.
    """
    data = read_if_there(store, PRICES_PATH)
    tables = parse_settings(_SHIPPED.read_bytes() if data is None else data, PRICES_PATH)
    fix = "fleetscore/pipeline/prices.toml shows the form."
    return convert_values(tables, Prices, place_of(tables, PRICES_PATH), fix=fix, strict=False)


def find_prices(store: Store) -> Prices:
    """The prices as `read_prices` reads them; where the store's own cannot be used, those that ship with
    the `problem`.
    """
    try:
        return read_prices(store)
    except SettingsError as error:
        shipped = convert_value(tomllib.loads(_SHIPPED.read_text()), Prices, strict=False)
        return replace(shipped, problem=f"Costs are unknown: {error}")


def cores_of(vm_size: str) -> int:
    """The cores of a VM size without a price, by the number in its name.

    >>> cores_of("Standard_D4ads_v5"), cores_of("Standard_E16-8ads_v5"), cores_of("odd")
    (4, 8, 1)
    """
    found = re.match(r"(?:Standard|Basic)_[A-Za-z]+(\d+)(?:-(\d+))?", vm_size)
    return int(found[2] or found[1]) if found else 1


def forecast_inline(shards: int, seconds: float, spread: float, cores: int, prices: Prices) -> Forecast:
    """The forecast of shards that run as activities, `cores` at once."""
    times = (seconds, seconds / spread, seconds * spread)
    usd_per_s = prices.inline_usd_per_s
    cost, least, most = (None,) * 3 if usd_per_s is None else (each * usd_per_s for each in times)
    return Forecast(
        "inline", shards, *times, seconds / min(cores, max(shards, 1)), cost_usd=cost, least_usd=least, most_usd=most,
    )  # fmt: skip


def forecast_batch(
    shards: int, seconds: float, spread: float, wait_s: float, nodes: int, slots: int,
    usd_per_s: float | None, most_usd_per_s: float | None,
) -> Forecast:  # fmt: skip
    """The forecast of shards that run on `nodes` of `slots` slots in all, whose tasks start `wait_s` after
    submitting.

    Its most expensive end is the longest that it takes at `most_usd_per_s`, since the price of Spot nodes
    varies.
    """

    def cost(busy_s: float, node_usd_per_s: float | None) -> float | None:
        return None if node_usd_per_s is None else nodes * (wait_s + busy_s / slots) * node_usd_per_s

    return Forecast(
        "batch", shards, seconds, seconds / spread, seconds * spread, wait_s + seconds / slots, nodes,
        cost(seconds, usd_per_s), cost(seconds / spread, usd_per_s), cost(seconds * spread, most_usd_per_s),
    )  # fmt: skip


def widen(spread: float, predicted_s: float, measured_s: float, weight: float) -> float:
    """The factor that predictions are mostly right within, after one more prediction has met its measurement.

    >>> round(widen(2.0, 10.0, 10.0, 0.3), 3), widen(1.2, 10.0, 40.0, 0.3) > 1.9
    (1.786, True)
    """
    old, new = math.log(spread) ** 2, math.log(measured_s / predicted_s) ** 2
    return max(1.1, math.exp(math.sqrt((1 - weight) * old + weight * new)))
