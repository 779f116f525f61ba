"""How the packs' loops are compiled: in strict IEEE arithmetic, as the libraries that they are proven equal
to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fleetscore.kernels.compiled import compiled as declare

compiled: Callable[[Callable[..., Any]], Callable[..., Any]] = declare(error_model="numpy")
"""Declares a function of strict IEEE arithmetic: division by zero gives an infinity."""
