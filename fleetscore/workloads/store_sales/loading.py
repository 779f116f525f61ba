"""From files in the store to a filled panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleetscore.stores.base import Store
from fleetscore.windows import Cadence
from fleetscore.workloads.store_sales.input_files import UsableFiles
from fleetscore.workloads.store_sales.panel import Filled, PanelFiller
from fleetscore.workloads.store_sales.reading import read_rows


@dataclass(frozen=True, slots=True)
class Span:
    """Which weeks a panel covers: [first_week, stop_week), sales known before `origin_week`. Window ordinals of the cadence."""

    cadence: Cadence
    first_week: int
    origin_week: int
    stop_week: int


def load_panel(
    store: Store, files: UsableFiles, span: Span, stores: Sequence[str], covariates: Sequence[str]
) -> Filled:
    """The panel of these stores, by name, from all rows of the files within the span."""
    wanted = sorted(stores)
    filler = PanelFiller(wanted, len(covariates), span.first_week, span.origin_week, span.stop_week)
    for file, columns in files.future:
        for batch in read_rows(store, file.path, columns, span.cadence, wanted):
            filler.add_future(batch, columns.prices)
    for file, columns in files.history:
        for batch in read_rows(store, file.path, columns, span.cadence, wanted):
            filler.add_history(batch, columns.prices)
    return filler.panel()
