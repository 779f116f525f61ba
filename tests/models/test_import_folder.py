"""Importing folders of models: keys, formats, trust, limits, and that one bad file costs no other."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import re
import signal
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, IsolationForest, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fleetscore.errors import InputError
from fleetscore.models.importers.folder import Imported, ImportOptions, import_models
from fleetscore.models.importers.formats import Format, detect_format
from fleetscore.models.importers.limits import ImportLimits
from fleetscore.models.importers.naming import list_source_models, list_unnamed
from fleetscore.models.packs.families import pack_class
from fleetscore.workloads.models.importing import import_fleet
from fleetscore.workloads.models.settings import FleetSettings

X = np.random.default_rng(0).normal(size=(60, 3))
RIDGE = make_pipeline(StandardScaler(), Ridge()).fit(X, X @ [1.0, 2.0, 3.0])
TRUSTED = ImportOptions(trusted=True, processes=1)


def by_name(results: Iterator[Imported]) -> dict[str, Imported]:
    """The results by the files' names."""
    return {one.name: one for one in results}


class Hostile:
    """Pickles to a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_one_bad_file_of_each_kind_is_refused_by_name_and_the_others_are_imported(tmp_path: Path) -> None:
    """Zero bytes, cut short, wrong suffix, unknown content, a crash and exhausted limits are refusals with codes; good files come."""
    joblib.dump(RIDGE, tmp_path / "good-1.joblib")
    joblib.dump(RIDGE, tmp_path / "good-2.joblib.gz", compress=("gzip", 3))
    (tmp_path / "good-3.pkl").write_bytes(pickle.dumps(RIDGE))
    (tmp_path / "a-zero.joblib").write_bytes(b"")
    (tmp_path / "b-cut.pkl").write_bytes(pickle.dumps(RIDGE)[:-200])
    (tmp_path / "c-suffix.onnx").write_bytes(pickle.dumps(RIDGE))
    (tmp_path / "d-text.txt").write_text("weights of the van")
    (tmp_path / "e-crash.pkl").write_bytes(pickle.dumps(Hostile(signal.raise_signal, signal.SIGSEGV.value)))
    (tmp_path / "g-list.pkl").write_bytes(pickle.dumps([1, 2]))
    (tmp_path / "h-module.pkl").write_bytes(b"cno_such_module\nModel\n.")
    os.mkfifo(tmp_path / "k-pipe.pkl")
    (tmp_path / "i-exit.pkl").write_bytes(pickle.dumps(Hostile(os._exit, 3)))
    (tmp_path / "j-memory.pkl").write_bytes(pickle.dumps(Hostile(np.ones, 1 << 36)))
    options = ImportOptions(trusted=True, processes=1, limits=ImportLimits(memory_bytes=1 << 30))
    found = by_name(import_models(tmp_path, options=options))
    codes = {name: one.refusal.code for name, one in found.items() if one.refusal}
    assert codes == {
        "a-zero.joblib": "empty_model",
        "b-cut.pkl": "unreadable_model",
        "c-suffix.onnx": "wrong_model_suffix",
        "d-text.txt": "unknown_model_format",
        "e-crash.pkl": "unreadable_model",
        "g-list.pkl": "unsupported_model",
        "h-module.pkl": "unsupported_model",
        "i-exit.pkl": "unreadable_model",
        "j-memory.pkl": "import_limit",
        "k-pipe.pkl": "unknown_model_format",
    }
    good = [found[name] for name in ("good-1.joblib", "good-2.joblib.gz", "good-3.pkl")]
    assert [one.key for one in good] == ["good-1", "good-2", "good-3"]
    assert [one.number for one in found.values()] == list(range(1, len(found) + 1))
    for one in good:
        assert one.model is not None
        assert one.proof is not None
        assert one.proof.equal
        pack = pack_class(one.model.family).join([one.model])
        assert np.allclose(pack.score(np.array([0, 60]), X, "predict")[:, 0], RIDGE.predict(X), rtol=1e-12)


def test_an_import_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """Waiting and computing without end are refused by the limits of time and of processor time."""
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Hostile(time.sleep, 600)))
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(Hostile(eval, "sum(range(10**12))")))
    waiting = ImportOptions(trusted=True, limits=ImportLimits(idle_s=1.0))
    computing = ImportOptions(trusted=True, limits=ImportLimits(cpu_s=1))
    refused = (("a.pkl", waiting, "computed nothing for 1 s"), ("b.pkl", computing, "processor time"))
    for name, options, words in refused:
        (one,) = import_models(tmp_path / name, options=options)
        assert one.refusal is not None
        assert one.refusal.code == "import_limit"
        assert words in one.refusal.message


@pytest.mark.slow
def test_a_slow_machine_refuses_no_model(tmp_path: Path) -> None:
    """An import that goes on computing is held to its processor time, however long it takes by the clock."""
    code = (
        "any(0 for begin in [__import__('time').monotonic()]"
        " for _ in iter(lambda: __import__('time').monotonic() < begin + 9, False))"
    )
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Hostile(eval, code)))
    options = ImportOptions(trusted=True, limits=ImportLimits(idle_s=3.0))
    (one,) = import_models(tmp_path, options=options)
    assert one.refusal is not None
    assert one.refusal.code == "unsupported_model"


@pytest.mark.usefixtures("shared_import_process")
def test_a_pickle_is_not_loaded_without_trust(tmp_path: Path) -> None:
    """Without trust a pickle's code does not run, and the refusal says how to import it."""
    mark = tmp_path / "ran"
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "a.pkl").write_bytes(pickle.dumps(Hostile(os.mkdir, str(mark))))
    (one,) = import_models(folder)
    assert one.refusal is not None
    assert one.refusal.code == "untrusted_pickle"
    assert "--trust-pickles" in one.refusal.fix
    assert not mark.exists()


