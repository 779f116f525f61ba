"""Stores of several countries: a column says whose holidays move a store's weeks."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fleetscore.errors import InputError, ModelError
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.runs.ledgers import read_ledger
from fleetscore.store.local import LocalStore
from fleetscore.windows import Cadence, parse_window
from fleetscore.workloads.store_sales.backtest import load_history
from fleetscore.workloads.store_sales.chain import Season, learn_chain, prepare_with, season_of
from fleetscore.workloads.store_sales.contract import StoreSalesSettings
from fleetscore.workloads.store_sales.features import prepare
from fleetscore.workloads.store_sales.holiday_weeks import Calendar
from fleetscore.workloads.store_sales.model_file import chain_arrays, chain_of_arrays
from fleetscore.workloads.store_sales.panel import Panel

FIRST, WEEKS = parse_window("2021-W01", Cadence.WEEK).ordinal, 182
EASTERS = {
    "GB": ("2021-W13", "2022-W15", "2023-W14", "2024-W13"),
    "GR": ("2021-W17", "2022-W16", "2023-W15", "2024-W18"),
}
BY_COLUMN = Calendar("{land}")


def make_countries() -> Panel:
    """Stores of Britain, Greece, and of a country that is not known; each sells thrice as much at its own Easter."""
    random = np.random.default_rng(3)
    countries = ("GB",) * 6 + ("GR",) * 6 + ("XX",) * 2
    series = len(countries) * 3
    logs = 4 + random.normal(0, 0.15, (series, WEEKS))
    for store, country in enumerate(countries):
        for week in EASTERS.get(country, ()):
            logs[3 * store : 3 * store + 3, parse_window(week, Cadence.WEEK).ordinal - FIRST] += 1.1
    sales, flat = np.round(np.exp(logs)), np.ones((series, WEEKS))
    names = np.array(["a", "b", "c"] * len(countries), object)
    stores = tuple(f"store-{n:02d}" for n in range(len(countries)))
    return Panel(
        stores, np.arange(len(countries)).repeat(3), names, FIRST, sales, flat, 0 * flat, 0 * flat,
        np.empty((0, series, WEEKS)), countries,
    )  # fmt: skip


def stands_out(season: Season, panel: Panel, rows: slice, week: str) -> float:
    """How far the week stands out of the season of these series in 2024."""
    logs = season_of(season, panel.skus[rows], FIRST, WEEKS)
    return float(logs[:, parse_window(week, Cadence.WEEK).ordinal - FIRST].mean() - logs[:, -60:].mean())


def test_each_country_has_its_own_easter() -> None:
    """Learned before 2024, each country's Easter of 2024 stands out in its own week and in no other country's."""
    panel = make_countries()
    stop = parse_window("2024-W01", Cadence.WEEK).ordinal - FIRST
    chain, _ = learn_chain(prepare(panel), panel, stop, BY_COLUMN)
    seasons = {one.calendar.country: one for one in chain.by_country if one.calendar}
    assert set(seasons) == {"GB", "GR"}
    own = slice(0, 3), slice(18, 21)
    for country, other, rows in (("GB", "GR", own[0]), ("GR", "GB", own[1])):
        assert stands_out(seasons[country], panel, rows, EASTERS[country][3]) > 0.7
        assert stands_out(seasons[country], panel, rows, EASTERS[other][3]) < 0.2


def test_stores_of_a_young_country_have_the_season_of_the_chain() -> None:
    """A country whose stores sell for less than a year and a half has the whole chain's season, as one that is not known."""
    panel = make_countries()
    stop = parse_window("2024-W01", Cadence.WEEK).ordinal - FIRST
    sales = panel.sales.copy()
    for year in range(3):
        sales[:, 52 * year + 48 : 52 * year + 51] *= 3  # everywhere before Christmas
    sales[18:36, : stop - 40] = np.nan  # Greece's stores opened 40 weeks before
    young = replace(panel, sales=sales)
    chain, learnt = learn_chain(prepare(young), young, stop, BY_COLUMN)
    assert [one.calendar.country for one in chain.by_country if one.calendar] == ["GB"]
    assert learnt.season is not None
    np.testing.assert_array_equal(
        learnt.season[18:36], season_of(chain.season, panel.skus[18:36], FIRST, WEEKS)
    )
    assert np.ptp(learnt.season[18:36]) > 0.1


def test_the_model_keeps_the_countries() -> None:
    """Packed and read again, every store is prepared with the season of its country, one of an unknown one with the chain's."""
    panel = make_countries()
    chain, learnt = learn_chain(prepare(panel), panel, WEEKS, BY_COLUMN)
    again = chain_of_arrays(chain_arrays(chain))
    assert again is not None
    found = prepare_with(again, panel).season
    assert learnt.season is not None
    assert found is not None
    np.testing.assert_array_equal(found, learnt.season)
    unknown = season_of(chain.season, panel.skus[-6:], FIRST, WEEKS)
    np.testing.assert_array_equal(found[-6:], unknown)
    damaged = chain_arrays(chain) | {"country1_gain": np.zeros(5)}
    with pytest.raises(ModelError, match="Train again"):
        chain_of_arrays(damaged)


def test_stores_without_the_column_are_as_before() -> None:
    """A panel without countries has one season, bit for bit that of the whole chain."""
    panel = replace(make_countries(), countries=())
    chain, learnt = learn_chain(prepare(panel), panel, WEEKS, None)
    assert chain.by_country == ()
    assert not any(name.startswith("country") for name in chain_arrays(chain))
    if learnt.season is not None:
        np.testing.assert_array_equal(learnt.season, season_of(chain.season, panel.skus, FIRST, WEEKS))


def test_the_country_is_read_from_the_rows(tmp_path: Any, chain: Any) -> None:
    """Most rows decide, in any order and case; a store without a name has none."""
    store = LocalStore(tmp_path)
    land = np.array(["gb", "GR", "XX", "", "GB", "GB"], object)[chain.history["store"].astype(int) - 1]
    land[chain.rows("2", week=3)] = "GB"
    chain.history["land"] = land
    chain.write(store)
    settings = StoreSalesSettings(country="{land}")
    assert load_history(store, settings, "store_sales")[0].countries == ("GB", "GR", "XX", "", "GB", "GB")
    order = np.random.default_rng(2).permutation(len(land))
    chain.history = {name: column[order] for name, column in chain.history.items()}
    chain.write(store)
    assert load_history(store, settings, "store_sales")[0].countries == ("GB", "GR", "XX", "", "GB", "GB")


def test_a_country_that_is_not_known_costs_no_forecast(sound: LocalStore, chain: Any) -> None:
    """Its stores are scored without holidays, and the ledger says so; the others have no remark."""
    chain.history["land"] = np.where(chain.history["store"] == "3", "Atlantis", "GB").astype(object)
    chain.write(sound)
    sound.write("settings/store_sales.toml", b'country = "{land}"\nrounds = 12\n')
    assert run_window(sound, "store_sales", "70").counts == {"scored": 6}
    causes = read_ledger(sound, "store_sales-70")
    assert causes["cause"].to_pylist() == ["", "", "unknown_country", "", "", ""]


def test_a_column_that_no_file_has_is_named_by_training(tmp_path: Any, chain: Any) -> None:
    """Training refuses a country column that is not there, by its name."""
    store = LocalStore(tmp_path)
    chain.write(store)
    store.write("settings/store_sales.toml", b'country = "{land}"\nrounds = 5\n')
    with pytest.raises(InputError, match="column land"):
        run_training(store, "store_sales", "0", "70")
