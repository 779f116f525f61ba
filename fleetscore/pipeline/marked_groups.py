"""Groups of partitions under an in-progress marker each, so that the one that kills its process, or needs
more memory or time than there is, is found and set aside, in scoring as in training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fleetscore.exhaustion import is_out_of_memory
from fleetscore.pipeline.attempt_limit import AttemptLimit
from fleetscore.pipeline.attempt_marker import AttemptMarker, ended_marker, is_alive, make_marker
from fleetscore.pipeline.poison import ScoringOrder, order_scoring
from fleetscore.records import Outcome, to_json
from fleetscore.store.base import Store
from fleetscore.store.paths import attempt_path, shard_folder
from fleetscore.store.state_files import read_hint
from fleetscore.workload import Scored, Shard

_MARKER = "crumb.json"


def order_groups(
    store: Store, run: str, shard: int, partitions: Sequence[str], max_attempts: int
) -> ScoringOrder:
    """The groups in which this attempt takes the partitions, by the markers that ended attempts left."""
    prefix = f"{shard_folder(run, shard)}attempts/"
    paths = [entry.path for entry in store.list(prefix) if entry.path.endswith(f"/{_MARKER}")]
    markers = [read_hint(store, path, AttemptMarker) for path in paths]
    ended = [list(marker.partitions) for marker in markers if marker and not is_alive(marker)]
    return order_scoring(partitions, ended, max_attempts)


@contextmanager
def marked(
    store: Store, run: str, shard: int, attempt: str, group: Sequence[str], limit: AttemptLimit
) -> Iterator[None]:
    """Name the group in the attempt's marker for the length of the block, which `limit` may end.

    A block that ends in order (the store is down, the node is taken) marks no partition. One that lacked
    memory does: its partitions may need more than there is, as if the process had been killed for it.
    """
    path = attempt_path(run, shard, attempt, _MARKER)
    store.write(path, to_json(make_marker(group)))
    try:
        with limit.ending_the_process():
            yield
    except BaseException as error:
        if is_out_of_memory(error):
            store.write(path, to_json(ended_marker(group)))
        else:
            store.delete(path)
        raise


def set_aside(shard: Shard, work: str, attempts: int) -> Scored:
    """The outcomes of partitions whose `work` (Scoring, Training) ended so many attempts."""
    detail = f"{work} it killed its process, or took more memory or time than there is; set aside after {attempts} attempts failed with it."
    table = shard.partitions
    return Scored.failed(
        table["partition"], "kills_process", detail, input_rows=table["rows"], outcome=Outcome.QUARANTINED
    )