@pytest.mark.usefixtures("shared_import_process")
def test_skops_files_are_read_by_our_own_list_of_types(tmp_path: Path) -> None:
    """A skops file of scikit-learn estimators is imported without trust; one that names another type is refused, whatever it trusts."""
    skops.io.dump(RIDGE, tmp_path / "good.skops")
    evil = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, X[:, 0] > 0)
    evil.steps[0][1].hook = Path("/")
    skops.io.dump(evil, tmp_path / "evil.skops")
    found = by_name(import_models(tmp_path))
    assert found["good.skops"].model is not None
    assert found["good.skops"].card["versions"]["scikit-learn"]
    refusal = found["evil.skops"].refusal
    assert refusal is not None
    assert refusal.code == "unsafe_skops"


def test_trees_of_skops_files_are_imported_and_damaged_ones_refused(tmp_path: Path) -> None:
    """Trees need no pickle: they are proven like those of one, and a tree whose children lie outside of it is refused."""
    estimators = {
        "forest": RandomForestRegressor(n_estimators=3, max_depth=3, random_state=0),
        "boosted": HistGradientBoostingRegressor(max_iter=3),
        "isolation": IsolationForest(n_estimators=3, random_state=0),
    }
    for name, estimator in estimators.items():
        skops.io.dump(estimator.fit(X, X[:, 0]), tmp_path / f"{name}.skops")
        with (
            zipfile.ZipFile(tmp_path / f"{name}.skops") as good,
            zipfile.ZipFile(tmp_path / f"{name}-bad.skops", "w") as bad,
        ):
            for member in good.namelist():
                bad.writestr(member, _with_children_outside(good.read(member)))
    found = by_name(import_models(tmp_path))
    families = {name: one.model.family for name, one in found.items() if one.model is not None}
    assert families == {f"{name}.skops": "trees" for name in estimators}


