"""The packed models of a workload's model sets, opened once per process."""

from __future__ import annotations

from functools import partial

from fleetscore.models.model_sets import read_model_file, read_model_set
from fleetscore.models.packs.bundle import INDEX_FILE, Bundle, open_bundle
from fleetscore.store.base import Store
from fleetscore.store.decoded_cache import read_unchanging


def find_bundle(store: Store, workload: str, version: str) -> Bundle:
    """The models of the version, each file checked against its hash when it is read first; ModelError when
    there is none.
    """
    model_set = read_model_set(store, workload, version)
    path = f"models/{workload}/{version}/{INDEX_FILE}"
    return read_unchanging(store, path, lambda _: open_bundle(partial(read_model_file, store, model_set)))
