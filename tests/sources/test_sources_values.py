"""What single cells mean: numbers that stand for no value, counts of another unit, whole numbers beside names."""

from fleetscore.sources import ColumnKind, DataSettings, list_inputs, read_files, read_table
from fleetscore.store import Store
from tests.sources.spans import VANS, between


def test_a_number_that_stands_for_no_value_is_none(store: Store) -> None:
    """`null_values` of -999 hold in a column that has nothing but numbers, too."""
    store.write("data/a.csv", b"ts,van,km\n2026-03-04T10:00Z,-999,-999\n2026-03-04T10:01Z,b,1\n")
    settings = DataSettings(path="data/a.csv", null_values=("-999",))
    rows = read_table(store, list_inputs(store, settings, None).files[0], settings, VANS)
    assert [(row["van"], row["km"]) for row in rows.table.to_pylist()] == [("-999", None), ("b", 1.0)]
    assert rows.rejected == {}


def test_counts_of_another_unit_are_no_times(store: Store) -> None:
    """Milliseconds where seconds are declared are a year that there is not: rejected by line, not outside of the
    window without a word.
    """
    store.write("data/a.csv", b"ts,van,km\n1772618400,a,1\n1772618400000,a,2\n-1772618400000,a,3\n")
    settings = DataSettings(path="data/a.csv", time_format="epoch_s")
    file = list_inputs(store, settings, None).files[0]
    rows = read_table(store, file, settings, VANS, between("2026-03-04T10:00", "2026-03-04T11:00"))
    assert (rows.table["km"].to_pylist(), rows.rejected) == ([1.0], {"bad_time": 2})
    assert rows.rejects[0].place == "line 3"


def test_a_whole_number_is_the_same_key_beside_names(store: Store) -> None:
    """7.0 in JSON lines is the key 7, whether the other rows have numbers or names."""
    store.write("data/a.jsonl", b'{"van": 7.0}\n{"van": 8}\n')
    store.write("data/b.jsonl", b'{"van": 7.0}\n{"van": "NA"}\n{"van": 7.5}\n')
    settings = DataSettings(path="data/*")
    reading = read_files(store, list_inputs(store, settings, None).files, settings, {"van": ColumnKind.KEY})
    assert reading.table["van"].to_pylist() == ["7", "8", "7", "NA", "7.5"]
