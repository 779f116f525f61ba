"""Writers killed with SIGKILL at any moment leave the old or the new version, never a part, and hold nobody up."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

KILLS = """
import os, random, signal, sys, time
from fleetscore.store import open_store
import fleetscore.store.blob, fleetscore.store.local  # imported once, before the forks

SIZE = 1_500_000
CONTENTS = [bytes([i]) * SIZE for i in range(4)]

def opened():
    store = open_store(sys.argv[1])
    if hasattr(store, "_container"):  # contents in blocks, as those above 64 MiB are
        store._container._config.max_single_put_size = store._container._config.max_block_size = 300_000
    return store

def write_forever(pipe):
    store, i = opened(), 0
    while True:
        i += 1
        content = CONTENTS[i % 4]
        with store.sink("sunk") as file:
            for start in range(0, SIZE, 100_000):
                file.write(content[start : start + 100_000])
        os.write(pipe, b"1")
        store.write("written", content)
        os.write(pipe, b"2")
        _, etag = store.read_tagged("replaced")
        store.replace("replaced", content, etag)
        os.write(pipe, b"3")
        store.create(f"created/{os.getpid()}-{i}", content)
        os.write(pipe, b"4")

def kill_one(done, wait_s):
    told, pipe = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write_forever(pipe)
        finally:
            os._exit(1)
    os.close(pipe)
    for _ in range(done):
        assert os.read(told, 1), "the writer failed before it was killed"
    time.sleep(wait_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    os.close(told)

def check():
    store = opened()
    for entry in store.list(""):
        content = store.read(entry.path)
        assert content in CONTENTS, f"{entry.path} holds a part: {len(content)} bytes"
        assert entry.size_bytes == SIZE
    for path in ("sunk", "written", "replaced"):
        _, etag = store.read_tagged(path)
        store.replace(path, CONTENTS[0], etag)
        assert store.read(path) == CONTENTS[0]
    return sum(1 for _ in store.list("created/"))

first = opened()
for path in ("sunk", "written", "replaced"):
    first.write(path, CONTENTS[0])
del first
chance = random.Random(7)
created = 0
for done in range(int(sys.argv[2])):
    kill_one(done, chance.uniform(0, 0.03))
    created = check()
print("created", created)
"""

RACE = """
import sys
from fleetscore.errors import ConflictError
from fleetscore.store import open_store

store, me = open_store(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
won = []
for i in range(12):
    if store.create(f"race/{i}", me.encode()):
        won.append(str(i))
    while True:
        content, etag = store.read_tagged("count")
        try:
            store.replace("count", b"%d" % (int(content) + 1), etag)
            break
        except ConflictError:
            pass
print(" ".join(won))
"""


def test_a_killed_writer_leaves_old_or_new(store_url: str) -> None:
    """After kills in the midst of sink, write, replace and create, every path is one whole version and can be replaced."""
    done = subprocess.run(
        [sys.executable, "-c", KILLS, store_url, "6"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    word, created = done.stdout.split()
    assert word == "created"
    assert int(created) > 0


def test_racing_processes_share_out_every_path_and_count(store_url: str) -> None:
    """Of three processes that create the same 12 paths one wins each, and none of the 36 counts they make is lost."""
    from fleetscore.store import open_store

    store = open_store(store_url)
    store.write("count", b"0")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, store_url, str(i)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [racer.communicate(timeout=30)[0].split() for racer in racers]
    assert sorted(int(i) for paths in won for i in paths) == list(range(12))
    for i, paths in enumerate(won):
        assert all(store.read(f"race/{path}") == str(i).encode() for path in paths)
    assert store.read("count") == b"36"
