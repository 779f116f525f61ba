"""Avro and Event Hubs Capture: bodies in every dress, redelivered events once, damage told by file and
event.
"""

import base64
import copy
import json
from decimal import Decimal
from typing import Any

import pytest

from fleetscore.sources import ColumnKind, DataSettings, Reading, list_inputs, read_files
from fleetscore.store import Store
from tests.sources.capture_files import ROUTED, SCHEMA, captured, event
from tests.sources.spans import VANS, at, between

HOUR = between("2026-03-04T10:00", "2026-03-04T11:00")
PARTITION_FIRST = "ns/hub/{partition}/{window:%Y/%m/%d/%H}/**/*.avro"
ROW = {"ts": at("2026-03-04T10:00"), "van": "NA", "km": 1.5}


def body(van: str = "NA", km: Any = 1.5, ts: str = "2026-03-04T10:00:00Z") -> bytes:
    """A reading as its device sends it."""
    return json.dumps({"ts": ts, "van": van, "km": km}).encode()


def read(store: Store, files: dict[str, bytes], kinds: Any = VANS, **lines: Any) -> Reading:
    """What the hour's rows of captured files are; the next two hours' folders are listed too."""
    for path, content in files.items():
        store.write(path, content)
    settings = DataSettings(**{"path": PARTITION_FIRST, "format": "capture", "late_s": 7200.0, **lines})
    return read_files(store, list_inputs(store, settings, HOUR).files, settings, kinds, HOUR)


@pytest.mark.parametrize(
    "one",
    [
        body(),
        base64.b64encode(body()),
        json.dumps(base64.b64encode(body()).decode()).encode(),
        b"[" + body() + b"]",
        b" " + json.dumps(json.loads(body()), indent=1).encode(),
        b"\xef\xbb\xbf" + body(),
        base64.b64encode(b"\xef\xbb\xbf" + body()),
        body() + b"\n" + body("late", 2, "2026-03-04T11:00:00Z") + b"\n",
    ],
    ids=["plain", "base64", "base64 in JSON", "array", "indented", "mark", "base64_mark", "lines"],
)
@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_body_is_opened_whatever_its_dress(store: Store, one: bytes, codec: str) -> None:
    """The reading in it is a row of its own time's window."""
    reading = read(store, {"ns/hub/0/2026/03/04/10/05/00.avro": captured([event(1, one)], codec)})
    assert not reading.faults
    assert reading.table.to_pylist() == [ROW]


def test_several_readings_of_one_event_are_rows(store: Store) -> None:
    """An array gives a row an object, beside events of one object, and rejects name the event."""
    many = b"[" + b",".join(body(km=n) for n in range(3)) + b"]"
    reading = read(
        store, {"ns/hub/0/2026/03/04/10/05/00.avro": captured([event(1, body(km="x")), event(2, many)])}
    )
    assert reading.table["km"].to_pylist() == [None, 0.0, 1.0, 2.0]
    [rows] = reading.rows.values()
    assert [(reject.cause, reject.place, reject.text) for reject in rows.rejects] == [
        ("bad_number", "event 1", "x")
    ]


def test_bodies_that_hold_no_reading_are_told(store: Store) -> None:
    """Null, empty, binary, a plain number: rejected by event, and no other event is lost."""
    bodies = [None, b"", b"\x00\xff\xfe", b"12", b"[1, 2]", b"[]", body()]
    events = [event(number, one) for number, one in enumerate(bodies)]
    reading = read(store, {"ns/hub/0/2026/03/04/10/05/00.avro": captured(events)})
    assert reading.table.to_pylist() == [ROW]
    [rows] = reading.rows.values()
    assert rows.rejected == {"empty_body": 2, "bad_body": 4}
    assert [reject.place for reject in rows.rejects] == [f"event {n}" for n in range(1, 7)]


