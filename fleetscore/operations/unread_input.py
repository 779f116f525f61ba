"""Files of a workload's input that no window reads although they look like data: in all its folders,
whatever their time.
"""

from __future__ import annotations

from fleetscore.errors import FleetscoreError
from fleetscore.registry import KnownWorkload
from fleetscore.store.base import Store

_SHOWN = 3


def describe_unread(store: Store, known: KnownWorkload) -> str:
    """One sentence that counts the files and names the first few with the reasons; "" where every file is
    read.

    A place that cannot be listed is said as well.
    """
    if known.workload is None or known.reason:
        return ""
    try:
        remarks = known.workload.list_input(store).remarks()
    except FleetscoreError as error:
        return f"{known.name}: its input cannot be listed: {error}"
    if not remarks:
        return ""
    more = "" if len(remarks) <= _SHOWN else f" And {len(remarks) - _SHOWN} more."
    return f"{known.name}: {len(remarks)} files of its input are not read. {' '.join(remarks[:_SHOWN])}{more}"
