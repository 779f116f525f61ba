"""Two imports at the same time: the one that ends later does not undo the other without a word."""

from __future__ import annotations

from pathlib import Path

import joblib
import pytest

from fleetscore.errors import ConflictError
from fleetscore.fleet.store_fleet import Fleet
from fleetscore.models.model_sets import read_model_set
from fleetscore.models.pins import read_pins
from fleetscore.store.base import Store
from fleetscore.workloads.models.bundles import find_bundle
from tests.model_fleets.conftest import fitted

pytestmark = pytest.mark.usefixtures("shared_import_process")


def _folder(place: Path, van: str) -> Path:
    place.mkdir()
    joblib.dump(fitted(1), place / f"{van}.joblib")
    return place


@pytest.mark.parametrize("add", [True, False])
def test_the_later_of_two_imports_is_stored_and_not_pinned(store: Store, tmp_path: Path, add: bool) -> None:
    """Both began on the same version: the second is told which version came meanwhile, and another import builds on it."""
    fleet = Fleet(store.url)
    first, second = _folder(tmp_path / "a", "VAN-1"), _folder(tmp_path / "b", "VAN-2")
    mine = fleet.import_fleet("vans", first, add=add, trusted=True)
    theirs = fleet.import_fleet("vans", second, add=add, trusted=True)
    pinned = fleet.store_import("vans", mine, first).version
    with pytest.raises(ConflictError, match=pinned) as caught:
        fleet.store_import("vans", theirs, second)
    assert read_pins(store, "vans").current == pinned
    stored = str(caught.value).split()[0]
    assert read_model_set(store, "vans", stored).version == stored
    again = fleet.import_fleet("vans", second, add=True, trusted=True)
    version = fleet.store_import("vans", again, second).version
    assert find_bundle(store, "vans", version).keys.to_pylist() == ["VAN-1", "VAN-2"]
    fleet.store_import("vans", theirs, second, pin=False)
