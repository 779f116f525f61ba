"""Verdicts partition by partition: where a challenger does worse, and where better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fleetscore.errors import MissingBlobError
from fleetscore.operations.champions.verdicts import Verdict, list_verdicts, read_verdict_table
from fleetscore.store.base import Store


@dataclass(frozen=True, slots=True)
class JudgedPartition:
    """The mean losses of one partition over its cases; `better` is champion, challenger or same."""

    partition: str
    champion: float
    challenger: float
    cases: int
    better: str
    windows: int = 0  # with actuals; 0: not kept by that version
    certain: bool = False  # whether the difference is beyond the noise over windows


@dataclass(frozen=True, slots=True)
class VerdictReport:
    """A verdict, and its partitions with the largest differences: those where the challenger does worse
    first.
    """

    verdict: Verdict
    partitions: tuple[JudgedPartition, ...]


def describe_verdict(store: Store, workload: str, verdict: str, limit: int) -> VerdictReport:
    """The kept verdict of that id (by default the newest) with `limit` partitions; MissingBlobError when
    there is none such.
    """
    kept = list_verdicts(store, workload)
    found = next((each for each in kept if each.id == (verdict or each.id)), None)
    if found is None:
        known = ", ".join(each.id for each in kept[:5]) or "none yet"
        raise MissingBlobError(
            f"{workload} has no verdict {verdict!r}." if verdict else f"{workload} has no verdict yet.",
            fix=f"Newest verdicts: {known}.", code="no_verdict", field="verdict",
        )  # fmt: skip
    return VerdictReport(found, worst_first(read_verdict_table(store, found), limit))


def worst_first(table: pa.Table, limit: int) -> tuple[JudgedPartition, ...]:
    """The first `limit` partitions by how much more the challenger loses than the champion; equal ones as
    they lie in the table.

    >>> worst_first(pa.table({"partition": ["a", "b"], "champion": [1.0, 1.0], "challenger": [0.5, 2.0], "cases": [9, 9],
    ...     "better": ["challenger", "champion"]}), 1)[0].partition
    'b'
    """
    more = np.asarray(table["challenger"]) - np.asarray(table["champion"])
    order = np.argsort(-more, kind="stable")[:limit]
    return tuple(JudgedPartition(**row) for row in table.take(order).to_pylist())
