"""Where partitions are placed and why, what it is expected to cost, and what is refused before anything is submitted."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.app_settings import AppSettings
from fleetscore.batch.interface import PoolState
from fleetscore.errors import CapacityError, SettingsError
from fleetscore.pipeline.capacity import PoolRates, look_at_pool, offer_pool, refuse
from fleetscore.pipeline.cost import (
    PRICES_PATH,
    GrantedQuota,
    forecast_batch,
    forecast_inline,
    read_prices,
    widen,
)
from fleetscore.pipeline.placement import InlineOffer, PoolOffer, place_partitions
from fleetscore.pipeline.rates import blend_pool_rates, blend_rates
from fleetscore.predictions import Rates
from fleetscore.settings import RunPolicy
from fleetscore.store.base import Store

INLINE = InlineOffer(cores=2, shard_s=60.0, memory_bytes=1e9, usd_per_s=5e-5, patience_s=900.0)
COLD = PoolOffer(
    slots=80, slots_per_node=4, slot_memory_bytes=3e9, shard_s=600.0, wait_s=300.0, is_warm=False,
    cores_per_node=4, usd_per_s=2.3e-5,
)  # fmt: skip
WARM = replace(COLD, wait_s=15.0, is_warm=True)
STATE = PoolState("steady", 0, 0, 0, 0, 0, 4, 20, 4, "Standard_D4ads_v5")


def columns(*seconds: float, megabytes: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and memory of partitions."""
    return np.array(seconds, float), np.full(len(seconds), megabytes * 1e6)


def test_small_work_is_inline_since_the_pool_would_be_later() -> None:
    """What inline gets done before a cold pool is up stays inline, and the reason says so."""
    placed = place_partitions(*columns(*[1.0] * 500), INLINE, COLD, "auto")
    assert not placed.on_batch.any()
    assert "before a task starts on a cold pool (300 s)" in placed.inline_reason


def test_what_inline_cannot_carry_goes_to_batch_and_the_rest_stays() -> None:
    """A partition longer or larger than an inline shard is on Batch; small ones beside it start inline at once."""
    seconds, memory = columns(1.0, 400.0, 1.0, 1.0)
    memory[3] = 2e9
    placed = place_partitions(seconds, memory, INLINE, COLD, "auto")
    assert placed.on_batch.tolist() == [False, True, False, True]
    assert "beyond what an inline shard takes" in placed.reason("batch", True)


def test_much_work_is_shared_so_that_inline_bridges_the_boot_of_the_pool() -> None:
    """Inline keeps what it gets done until a task starts; the longest partitions go to Batch."""
    seconds, memory = columns(*np.linspace(1.0, 50.0, 2000))
    placed = place_partitions(seconds, memory, INLINE, COLD, "auto")
    kept_s = seconds[~placed.on_batch].sum()
    assert INLINE.cores * COLD.wait_s <= kept_s <= INLINE.cores * COLD.wait_s + 50.0
    assert seconds[placed.on_batch].min() >= seconds[~placed.on_batch].max()


def test_a_warm_pool_takes_more_than_a_cold_one() -> None:
    """The same work that is inline beside a cold pool is shared with a warm one where that is cheaper."""
    work = columns(*[10.0] * 50)
    cold = place_partitions(*work, INLINE, COLD, "auto")
    warm = place_partitions(*work, INLINE, WARM, "auto")
    assert (int(cold.on_batch.sum()), int(warm.on_batch.sum())) == (0, 47)


def test_a_dearer_pool_is_used_only_when_inline_would_take_too_long() -> None:
    """Within the patience inline is chosen, with both prices told; beyond it the pool."""
    dear = replace(WARM, usd_per_s=1.0)
    short = place_partitions(*columns(*[10.0] * 100), INLINE, dear, "auto")
    assert not short.on_batch.any()
    assert "inline costs $0.05" in short.inline_reason
    assert place_partitions(*columns(*[10.0] * 1000), INLINE, dear, "auto").on_batch.any()


def test_a_pool_in_trouble_keeps_inline_what_inline_can_do() -> None:
    """Only what an activity could not carry at all is still on Batch, to be refused with the reason."""
    broken = replace(COLD, trouble="AccountCoreQuotaReached")
    placed = place_partitions(*columns(1.0, 400.0, 2000.0), INLINE, broken, "auto")
    assert placed.on_batch.tolist() == [False, False, True]
    assert "AccountCoreQuotaReached" in placed.inline_reason


@pytest.mark.parametrize(
    ("wish", "pool", "share", "reason"),
    [
        ("inline", COLD, 0.0, "FLEETSCORE_BATCH_PLACEMENT is inline"),
        ("batch", COLD, 1.0, "FLEETSCORE_BATCH_PLACEMENT is batch"),
        ("auto", None, 0.0, "no Batch account is configured"),
    ],
)
def test_a_setting_forces_either_and_without_an_account_all_is_inline(
    wish: str, pool: PoolOffer | None, share: float, reason: str
) -> None:
    """Placement is what the setting says, whatever the work."""
    placed = place_partitions(*columns(1.0, 4000.0), INLINE, pool, wish)
    assert placed.on_batch.mean() == share
    assert reason in (placed.inline_reason, placed.batch_reason)


