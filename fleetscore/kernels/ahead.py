"""Compiles ahead what the shipped kinds use, into the folder beside the code. Run: python -m
fleetscore.kernels.ahead

An image and a package are built with it, so that no fresh container and no fresh instance compiles.
kernels.json lists the functions and the types that they are called with; infra/kernels.py writes it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from fleetscore.kernels.cache import COUNTS, SHIPPED, own_folder
from fleetscore.kernels.signatures import from_json

LISTED = Path(__file__).with_name("kernels.json")
_SMALLEST = ("fleetscore.models.packs.decisions", "first_bad_value")
_log = logging.getLogger("fleetscore.kernels")


def compile_listed() -> tuple[int, int, float]:
    """Compile every listed function for the listed types, or find that it is compiled already: the number of
    forms, how many code files were made, and the CPU seconds that this took. A process for each core.
    """
    listed: dict[str, dict[str, list[Any]]] = json.loads(LISTED.read_text())
    functions = [(module, name, forms) for module, names in listed.items() for name, forms in names.items()]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        done = list(pool.map(_compile, *zip(*functions, strict=True)))
    # Processes that keep forms of one function at the same moment can lose one: what is lost is made here.
    done += [_compile(*function) for function in functions]
    return (
        sum(len(forms) for _, _, forms in functions),
        sum(made for made, _ in done),
        sum(s for _, s in done),
    )


def _compile(module: str, name: str, forms: Sequence[Any]) -> tuple[int, float]:
    began, before = time.process_time(), COUNTS["compiled"]
    function = getattr(import_module(module), name)
    for signature in forms:
        function.compile(tuple(from_json(kind) for kind in signature))
    return COUNTS["compiled"] - before, time.process_time() - began


def compile_one() -> None:
    """Have the smallest listed function for its first types, which shows whether compiled code is loaded
    (see cache.COUNTS).
    """
    listed: dict[str, dict[str, list[Any]]] = json.loads(LISTED.read_text())
    function = getattr(import_module(_SMALLEST[0]), _SMALLEST[1])
    function.compile(tuple(from_json(kind) for kind in listed[_SMALLEST[0]][_SMALLEST[1]][0]))


def main() -> None:
    """Compile, and say how many forms were made and how many were there."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    forms, made, seconds = compile_listed()
    _log.info(
        "%d compiled forms in %s, of which %d were made now, in %.1f CPU seconds",
        forms,
        own_folder(),
        made,
        seconds,
    )
    if own_folder() != SHIPPED:
        raise SystemExit(f"{SHIPPED} cannot be written, so nothing would be shipped")


if __name__ == "__main__":
    main()
