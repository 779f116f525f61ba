"""What every store promises: one suite, run against a folder and against a Blob container of the emulator."""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetscore.errors import ConflictError, InputError, MissingBlobError
from fleetscore.store import Store, open_store

ODD_SEGMENTS = [
    "a b", "äö", "a\u0308", "%41", "q?x=1&y", "h#x", "p+x", "c:d", "n.", "~", "😀", "x..y", "...", "\u3000", "'\"<>&",
    "日本", "*|", "=", "-", "a" * 255,
]  # fmt: skip


def test_written_content_is_read_back(store: Store) -> None:
    """Read, read_tagged and open all give what write and its etag promised, in its latest version."""
    first, second = store.write("a/b", b"old"), store.write("a/b", b"newer")
    assert store.read("a/b") == store.open("a/b").read() == b"newer"
    assert store.read_tagged("a/b") == (b"newer", second)
    assert first != second


def test_nothing_is_missing_in_a_store_nobody_wrote_to(store: Store) -> None:
    """Before the first write every path is missing, a listing is empty and a delete does nothing."""
    for read in (store.read, store.read_tagged, store.open):
        with pytest.raises(MissingBlobError, match="a/b"):
            read("a/b")
    assert store.stat("a/b") is None
    assert list(store.list("")) == []
    store.delete("a/b")


def test_a_version_is_deleted_only_while_it_is_the_one_there(store: Store) -> None:
    """Deleting an etag removes that version, and leaves what somebody has written over it, or nothing, as it is."""
    old = store.write("a/b", b"old")
    new = store.write("a/b", b"new")
    store.delete("a/b", old)
    assert store.read("a/b") == b"new"
    store.delete("a/b", new)
    assert store.stat("a/b") is None
    store.delete("a/b", new)


def test_a_listing_ends_after_as_many_as_were_asked_for(store: Store) -> None:
    """The first ones in order, whatever follows; all where there are fewer."""
    paths = [f"a/{number}" for number in range(7)]
    for path in paths:
        store.write(path, b"x")
    for most in (0, 1, 5, 7, 9):
        assert [entry.path for entry in store.list("a/", most)] == paths[:most]


def test_folders_are_those_that_hold_something(store: Store) -> None:
    """Only those directly below, in order, whatever lies between them; a folder that was emptied is gone."""
    for path in ("a/b/1", "a/b/c/2", "a/b.x/3", "a/e/f/4", "a/g", "b/5", "a/h/6"):
        store.write(path, b"x")
    store.delete("a/h/6")
    assert store.list_folders("a/") == ["a/b.x/", "a/b/", "a/e/"]
    assert store.list_folders("") == ["a/", "b/"]
    assert store.list_folders("a/e/") == ["a/e/f/"]
    assert store.list_folders("nothing/") == []


def test_a_listing_tells_what_a_stat_tells(store: Store) -> None:
    """Path, size, etag and time of an entry are those of its stat, whatever characters its path has."""
    for number, segment in enumerate(ODD_SEGMENTS):
        store.write(f"odd/{segment}/x", b"x" * number)
    listed = list(store.list("odd/"))
    assert len(listed) == len(ODD_SEGMENTS)
    assert listed == [store.stat(entry.path) for entry in listed]


def test_a_folder_is_not_a_path(store: Store) -> None:
    """The beginning of a path is not itself there, and deleting it removes nothing."""
    store.write("a/b/c", b"x")
    for read in (store.read, store.open):
        with pytest.raises(MissingBlobError):
            read("a/b")
    assert store.stat("a/b") is None
    store.delete("a/b")
    assert store.read("a/b/c") == b"x"
    with pytest.raises(MissingBlobError):
        store.read("a/b/c/d")
    assert store.stat("a/b/c/d") is None


def test_empty_content_is_content(store: Store) -> None:
    """Nothing can be written, created and sunk, and is then there with size 0."""
    store.write("written", b"")
    assert store.create("created", b"")
    with store.sink("sunk"):
        pass
    for path in ("written", "created", "sunk"):
        assert store.read(path) == store.open(path).read() == b""
        assert [e.size_bytes for e in store.list(path)] == [0]


def test_an_entry_says_what_is_there(store: Store) -> None:
    """Stat and list agree on path, size, etag and an aware UTC time of the last write."""
    etag = store.write("a", b"12345")
    entry = store.stat("a")
    assert entry is not None
    assert [entry] == list(store.list(""))
    assert (entry.path, entry.size_bytes, entry.etag) == ("a", 5, etag)
    assert entry.modified.tzinfo is UTC
    assert abs(datetime.now(UTC) - entry.modified) < timedelta(seconds=30)


