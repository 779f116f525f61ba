"""The families of packs by name; a family's module, and with it its kernels, is imported when a pack of it
is opened.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from fleetscore.errors import ModelError
from fleetscore.models.packs import container
from fleetscore.models.packs.base import Pack

FAMILIES = {
    "trees": "fleetscore.models.packs.trees:TreesPack",
    "linear": "fleetscore.models.packs.linear:LinearPack",
    "kernels": "fleetscore.models.packs.kernels:KernelsPack",
    "centroids": "fleetscore.models.packs.centroids:CentroidsPack",
    "onnx": "fleetscore.models.packs.onnx_graphs:OnnxPack",
    "library": "fleetscore.models.packs.library:LibraryPack",
}


def pack_class(family: str) -> type[Pack]:
    """Return the class that packs a family's models; ModelError `unsupported_model` for a name that no
    family has.
    """
    if family not in FAMILIES:
        raise ModelError(
            f"There is no model family {family!r}.",
            fix=f"The families are {', '.join(FAMILIES)}.",
            code="unsupported_model",
        )
    module, name = FAMILIES[family].split(":")
    found: Any = getattr(import_module(module), name)
    return found  # type: ignore[no-any-return]  # the table above names subclasses of Pack only


def open_pack(data: container.Buffer) -> Pack:
    """Open a pack of any family without copying its numbers; ModelError `corrupt_model` where the bytes are
    none.
    """
    description, _ = container.unpack(data)
    return pack_class(description.family).from_bytes(data)
