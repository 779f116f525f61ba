"""Sending what waits for other systems (notices, lineage, experiments), in a process of its own.

The app sends on threads beside its work. A host that lives as long as one command leaves it to a process that
begins when the command is over: sending would take time from the run, and end half done with the host.

Run: python -m fleetscore.operations.waiting STORE
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from threading import Thread

from fleetscore.app_settings import AppSettings, read_app_settings
from fleetscore.operations.metadata.experiments import send_experiments
from fleetscore.operations.metadata.lineage import send_lineage
from fleetscore.operations.notices.delivery import resend_pending
from fleetscore.store import open_store
from fleetscore.store.base import Store


def send_waiting(store: Store, app: AppSettings, now: datetime) -> None:
    """Try once what waits and is due; each kind beside the others, so that none waits for another's
    receiver.
    """
    sending = [
        Thread(target=resend_pending, args=(store, app, now), name="notices"),
        Thread(target=send_lineage, args=(store, now), name="lineage"),
        Thread(target=send_experiments, args=(store, now), name="experiments"),
    ]
    for each in sending:
        each.start()
    for each in sending:
        each.join()


if __name__ == "__main__":
    send_waiting(open_store(sys.argv[1]), read_app_settings(), datetime.now(UTC))