def test_every_version_has_its_own_etag(store: Store) -> None:
    """Etags never return, however fast versions of one size follow each other: an old etag cannot match a new content."""
    etags = [store.write("a", b"%03d" % i) for i in range(80)]
    assert len(set(etags)) == 80


def test_create_writes_only_where_nothing_is(store: Store) -> None:
    """Create is True once, and then False without touching what is there, until it is deleted."""
    assert store.create("a", b"first") is True
    assert store.create("a", b"second") is False
    assert store.read("a") == b"first"
    store.delete("a")
    store.delete("a")
    assert store.create("a", b"third") is True


def test_replace_writes_only_over_the_version_named(store: Store) -> None:
    """Replace takes the current etag, or None where nothing is; anything else is a ConflictError and changes nothing."""
    first = store.replace("a", b"1", None)
    second = store.replace("a", b"2", first)
    assert store.read_tagged("a") == (b"2", second)
    for stale in (first, None, "0x8D00"):
        with pytest.raises(ConflictError, match="a was modified concurrently"):
            store.replace("a", b"3", stale)
    store.delete("a")
    for stale in (second, "0x8D00"):
        with pytest.raises(ConflictError):
            store.replace("a", b"3", stale)
    assert store.stat("a") is None


def test_a_sink_appears_whole_or_not_at_all(store: Store) -> None:
    """While a sink is open, and after its block raised, readers see the version before; after a good end the new one."""
    store.write("a", b"old")
    with pytest.raises(ZeroDivisionError), store.sink("a") as file:
        file.write(b"new")
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), store.sink("b") as file:
        raise ZeroDivisionError
    assert [e.path for e in store.list("")] == ["a"]
    with store.sink("a") as file:
        file.write(b"new")
        file.flush()
        assert store.read("a") == b"old"
    assert store.read("a") == b"new"


def test_a_sink_may_be_closed_by_its_writer(store: Store) -> None:
    """Writers that close the file they were given, as a text wrapper does, still publish it."""
    with store.sink("a") as file, io.TextIOWrapper(file, "utf-8") as text:
        text.write("é")
    assert store.read("a").decode() == "é"


def test_parquet_goes_in_and_out(store: Store) -> None:
    """Parquet written through sink is read through open."""
    table = pa.table({"x": list(range(1000)), "y": [str(i) for i in range(1000)]})
    with store.sink("t.parquet") as file:
        pq.write_table(table, file)
    assert pq.read_table(store.open("t.parquet")).equals(table)


def test_open_files_seek_like_files(store: Store) -> None:
    """Open gives size, seek, tell and partial reads, and stops at the end."""
    store.write("a", bytes(range(100)))
    file = store.open("a")
    assert file.size() == 100
    file.seek(90)
    assert (file.read(5), file.tell(), file.read(50), file.read(1)) == (
        bytes(range(90, 95)), 95, bytes(range(95, 100)), b"",
    )  # fmt: skip
    assert file.read_at(3, 10) == bytes([10, 11, 12])


def test_100_megabytes(store: Store) -> None:
    """A content beyond every single-request limit goes through sink, read, open and create unchanged."""
    block = hashlib.sha256(b"seed").digest() * 32_768  # 1 MiB
    with store.sink("big") as file:
        for i in range(100):
            file.write(i.to_bytes(4) + block[4:])
    entry = store.stat("big")
    assert entry is not None
    assert entry.size_bytes == 100 * len(block)
    content = store.read("big")
    assert [content[i * len(block) : i * len(block) + 4] for i in range(100)] == [
        i.to_bytes(4) for i in range(100)
    ]
    assert content.count(block[4:]) == 100
    assert store.create("created", content[: 80 * len(block)]) is True
    for path, blocks in (("big", 100), ("created", 80)):
        file = store.open(path)
        assert file.size() == blocks * len(block)
        assert file.read_at(4, 77 * len(block)) == (77).to_bytes(4)


def test_listing_is_by_plain_prefix_and_sorted(store: Store) -> None:
    """A listing holds exactly the paths that start with the prefix, in the order of their code points."""
    paths = ["a-b", "a/b", "a/c-d", "a/c/d", "a/c.d", "a.b", "ab", "b/1", "b/10", "b/9", "é/x", "Z/x", "a/ä", "a/z", "A/a"]  # fmt: skip
    for path in paths:
        store.write(path, path.encode())
    prefixes = {path[:n] for path in paths for n in range(len(path) + 1)} | {"c", "a//", "../", "/", "a/../"}
    for prefix in prefixes:
        expected = sorted(p for p in paths if p.startswith(prefix))
        assert [e.path for e in store.list(prefix)] == expected, prefix


