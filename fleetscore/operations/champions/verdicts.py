"""Verdicts: the champion and the challenger of a workload, compared on what really came, per partition and
in all; kept as decisions.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.capabilities import Judges, require
from fleetscore.errors import DamagedStateError, InputError, MissingBlobError
from fleetscore.models.comparing import are_certain, compare, decide
from fleetscore.models.pins import read_pins
from fleetscore.partition_keys import join_columns
from fleetscore.pipeline.score import read_shard_record
from fleetscore.pipeline.shadow import RECORD, RESULTS, Shadow
from fleetscore.records import Outcome, to_json
from fleetscore.registry import get_workload
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.base import Entry, Store
from fleetscore.store.decoded_cache import read_version
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.paths import attempt_path
from fleetscore.store.state_files import decode_truth, read_truth
from fleetscore.store.tables import count_values, open_truth
from fleetscore.windows import Window, windows_between
from fleetscore.workload import Workload

Floats = npt.NDArray[np.float64]
_log = logging.getLogger("fleetscore.verdicts")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison said. Losses are means over all cases; `table` is Parquet: partition, champion,
    challenger, cases, better.
    """

    id: str
    workload: str
    champion: str  # the version that was current when it was judged
    challenger: str
    at: datetime
    who: str
    windows: tuple[str, ...]  # those with actuals
    loss: str  # what was measured; less is better
    champion_loss: float
    challenger_loss: float
    change: float  # of the loss, relative to the champion's; negative is better
    cases: int
    partitions: int
    wins: Mapping[str, int]  # champion, challenger, same -> partitions
    promote: bool
    reason: str
    table: str
    schema: int = 1


def judge_challenger(
    store: Store,
    workload_name: str,
    first: str,
    stop: str,
    now: datetime,
    requested_by: str,
    version: str = "",
) -> Verdict:
    """Compare the challenger (or `version`, a former one) with what was published in the windows [first,
    stop), and keep the verdict.

    InputError when there is no challenger, or nothing to compare: no shadow results, or no actuals yet.
    """
    workload, pins = get_workload(store, workload_name), read_pins(store, workload_name)
    require(workload, Judges)
    challenger = version or pins.challenger
    if not challenger:
        raise InputError(
            f"{workload_name} has no challenger.",
            fix=f"Name one: fleetscore models challenge {workload_name} VERSION", field="version",
        )  # fmt: skip
    pairs = []
    for window in windows_between(workload.parse_window(first), workload.parse_window(stop)):
        pair = _judge_window(store, workload, window, challenger)
        if pair is not None:
            pairs.append((window.key, pair))
    if not pairs:
        raise InputError(
            f"Nothing of {challenger} can be compared in [{first}, {stop}).",
            fix="It takes windows that ran while it was the challenger, and whose actuals have come; docs/operate.md says where those lie.",
            field="from",
        )  # fmt: skip
    table = combine([pair for _, pair in pairs])
    verdict = _verdict(
        workload, pins.current, challenger, now, requested_by, tuple(key for key, _ in pairs), table
    )
    _keep(store, verdict, table)
    return verdict


def combine(pairs: Sequence[tuple[pa.Table, pa.Table]]) -> pa.Table:
    """Partition, champion, challenger (mean losses), cases, better: of the JUDGED tables (champion's,
    challenger's) of some windows.

    A partition counts in a window only where both have it; the loss over windows is weighted by cases.
    """
    both = [
        mine.join(
            theirs.rename_columns(["partition", "theirs", "their_cases"]), "partition", join_type="inner"
        )
        for mine, theirs in pairs
    ]
    rows = pa.concat_tables(both)
    rows = rows.append_column("difference", pc.subtract(rows["loss"], rows["theirs"]))
    cases = pc.min_element_wise(rows["cases"], rows["their_cases"])
    weighted = pa.table(
        {
            "partition": rows["partition"],
            "champion": pc.multiply(rows["loss"], cases),
            "challenger": pc.multiply(rows["theirs"], cases),
            "cases": cases,
            "difference": rows["difference"],
        }
    )
    spread = [
        ("difference", "mean"),
        ("difference", "stddev", pc.VarianceOptions(ddof=1)),
        ("difference", "count"),
    ]
    sums = weighted.group_by("partition").aggregate(
        [*((n, "sum") for n in ("champion", "challenger", "cases")), *spread]
    )
    mine, theirs = (pc.divide(sums[f"{n}_sum"], sums["cases_sum"]) for n in ("champion", "challenger"))
    better = compare(np.asarray(mine), np.asarray(theirs))
    columns = {
        "partition": sums["partition"], "champion": mine, "challenger": theirs,
        "cases": sums["cases_sum"], "better": pa.array(better, pa.string()),
        "windows": sums["difference_count"],
        "certain": pa.array(are_certain(*(column_of(sums, name) for name in ("mean", "stddev", "count")))),
    }  # fmt: skip
    return pa.table(columns).sort_by("partition")


