"""What is learned over the chain: the season of weeks and the response of SKUs, only where the history carries them."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fleetscore.errors import ModelError
from fleetscore.workloads.store_sales.chain import (
    Chain,
    learn_chain,
    learn_season,
    prepare_with,
    season_of,
    why_closed,
)
from fleetscore.workloads.store_sales.contract import QUANTILES, StoreSalesSettings
from fleetscore.workloads.store_sales.features import (
    RESPONSE_LIMIT,
    build,
    every_step,
    feature_names,
    prepare,
)
from fleetscore.workloads.store_sales.forecasting import forecast, forecast_weeks
from fleetscore.workloads.store_sales.forest import MOST_LEAVES, Forest, make_scorer
from fleetscore.workloads.store_sales.model_file import (
    FAR_RESPONSES,
    FIRST_METHOD,
    NEAR_RESPONSE_LIMIT,
    WHOLE_AND_SEASONAL,
    QuantileModel,
    chain_arrays,
    chain_of_arrays,
    pack_model,
    unpack_model,
)
from fleetscore.workloads.store_sales.panel import Panel
from fleetscore.workloads.store_sales.training import learn_fallback
from fleetscore.workloads.store_sales.whole_pieces import count_series

STORES, SKUS, WEEKS, PEAK = 15, 6, 130, 46


def make_estate(seed: int, *, peak: float, weeks: int = WEEKS, trend: float = 0.002) -> Panel:
    """Weekly sales with noise, promotions, a trend, and a peak of a few weeks at the same place of each year."""
    random = np.random.default_rng(seed)
    series, week = STORES * SKUS, np.arange(weeks)
    level = random.normal(4, 1, series)
    yearly = peak * np.exp(-0.5 * ((week % 52 - PEAK) / 1.5) ** 2) + 0.4 * peak * np.sin(
        week * 2 * np.pi / 52
    )
    feat = (random.random((series, weeks)) < 0.1).astype(float)
    price = 2.0 * np.exp(random.normal(0, 0.05, (series, weeks)))
    logs = level[:, None] + yearly + trend * week + feat - 1.5 * np.log(price / 2)
    sales = np.round(np.exp(logs + random.normal(0, 0.25, (series, weeks))))
    names = np.array([f"sku-{i}" for i in range(SKUS)] * STORES, object)
    stores = tuple(f"store-{i:02d}" for i in range(STORES))
    return Panel(
        stores, np.repeat(np.arange(STORES), SKUS), names, 0, sales, price, np.zeros_like(feat), feat,
        np.empty((0, series, weeks)),
    )  # fmt: skip


def gains_of(panel: Panel) -> NDArray[np.float64]:
    return learn_season(np.log1p(panel.sales), panel.skus, panel.first_week).gain


@pytest.mark.parametrize("seed", range(4))
def test_a_yearly_peak_opens_the_season_and_noise_does_not(seed: int) -> None:
    """With a peak in two years the chain's gain is near one; without, and with a trend only, both gains are zero."""
    assert gains_of(make_estate(seed, peak=0.7))[0] > 0.8
    assert gains_of(make_estate(seed, peak=0.0)).max() < 0.3
    assert not gains_of(make_estate(seed, peak=0.7, weeks=70)).any()  # too short for any evidence


def test_the_season_of_a_week_is_that_of_a_year_before() -> None:
    """The peak's week stands out by about the peak, against the weeks before it."""
    panel = make_estate(1, peak=0.7)
    season = learn_season(np.log1p(panel.sales), panel.skus, 0)
    logs = season_of(season, panel.skus, WEEKS, 52)  # the year after the history
    at = PEAK + 2 * 52 - WEEKS
    assert logs.shape == (STORES * SKUS, 52)
    assert logs[:, at].mean() - logs[:, at - 10].mean() == pytest.approx(
        0.7 + 0.28 * (np.sin(PEAK * 2 * np.pi / 52) - np.sin((PEAK - 10) * 2 * np.pi / 52)), abs=0.2
    )


@pytest.mark.parametrize("year", [0, 1])
def test_a_peak_that_is_missing_in_one_year_is_that_of_the_other(year: int) -> None:
    """Where no store reported the weeks around a peak, the next one is forecast as the peak that is known, not flat."""
    panel = make_estate(1, peak=0.7, weeks=175)  # three peaks, so that two are evidence
    sales = panel.sales.copy()
    sales[:, 52 + 52 * year + PEAK - 3 : 52 + 52 * year + PEAK + 4] = np.nan
    whole, broken = (
        season_of(learn_season(np.log1p(one), panel.skus, 0), panel.skus, 175, 52) for one in (panel.sales, sales)
    )  # fmt: skip
    ahead = PEAK + 3 * 52 - 175 + 52 * (PEAK + 3 * 52 < 175)
    known, found = (logs[:, ahead].mean() - logs[:, ahead - 10].mean() for logs in (whole, broken))
    assert found > 0.8 * known > 0.4