def test_an_event_captured_twice_counts_once(store: Store) -> None:
    """Same partition and sequence number, within a file or across files, in both orders of the path; other
    partitions differ.
    """
    again = [event(1, body(km=1)), event(2, body(km=2)), event(2, body(km=2))]
    for layout, place in (
        (PARTITION_FIRST, "ns/hub/{0}/2026/03/04/{1}.avro"),
        ("ns/hub/{window:%Y/%m/%d/%H}/**/{partition}.avro", "ns/hub/2026/03/04/{1}/{0}.avro"),
    ):
        files = {
            place.format(0, "10/05/00"): captured(again),
            place.format(0, "11/05/00"): captured([event(2, body(km=2)), event(3, body(km=3))]),
            place.format(1, "10/05/00"): captured([event(2, body(km=20))]),
        }
        reading = read(store, files, path=layout)
        assert sorted(reading.table["km"].to_pylist()) == [1, 2, 3, 20]
        remarks = [remark for rows in reading.rows.values() for remark in rows.remarks]
        assert len(remarks) == 2
        assert all(remark.startswith("1 events were captured twice") for remark in remarks)


def test_an_event_of_a_file_that_cannot_be_read_counts_where_it_comes_again(store: Store) -> None:
    """What was seen of a file before its damage is in no table: the same events of another file are read."""
    whole = captured([event(n, body(km=n)) for n in range(3_000)])
    files = {
        "ns/hub/0/2026/03/04/10/05/00.avro": whole[:-9],
        "ns/hub/0/2026/03/04/10/10/00.avro": whole,
    }
    reading = read(store, files)
    assert list(reading.faults) == ["ns/hub/0/2026/03/04/10/05/00.avro"]
    assert reading.table.num_rows == 3_000


def test_messages_that_iot_hub_routes_to_storage_are_read(store: Store) -> None:
    """They have no sequence numbers, in Avro and as JSON lines, where a body is an object or base64."""
    plain, packed = body(km=1), base64.b64encode(body(km=2))
    message = {
        "EnqueuedTimeUtc": "2026-03-04T10:00:00.0000000Z",
        "Properties": {},
        "SystemProperties": {"connectionDeviceId": "dev-1"},
    }
    lines = [json.loads(plain), packed.decode(), None, [1]]
    files = {
        "hub/00/2026/03/04/10/05.avro": captured(
            [{**message, "Body": one} for one in (plain, plain, packed)], schema=ROUTED
        ),
        "hub/01/2026/03/04/10/05.json": b"\n".join(
            json.dumps({**message, "Body": one}).encode() for one in lines
        ),
    }
    theirs = {"van": "SystemProperties.connectionDeviceId"}
    reading = read(store, files, path="hub/{partition}/{window:%Y/%m/%d/%H}/*", columns=theirs)
    assert not reading.faults
    assert reading.table["km"].to_pylist() == [1, 1, 2, 1, 2]
    assert set(reading.table["van"].to_pylist()) == {"dev-1"}
    assert reading.rows["hub/01/2026/03/04/10/05.json"].rejected == {"empty_body": 1, "bad_body": 1}


def test_one_json_array_of_messages_is_refused(store: Store) -> None:
    """An array of all messages is no lines of them: its envelopes are not taken for readings."""
    messages = [{"Body": {"van": "a"}, "ts": "2026-03-04T10:00:00Z", "van": "a", "km": 1}]
    path = "hub/01/2026/03/04/10/05.json"
    files = {path: b"\xef\xbb\xbf \n" + json.dumps(messages).encode()}
    reading = read(store, files, path="hub/{partition}/{window:%Y/%m/%d/%H}/*")
    assert reading.faults[path].code == "json_array"
    assert reading.table.num_rows == 0


def test_binary_properties_are_text_with_escapes(store: Store) -> None:
    """A property of bytes that are no UTF-8 costs no file, and no two of them become one."""
    events = [
        event(n, body(), Properties={"tag": ("bytes", tag)}) for n, tag in enumerate((b"\xfe", b"\xff", b"a"))
    ]
    columns = {"ts": ColumnKind.TIME, "tag": ColumnKind.KEY}
    reading = read(
        store,
        {"ns/hub/0/2026/03/04/10/05/00.avro": captured(events)},
        columns,
        columns={"tag": "Properties.tag"},
    )
    assert reading.table["tag"].to_pylist() == ["\\xfe", "\\xff", "a"]