def _with_children_outside(data: bytes) -> bytes:
    """The array of an archive's member with the children of its first node far outside, where it holds nodes."""
    if not data.startswith(b"\x93NUMPY"):
        return data
    nodes = np.load(io.BytesIO(data))
    child = next((name for name in nodes.dtype.names or () if name in ("left_child", "left")), "")
    if not child or nodes.size < 2:
        return data
    nodes[child][0] = 100_000
    out = io.BytesIO()
    np.save(out, nodes)
    return out.getvalue()


def test_the_import_process_has_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment variables other than those that Python needs do not reach what a pickle may run."""
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "secret")
    code = Hostile(eval, f"open({str(tmp_path / 'seen')!r}, 'w').write(str(dict(__import__('os').environ)))")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(code))
    list(import_models(tmp_path / "a.pkl", options=TRUSTED))
    assert "secret" not in (tmp_path / "seen").read_text()


@pytest.mark.usefixtures("shared_import_process")
def test_a_pickle_of_another_version_is_proven_and_says_so(tmp_path: Path) -> None:
    """The version that wrote a pickle stands in the card, with a warning where it is not the installed one."""
    data = pickle.dumps(RIDGE)
    version = __import__("sklearn").__version__
    (tmp_path / "old.pkl").write_bytes(
        data.replace(version.encode(), b"1.2.3"[: len(version)].ljust(len(version), b"0"))
    )
    (one,) = import_models(tmp_path, options=TRUSTED)
    assert one.refusal is None
    assert one.card["versions"]["scikit-learn"] == "1.2.3"
    assert "1.2.3" in one.card["warnings"][0]


def test_a_set_says_which_version_wrote_its_models_and_never_advises_trust_that_was_given(
    tmp_path: Path,
) -> None:
    """The set's card counts models by the version that wrote them; a trusted pickle that nothing can prove is refused
    without the advice to trust it.
    """
    data = pickle.dumps(RIDGE)
    installed = re.search(rb"\d+\.\d+\.\d+", data[data.index(b"_sklearn_version") :])
    assert installed is not None
    (tmp_path / "old.pkl").write_bytes(data.replace(installed[0], b"1" + installed[0][1:-1] + b"8"))
    (tmp_path / "unfitted.pkl").write_bytes(pickle.dumps(Ridge()))
    imported = import_fleet(tmp_path, FleetSettings(partition=("van_id",)), None, trusted=True)
    written = (b"1" + installed[0][1:-1] + b"8").decode()
    assert imported.draft.card["libraries"] == {f"scikit-learn {written}": 1}
    (refusal,) = imported.draft.card["refusals"]
    assert refusal["code"] == "not_proven"
    assert "Export it as ONNX." in refusal["reason"]
    assert "--trust-pickles" not in refusal["reason"]


def test_keys_come_from_names_and_folders(tmp_path: Path) -> None:
    """A pattern gives keys with leading zeros, unicode, dots and encoded slashes; other names are refused; hidden files are none."""
    for name in ("north/0012.pkl", "süd/VAN 1.5.joblib.gz", "north/a%2Fb.onnx", "stray.pkl", ".DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = {one.name: one for one in list_source_models(tmp_path, ["{depot}/{van_id}"])}
    assert {one.key for one in found.values() if not one.refusal} == {
        "north/0012",
        "süd/VAN 1.5",
        "north/a/b",
    }
    assert [name for name, one in found.items() if one.refusal and one.refusal.code == "no_model_key"] == [
        "stray.pkl"
    ]


def test_two_files_for_one_key_are_both_refused_by_name(tmp_path: Path) -> None:
    """Nothing says which of two files is meant, so that neither is taken and each refusal names the other."""
    for name in ("a.pkl", "a.onnx", "b.pkl"):
        (tmp_path / name).write_bytes(b"x")
    refusals = {one.name: one.refusal for one in list_source_models(tmp_path)}
    assert refusals["b.pkl"] is None
    for name, other in (("a.pkl", "a.onnx"), ("a.onnx", "a.pkl")):
        refusal = refusals[name]
        assert refusal is not None
        assert refusal.code == "two_models_for_key"
        assert other in refusal.message


def test_a_manifest_gives_keys_and_its_mistakes_are_named_by_line(tmp_path: Path) -> None:
    """Keys of keys.csv are text, may be anything, and a file that is missing or outside the folder is refused with its line."""
    (tmp_path / "m1.pkl").write_bytes(b"x")
    (tmp_path / "keys.csv").write_text("key,file\n007,m1.pkl\nNA,gone.pkl\nx,../../etc/passwd\n,\n")
    found = {one.name: one for one in list_source_models(tmp_path)}
    assert found["m1.pkl"].key == "007"
    assert found["m1.pkl"].refusal is None
    assert "Line 3" in str(found["gone.pkl"].refusal)
    assert "outside" in str(found["../../etc/passwd"].refusal)
    (tmp_path / "keys.csv").write_text("van;file\n1;m1.pkl\n")
    with pytest.raises(InputError, match="has the columns"):
        list_source_models(tmp_path)


def test_a_line_of_a_manifest_with_a_comma_too_many_is_refused(tmp_path: Path) -> None:
    """Of a file name with a comma that is not quoted the first half may be another model's file; in quotes it is taken."""
    for name in ("a", "a,b.pkl"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "keys.csv").write_text('key,file\n1,a,b.pkl\n2,"a,b.pkl"\n')
    refused, taken = list_source_models(tmp_path)
    assert "Line 2 of keys.csv has more cells than the first line" in str(refused.refusal)
    assert (taken.key, taken.name, taken.refusal) == ("2", "a,b.pkl", None)


