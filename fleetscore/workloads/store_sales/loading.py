"""From files in the store to a filled panel."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fleetscore.errors import InputError
from fleetscore.records import InputFile
from fleetscore.store.base import Store
from fleetscore.windows import Cadence
from fleetscore.workloads.store_sales.contract import StoreSalesSettings
from fleetscore.workloads.store_sales.countries import read_countries
from fleetscore.workloads.store_sales.input_files import UsableFiles, usable_files
from fleetscore.workloads.store_sales.panel import Filled, Panel, PanelFiller, fold_days

_KEPT_BYTES = 64_000_000  # of panels of single stores
_kept: OrderedDict[tuple[object, ...], Panel] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Span:
    """Which weeks a panel covers: [first_week, stop_week), sales known before `origin_week`. Window
    ordinals of the cadence.
    """

    cadence: Cadence
    first_week: int
    origin_week: int
    stop_week: int


def load_panel(files: UsableFiles, span: Span, stores: Sequence[str], covariates: Sequence[str]) -> Filled:
    """The panel of these stores, by name, from all rows of the files within the span; daily rows are added
    up to weeks.
    """
    if files.daily:
        filled = _fill(files, _in_days(span), stores, covariates)
        filled = Filled(fold_days(filled.panel, span.first_week), filled.planned, filled.findings)
    else:
        filled = _fill(files, span, stores, covariates)
    if not files.country_column:
        return filled
    countries = read_countries(files, filled.panel.stores)
    return replace(filled, panel=replace(filled.panel, countries=countries))


def _in_days(span: Span) -> Span:
    """The same span in days: week 0 begins three days before day 0, 1970-01-01."""
    if span.cadence is not Cadence.WEEK:
        raise InputError(
            "Daily rows need dates, and windows of ISO weeks; this window is a plain number.",
            fix='Name the window as 2026-W47, or take `frequency = "day"` out of the settings.',
            field="frequency",
        )
    first, origin, stop = (week * 7 - 3 for week in (span.first_week, span.origin_week, span.stop_week))
    return Span(Cadence.DAY, first, origin, stop)


def _fill(files: UsableFiles, span: Span, stores: Sequence[str], covariates: Sequence[str]) -> Filled:
    wanted = sorted(stores)
    filler = PanelFiller(wanted, len(covariates), span.first_week, span.origin_week, span.stop_week)
    for file, columns in files.future:
        for batch in files.reader.rows(file, columns, span.cadence, wanted):
            filler.add_future(batch, columns.prices)
    for file, columns in files.history:
        for batch in files.reader.rows(file, columns, span.cadence, wanted):
            filler.add_history(batch, columns.prices)
    return filler.panel()


def load_stores(
    store: Store, inputs: Sequence[InputFile], span: Span, names: Sequence[str], settings: StoreSalesSettings
) -> dict[str, Panel]:
    """The panel of each store alone; this process reads a store once while neither the input files nor the
    span change.
    """
    covariates = settings.covariates
    cache_key = (
        store.url,
        tuple((file.path, file.etag) for file in inputs),
        span,
        covariates,
        settings.frequency,
        settings.timezone,
        settings.country,
        repr(settings.data),
    )
    wanted = sorted(set(names))
    with _lock:
        found = {name: _kept[(*cache_key, name)] for name in wanted if (*cache_key, name) in _kept}
    missing = [name for name in wanted if name not in found]
    if missing:
        files = usable_files(store, inputs, settings)
        panel = load_panel(files, span, missing, covariates).panel
        found |= {name: _alone(panel, number) for number, name in enumerate(missing)}
    _keep({(*cache_key, name): panel for name, panel in found.items()})
    return found


def _alone(panel: Panel, number: int) -> Panel:
    """A store's part of the panel, as a copy, so that it does not keep the rest in memory."""
    part = panel.of_stores(number, number + 1)
    arrays = {name: np.array(getattr(part, name)) for name in ("sales", "price", "deal", "feat", "extras")}
    return Panel(
        part.stores,
        np.array(part.store_of),
        np.array(part.skus),
        part.first_week,
        **arrays,
        countries=part.countries,
    )


def _keep(panels: dict[tuple[object, ...], Panel]) -> None:
    """Keep the panels as the last used; the longest unused go beyond _KEPT_BYTES."""
    with _lock:
        for key, panel in panels.items():
            _kept[key] = panel
            _kept.move_to_end(key)
        while len(_kept) > 1 and sum(_size_bytes(panel) for panel in _kept.values()) > _KEPT_BYTES:
            _kept.popitem(last=False)


def _size_bytes(panel: Panel) -> int:
    return 4 * panel.sales.nbytes + panel.extras.nbytes