def test_a_field_of_numbers_and_decimals_is_numbers(store: Store) -> None:
    """A union of both, as schemas that changed have, is read value by value."""
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
    fields = [{"name": name, "type": "string"} for name in ("ts", "van")]
    fields.append({"name": "km", "type": ["double", decimal]})
    records = [{"ts": "2026-03-04T10:00:00Z", "van": "NA", "km": km} for km in (1.5, Decimal("2.50"))]
    path = "ns/hub/0/2026/03/04/10/05/00.avro"
    schema = {"type": "record", "name": "r", "fields": fields}
    reading = read(store, {path: captured(records, schema=schema)}, format="avro")
    assert reading.rows[path].rejected == {}
    assert reading.table["km"].to_pylist() == [1.5, 2.5]


def test_other_avro_is_no_capture(store: Store) -> None:
    """Records without a body are named, with the line to change."""
    schema = {"type": "record", "name": "r", "fields": [{"name": "km", "type": "int"}]}
    [error] = read(
        store, {"ns/hub/0/2026/03/04/10/05/00.avro": captured([{"km": 1}], schema=schema)}
    ).faults.values()
    assert error.code == "missing_column"
    assert 'format = "avro"' in error.fix


def test_the_envelope_gives_columns_too(store: Store) -> None:
    """Both forms of EnqueuedTimeUtc are times; properties are unions; a body's own field wins over nothing
    else.
    """
    events = [
        event(1, body(), "3/4/2026 10:30:05 AM", Properties={"site": "north", "n": 1, "none": None},
              SystemProperties={"iothub-connection-device-id": "dev-1"}),
        event(2, body(), "2026-03-04T10:30:06.1230000Z", Properties={"n": 2.5},
              SystemProperties={"iothub-connection-device-id": b"dev-2"}),
    ]  # fmt: skip
    columns = {
        "ts": ColumnKind.TIME, "device": ColumnKind.KEY, "site": ColumnKind.TEXT, "n": ColumnKind.NUMBER, "seq": ColumnKind.NUMBER,
    }  # fmt: skip
    theirs = {
        "ts": "EnqueuedTimeUtc", "device": "SystemProperties.iothub-connection-device-id", "site": "Properties.site",
        "n": "Properties.n", "seq": "SequenceNumber",
    }  # fmt: skip
    reading = read(store, {"ns/hub/0/2026/03/04/10/05/00.avro": captured(events)}, columns, columns=theirs)
    assert not reading.faults
    assert reading.table.to_pylist() == [
        {"ts": at("2026-03-04T10:30:05"), "device": "dev-1", "site": "north", "n": 1.0, "seq": 1.0},
        {"ts": at("2026-03-04T10:30:06.123"), "device": "dev-2", "site": None, "n": 2.5, "seq": 2.0},
    ]


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2/6/2023 12:00:00 AM", "2023-02-06T00:00"), ("12/31/2023 12:59:59 PM", "2023-12-31T12:59:59"),
     ("2023-02-06T18:29:45Z", "2023-02-06T18:29:45"), ("2023-02-06T18:29:45.1234567Z", "2023-02-06T18:29:45.123456")],
)  # fmt: skip
def test_both_forms_of_the_enqueued_time_are_read(store: Store, text: str, moment: str) -> None:
    """Midnight and noon of the US form, and seven digits of a second."""
    settings = DataSettings(path="**/*.avro", format="capture", columns={"ts": "EnqueuedTimeUtc"})
    store.write("a.avro", captured([event(1, b"{}", text)]))
    reading = read_files(store, list_inputs(store, settings, None).files, settings, {"ts": ColumnKind.TIME})
    assert reading.table["ts"].to_pylist() == [at(moment)]