@pytest.mark.parametrize(("wish", "pool"), [("batch", None), ("Batch", COLD)])
def test_a_wish_that_cannot_be_met_names_the_setting(wish: str, pool: PoolOffer | None) -> None:
    """Batch without an account, and a word that is none of the three."""
    with pytest.raises(SettingsError, match="FLEETSCORE_BATCH_PLACEMENT"):
        place_partitions(*columns(1.0), INLINE, pool, wish)


@given(st.lists(st.floats(0.0, 5000.0), min_size=1, max_size=60), st.sampled_from([COLD, WARM]))
def test_inline_never_gets_what_it_cannot_carry(seconds: list[float], pool: PoolOffer) -> None:
    """Whatever the mix, nothing longer than an inline shard is inline beside a sound pool."""
    placed = place_partitions(*columns(*seconds), INLINE, pool, "auto")
    assert all(s <= INLINE.shard_s for s, away in zip(seconds, placed.on_batch, strict=True) if not away)


def test_prices_of_the_store_replace_those_that_ship(store: Store) -> None:
    """settings/prices.toml wins; a line at fault is named."""
    shipped = read_prices(store)
    assert shipped.node("standard_d4ads_v5") is not None
    assert shipped.node_usd_per_s("Standard_D4ads_v5") == pytest.approx((0.8 * 0.052 + 0.2 * 0.206) / 3600)
    store.write(PRICES_PATH, b'date = "2027-01-01"\n')
    with pytest.raises(SettingsError, match="region"):
        read_prices(store)


def test_forecasts_have_ranges_and_add_up(store: Store) -> None:
    """Inline: seconds by the price of an instance; Batch: nodes paid from submitting to the end, boot included."""
    prices = read_prices(store)
    inline = forecast_inline(10, 100.0, 2.0, 4, prices)
    assert (inline.least_s, inline.most_s, inline.wall_s) == (50.0, 200.0, 25.0)
    assert inline.cost_usd == pytest.approx(100.0 * 2.0 * 0.000026)
    batch = forecast_batch(8, 4800.0, 1.5, 300.0, 2, 8, 1e-5, 3e-5)
    assert batch.wall_s == 300.0 + 600.0
    assert batch.cost_usd == pytest.approx(2 * 900.0 * 1e-5)
    assert batch.least_usd == pytest.approx(2 * (300.0 + 400.0) * 1e-5)
    assert batch.most_usd == pytest.approx(2 * (300.0 + 900.0) * 3e-5)
    assert forecast_batch(8, 4800.0, 1.5, 300.0, 2, 8, None, None).cost_usd is None


def test_a_spot_price_is_a_range_up_to_the_dedicated_price(store: Store) -> None:
    """An offer knows what its nodes cost at most, and the reason of a placement says up to what."""
    prices = read_prices(store)
    most = prices.node_usd_per_s_at_most("Standard_D4ads_v5")
    assert most == pytest.approx(0.206 / 3600)
    assert most > prices.node_usd_per_s("Standard_D4ads_v5")  # type: ignore[operator]
    assert prices.node_usd_per_s_at_most("Standard_odd") is None
    priced = replace(COLD, most_usd_per_s=most)
    placed = place_partitions(*columns(*[50.0] * 4000), INLINE, priced, "auto")
    assert re.search(r"for \$[\d.e+]+ \(up to \$[\d.e+]+\) instead of", placed.batch_reason)


def offer(state: PoolState, store: Store, **quota: int) -> PoolOffer:
    """The offer of a pool in that state, with the quota stated in the store's prices."""
    prices = replace(read_prices(store), quota=GrantedQuota(**quota))
    return offer_pool(state, PoolRates(300.0, 15.0), RunPolicy(), prices)


def test_an_offer_tells_slots_memory_warmth_and_headroom(store: Store) -> None:
    """24 nodes of 4 slots; a slot has its share of 85 % of 16 GB; a quota below the pool's limits makes it smaller."""
    cold = offer(STATE, store)
    assert (cold.slots, cold.wait_s, cold.is_warm) == (96, 300.0, False)
    assert cold.slot_memory_bytes == pytest.approx(3.4e9)
    warm = offer(replace(STATE, usable_nodes=1), store)
    assert (warm.wait_s, warm.is_warm) == (15.0, True)
    short = offer(STATE, store, spot_cores=40, dedicated_cores=0)
    assert short.slots == 40
    assert short.headroom == "-16 dedicated cores, -40 Spot cores"