@pytest.mark.parametrize(
    ("manifest", "said", "fix"),
    [
        (b"", "is empty", "first line is key,file"),
        (b"key;file\na;m1.pkl\n", "has the columns ['key;file']", "separated by a comma"),
        (b"Key,File\na,m1.pkl\n", "has the columns ['Key', 'File']", "first line is key,file"),
        (b"key,file\n", "names no model", "each further line"),
        ("key,file\nsüd,m1.pkl\n".encode("latin-1"), "is not UTF-8 text: byte 0xfc at place 10", "as UTF-8"),
        ("key,file\na,m1.pkl\n".encode("utf-16"), "is not UTF-8 text: byte 0xff at place 0", "as UTF-8"),
        (b'key,file\n"a,m1.pkl\n', "cannot be read: unexpected end of data", "separated by a comma"),
    ],
)
def test_a_manifest_of_another_form_is_refused_with_the_form(
    tmp_path: Path, manifest: bytes, said: str, fix: str
) -> None:
    """What it is instead, and how to write it; a manifest without a line is not a folder without models."""
    (tmp_path / "m1.pkl").write_bytes(b"x")
    (tmp_path / "of_vans.csv").write_bytes(manifest)
    with pytest.raises(InputError) as caught:
        list_source_models(tmp_path, manifest=tmp_path / "of_vans.csv")
    assert f"of_vans.csv {said}" in caught.value.message
    assert fix in caught.value.fix


def test_a_model_of_texts_is_refused_as_that_and_not_as_damaged(tmp_path: Path) -> None:
    """A pipeline that encodes a column of texts is whole; the refusal has the library's words and says what to do."""
    frame = pd.DataFrame({"mode": ["A", "B"] * 20, "flow": np.arange(40.0)})
    encoder = ColumnTransformer([("texts", OneHotEncoder(), ["mode"]), ("numbers", "passthrough", ["flow"])])
    model = make_pipeline(encoder, Ridge()).fit(frame, frame.flow)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(model))
    (one,) = import_models(tmp_path, options=TRUSTED)
    assert one.refusal is not None
    assert one.refusal.code == "not_proven"
    assert "does not answer rows of numbers: ValueError" in one.refusal.message
    assert "encode texts" in one.refusal.fix


