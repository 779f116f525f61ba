"""The line of a setting at fault, in whatever way its file is written."""

import tomllib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleetscore.errors import SettingsError
from fleetscore.pipeline.cost import PRICES_PATH, read_prices
from fleetscore.registry import find_workload
from fleetscore.settings_lines import find_line, key_lines
from fleetscore.store import open_store
from fleetscore.store.base import Store

_TEXT = '''# the vans
kind = "models"
partition = ["van_id"]
data.path = "data/*.parquet"   # a dotted key
data."time" = "at"
data.features = [
    "speed",   # ] and } in a comment
    "load",
]
models = { output = "kwh", "method" = 'predict' }

[expect.results."kwh"]
range = [0, 5]

[[notify.targets]]
url_env = "FLEETSCORE_NOTIFY_A"

[[notify.targets]]
url_env = "FLEETSCORE_NOTIFY_B"
template = """
style = "slack" is no line of the file
"""
style = "slack"
'''


@pytest.fixture
def store(tmp_path: Any) -> Store:
    """An empty store."""
    return open_store(str(tmp_path / "store"))


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("partition", "partitions", 3),
        ('["van_id"]', '"van_id"', 3),
        ("data.path", "data.pth", 4),
        ('"load"', "7", 8),
        ("[0, 5]", "[5, 0]", 13),
        ("'predict'", "'guess'", 10),
        ('"method"', '"methods"', 10),
        ('style = "slack"\n', 'stile = "slack"\n', 23),
        ('"slack"\n', '"slck"\n', 23),
        ('"models"', '"model"', 2),
        ("# the vans", 'timezone = "Berlin"', 1),
        ("# the vans", 'schedule = "often"', 1),
        ("# the vans", "run.error_threshold = 7", 1),
        ("# the vans", 'train = { estimator = "os.system", target = "kwh" }', 1),
    ],
)
def test_a_setting_at_fault_is_named_with_its_line(store: Store, before: str, after: str, line: int) -> None:
    """A mistyped name, a wrong type or value: the reason begins with file and line, whatever the style of the file."""
    store.write("settings/vans.toml", _TEXT.encode())
    assert not find_workload(store, "vans").reason
    store.write("settings/vans.toml", _TEXT.replace(before, after).encode())
    reason = find_workload(store, "vans").reason
    assert reason.startswith(f"settings/vans.toml, line {line}"), reason


def test_other_kinds_and_files_name_lines_too(store: Store) -> None:
    """Settings of sensors, and the prices, which no workload has."""
    store.write("settings/sensor_anomaly.toml", b"[run]\nlookback = 3\n\n[detect]\nsvm = 1\nmedian = -1\n")
    reason = find_workload(store, "sensor_anomaly").reason
    assert reason.startswith("settings/sensor_anomaly.toml, line 6"), reason
    store.write(PRICES_PATH, b'region = "x"\n\n[[nodes]]\nvm_size = 3\n')
    with pytest.raises(SettingsError, match=r"^settings/prices.toml, line \d"):
        read_prices(store)
    store.write("settings/vans.toml", b'kind = "models"\n# \xff\n')
    assert "settings/vans.toml, line 2" in find_workload(store, "vans").reason


_KEYS = st.one_of(st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True), st.text(max_size=5))
_VALUES = st.recursive(
    st.one_of(st.integers(-9, 9), st.booleans(), st.text(max_size=9), st.dates(), st.floats(allow_nan=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
    max_leaves=8,
)


def _quoted(text: str) -> str:
    return '"' + "".join(f"\\U{ord(char):08x}" if not char.isalnum() else char for char in text) + '"'


def _written(value: Any) -> str:
    """The value as TOML, tables inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_quoted(key)} = {_written(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[\n" + ",# ]\n".join(map(_written, value)) + "\n]"
    if isinstance(value, str):
        return _quoted(value)
    return str(value).lower() if isinstance(value, (bool, float)) else str(value)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> set[tuple[Any, ...]]:
    """The paths of all that tomllib finds."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path} - {()} | {found for key, one in inner for found in _paths(one, (*path, key))}


@given(
    st.dictionaries(
        _KEYS.filter(lambda key: not any("\ud800" <= c <= "\udfff" for c in key)), _VALUES, max_size=5
    )
)
@example({"a": {"": [[], [{}], [1, [2]]]}})
def test_every_key_that_tomllib_finds_has_a_line(tables: dict[str, Any]) -> None:
    """The paths of random tables are those of the parsed text, and each of the top keys is on the line that begins with it."""
    text = "\n".join(f"{_quoted(key)} = {_written(value)}" for key, value in tables.items())
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = key_lines(text)
    assert lines.keys() == _paths(parsed)
    for key in parsed:
        assert text.splitlines()[lines[(key,)] - 1].startswith(_quoted(key))


@given(st.text(alphabet="[]{}=.,\"'#\n a1\\", max_size=40))
def test_no_text_breaks_the_search(text: str) -> None:
    """Whatever the text is, the search ends, with a line of it or with none; where tomllib reads it, with all its keys."""
    line = find_line(text, ("a", "a1"))
    assert line is None or 1 <= line <= text.count("\n") + 1
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert key_lines(text).keys() >= _paths(parsed)


def test_tables_of_arrays_are_found_by_position() -> None:
    """The second of two tables of an array, and a table below it."""
    text = "[[a.b]]\nx = 1\n[[a.b]]\nx = 2\n[a.b.c]\ny = 3\n[[a.b.d]]\nz.w = 4\n"
    found = {
        path: find_line(text, path)
        for path in [("a", "b", 1, "x"), ("a", "b", 1, "c", "y"), ("a", "b", 1, "d", 0, "z", "w")]
    }
    assert list(found.values()) == [4, 6, 8]
    assert find_line(text, ("a", "b", 0, "none")) == 1
    assert find_line(text, ("none",)) is None