def column_of(sums: pa.Table, name: str) -> Floats:
    """A figure of the differences as float64, NaN where there is none."""
    return np.asarray(pc.cast(sums[f"difference_{name}"], pa.float64()).to_numpy(), np.float64)


def list_verdicts(store: Store, workload: str) -> list[Verdict]:
    """The kept verdicts, the newest first."""
    entries = [entry for entry in store.list(_folder(workload)) if entry.path.endswith(".json")]

    def read(entry: Entry) -> Verdict | None:
        try:
            return read_version(
                store, entry.path, entry.etag, lambda data: decode_truth(data, entry.path, Verdict)
            )
        except DamagedStateError as error:  # costs itself; the doctor names it
            _log.warning("A verdict is passed over: %s", error)
            return None

    return [verdict for verdict in side_by_side(read, entries[::-1]) if verdict is not None]


def read_verdict_table(store: Store, verdict: Verdict) -> pa.Table:
    """The verdict partition by partition."""
    with open_truth(store, verdict.table) as source:
        return pq.read_table(source)


def _judge_window(
    store: Store, workload: Workload, window: Window, challenger: str
) -> tuple[pa.Table, pa.Table] | None:
    """JUDGED of the published results and of the challenger's, for the partitions of both; None where
    either is not there.
    """
    with suppress(MissingBlobError):
        manifest = read_manifest(store, workload.name, window.key)
        ledger = read_ledger(store, manifest.run)
        shadow = _shadow_results(store, workload, ledger, challenger)
        if shadow is None:
            return None
        judges = require(workload, Judges)
        theirs = judges.judge(store, window, shadow)
        champions = ledger.filter(pc.not_equal(ledger["model"], challenger))["partition"]
        mine = judges.judge(store, window, read_results(store, manifest))
        mine = mine.filter(pc.is_in(mine["partition"], champions))
        return (mine, theirs) if mine.num_rows and theirs.num_rows else None
    return None


def _shadow_results(store: Store, workload: Workload, ledger: pa.Table, challenger: str) -> pa.Table | None:
    """The challenger's rows of the partitions that the ledger says were scored with it in shadow."""
    scored = ledger.filter(pc.equal(ledger["outcome"], Outcome.SCORED))
    places = scored.group_by(["run", "shard"]).aggregate([("partition", "list")]).to_pylist()
    tables = []
    for place in places:
        for table in _shadow_of(store, place["run"], place["shard"], challenger):
            keys = join_columns([pc.cast(table[name], pa.string()) for name in workload.partition_columns])
            tables.append(table.filter(pc.is_in(keys, pa.array(place["partition_list"], pa.string()))))
    return pa.concat_tables(tables) if tables else None


def _shadow_of(store: Store, run: str, shard: int, challenger: str) -> Iterator[pa.Table]:
    record = read_shard_record(store, run, shard)
    if record is None:
        return
    with suppress(MissingBlobError):
        shadow = read_truth(store, attempt_path(run, shard, record.attempt, RECORD), Shadow)
        if shadow.challenger == challenger and shadow.rows:
            with open_truth(store, attempt_path(run, shard, record.attempt, RESULTS)) as source:
                yield pq.read_table(source)


def _verdict(
    workload: Workload, champion: str, challenger: str, now: datetime, requested_by: str, windows: tuple[str, ...], table: pa.Table
) -> Verdict:  # fmt: skip
    cases = np.asarray(table["cases"], np.float64)
    mine, theirs = (
        float(np.average(np.asarray(table[name]), weights=cases)) for name in ("champion", "challenger")
    )
    wins = count_values(table["better"])
    decision = decide(mine, theirs, int(cases.sum()), wins)
    verdict_id = f"{now:%Y%m%dT%H%M%SZ}-{challenger}"
    return Verdict(
        id=verdict_id, workload=workload.name, champion=champion, challenger=challenger, at=now, who=requested_by,
        windows=windows, loss=require(workload, Judges).loss, champion_loss=mine, challenger_loss=theirs,
        change=(theirs - mine) / mine if mine else 0.0, cases=int(cases.sum()), partitions=table.num_rows, wins=wins,
        promote=decision.promote, reason=decision.reason, table=f"{_folder(workload.name)}{verdict_id}.parquet",
    )  # fmt: skip


def _keep(store: Store, verdict: Verdict, table: pa.Table) -> None:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    store.write(verdict.table, buffer.getvalue())
    store.write(f"{_folder(verdict.workload)}{verdict.id}.json", to_json(verdict))


def _folder(workload: str) -> str:
    return f"models/{workload}/verdicts/"