def test_a_week_reads_nothing_after_the_cutoff() -> None:
    """Whatever is sold from a column on, chain and features before it are the same."""
    panel = make_estate(2, peak=0.7)
    later = panel.sales.copy()
    later[:, 110:] *= 7
    chains = [learn_chain(prepare(p), p, 110) for p in (panel, replace(panel, sales=later))]
    for name in ("mean", "gain"):
        np.testing.assert_array_equal(getattr(chains[0][0].season, name), getattr(chains[1][0].season, name))
    np.testing.assert_array_equal(chains[0][0].response, chains[1][0].response)
    cases = every_step(STORES * SKUS, 109, 13)
    rows = [build(prepared, cases) for _, prepared in chains]
    np.testing.assert_array_equal(rows[0][0], rows[1][0])


def test_a_store_alone_is_prepared_as_with_all_others() -> None:
    """Scoring reads the model's chain and the store's own rows only, so that shards of any size give equal numbers."""
    panel = make_estate(3, peak=0.7)
    chain, _ = learn_chain(prepare(panel), panel, WEEKS - 13)
    together = build(prepare_with(chain, panel), every_step(SKUS, WEEKS - 14, 13))
    alone = build(prepare_with(chain, panel.of_stores(0, 1)), every_step(SKUS, WEEKS - 14, 13))
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_sku_without_a_history_has_the_response_of_its_chain() -> None:
    """In a store of a few weeks, a feature week is expected to sell more than those weeks alone show."""
    panel = make_estate(4, peak=0.0)
    sales = panel.sales.copy()
    sales[:SKUS, : WEEKS - 20] = np.nan  # a store that opened seven weeks before the origin
    panel = replace(panel, sales=sales)
    chain, _ = learn_chain(prepare(panel), panel, WEEKS - 13)
    assert (chain.response[1:, 3] > 0.4).all()  # log sales of a feature week: + 1, shrunk
    assert (chain.response[1:, 1] < -0.2).all()  # of the price's logarithm: -1.5
    cases = every_step(SKUS, WEEKS - 14, 13)
    shrunk_to_chain, _ = build(prepare_with(chain, panel), cases)
    alone, _ = build(prepare(panel), cases)
    row = feature_names().index("response")
    on_feature = panel.feat[:SKUS, WEEKS - 13 :].reshape(-1) > 0.5
    assert shrunk_to_chain[row, on_feature].mean() > alone[row, on_feature].mean() + 0.1


