"""The bytes of packs: read back as written, and refused by name whatever is wrong with them."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.errors import ModelError
from fleetscore.models.packs.base import CompiledModel, Floats, Indices, ModelFacts, Pack
from fleetscore.models.packs.proof import deviation, wrong_labels


class Weights(Pack):
    """A family for the tests: the features weighted and summed."""

    family: ClassVar[str] = "weights"
    layout: ClassVar[Mapping[str, str]] = {"weight": "f8"}

    def check_model(self, at: int) -> None:
        if self.part("weight", at).size != self.facts_of_model(at).n_features:
            raise ModelError("A weight per feature is expected.", code="corrupt_model")

    def score_rows(self, offsets: Indices, x: Floats, method: str, out: Floats) -> None:
        for at in range(len(self)):
            rows = slice(offsets[at], offsets[at + 1])
            weight = self.part("weight", at)
            out[rows, 0] = x[rows, : weight.size] @ weight


def model(*weights: float) -> CompiledModel:
    facts = ModelFacts(len(weights), {"predict": 1}, "own", classes=("a", 1, 2.5, True))
    return CompiledModel("weights", {"weight": np.array(weights)}, facts)


def test_a_pack_reads_back_what_it_wrote_without_copying() -> None:
    """Models, facts and scores survive the bytes, whose numbers are views, and equal packs have equal bytes."""
    pack = Weights.join([model(1.0, 2.0), model(3.0), model(5.0, 7.0)])
    data = pack.to_bytes()
    back = Weights.from_bytes(data)
    assert back.to_bytes() == data
    assert not back.arrays["weight"].flags.owndata
    assert back.facts == pack.facts and len(back.facts) == 2
    x = np.ones((4, 2))
    offsets = np.array([0, 1, 1, 4])
    assert back.score(offsets, x, "predict")[:, 0].tolist() == [3.0, 12.0, 12.0, 12.0]
    assert back.subset([2, 0]).score(np.array([0, 1, 1]), x[:1], "predict").tolist() == [[12.0]]


def test_a_method_that_a_model_does_not_answer_is_named() -> None:
    """Asking for another method is refused with the methods that there are."""
    with pytest.raises(ModelError, match=r"'predict_proba'.*predict") as caught:
        Weights.join([model(1.0)]).score(np.array([0, 1]), np.ones((1, 1)), "predict_proba")
    assert caught.value.code == "unsupported_model"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_bytes_are_refused_by_name_or_harmless(data: st.DataObject) -> None:
    """Whatever bytes of a pack change or are missing, it is refused as corrupt or scores without a crash."""
    raw = bytearray(Weights.join([model(1.0, 2.0), model(3.0)]).to_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    try:
        pack = Weights.from_bytes(bytes(raw[: cut if data.draw(st.booleans()) else None]))
        if len(pack) == 2:
            pack.score(np.array([0, 1, 2]), np.ones((2, 3)), "predict")
    except ModelError as error:
        assert error.code in ("corrupt_model", "unsupported_model")


def test_deviations_see_what_is_on_one_side_only() -> None:
    """Relative differences are zero for equal numbers and two NaN, infinite for NaN or infinity on one side."""
    ours = np.array([[1.0], [np.nan], [np.nan], [np.inf], [1.0]])
    theirs = np.array([[1.0], [np.nan], [1.0], [1.0], [1.0 + 1e-12]])
    found = deviation(ours, theirs)[:, 0]
    assert found[:2].tolist() == [0.0, 0.0] and np.isinf(found[2:4]).all() and 0 < found[4] < 2e-12


def test_labels_may_differ_only_at_a_tie() -> None:
    """A label that differs counts unless the library's best two values are within the tolerance."""
    values = {"predict_proba": np.array([[0.5, 0.5], [0.2, 0.8]])}
    ours, theirs = np.array([[0.0], [0.0]]), np.array([[1.0], [1.0]])
    assert wrong_labels(ours, theirs, values, {"predict"}, 1e-12) == 1
