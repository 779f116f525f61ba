"""What the reference gets wrong and this must not: one test each (the others are in the files on features, rows and parsing)."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.workloads.server_load.features import FEATURES
from fleetscore.workloads.server_load.layouts import LAYOUTS
from fleetscore.workloads.server_load.parse import Piece, parse_piece
from fleetscore.workloads.server_load.settings import ServerLoadSettings
from fleetscore.workloads.server_load.training import Examples, judge
from fleetscore.workloads.server_load.trees import dump_trees

_DIRTY = st.sampled_from(
    [
        "short",
        "1,2016-06-31 00:00:00,e,3,1,4,1,web,1,1,1,1,1,1,5,10.0.0.1,c",
        "1,NULL,e,3,1,4,1,web,1,1,1,1,1,1,5,10.0.0.1,c",
        "1,2016-06-29 01:00:00,e,3,1,4,1,web,1,1,1,1,1,1,5,IPs,c",
        '"1,2016-06-29 01:00:00',
        ",".join(["x"] * 40),
    ]
)


def _parse(rows: list[str]) -> tuple[list[dict[str, object]], int]:
    text = "".join(f"{row}\n" for row in rows).encode()
    data = np.frombuffer(text + bytes(64), np.uint8)
    table, counts = parse_piece(Piece(data, 0, data, len(text), 0), LAYOUTS["17"])
    return table.to_pylist(), counts.kept


@given(st.lists(st.tuples(st.integers(0, 10), _DIRTY), max_size=8))
@settings(max_examples=80, deadline=None)
def test_a_bad_row_touches_no_other(changes: list[tuple[int, str]]) -> None:
    """Bad rows anywhere in a file leave the sums of all others as they are (with schema inference one bad time decides for all)."""
    good = [f"1,2016-06-29 01:{n:02d}:00,e,3,1,4,1,web,1,1,1,1,1,1,{n},10.0.0.1,c" for n in range(10)]
    mixed = list(good)
    for at, row in changes:
        mixed.insert(at, row)
    assert _parse(mixed) == _parse(good)


def test_infinity_spoils_nothing(line: Callable[..., str]) -> None:
    """An infinite or missing load adds nothing, and the finite loads of its slot stay."""
    rows = [line("2016-06-29 01:00:00", "10.0.0.1", load) for load in (5, "inf", "NaN", "1e999", 7)]
    (slot,), kept = _parse(rows)
    assert (slot["load"], slot["sessions"], kept) == (120_000, 5, 5)


def test_unreadable_times_make_no_phantom_hour(line: Callable[..., str]) -> None:
    """Rows without a readable time are rejected; they do not gather in an hour of their own."""
    rows = [line(when, "10.0.0.1") for when in ("", "NULL", "0000-00-00 00:00:00", "29/06/2016 01:00")]
    assert _parse(rows) == ([], 0)


@pytest.mark.parametrize("kind", ["forest", "boosting"])
def test_the_model_that_is_judged_never_saw_the_test_days(kind: str) -> None:
    """Nothing of the days that a model is judged on reaches its fit: with other test days it is the same to the byte."""
    random = np.random.default_rng(0)

    def examples(count: int) -> Examples:
        features = random.normal(size=(count, len(FEATURES)))
        return Examples(features, random.integers(0, 3, count).astype(np.int8), np.arange(count))

    learnt = examples(300)
    options = ServerLoadSettings(forest_trees=5, forest_depth=4)
    one, other = (dump_trees(judge(kind, learnt, examples(80), options).trees) for _ in range(2))
    assert one == other
