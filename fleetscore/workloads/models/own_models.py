"""A model as a function of the user's own gets it: the object that was pickled, or a packed model that
answers as its library.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fleetscore.errors import ModelError
from fleetscore.models.packs.base import CompiledModel, Floats
from fleetscore.models.packs.bundle import Bundle
from fleetscore.models.packs.families import pack_class
from fleetscore.models.packs.shard_scoring import feature_order

_OPENED = 512
"""So many unpickled models are kept by a process: partitions of a shard often share one."""


@dataclass(frozen=True, slots=True)
class PackedModel:
    """A model that is kept as numbers; its methods take a DataFrame, an Arrow table or a matrix, as those
    of its library do.
    """

    compiled: CompiledModel

    @property
    def feature_names_in_(self) -> tuple[str, ...]:
        """The names of the features in the model's order; () where it has none."""
        return self.compiled.facts.feature_names

    @property
    def classes_(self) -> tuple[Any, ...]:
        """The classes of a classifier in its order."""
        return self.compiled.facts.classes

    def predict(self, rows: Any) -> Any:
        """The model's answers [rows], classes as themselves."""
        found = self._answer(rows, "predict")
        facts = self.compiled.facts
        if "predict" in facts.label_methods:
            return np.array(facts.classes)[found[:, 0].astype(np.int64)]
        return found[:, 0] if found.shape[1] == 1 else found

    def predict_proba(self, rows: Any) -> Floats:
        """The classes' probabilities [rows, classes]."""
        return self._answer(rows, "predict_proba")

    def decision_function(self, rows: Any) -> Floats:
        """The decision values [rows], or [rows, classes]."""
        found = self._answer(rows, "decision_function")
        return found[:, 0] if found.shape[1] == 1 else found

    def score_samples(self, rows: Any) -> Floats:
        """The samples' scores [rows]."""
        return self._answer(rows, "score_samples")[:, 0]

    def _answer(self, rows: Any, method: str) -> Floats:
        x = np.ascontiguousarray(self._matrix(rows), np.float64)
        pack = pack_class(self.compiled.family).join([self.compiled])
        return pack.score(np.array([0, len(x)], np.int64), x, method)

    def _matrix(self, rows: Any) -> Any:
        if isinstance(rows, pa.Table):
            rows = rows.to_pandas()
        names = getattr(rows, "columns", None)
        if names is None:
            return np.asarray(rows, np.float64)
        given = [str(name) for name in names]
        return rows[list(feature_order(self.compiled.facts, dict.fromkeys(given), given))]


def find_own_model(bundle: Bundle, key: str) -> Any:
    """The key's model for a function of the user's: None where no model has the key. Unpickling it runs its
    code.

    ModelError `missing_library` or `corrupt_model` where a pickle cannot be opened.
    """
    packs, _ = bundle.find(pa.array([key], pa.string()))
    if packs[0] < 0:
        return None
    compiled = bundle.model(key)
    if compiled.family != "library":
        return PackedModel(compiled)
    opened = bundle.unpickled
    if key not in opened:
        opened[key] = _unpickle(compiled.arrays["pickle"].tobytes(), key)
        for oldest in list(opened)[:-_OPENED]:
            opened.pop(oldest, None)
    return opened[key]


def _unpickle(data: bytes, key: str) -> Any:
    import joblib

    try:
        return joblib.load(io.BytesIO(data))
    except ImportError as error:
        raise ModelError(
            f"Model {key!r} needs a library that is not installed here: {error}.",
            fix="Name its package in fleets/requirements.txt, run `make lock`, and deploy.",
            code="missing_library",
        ) from error
    except Exception as error:  # code of the user's
        raise ModelError(
            f"Model {key!r} cannot be opened: {type(error).__name__}: {str(error)[:300]}",
            fix="Import it again.",
            code="corrupt_model",
        ) from error
