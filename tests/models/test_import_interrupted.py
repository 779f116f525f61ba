"""Ctrl-C while models are imported: the command ends at once, without a traceback, and nothing is stored."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sklearn.linear_model import Ridge

SETTINGS = """kind = "models"
partition = ["pump"]
[data]
path = "data/pumps/*.csv"
time = "at"
"""
_ENDLESS_S = 600


class _Endless:
    """Its pickle sleeps where it is read."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return time.sleep, (_ENDLESS_S,)


@pytest.mark.parametrize("endless", [1, 30])
def test_ctrl_c_ends_an_import_that_waits_for_a_file(tmp_path: Path, endless: int) -> None:
    """One process or two, with further files waiting: exit code 130, one word, no model set, and no process is left."""
    store, models = tmp_path / "store", tmp_path / "models"
    (store / "settings").mkdir(parents=True)
    (store / "settings" / "pumps.toml").write_text(SETTINGS)
    models.mkdir()
    (models / "a.pkl").write_bytes(pickle.dumps(Ridge().fit([[0.0], [1.0]], [0.0, 1.0])))
    for at in range(endless):
        (models / f"b{at}.pkl").write_bytes(pickle.dumps(_Endless()))
    words = ["import-models", "pumps", "--from", str(models), "--trust-pickles", "--store", str(store)]
    command = subprocess.Popen(
        [sys.executable, "-m", "fleetscore", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=dict(os.environ) | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert command.stderr is not None
    assert "importing 1 of" in command.stderr.readline()
    os.killpg(command.pid, signal.SIGINT)
    _, said = command.communicate(timeout=_ENDLESS_S / 2)
    assert (command.returncode, said.split()) == (130, ["Stopped."])
    assert not (store / "models").exists()
    assert not list(tmp_path.glob("fleetscore-import-*"))  # the folders of its processes