def test_empty_files_are_no_fault(store: Store) -> None:
    """Capture writes files without events while a hub is idle; they are read and give nothing."""
    empty = captured([])
    assert len(empty) < 600
    files = {f"ns/hub/{n}/2026/03/04/10/05/00.avro": empty for n in range(3)}
    reading = read(store, files | {"ns/hub/9/2026/03/04/10/05/00.avro": captured([event(1, body())])})
    assert not reading.faults
    assert reading.table.to_pylist() == [ROW]


def test_older_and_newer_schemas_are_read(store: Store) -> None:
    """A file whose properties have no null, and one with a further field, give the same rows."""
    older, newer = copy.deepcopy(SCHEMA), copy.deepcopy(SCHEMA)
    older["fields"][4]["type"]["values"].remove("null")  # type: ignore[index]
    newer["fields"].append({"name": "PartitionKey", "type": ["null", "string"]})  # type: ignore[attr-defined]
    files = {
        "ns/hub/0/2026/03/04/10/05/00.avro": captured([event(1, body())], schema=older),
        "ns/hub/1/2026/03/04/10/05/00.avro": captured([event(1, body(), PartitionKey=None)], schema=newer),
    }
    assert read(store, files).table.to_pylist() == [ROW, ROW]


@pytest.mark.parametrize("cut", [0.02, 0.4, 0.99])
def test_a_file_cut_short_is_named_and_costs_no_other(store: Store, cut: float) -> None:
    """Cut in its header or in a block: a fault of that file."""
    whole = captured([event(n, body(km=n)) for n in range(500)])
    files = {
        "ns/hub/0/2026/03/04/10/05/00.avro": whole[: int(len(whole) * cut)],
        "ns/hub/1/2026/03/04/10/05/00.avro": captured([event(1, body())]),
    }
    reading = read(store, files)
    assert reading.table.to_pylist() == [ROW]
    [(path, error)] = reading.faults.items()
    assert path == error.field == "ns/hub/0/2026/03/04/10/05/00.avro"
    assert error.code == "unreadable_file"


def test_a_field_that_no_event_has_is_named(store: Store) -> None:
    """A misspelt column is no column of nulls: the file is at fault, with the fields that there are."""
    reading = read(
        store,
        {"ns/hub/0/2026/03/04/10/05/00.avro": captured([event(1, body())])},
        columns={"km": "kilometres"},
    )
    [error] = reading.faults.values()
    assert error.code == "missing_column"
    assert "'kilometres'" in str(error)
    assert "'km'" in str(error)


def test_a_file_that_comes_after_the_window_is_found(store: Store) -> None:
    """The folder's time is that of the capture: with late_s, the hour's events in the next hour's folder
    are its rows.
    """
    files = {
        "ns/hub/0/2026/03/04/11/59/00.avro": captured(
            [event(1, body()), event(2, body(ts="2026-03-04T11:00:00Z"))]
        )
    }
    assert read(store, files).table.to_pylist() == [ROW]
    assert read(store, files, late_s=0.0).table.num_rows == 0


def test_plain_avro_gives_its_records(store: Store) -> None:
    """Logical times, optional fields and records within records."""
    schema = {
        "type": "record", "name": "R",
        "fields": [
            {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "van", "type": ["null", "string"]},
            {"name": "m", "type": {"type": "record", "name": "M", "fields": [{"name": "km", "type": "double"}]}},
        ],
    }  # fmt: skip
    records = [{"ts": at("2026-03-04T10:00"), "van": van, "m": {"km": 1.5}} for van in ("NA", None)]
    reading = read(
        store,
        {"data/a.avro": captured(records, schema=schema)},
        path="data/*.avro",
        format="",
        columns={"km": "m.km"},
    )
    assert not reading.faults
    assert reading.table.to_pylist() == [ROW]
    assert reading.rows["data/a.avro"].rejected == {"missing_key": 1}