def test_a_model_without_a_chain_scores_as_before() -> None:
    """Model files of earlier versions have no chain: features and level are those without it."""
    panel = make_estate(5, peak=0.7)
    cases = every_step(STORES * SKUS, 100, 13)
    for one, other in zip(build(prepare_with(None, panel), cases), build(prepare(panel), cases), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_chain_is_kept_whole_or_refused() -> None:
    """Arrays give the same chain again; a table of another shape, or without a number, is a corrupt model."""
    panel = make_estate(6, peak=0.7)
    chain, _ = learn_chain(prepare(panel), panel, WEEKS)
    again = chain_of_arrays(chain_arrays(chain))
    assert isinstance(again, Chain)
    np.testing.assert_array_equal(again.season.mean, chain.season.mean)
    assert chain_of_arrays({}) is None
    for name, value in (("chain_response", chain.response[:2]), ("season_gain", np.array([np.nan, 0.0]))):
        with pytest.raises(ModelError, match="do not fit"):
            chain_of_arrays(chain_arrays(chain) | {name: value})


def test_a_new_store_is_forecast_with_the_season() -> None:
    """The fallback of a series without history is higher in the peak by about the peak; older models' holds no season."""
    panel = make_estate(7, peak=0.7, weeks=PEAK + 2 * 52 + 7)
    stop = PEAK + 2 * 52 - 6  # the weeks to forecast have the peak
    chain, prepared = learn_chain(prepare(panel), panel, stop)
    fallback = learn_fallback(prepared, panel.skus)
    sales = panel.sales[:, : stop + 13].copy()
    sales[:SKUS], sales[:, stop:] = np.nan, np.nan
    cut = {name: getattr(panel, name)[..., : stop + 13] for name in ("price", "deal", "feat", "extras")}
    ahead = replace(panel, sales=sales, **cut)
    model = QuantileModel(no_trees(), np.zeros(5), fallback, 13, chain, WHOLE_AND_SEASONAL)
    settings = StoreSalesSettings()
    said = forecast(ahead, model, make_scorer(model.forest), settings)
    assert said.short[:SKUS].all() and not said.short[SKUS:].any()
    plain = ahead.feat[:SKUS, stop:] < 0.5
    logs = np.where(plain, np.log1p(said.quantiles[:SKUS, :, 2]), np.nan)
    assert np.nanmean(logs[:, 5:8]) - np.nanmean(logs[:, :2]) > 0.3
    series, week = (np.repeat(np.arange(SKUS), 13), np.tile(np.arange(13), SKUS))
    rows, _ = forecast_weeks(ahead, model, make_scorer(model.forest), settings, series, week)
    np.testing.assert_array_equal(rows, said.quantiles[:SKUS].reshape(-1, 5))
    before = forecast(ahead, replace(model, method=FIRST_METHOD), make_scorer(model.forest), settings)
    flat = np.where(plain, before.quantiles[:SKUS, :, 2], np.nan)
    assert (np.nanmax(flat, axis=1) == np.nanmin(flat, axis=1)).all()


def test_pieces_are_forecast_as_whole_pieces() -> None:
    """Where all known sales are whole, so are the quantiles; one sale of a part of a piece leaves them as they are."""
    panel = make_estate(8, peak=0.0, weeks=90)
    sales = panel.sales.copy()
    sales[:, 77:] = np.nan
    sales[0, 40] += 0.5
    chain, prepared = learn_chain(prepare(panel), panel, 77)
    model = QuantileModel(no_trees(), np.zeros(5), learn_fallback(prepared, panel.skus), 13, chain, 1)
    said = forecast(replace(panel, sales=sales), model, make_scorer(model.forest), StoreSalesSettings())
    whole = (said.quantiles == np.rint(said.quantiles)).all(axis=(1, 2))
    assert not whole[0] and whole[1:].all()
    assert not count_series(
        np.array([[np.nan, np.nan], [0.0, 0.0]])
    ).any()  # nothing sold: nothing is known of its pieces
    kept = unpack_model(pack_model(model))
    assert kept.method == model.method


def test_a_response_as_large_as_real_promotions_is_forecast_whole() -> None:
    """A promotion of four logs is in the level as it is; models that were trained with the nearer limit keep theirs."""
    panel = make_estate(9, peak=0.0)
    chain, prepared = learn_chain(prepare(panel), panel, WEEKS - 13)
    strong = replace(chain, response=np.tile([0.0, 0.0, 0.0, 4.0, 0.0], (len(chain.season.skus), 1)))
    sales = panel.sales.copy()
    sales[:, WEEKS - 13 :] = np.nan
    feat = panel.feat.copy()
    feat[:, : WEEKS - 13] = 0.0  # nothing on feature so far: the response is the chain's
    ahead = replace(panel, sales=sales, feat=feat)
    model = QuantileModel(
        no_trees(), np.zeros(5), learn_fallback(prepared, panel.skus), 13, strong, FAR_RESPONSES
    )
    settings = StoreSalesSettings(min_history_weeks=2)
    row, cases = feature_names().index("response"), every_step(STORES * SKUS, WEEKS - 14, 13)
    response = build(prepare_with(strong, ahead), cases)[0][row].reshape(-1, 13)
    far, near = (
        np.log1p(forecast(ahead, one, make_scorer(model.forest), settings).quantiles[..., 2])
        for one in (model, replace(model, method=WHOLE_AND_SEASONAL))
    )
    strongly = response > 3.5
    assert strongly.any() and response.max() < RESPONSE_LIMIT
    np.testing.assert_allclose((far - near)[strongly], response[strongly] - NEAR_RESPONSE_LIMIT, atol=0.01)
    np.testing.assert_array_equal(far[response < 2.9], near[response < 2.9])


def no_trees() -> Forest:
    """A forest of one tree without effect for each quantile."""
    count, nodes = len(QUANTILES), (len(QUANTILES), MOST_LEAVES - 1)
    return Forest(
        feature_names(), np.arange(count + 1), np.zeros(nodes, np.int16), np.full(nodes, np.inf),
        np.full(nodes, 0xFFFF, np.uint16), np.zeros((count, MOST_LEAVES)),
    )  # fmt: skip


def test_a_season_that_is_closed_says_why() -> None:
    """Too short a history names its weeks and those needed; a long one without a rhythm says that; an open one nothing."""

    def reason(peak: float, weeks: int) -> str:
        panel = make_estate(4, peak=peak, weeks=weeks)
        return why_closed(learn_season(prepare(panel).log_sales, panel.skus, 0))

    assert "60 weeks of history, 78 are the least" in reason(1.0, 60)
    assert "beyond the noise" in reason(0.0, WEEKS)
    assert reason(1.0, WEEKS) == ""
