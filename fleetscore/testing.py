"""Checks for authors of kinds: whether a kind keeps the promises of the seam, used as the pipeline uses it.

>>> from fleetscore.testing import check_workload
>>> checked = check_workload(Doubles(), store, "2026-11-21T10")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.capabilities import MakesSamples, Prepares
from fleetscore.errors import InputError
from fleetscore.models.pins import read_pins
from fleetscore.partition_keys import join_columns
from fleetscore.pipeline.prepare import MAX_ROUNDS
from fleetscore.records import Outcome
from fleetscore.runs.manifests import read_latest
from fleetscore.schemas import OUTCOMES, PARTITIONS
from fleetscore.store.base import Store
from fleetscore.store.tables import count_values
from fleetscore.windows import Window
from fleetscore.workload import Partitions, RunContext, Scored, Shard, Workload

_FAR = 5_000
"""So many windows ahead there is no data."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What `check_workload` saw of a window: partitions by outcome, and rows of results."""

    window: str
    outcomes: dict[str, int]
    rows: int


def check_workload(kind: Workload, store: Store, window: str = "") -> Checked:
    """Discover and score the window as a run would; AssertionError says which promise of the seam is
    broken, and by what.

    Checked: the tables have their schemas, every expected partition is settled exactly once, counted rows
    are there, the same input gives the same answer, a part of a shard is scored like the whole, and a
    window without data raises nothing. Without a `window` it is the newest published one, else one that a
    path of the input names, else the first of the kind's samples, which are written if there is no input.
    Preparation writes its partials; nothing else is written.
    """
    chosen = kind.parse_window(window) if window else _find_window(kind, store)
    run = RunContext(store, kind, chosen, read_pins(store, kind.name), run="check")
    found = _discover(run)
    ledger, results = _score_all(replace(run, inputs=found.inputs), found.expected)
    _discover(replace(run, window=chosen.next(_FAR)))
    return Checked(chosen.key, count_values(ledger["outcome"]), results.num_rows)


def _find_window(kind: Workload, store: Store) -> Window:
    latest = read_latest(store, kind.name)
    if latest is not None:
        return kind.parse_window(latest.window)
    paths = [entry.path for prefix in kind.data_prefixes() for entry in store.list(prefix)]
    for name in [part.partition(".")[0] for path in paths for part in path.split("/")]:
        try:
            return kind.parse_window(name)
        except InputError:
            continue
    if isinstance(kind, MakesSamples) and not paths:
        return kind.samples(store, scale=0.02).first
    raise InputError("Name the window to check: no path of the input does.", field="window")


def _discover(run: RunContext) -> Partitions:
    """The expected partitions, after all preparation that they need."""
    _prepare(run)
    found, again = run.kind.discover(run), run.kind.discover(run)
    table = found.expected
    _same_schema(table.schema, PARTITIONS, "discover")
    keys = table["partition"].to_pylist()
    _expect(all(keys), "discover gave an empty partition key.")
    _expect(len(set(keys)) == len(keys), f"discover gave {_twice(keys)!r} more than once.")
    allowed = {"", *(str(o) for o in Outcome if o is not Outcome.SCORED)}
    unknown = set(table["outcome"].to_pylist()) - allowed
    _expect(not unknown, f"discover gave the outcome {unknown}; allowed: {sorted(allowed)}.")
    _expect(
        table.sort_by("partition").equals(again.expected.sort_by("partition")),
        "discover is not deterministic.",
    )
    for file in found.inputs:
        _expect(
            run.store.stat(file.path) is not None, f"discover named {file.path}, which is not in the store."
        )
    return found


def _prepare(run: RunContext) -> None:
    kind = run.kind
    if not isinstance(kind, Prepares):
        return
    for _ in range(MAX_ROUNDS):
        items = kind.map_items(run)
        for item in items:
            kind.map_item(run, item)
            _expect(
                run.store.stat(item.output) is not None, f"map_item of {item.item} wrote no {item.output}."
            )
        if not items:
            return
    raise AssertionError(f"map_items still gives pieces after {MAX_ROUNDS} rounds.")


