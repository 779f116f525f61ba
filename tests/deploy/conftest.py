"""Helpers of the deployment's tests: the ways of the pipeline's tests to wait, on the path."""

import sys
from pathlib import Path

PIPELINE = Path(__file__).resolve().parent.parent / "pipeline"
if str(PIPELINE) not in sys.path:
    sys.path.insert(0, str(PIPELINE))
