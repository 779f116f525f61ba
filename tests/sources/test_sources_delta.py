"""Delta tables: the live snapshot of a pinned version and nothing else; refused by name where it would be
read wrongly.
"""

import importlib.util
import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from fleetscore.errors import FileError
from fleetscore.sources import DataSettings, Listing, list_inputs, read_files, read_table
from fleetscore.store import Store, open_store
from tests.sources.spans import VANS, at, between

HOUR = between("2026-03-04T10:00", "2026-03-04T11:00")
TIMES = [at("2026-03-04T10:00"), at("2026-03-04T10:30"), at("2026-03-04T11:00")]
TABLE = pa.table(
    {"ts": pa.array(TIMES, pa.timestamp("us", "UTC")), "van": ["NA", "b", "c"], "km": [1.5, 2.0, 3.0]}
)
LOOSE = DataSettings(path="data/**/*.parquet")
DECLARED = DataSettings(path="data/lake/readings", format="delta")


@pytest.fixture
def root(store: Store, tmp_path: Path) -> Path:
    """The folder of the table, inside the store."""
    return tmp_path / "store" / "data" / "lake" / "readings"


def write(root: Path, table: pa.Table, **options: Any) -> None:
    """Write or overwrite the table."""
    root.mkdir(parents=True, exist_ok=True)
    write_deltalake(str(root), table, **options)


def times(factor: float) -> pa.Table:
    """The table with its values multiplied."""
    return TABLE.set_column(2, "km", pa.array([value.as_py() * factor for value in TABLE["km"]]))


def rows(store: Store, listing: Listing, settings: DataSettings = LOOSE) -> list[dict[str, Any]]:
    """The hour's rows."""
    reading = read_files(store, listing.files, settings, VANS, HOUR)
    assert not reading.faults
    return sorted(reading.table.to_pylist(), key=lambda row: row["ts"])


@pytest.mark.parametrize("settings", [LOOSE, DECLARED], ids=["met by a glob", "declared"])
def test_only_the_live_rows_are_read(store: Store, root: Path, settings: DataSettings) -> None:
    """What was overwritten or deleted is not read, also where a checkpoint lies in the log."""
    write(root, times(1000))
    write(root, TABLE, mode="overwrite")
    DeltaTable(str(root)).delete("van = 'b'")
    DeltaTable(str(root)).create_checkpoint()
    listing = list_inputs(store, settings, HOUR)
    assert [(file.path, file.format, file.etag) for file in listing.files] == [
        ("data/lake/readings", "delta", "2")
    ]
    assert rows(store, listing, settings) == [{"ts": TIMES[0], "van": "NA", "km": 1.5}]
    assert listing.files[0].size_bytes > 0


def test_a_pinned_version_is_read_after_the_table_went_on(store: Store, root: Path) -> None:
    """A retry reads what its plan saw; a new listing pins the new version."""
    write(root, TABLE)
    pinned = list_inputs(store, DECLARED, HOUR)
    write(root, times(2), mode="overwrite")
    assert [row["km"] for row in rows(store, pinned, DECLARED)] == [1.5, 2.0]
    assert [row["km"] for row in rows(store, list_inputs(store, DECLARED, HOUR), DECLARED)] == [3.0, 4.0]


def test_a_version_that_is_gone_is_told(store: Store, root: Path) -> None:
    """A table that was vacuumed under a plan is a fault of that table, by name."""
    write(root, TABLE)
    pinned = list_inputs(store, DECLARED, HOUR)
    write(root, times(2), mode="overwrite")
    table = DeltaTable(str(root))
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(FileError, match="data/lake/readings"):
        read_table(store, pinned.files[0], DECLARED, VANS, HOUR)


def test_columns_of_the_partitioning_and_later_ones_are_read(store: Store, root: Path) -> None:
    """Values of the partitioning come from the log, typed; a column that the table got later is null in
    older files.
    """
    table = TABLE.append_column("site", pa.array(["a b", "a b", "c/d"]))
    write(root, table.drop_columns("km"), partition_by=["site"])
    write(root, table, mode="append", schema_mode="merge")
    found = read_files(store, list_inputs(store, DECLARED, HOUR).files, DECLARED).table
    assert found.num_rows == 6
    assert sorted(str(v) for v in found["km"].to_pylist()) == ["1.5", "2.0", "3.0", "None", "None", "None"]
    assert sorted(found["site"].to_pylist()) == ["a b"] * 4 + ["c/d"] * 2