def test_a_plan_beyond_quota_is_refused_with_the_number_to_request(store: Store) -> None:
    """No cores at all; an error of quota on a pool without nodes; too few nodes for the job's time."""
    work = columns(*[600.0] * 400)
    none = offer(STATE, store, spot_cores=0, dedicated_cores=0)
    refused = refuse(*work, none, RunPolicy())
    assert isinstance(refused, CapacityError)
    assert "Request at least 8 cores" in refused.fix and "400 run it fastest" in refused.fix
    stuck = offer(replace(STATE, problems=("AccountCoreQuotaReached: no cores left",)), store)
    assert "AccountCoreQuotaReached" in str(refuse(*work, stuck, RunPolicy()))
    few = offer(replace(STATE, most_spot=0, most_dedicated=1), store)
    refused = refuse(*work, few, RunPolicy(job_limit_s=7200.0))
    assert refused is not None and "4 slots need 60,300 s, the job may take 7,200 s" in refused.message
    assert "at least 36 cores" in refused.fix
    assert refuse(*work, offer(STATE, store), RunPolicy()) is None


def test_a_partition_beyond_a_slot_or_a_try_is_refused(store: Store) -> None:
    """More memory than a slot has, more seconds than a try may take."""
    pool = offer(STATE, store)
    assert "needs 20.0 GB, a slot of the pool has 3.4 GB" in str(
        refuse(*columns(1.0, megabytes=20_000), pool, RunPolicy())
    )
    assert "shard_limit_s" in str(refuse(*columns(9000.0), pool, RunPolicy()))


def test_a_service_that_cannot_be_reached_is_trouble_unless_batch_is_forced(store: Store) -> None:
    """Auto plans inline with the reason; forced Batch raises what went wrong."""
    app = AppSettings(batch_endpoint="http://plain.example", batch_placement="auto")
    work = columns(*[10.0] * 100)
    seen = look_at_pool(store, app, RunPolicy(), read_prices(store), *work)
    assert seen is not None and "FLEETSCORE_BATCH_ENDPOINT" in seen.trouble
    with pytest.raises(SettingsError):
        look_at_pool(store, replace(app, batch_placement="batch"), RunPolicy(), read_prices(store), *work)
    inline = replace(app, batch_placement="inline")
    assert look_at_pool(store, inline, RunPolicy(), read_prices(store), *work) is None


def test_work_that_inline_has_done_before_any_task_could_start_asks_no_service(store: Store) -> None:
    """Small partitions are placed inline though nobody answers at the endpoint; one that is too large has the service asked."""
    app = AppSettings(batch_endpoint="http://plain.example", parallelism=2)
    look = lambda *work: look_at_pool(store, app, RunPolicy(), read_prices(store), *work)  # noqa: E731  # a name for one expression
    small = look(*columns(*[0.1] * 20))
    assert small is not None and not small.trouble
    placed = place_partitions(*columns(*[0.1] * 20), INLINE, small, "auto")
    assert not placed.on_batch.any()
    assert "before a task starts on a warm pool (15 s)" in placed.inline_reason
    for work in (columns(0.1, 100.0), columns(0.1, megabytes=5000), columns(*[1.0] * 31)):
        asked = look(*work)
        assert asked is not None and asked.trouble


def test_rates_learn_speed_memory_and_how_far_off_they_were() -> None:
    """Speed moves part of the way, memory up at once and down by degrees, the spread with the error."""
    rates = Rates(1.0, 0.1, 0.01, 100.0)
    slower = blend_rates(rates, 10.0, 20.0, bytes_per_row=400.0)
    assert slower.row_s == pytest.approx(0.01 * 2**0.3)
    assert slower.bytes_per_row == 400.0
    assert blend_rates(rates, 10.0, 10.0, bytes_per_row=50.0).bytes_per_row == pytest.approx(85.0)
    assert blend_rates(rates, 10.0, 10.0).bytes_per_row == 100.0
    assert blend_rates(rates, 10.0, 10.0).spread < rates.spread < blend_rates(rates, 10.0, 1000.0).spread


@given(st.floats(1.1, 8.0), st.floats(0.01, 100.0))
def test_the_spread_settles_at_the_usual_error(spread: float, ratio: float) -> None:
    """The same error again and again ends as the spread, or at the least of 1.1."""
    for _ in range(80):
        spread = widen(spread, 1.0, ratio, 0.3)
    assert spread == pytest.approx(max(1.1, ratio, 1 / ratio), rel=0.01)


def test_a_pool_learns_its_boot_and_its_start_apart() -> None:
    """A cold run moves boot_s only, a warm one start_s only."""
    rates = PoolRates(300.0, 15.0)
    assert blend_pool_rates(rates, 200.0, was_warm=False) == PoolRates(270.0, 15.0)
    assert blend_pool_rates(rates, 5.0, was_warm=True) == PoolRates(300.0, 12.0)
