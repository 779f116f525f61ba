"""Pickles that stay what they are: objects for a function of the user's own, which no pack needs to answer
for.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fleetscore.models.importers.estimator_files import open_pickle
from fleetscore.models.importers.estimators import inner_estimator
from fleetscore.models.importers.runtime_libraries import require_runtime_library
from fleetscore.models.packs.base import CompiledModel, ModelFacts
from fleetscore.models.packs.library import LibraryPack
from fleetscore.models.packs.proof import Proof


def keep_object(path: Path, *, trusted: bool) -> tuple[dict[str, Any], bytes]:
    """The header and pack of a pickle that is kept as it is, opened once to see that it can be.

    ModelError `untrusted_pickle` unless trusted; Unsupported when apps and workers lack its library.
    """
    found, versions, notes = open_pickle(path, trusted)
    library = type(inner_estimator(found)).__module__.split(".")[0]
    require_runtime_library(library)
    names = tuple(map(str, getattr(found, "feature_names_in_", ())))
    facts = ModelFacts(len(names), {}, library, versions.get(library, ""), feature_names=names)
    compiled = CompiledModel("library", {"pickle": np.frombuffer(path.read_bytes(), np.uint8)}, facts)
    proof = Proof(
        equal=True, max_deviation=0.0, rows=0, text="Kept as its own pickle for own code; nothing is proven."
    )
    card = {
        "model": type(found).__name__, "family": "library", "versions": versions, "features": list(names), "outputs": {},
        "classes": [], "proof": proof.text, "warnings": notes,
    }  # fmt: skip
    return {"code": "", "card": card, "proof": asdict(proof)}, LibraryPack.join([compiled]).to_bytes()
