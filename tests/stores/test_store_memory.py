"""The memory of what was read: never stale, never over its budget."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.errors import MissingBlobError
from fleetscore.store import open_store
from fleetscore.store.decoded_cache import Memory


def test_a_version_is_read_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The second time nothing is read or decoded; another etag is read, and gives what is there."""
    store, memory = open_store(str(tmp_path_factory.mktemp("store"))), Memory(1000)
    decoded: list[bytes] = []

    def decode(data: bytes) -> int:
        decoded.append(data)
        return int(data)

    first = store.write("a", b"1")
    assert [memory.read(store, "a", first, decode) for _ in range(3)] == [1, 1, 1]
    second = store.write("a", b"2")
    assert memory.read(store, "a", second, decode) == 2
    assert memory.read(store, "a", first, decode) == 1
    assert decoded == [b"1", b"2"]
    store.delete("a")
    with pytest.raises(MissingBlobError):
        memory.read(store, "a", "never seen", decode)


def test_stores_do_not_mix(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same path and etag of two stores are two files."""
    memory = Memory(1000)
    one, two = (open_store(str(tmp_path_factory.mktemp("store"))) for _ in range(2))
    tags = [store.write("a", data) for store, data in ((one, b"1"), (two, b"2"))]
    assert [memory.read(one, "a", tags[0], int), memory.read(two, "a", tags[1], int)] == [1, 2]
    assert memory.read(two, "a", tags[0], int) == 2


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60)), max_size=40))
def test_the_memory_is_right_and_keeps_to_its_budget(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, int]]
) -> None:
    """Whatever is written and read in whatever order, the answer is the file's content, and no more is kept than may be."""
    store, memory = open_store(str(tmp_path_factory.mktemp("store"))), Memory(100)
    for number, length in asked:
        text = json.dumps("x" * length)
        etag = store.write(f"f{number}", text.encode())
        for _ in range(2):
            assert memory.read(store, f"f{number}", etag, json.loads) == "x" * length
        assert memory._kept_bytes == sum(size for size, _ in memory._kept.values()) <= 100