def _score_all(run: RunContext, expected: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The outcomes and results of all partitions that are to be scored, whole and in parts."""
    pending = Shard(0, expected.filter(pc.equal(expected["outcome"], "")))
    outcomes, results = _score(run, pending)
    again = _score(run, pending)
    _expect(results.equals(again[1]), "score gave other results for the same shard.")
    _expect(_plain(outcomes).equals(_plain(again[0])), "score gave other outcomes for the same shard.")
    keys = pending.keys
    for part in {tuple(keys[: len(keys) // 2]), tuple(keys[-1:])} - {(), tuple(keys)}:
        _check_part(run, pending, part, outcomes, results)
    return outcomes, results


def _check_part(
    run: RunContext, shard: Shard, part: tuple[str, ...], outcomes: pa.Table, results: pa.Table
) -> None:
    mine, rows = _score(run, shard.restricted(part))
    wanted = pa.array(part, pa.string())
    whole = results.filter(pc.is_in(_keys(run.kind, results), wanted))
    _expect(rows.equals(whole), f"score gave other results for {part[:3]} alone than among the whole shard.")
    before = _plain(outcomes.filter(pc.is_in(outcomes["partition"], wanted)))
    _expect(
        _plain(mine).equals(before),
        f"score gave other outcomes for {part[:3]} alone than among the whole shard.",
    )


def _score(run: RunContext, shard: Shard) -> tuple[pa.Table, pa.Table]:
    """Outcomes and results of the shard, sorted by partition; each piece is checked."""
    kind = run.kind
    pieces = list(_checked_pieces(run, shard))
    outcomes = pa.concat_tables([OUTCOMES.empty_table(), *(piece.outcomes for piece in pieces)])
    settled = outcomes["partition"].to_pylist()
    _expect(len(set(settled)) == len(settled), f"score settled {_twice(settled)!r} more than once.")
    _expect(
        set(settled) <= set(shard.keys),
        f"score settled {sorted(set(settled) - set(shard.keys))[:3]} unasked.",
    )
    missing = sorted(set(shard.keys) - set(settled))
    _expect(not missing, f"score settled {len(missing)} partitions not at all, such as {missing[:1]}.")
    tables = [piece.results for piece in pieces if piece.results.num_rows]
    results = pa.concat_tables([kind.result_schema.empty_table(), *tables]).unify_dictionaries()
    order = pc.sort_indices(pa.table({"key": _keys(kind, results)}), [("key", "ascending")])
    return outcomes.sort_by("partition"), _decoded(results).take(order)


def _checked_pieces(run: RunContext, shard: Shard) -> Iterator[Scored]:
    for piece in run.kind.score(run, shard):
        _same_schema(piece.outcomes.schema, OUTCOMES, "score's outcomes")
        if piece.results.num_rows:
            _same_schema(piece.results.schema, run.kind.result_schema, "score's results")
        counted = {row["partition"]: row["rows"] for row in piece.outcomes.to_pylist() if row["rows"]}
        there = count_values(_keys(run.kind, piece.results)) if piece.results.num_rows else {}
        _expect(there == counted, f"score counted {_first_difference(counted, there)} rows of results.")
        scored = pc.sum(pc.equal(piece.outcomes["outcome"], Outcome.SCORED)).as_py() or 0
        if piece.sketches is not None:
            lines = piece.sketches.num_rows
            _expect(lines == scored, f"score gave {lines} sketches for {scored} scored partitions.")
        yield piece


def _first_difference(counted: dict[str, int], there: dict[str, int]) -> str:
    key = next((k for k in {**counted, **there} if counted.get(k) != there.get(k)), "")
    return f"{counted.get(key, 0)} for {key!r}, but gave {there.get(key, 0)}"


def _keys(kind: Workload, results: pa.Table) -> pa.ChunkedArray:
    """The partition of each row of results."""
    return join_columns([pc.cast(results[name], pa.string()) for name in kind.partition_columns])


def _decoded(results: pa.Table) -> pa.Table:
    """The results without dictionary encoding, which says how rows are kept and not what they are."""
    for place, field in enumerate(results.schema):
        if pa.types.is_dictionary(field.type):
            results = results.set_column(place, field.name, results[field.name].cast(field.type.value_type))
    return results


def _plain(outcomes: pa.Table) -> pa.Table:
    """The outcomes without the seconds, which differ from try to try."""
    return outcomes.drop_columns("seconds").sort_by("partition")


def _same_schema(got: pa.Schema, expected: pa.Schema, what: str) -> None:
    _expect(got.names == expected.names, f"{what}: columns {got.names}, expected {expected.names}.")
    for field in expected:
        found = got.field(field.name).type
        _expect(found == field.type, f"{what}: {field.name} is {found}, expected {field.type}.")


def _expect(holds: bool, message: str) -> None:
    """Raise AssertionError with the message unless it holds; an assert statement would be left out under
    -O.
    """
    if not holds:
        raise AssertionError(message)


def _twice(keys: list[str]) -> str:
    return next((key for key in keys if keys.count(key) > 1), "")
