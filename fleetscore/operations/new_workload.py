"""A new workload of a kind that can propose its settings: data copied, models stored and pinned, settings
written last.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fleetscore.capabilities import NewFleet, Proposal, ProposesFleets, require
from fleetscore.errors import InputError
from fleetscore.models.model_sets import ModelSet, write_model_set
from fleetscore.models.pins import pin_version
from fleetscore.registry import check_new_name, load_kind
from fleetscore.settings import workload_settings_path
from fleetscore.store.base import Store

KIND = "models"
_BLOCK_BYTES = 1 << 20


def check_new(store: Store, asked: NewFleet) -> None:
    """InputError where the name cannot be one, or is taken: nothing of a workload is ever overwritten."""
    check_new_name(store, asked.name)
    path = workload_settings_path(asked.name)
    if store.stat(path) is not None:
        raise InputError(
            f"{path} is there already.",
            fix="Choose another name, or change that file.",
            field="name",
            code="workload_exists",
        )


def make_workload(
    store: Store,
    asked: NewFleet,
    requested_by: str,
    report: Callable[[str, int, int, str], None] | None = None,
) -> tuple[Proposal, ModelSet | None]:
    """Make the workload; the loser of a race for the name gets InputError, and no settings are
    overwritten.
    """
    proposal = require(load_kind(KIND)(asked.name), ProposesFleets).propose(store, asked, report)
    if asked.folder is not None:
        copy_data(store, asked.folder, proposal.copied, f"data/{asked.name}/")
    stored = None
    if proposal.models is not None and asked.models is not None:
        card = dict(proposal.models.draft.card) | {"imported_from": asked.models.name}
        stored = write_model_set(store, asked.name, proposal.models.draft.files, card)
        pin_version(
            store,
            asked.name,
            stored.version,
            requested_by=requested_by,
            why=f"imported from {asked.models.name}",
        )
    path = workload_settings_path(asked.name)
    if not store.create(path, proposal.settings.encode()):
        raise InputError(
            f"{path} was written meanwhile.", fix="Choose another name.", field="name", code="workload_exists"
        )
    return proposal, stored


def copy_data(store: Store, folder: Path, names: tuple[str, ...], prefix: str) -> None:
    """Copy the files below the prefix of the store; InputError, before anything is copied, where another
    file is there.
    """
    missing = []
    for name in names:
        found = store.stat(prefix + name)
        if found is None:
            missing.append(name)
        elif found.size_bytes != (folder / name).stat().st_size or not _is_equal(
            store, prefix + name, folder / name
        ):
            raise InputError(
                f"{prefix}{name} is there already, with other content.",
                fix="Delete it, choose another name, or give the place in the store as --data without --copy.",
                field="data", code="data_exists",
            )  # fmt: skip
    for name in missing:
        with (folder / name).open("rb") as source, store.sink(prefix + name) as target:
            while block := source.read(_BLOCK_BYTES):
                target.write(block)


def _is_equal(store: Store, path: str, file: Path) -> bool:
    with file.open("rb") as mine, store.open(path) as theirs:
        while block := mine.read(_BLOCK_BYTES):
            if theirs.read(len(block)) != block:
                return False
    return True
