"""Models that no pack takes, kept as their library's own pickles and scored one after the other, only where
they are trusted.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

import numpy as np

from fleetscore.errors import InputError, ModelError
from fleetscore.models.packs import container
from fleetscore.models.packs.base import Floats, Indices, Pack

WHY_SLOW = "each is loaded and called by itself, in its library, because no pack takes it"
"""For plans and cards: what costs the time of models of this family."""

_trusted: ContextVar[bool] = ContextVar("trusted", default=False)


@contextmanager
def trusted_models() -> Iterator[None]:
    """Allow pickles of this family to be loaded within the block; loading one runs its code."""
    token = _trusted.set(True)
    try:
        yield
    finally:
        _trusted.reset(token)


class LibraryPack(Pack):
    """Layout: `pickle` = the bytes of a file of joblib or pickle."""

    family: ClassVar[str] = "library"
    layout: ClassVar[Mapping[str, str]] = {"pickle": "u1"}

    def check_model(self, at: int) -> None:
        """ModelError `untrusted_pickle` outside of `trusted_models`, `corrupt_model` for a model without
        bytes.
        """
        if not _trusted.get():
            raise ModelError(
                "The model is a pickle, and this workload is not trusted to run one.",
                fix="Set trusted = true in its settings and name it in FLEETSCORE_TRUSTED, if you trust its origin.",
                code="untrusted_pickle",
            )
        if not self.part("pickle", at).size:
            raise container.corrupt(f"model {at} has no bytes")

    def score_rows(self, offsets: Indices, x: Floats, method: str, out: Floats) -> None:
        """Load each model that has rows, and call its method."""
        for at in np.flatnonzero(np.diff(offsets)):
            self.check_model(int(at))  # trust may have ended since
            facts = self.facts_of_model(int(at))
            rows = slice(int(offsets[at]), int(offsets[at + 1]))
            found = self._answer(int(at), x[rows, : facts.n_features], method)
            if method in facts.label_methods:
                found = np.searchsorted(np.array(facts.classes), found.reshape(len(found)))
            values = np.asarray(found, np.float64).reshape(len(found), -1)
            if values.shape[1] != facts.outputs[method]:
                raise container.corrupt(f"model {at} gives {values.shape[1]} columns for {method}")
            out[rows, : values.shape[1]] = values

    def _answer(self, at: int, values: Floats, method: str) -> Any:
        import joblib

        try:
            model = joblib.load(io.BytesIO(self.part("pickle", at).tobytes()))
            return np.asarray(getattr(model, method)(values))
        except ImportError as error:
            raise ModelError(
                f"The model needs a library that is not installed: {error}.",
                fix="Name it in fleets/requirements.txt.",
                code="missing_library",
            ) from error
        except ValueError as error:  # what libraries raise for rows that they refuse
            raise InputError(f"The model refuses the rows: {str(error)[:300]}") from error
        except Exception as error:  # code of the user's
            raise ModelError(f"The model fails: {type(error).__name__}: {str(error)[:300]}") from error
