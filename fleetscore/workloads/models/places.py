"""Where the input of a workload of kind `models` lies, as prefixes of paths in the store."""

from __future__ import annotations

from fleetscore.sources.patterns import parse_pattern
from fleetscore.sources.places import split_place
from fleetscore.workloads.models.settings import FleetSettings


def data_prefixes(workload: str, settings: FleetSettings) -> tuple[str, ...]:
    """The folders of the patterns in the store; for data elsewhere the workload's settings, which are always there."""
    found = []
    for path in settings.data.paths:
        container, text = split_place(path)
        found.append(f"settings/{workload}.toml" if container else parse_pattern(text).folder)
    return tuple(dict.fromkeys(found)) or (f"settings/{workload}.toml",)
