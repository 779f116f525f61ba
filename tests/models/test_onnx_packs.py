"""ONNX graphs: read, split from their weights, run through few sessions, and refused by name where they are damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor

from fleetscore.models.importers.formats import Format, detect_format
from fleetscore.models.importers.job import compile_proven, import_one
from fleetscore.models.importers.loaded import LoadedModel
from fleetscore.models.importers.onnx_files import convert_estimator, load_onnx
from fleetscore.models.packs import onnx_graphs
from fleetscore.models.packs.base import CompiledModel
from fleetscore.models.packs.families import open_pack
from fleetscore.models.packs.onnx_graphs import OnnxPack, Sessions

pytestmark = pytest.mark.filterwarnings("ignore")
X = np.random.default_rng(0).normal(size=(80, 4))
REQUEST = {"method": "", "ranges": {}}


def network(seed: int) -> MLPRegressor:
    return MLPRegressor(hidden_layer_sizes=(5,), max_iter=20, random_state=seed).fit(
        X, X @ [1.0, 2.0, 3.0, seed]
    )


def written(model: Any, path: Path) -> LoadedModel:
    """The model as an ONNX file, loaded."""
    path.write_bytes(
        to_onnx(model, X[:1].astype(np.float32), target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString()
    )
    assert detect_format(path) is Format.ONNX
    return load_onnx(path)


def test_networks_of_one_shape_share_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are inputs of the graph, so that models that differ in them alone need one session, and answer as their own files do."""
    sessions = Sessions()
    monkeypatch.setattr(onnx_graphs, "SESSIONS", sessions)
    loaded = [written(network(seed), tmp_path / f"{seed}.onnx") for seed in range(3)]
    compiled = [compile_proven(one, REQUEST)[0] for one in loaded]
    sessions = Sessions()
    monkeypatch.setattr(onnx_graphs, "SESSIONS", sessions)
    pack = open_pack(OnnxPack.join(compiled).to_bytes())
    found = pack.score(np.array([0, 80, 160, 240]), np.tile(X, (3, 1)), "predict")
    assert sessions.made == 1
    for at, one in enumerate(loaded):
        assert np.array_equal(found[80 * at : 80 * at + 80], one.original(X, "predict"))


def test_labels_and_probabilities_of_a_forest_are_those_of_its_file(tmp_path: Path) -> None:
    """A classifier whose file gives dictionaries of probabilities answers with labels and a matrix."""
    labels = np.array(["low", "mid", "high"])[np.digitize(X[:, 0], [-0.5, 0.5])]
    model = RandomForestClassifier(5, random_state=0).fit(X, labels)
    compiled, proof = compile_proven(written(model, tmp_path / "a.onnx"), REQUEST)
    assert proof.equal
    assert compiled.facts.classes == ("high", "low", "mid")
    x = X.astype(np.float32).astype(np.float64)
    pack = OnnxPack.join([compiled])
    offsets = np.array([0, 80])
    assert (
        np.array(compiled.facts.classes)[pack.score(offsets, x, "predict")[:, 0].astype(int)].tolist()
        == model.predict(x).tolist()
    )
    assert np.allclose(pack.score(offsets, x, "predict_proba"), model.predict_proba(x), atol=1e-6)


def test_estimators_without_a_pack_are_converted_and_proven() -> None:
    """A network is converted to a graph in float64 that answers as scikit-learn does."""
    model = MLPClassifier(hidden_layer_sizes=(5,), max_iter=20, random_state=0).fit(X, X[:, 0] > 0)
    loaded = LoadedModel(
        "network", lambda x, method: getattr(model, method)(x), [lambda: convert_estimator(model)]
    )
    compiled, proof = compile_proven(loaded, REQUEST)
    assert proof.equal, proof.text
    assert compiled.family == "onnx"


def test_sessions_keep_within_their_memory_and_drop_the_least_recently_used() -> None:
    """Beyond the limit the session that was not used for longest goes."""
    graphs = [bytes(converted(seed, 2 + seed).arrays["graph"]) for seed in range(3)]
    limit = sum(onnx_graphs.session_bytes(graph) for graph in graphs[:2])
    sessions = Sessions(limit)
    for at in (0, 1, 0, 2, 0, 1):
        sessions.session(graphs[at])
        assert sessions.size_bytes <= limit
    assert sessions.made == 4


def converted(seed: int, width: int) -> CompiledModel:
    model = MLPRegressor(hidden_layer_sizes=(width,), max_iter=5, random_state=seed).fit(X, X[:, 0])
    return convert_estimator(model)


@given(place=st.integers(0, 1 << 20), value=st.integers(1, 255), cut=st.booleans())
@settings(max_examples=40, deadline=None)
def test_mutated_graphs_end_in_a_named_error_or_a_model(
    place: int, value: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A changed byte or a cut ends in a code with a message, or in a proven model."""
    data = bytearray(GRAPH)
    if cut:
        del data[place % len(data) :]
    else:
        data[place % len(data)] ^= value
    path = tmp_path_factory.mktemp("graph") / "a.onnx"
    path.write_bytes(bytes(data))
    header, payload = import_one({"path": str(path), "trusted": False, **REQUEST})
    assert payload if not header["code"] else header["message"]


GRAPH = to_onnx(
    network(1), X[:1].astype(np.float32), target_opset={"": 17, "ai.onnx.ml": 3}
).SerializeToString()
