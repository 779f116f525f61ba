"""What is particular to a folder as a store."""

import errno
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fleetscore.errors import SettingsError, StoreError
from fleetscore.store import open_store
from fleetscore.store.local import LocalStore


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    """An empty local store."""
    return LocalStore(tmp_path / "store")


def test_urls_name_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file URL, also with escapes, an absolute and a relative path name the folder they say."""
    monkeypatch.chdir(tmp_path)
    for url in ((tmp_path / "a b").as_uri(), str(tmp_path / "a b"), "a b", "./a b"):
        store = open_store(url)
        assert isinstance(store, LocalStore)
        assert store.root == tmp_path / "a b"
        assert open_store(store.url).url == store.url


@pytest.mark.parametrize("url", ["file://folder/store", "s3://bucket", "abfss://c@a.dfs.core.windows.net/x"])
def test_other_urls_are_refused(url: str) -> None:
    """A URL that names another machine or another service is a SettingsError, not a folder of that name."""
    with pytest.raises(SettingsError, match="Store URL"):
        open_store(url)


def test_a_path_cannot_continue_another(local: LocalStore) -> None:
    """Where a folder cannot hold what a container could, every write says so, and create does not claim a conflict."""
    local.write("a/b", b"x")
    for path in ("a", "a/b/c"):
        for act in (
            lambda p: local.write(p, b""),
            lambda p: local.create(p, b""),
            lambda p: local.replace(p, b"", None),
        ):
            with pytest.raises(StoreError, match="both a file and a folder") as caught:
                act(path)
            assert type(caught.value) is StoreError
            assert caught.value.retry is False
    assert [e.path for e in local.list("")] == ["a/b"]


def test_an_overwrite_waits_for_a_compare_and_swap(local: LocalStore) -> None:
    """While a replace holds the path's lock, a write, a sink and a delete of the path wait for it."""
    local.write("a", b"1")
    acts: list[Any] = [lambda: local.write("a", b"2"), lambda: local.delete("a")]
    for act in acts:
        thread = threading.Thread(target=act)
        with local._lock("a"):
            thread.start()
            thread.join(0.05)
            assert thread.is_alive()
            assert local.stat("a") is not None
        thread.join(5)
        assert not thread.is_alive()
    assert local.stat("a") is None


def test_an_etag_changes_though_clock_and_inode_do_not(
    local: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The etag's time is set by the store to the nanosecond, not by the kernel's slow clock."""
    times = iter([10**18, 10**18 + 1])
    monkeypatch.setattr(time, "time_ns", lambda: next(times))
    old, new = local.write("a", b"1"), local.write("a", b"2")
    assert old.split("-")[1:] == [f"{10**18:x}", "1"]
    assert new.split("-")[1:] == [f"{10**18 + 1:x}", "1"]


def test_listing_looks_only_where_the_prefix_leads(
    local: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders that cannot hold a path with the prefix are not read."""
    for path in ("runs/a/1", "runs/ab/2", "runs/b/3", "data/c/4"):
        local.write(path, b"")
    scanned: list[str] = []
    scandir = os.scandir

    def noting_scandir(folder: Any) -> Any:
        scanned.append(Path(folder).relative_to(local.root).as_posix())
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", noting_scandir)
    assert [e.path for e in local.list("runs/a")] == ["runs/a/1", "runs/ab/2"]
    assert scanned == ["runs", "runs/a", "runs/ab"]


def test_leftovers_of_killed_writers_are_swept(local: LocalStore) -> None:
    """The first write of a process removes temporary files a day old, and leaves younger ones to their writers."""
    local.write("a", b"")
    old, young = local._temporary / "old", local._temporary / "young"
    for file in (old, young):
        file.write_bytes(b"left")
    os.utime(old, (time.time() - 25 * 3600,) * 2)
    again = LocalStore(local.root)
    again.write("b", b"")
    assert [f.name for f in again._temporary.iterdir()] == ["young"]
    assert [e.path for e in again.list("")] == ["a", "b"]


@pytest.mark.parametrize(("number", "is_retried"), [(errno.ENOSPC, True), (errno.EACCES, False)])
def test_a_failing_disk_is_an_error_with_a_fix(
    local: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int, is_retried: bool
) -> None:
    """When the disk is full or forbids, the old content stays, no temporary file is left, and the error says where to look."""
    local.write("a", b"old")

    def fail(self: Path, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", fail)
    for act in (local.write, local.create):
        with pytest.raises(StoreError, match=f"{os.strerror(number)}.*free space and permissions") as caught:
            act("a", b"new")
        assert caught.value.retry is is_retried
    assert local.read("a") == b"old"
    assert list(local._temporary.iterdir()) == []


def test_a_named_pipe_is_refused_at_once(local: LocalStore) -> None:
    """Reading one would wait for a writer for ever; it is an error that names the path, and no entry."""
    local.write("settings/a.toml", b"")
    os.mkfifo(local.root / "settings" / "pipe.toml")
    for read in (local.read, local.open):
        with pytest.raises(StoreError, match=r"settings/pipe\.toml is no regular file"):
            read("settings/pipe.toml")
    assert [entry.path for entry in local.list("settings/")] == ["settings/a.toml"]


def test_links_that_lead_out_of_the_store_are_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are passed over by name in a listing, and reading through one is refused; links within the store work."""
    store = LocalStore(tmp_path / "store")
    store.write("data/a.csv", b"mine")
    (tmp_path / "secret.txt").write_bytes(b"not mine")
    (store.root / "data" / "out.csv").symlink_to(tmp_path / "secret.txt")
    (store.root / "data" / "circle").symlink_to(store.root / "data")
    (store.root / "data" / "nowhere").symlink_to(store.root / "data" / "nowhere")
    (store.root / "data" / "same.csv").symlink_to(store.root / "data" / "a.csv")
    assert [entry.path for entry in store.list("data/")] == ["data/a.csv", "data/same.csv"]
    assert "out.csv is passed over" in caplog.text
    assert store.read("data/same.csv") == b"mine"
    with pytest.raises(StoreError, match="leads out of the store"):
        store.read("data/out.csv")
    with pytest.raises(StoreError, match="leads out of the store"):
        store.write("data/out.csv", b"overwritten")
    assert (tmp_path / "secret.txt").read_bytes() == b"not mine"


def test_what_a_manifest_names_is_flushed_before_the_manifest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files that are flushed, and the folders that name them, new ones up to an old one, are synced; missing ones are passed over."""
    store = LocalStore(tmp_path / "store")
    store.write("a/x", b"1")
    synced: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())) or fsync(fd)
    )
    store.flush(["a/x", "a/missing"])
    assert synced == [str(store.root / "a" / "x"), str(store.root / "a"), str(store.root), str(tmp_path)]
    synced.clear()
    store.replace("manifest", b"{}", None)
    assert synced[-1] == str(store.root)
    synced.clear()
    assert store.create("runs/r/run.json", b"{}")
    content, *folders = synced
    assert content.startswith(str(store.root / ".fleetscore" / "tmp"))
    assert folders == [str(store.root / "runs" / "r"), str(store.root / "runs"), str(store.root)]