def test_models_that_a_manifest_does_not_name_are_listed(tmp_path: Path) -> None:
    """What begins as a model and stands in no line is listed, in folders too; other files, and models whose line is wrong, are not."""
    for name in ("a.pkl", "b.pkl", "north/c.pkl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(pickle.dumps(RIDGE))
    (tmp_path / "README.md").write_text("Models of pumps.\n")
    (tmp_path / "keys.csv").write_text("key,file\n,./a.pkl\n")
    assert list_unnamed(tmp_path) == ["b.pkl", "north/c.pkl"]
    elsewhere = tmp_path / "keys" / "of_pumps.csv"
    elsewhere.parent.mkdir()
    elsewhere.write_text("key,file\nP-1,a.pkl\nP-2,b.pkl\nP-3,north/c.pkl\n")
    assert list_unnamed(tmp_path, elsewhere) == []
    (tmp_path / "keys.csv").unlink()
    assert list_unnamed(tmp_path) == []


def test_a_manifest_gives_an_empty_key_only_where_one_model_scores_all(tmp_path: Path) -> None:
    """An empty key is the model of all where a pattern says so; elsewhere, where it would score nothing, it is refused by line."""
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(RIDGE))
    (tmp_path / "keys.csv").write_text("key,file\n,a.pkl\n")
    (for_all,) = list_source_models(tmp_path, ("{van_id}", ""))
    assert (for_all.key, for_all.refusal) == ("", None)
    (refused,) = list_source_models(tmp_path, ("{van_id}",))
    assert refused.refusal is not None
    assert refused.refusal.message == "Line 2 of keys.csv has no key or no file."


def test_a_global_model_has_the_empty_key(tmp_path: Path) -> None:
    """Where "" is among the patterns, a single file, and a file named default in a folder, is the model of all."""
    (tmp_path / "default.pkl").write_bytes(b"x")
    assert list_source_models(tmp_path / "default.pkl", [""])[0].key == ""
    assert list_source_models(tmp_path, ["{van_id}", ""])[0].key == ""
    assert list_source_models(tmp_path, ["{van_id}"])[0].key == "default"


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (b"tree\nversion=v4\n", "a.txt", Format.LIGHTGBM),
        (b'{"learner":{}}', "a.json", Format.XGBOOST_JSON),
        (b"{L\0\0\0\0\0\0\0\x07learner", "a.ubj", Format.XGBOOST_UBJ),
        (b'{"oblivious_trees":[]}', "a.json", Format.CATBOOST_JSON),
        (b"CBM1\0\0\0\0", "a.cbm", Format.CATBOOST_CBM),
        (b"\x08\x0a\x12\x08skl2onnx", "a.onnx", Format.ONNX),
        (gzip.compress(pickle.dumps(RIDGE)), "a.sav", Format.PICKLE),
        (pickle.dumps([1], protocol=0), "a", Format.PICKLE),
    ],
)
def test_formats_are_told_by_content(tmp_path: Path, data: bytes, name: str, expected: Format) -> None:
    """The first bytes tell the format, with or without a suffix that says so."""
    (tmp_path / name).write_bytes(data)
    assert detect_format(tmp_path / name) is expected


@pytest.mark.parametrize(
    ("key", "told"), [("a\tb", r"control character '\\t'"), ("k" * 1025, "1,025 characters; at most 1,024")]
)
def test_a_key_that_cannot_be_is_refused_with_what_is_wrong_with_it(
    tmp_path: Path, key: str, told: str
) -> None:
    """A control character is shown, and a key that is too long counted; neither is said of the other."""
    (tmp_path / "model.txt").write_bytes(b"tree")
    (tmp_path / "keys.csv").write_text(f'key,file\n"{key}",model.txt\n')
    [found] = list_source_models(tmp_path)
    assert found.refusal is not None
    assert re.search(told, found.refusal.message)