def test_only_files_of_the_window_are_opened(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the statistics in the log."""
    for day in range(1, 20):
        moments = pa.array([at(f"2026-03-{day:02d}T10:00")] * 3, pa.timestamp("us", "UTC"))
        write(root, TABLE.set_column(0, "ts", moments), mode="append")
    listing = list_inputs(store, DECLARED, HOUR)
    opened: list[str] = []
    really = store.open

    def noted(path: str) -> pa.NativeFile:
        opened.append(path)
        return really(path)

    monkeypatch.setattr(store, "open", noted)
    assert len(rows(store, listing, DECLARED)) == 3
    assert 0 < len(set(opened)) <= 3


def test_a_table_met_from_inside_is_still_a_table(store: Store, root: Path) -> None:
    """A pattern that lists one partition's folder alone does not read its files as loose ones."""
    write(root, TABLE.append_column("day", pa.array(["x", "x", "y"])), partition_by=["day"])
    write(root, TABLE.append_column("day", pa.array(["x", "x", "y"])), partition_by=["day"], mode="overwrite")
    settings = DataSettings(path="data/lake/readings/day=x/*.parquet")
    listing = list_inputs(store, settings, HOUR)
    assert [(file.path, file.format) for file in listing.files] == [("data/lake/readings", "delta")]


def test_a_table_beside_the_pattern_is_told(store: Store, root: Path) -> None:
    """A table that no pattern asks for is passed over by its name, not by its files."""
    write(root, TABLE)
    store.write("data/a.parquet.csv", b"ts,van,km\n")
    listing = list_inputs(store, DataSettings(path="data/*.csv"), None)
    assert [passed.path for passed in listing.passed_over if passed.needs_attention] == ["data/lake/readings"]


MAY_DELETE = {
    "minReaderVersion": 3,
    "minWriterVersion": 7,
    "readerFeatures": ["deletionVectors"],
    "writerFeatures": ["deletionVectors"],
}
INLINE = {
    "storageType": "i",
    "pathOrInlineDv": "^Bg9^0rr910000000000iXQKl0rr91000005c8Xg0rr91",
    "sizeInBytes": 34,
    "cardinality": 1,
}
"""The second row of a file, as a bitmap in base 85."""

IN_A_FILE = {
    "storageType": "u",
    "pathOrInlineDv": "vBn[lx{q8@P<9BNH/isA",
    "offset": 1,
    "sizeInBytes": 40,
    "cardinality": 1,
}


def test_a_table_that_may_have_deletion_vectors_and_has_none_is_read(store: Store, root: Path) -> None:
    """The feature alone, as Databricks turns it on for new tables, refuses no table."""
    write(root, TABLE)
    with_log(root, protocol=MAY_DELETE, metaData={"configuration": {"delta.enableDeletionVectors": "true"}})
    listing = list_inputs(store, DECLARED, HOUR)
    assert [row["km"] for row in rows(store, listing, DECLARED)] == [1.5, 2.0]


def _mapped(schema: str) -> str:
    """The table's schema with the names and numbers that column mapping gives to columns."""
    parsed = json.loads(schema)
    for number, field in enumerate(parsed["fields"], 1):
        field["metadata"] = {
            "delta.columnMapping.id": number,
            "delta.columnMapping.physicalName": f"col-{number}",
        }
    return json.dumps(parsed)


def with_log(root: Path, **changes: Any) -> None:
    """Change the protocol or the metadata in the table's first commit."""
    [log] = (root / "_delta_log").glob("*0.json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        for action, values in changes.items():
            if action in line:
                line[action] |= values
        if "delta.columnMapping.mode" in line.get("metaData", {}).get("configuration", {}):
            line["metaData"]["schemaString"] = _mapped(line["metaData"]["schemaString"])
    log.write_text("\n".join(map(json.dumps, lines)))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"protocol": MAY_DELETE, "add": {"deletionVector": INLINE}}, "deletion vectors"),
        ({"protocol": MAY_DELETE, "add": {"deletionVector": IN_A_FILE}}, "deletion vectors"),
        ({"protocol": {"minReaderVersion": 2, "minWriterVersion": 5},
          "metaData": {"configuration": {"delta.columnMapping.mode": "name"}}}, "column mapping"),
        ({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["variantType"],
                       "writerFeatures": ["variantType"]}}, "variantType"),
    ],
)  # fmt: skip
def test_a_table_that_would_be_read_wrongly_is_refused_by_name(
    store: Store, root: Path, changes: dict[str, Any], named: str
) -> None:
    """The table is passed over with what it uses and what to do; it needs attention, and other files are
    read.
    """
    write(root, TABLE)
    with_log(root, **changes)
    store.write("data/other/a.parquet", b"x")
    listing = list_inputs(store, LOOSE, HOUR)
    assert [file.path for file in listing.files] == ["data/other/a.parquet"]
    [passed] = [p for p in listing.passed_over if p.needs_attention]
    assert (passed.path, passed.cause) == ("data/lake/readings", "delta_feature")
    assert named in passed.detail


