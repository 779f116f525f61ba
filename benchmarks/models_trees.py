"""Fleets of imported tree models against their libraries' own loops: the families of `model_trees`, measured as `models` measures.

Run: python benchmarks/models_trees.py; the variable MODELS sets another number of keys than 2,000.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import models

if __name__ == "__main__":
    models.main(["trees"])