def test_odd_names_stay_what_they_are(store: Store) -> None:
    """Every legal character keeps its meaning in a folder's and in a file's name."""
    paths = {f"odd/{s}/{t}" for s, t in zip(ODD_SEGMENTS, reversed(ODD_SEGMENTS), strict=True)}
    for path in paths:
        store.write(path, path.encode())
    assert {e.path for e in store.list("odd/")} == paths
    for path in paths:
        assert store.read(path) == path.encode()
        assert [e.path for e in store.list(path)] == [path]


SEGMENT = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"], exclude_characters="/\\"), min_size=1, max_size=20)  # fmt: skip


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(segment=SEGMENT.filter(lambda s: s not in (".", "..")), content=st.binary(max_size=100))
def test_any_name_round_trips(store: Store, segment: str, content: bytes) -> None:
    """Whatever text names a path, its content comes back under that name and under no other."""
    path = f"any/{segment}"
    store.write(path, content)
    assert store.read(path) == content
    assert [e.path for e in store.list("any/")] == [path]
    store.delete(path)


@pytest.mark.parametrize(
    "path",
    ["", "/a", "a/", "a//b", ".", "a/../b", "./a", "a\\b", "a\0", "a\nb", "\ud800", "a" * 256, "a/" * 512 + "a", ".fleetscore/x"],
    ids=lambda path: ascii(path[:12]),
)  # fmt: skip
def test_illegal_paths_are_refused(store: Store, path: str) -> None:
    """A path that one of the stores could not keep as it is, or that leads out of the store, is an InputError everywhere."""
    for act in (store.read, store.open, store.stat, store.delete, lambda p: store.write(p, b"")):
        with pytest.raises(InputError, match="is not a path inside the store"):
            act(path)
    with pytest.raises(InputError), store.sink(path):
        pass


def test_of_racing_threads_one_creates(store_url: str) -> None:
    """When 12 threads create or first-replace the same path at once, exactly one wins and its content stands."""
    store = open_store(store_url)
    store.write("warm", b"")

    def race(path: str, racer: int) -> bool:
        content = f"racer {racer}".encode()
        if racer % 2:
            return store.create(path, content)
        try:
            store.replace(path, content, None)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        for path in (f"race/{i}" for i in range(8)):
            won = list(pool.map(race, [path] * 12, range(12)))
            assert won.count(True) == 1
            assert store.read(path) == f"racer {won.index(True)}".encode()


def test_compare_and_swap_loses_no_update(store_url: str) -> None:
    """Threads that count up by read_tagged and replace, each through its own store, lose no count."""
    open_store(store_url).write("count", b"0")

    def count_up(times: int) -> None:
        store = open_store(store_url)
        while times:
            content, etag = store.read_tagged("count")
            try:
                store.replace("count", b"%d" % (int(content) + 1), etag)
            except ConflictError:
                continue
            times -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count_up, [15] * 4))
    assert open_store(store_url).read("count") == b"60"


def test_readers_never_see_a_mixture(store_url: str) -> None:
    """While two writers overwrite a path, every read, and every file once opened, is one version from beginning to end."""
    versions = [bytes([i]) * 300_000 for i in range(2)]
    store = open_store(store_url)
    store.write("a", versions[0])
    seen: set[bytes] = set()

    def overwrite(i: int) -> None:
        writer = open_store(store_url)
        for _ in range(20):
            writer.write("a", versions[i])

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(overwrite, i) for i in range(2)]
        while not all(w.done() for w in writers):
            content, _ = store.read_tagged("a")
            seen.add(content)
            try:
                seen.add(store.open("a").read())
            except ConflictError:  # allowed: what was opened is gone
                continue
    assert seen <= set(versions)
    for writer in writers:
        writer.result()


@pytest.mark.slow
def test_a_long_listing_is_complete_and_sorted(store: Store) -> None:
    """A listing longer than a page of the service holds every path once, in order."""
    paths = sorted(f"many/{i * 7919 % 100_003:06d}" for i in range(5_200))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: store.write(path, b""), reversed(paths)))
    assert [e.path for e in store.list("many/")] == paths