def test_without_the_package_a_table_is_refused_and_never_read_as_files(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The remark names the table and what to install."""
    write(root, TABLE)
    really = importlib.util.find_spec
    known = "fleetscore.sources.delta_tables.find_spec"
    monkeypatch.setattr(known, lambda name: None if name == "deltalake" else really(name))
    listing = list_inputs(store, LOOSE, HOUR)
    assert listing.files == ()
    [passed] = [p for p in listing.passed_over if p.needs_attention]
    assert (passed.path, passed.cause) == ("data/lake/readings", "delta_missing")
    assert f"deltalake=={deltalake.__version__}" in passed.detail


def test_a_damaged_log_is_told(store: Store, root: Path) -> None:
    """A table whose log cannot be read is passed over by name; so is a folder without one."""
    write(root, TABLE)
    for log in (root / "_delta_log").iterdir():
        log.write_bytes(b"{not json")
    for settings, cause in (
        (DECLARED, "unreadable_file"),
        (DataSettings(path="data/nothing", format="delta"), "no_table"),
    ):
        listing = list_inputs(store, settings, HOUR)
        assert listing.files == ()
        assert [(p.cause, p.needs_attention) for p in listing.passed_over] == [(cause, True)]


def test_a_log_that_lies_outside_of_the_store_costs_no_other_table(
    store: Store, root: Path, tmp_path: Path
) -> None:
    """A table whose log is a symbolic link out of the store is passed over by name; the table beside it is read."""
    write(root, TABLE)
    linked = root.parent / "linked"
    write(linked, times(2))
    (linked / "_delta_log").rename(tmp_path / "elsewhere")
    (linked / "_delta_log").symlink_to(tmp_path / "elsewhere")
    listing = list_inputs(store, LOOSE, HOUR)
    (passed,) = [each for each in listing.passed_over if each.path == "data/lake/linked"]
    assert "symbolic link" in passed.detail and passed.needs_attention
    assert [file.path for file in listing.files] == ["data/lake/readings"]
    assert [row["km"] for row in rows(store, listing)] == [1.5, 2.0]


def test_a_table_in_another_container_is_read(store: Store, root: Path, blob_url: str) -> None:
    """The log and the files come through that container's own store."""
    write(root, TABLE)
    other = open_store(blob_url)
    for entry in store.list("data/lake/"):
        other.write(entry.path, store.read(entry.path))
    settings = DataSettings(path=f"{blob_url}/data/lake/readings", format="delta")
    listing = list_inputs(store, settings, HOUR)
    assert [file.path for file in listing.files] == [f"{blob_url}/data/lake/readings"]
    assert [row["van"] for row in rows(store, listing, settings)] == ["NA", "b"]


def test_a_file_that_a_vacuum_took_is_named(store: Store, root: Path) -> None:
    """A pinned version whose file is gone is told with the table, the version and the file."""
    write(root, TABLE)
    listing = list_inputs(store, DECLARED, None)
    for path in root.glob("*.parquet"):
        path.unlink()
    [error] = read_files(store, listing.files, DECLARED, VANS).faults.values()
    assert error.code == "missing_file"
    assert "Version 0 of the Delta table data/lake/readings has the file data/lake/readings/part-" in str(
        error
    )


def test_a_table_takes_columns_from_its_path(store: Store, root: Path) -> None:
    """A table for each van, whose name stands in the folder's alone."""
    write(root.parent / "NA", TABLE.drop_columns(["van"]))
    named = DataSettings(path="data/lake/{van}", format="delta")
    assert [row["van"] for row in rows(store, list_inputs(store, named, HOUR), named)] == ["NA", "NA"]


def test_a_long_log_is_read_from_its_newest_whole_checkpoint_on(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old commits that are kept cost nothing; every version that is there is read as it was, whatever checkpoint is cut."""
    for factor in range(8):
        write(root, times(factor), mode="overwrite")
        if factor in (2, 5):
            DeltaTable(str(root)).create_checkpoint()
    log = root / "_delta_log"
    checkpoint = log / f"{6:020d}.checkpoint.{1:010d}.{2:010d}.parquet"
    checkpoint.write_bytes((log / f"{5:020d}.checkpoint.parquet").read_bytes())  # a part of two: not whole
    listing = list_inputs(store, DECLARED, HOUR)
    opened: list[str] = []
    read = type(store).read
    monkeypatch.setattr(type(store), "read", lambda self, path: opened.append(path) or read(self, path))
    for version, first in ((7, 5), (6, 5), (4, 2), (1, 0)):
        opened.clear()
        pinned = replace(listing, files=(replace(listing.files[0], etag=str(version)),))
        found = rows(store, pinned, DECLARED)
        assert [row["km"] for row in found] == [1.5 * version, 2.0 * version]
        numbers = {int(Path(path).name[:20]) for path in opened if "_delta_log" in path}
        assert numbers == set(range(first, version + 1))


@pytest.mark.parametrize("form", ["parquet", "json"])
@pytest.mark.parametrize("beside", [True, False], ids=["actions beside", "actions inside"])
def test_a_checkpoint_of_version_2_is_read_with_the_actions_beside_it(
    store: Store, root: Path, form: str, beside: bool
) -> None:
    """The live rows are read from such a checkpoint where the commits before it are gone."""
    write(root, times(1000))
    write(root, TABLE, mode="overwrite")
    features = {"readerFeatures": ["v2Checkpoint"], "writerFeatures": ["v2Checkpoint"]}
    with_log(root, protocol={"minReaderVersion": 3, "minWriterVersion": 7} | features)
    DeltaTable(str(root)).create_checkpoint()
    log = root / "_delta_log"
    _as_version_2(log, form, beside)
    for commit in range(2):
        (log / f"{commit:020d}.json").unlink()
    listing = list_inputs(store, DECLARED, HOUR)
    assert [(file.etag, file.format) for file in listing.files] == [("1", "delta")], listing.passed_over
    assert [row["km"] for row in rows(store, listing, DECLARED)] == [1.5, 2.0]
    if beside:
        next(log.glob("_sidecars/actions*")).unlink()
        assert [p.cause for p in list_inputs(store, DECLARED, HOUR).passed_over] == ["unreadable_file"]


def _as_version_2(log: Path, form: str, beside: bool) -> None:
    """Write the table's checkpoint under a name of its own, its files' actions in a file beside it."""
    [classic] = log.glob("*.checkpoint.parquet")
    table = pq.read_table(classic)
    classic.unlink()
    named = log / classic.name.replace(".parquet", f".{uuid.UUID(int=7)}.{form}")
    if beside:
        is_file = pc.or_(pc.is_valid(table["add"]), pc.is_valid(table["remove"]))
        sidecar = log / "_sidecars" / "actions 1.parquet"
        sidecar.parent.mkdir()
        pq.write_table(table.filter(is_file).select(["add", "remove"]), sidecar)
        there = {"path": "actions%201.parquet", "sizeInBytes": sidecar.stat().st_size, "modificationTime": 1}
        others = table.filter(pc.invert(is_file)).to_pylist()
        table = pa.Table.from_pylist([*others, {"sidecar": there}], schema=table.schema)
    if form == "parquet":
        pq.write_table(table, named)
        return
    actions = [{name: value for name, value in row.items() if value} for row in table.to_pylist()]
    for action in (value for row in actions for value in row.values()):
        action |= {key: dict(action[key]) for key in ("partitionValues", "configuration") if key in action}
        action.get("format", {})["options"] = {}
    named.write_text("\n".join(map(json.dumps, actions)))
