"""The packed models of a workload's model sets, opened once per process."""

from __future__ import annotations

from functools import partial

from fleetscore.errors import ModelError
from fleetscore.models.model_sets import read_model_file, read_model_set
from fleetscore.models.packs.bundle import INDEX_FILE, OPENED_BYTES, PACK_BYTES, Bundle, open_bundle
from fleetscore.store.base import Store
from fleetscore.store.decoded_cache import read_unchanging
from fleetscore.workload import RunContext


def find_bundle(store: Store, workload: str, version: str) -> Bundle:
    """The models of the version, each file checked against its hash when it is read first; ModelError when
    there is none.
    """
    model_set = read_model_set(store, workload, version)
    path = f"models/{workload}/{version}/{INDEX_FILE}"
    return read_unchanging(store, path, lambda _: open_bundle(partial(read_model_file, store, model_set)))


def weigh_models(run: RunContext) -> tuple[int, int]:
    """Bytes of all pinned versions' files, and of those that are open at once while a shard is scored; a
    version that cannot be read weighs nothing here, and is reported where it is to score.
    """
    pins = run.pins
    sizes = [
        _set_bytes(run, version)
        for version in {pins.current, *pins.partitions.values(), *pins.keys.values()} - {""}
    ]
    return sum(sizes), sum(min(size, OPENED_BYTES + PACK_BYTES) for size in sizes)


def _set_bytes(run: RunContext, version: str) -> int:
    try:
        model_set = read_model_set(run.store, run.workload, version)
    except ModelError:
        return 0
    return sum(file.size_bytes for name, file in model_set.files.items() if name.endswith(".bin"))
