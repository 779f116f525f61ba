"""A fleet over a store: it reads the store here, and starts the store's local host for whatever is to be
scored.
"""

from __future__ import annotations

import atexit
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from fleetscore.fleet.store_access import absolute_store_url, folder_of
from fleetscore.fleet.store_changes import StoreChanges
from fleetscore.fleet.store_reports import StoreReports

if TYPE_CHECKING:
    from fleetscore.fleet.answers import BackfillStarted, BackfillStatus, Started
    from fleetscore.fleet.connection import Connection
    from fleetscore.fleet.embedded_host import EmbeddedHost
    from fleetscore.runs.status_answer import RunStatus


class Fleet(StoreReports, StoreChanges):
    """The fleet of one store: `file:///folder`, a plain folder, or a Blob container.

    What is to be scored is scored by the store's local host, which is started when it is first needed and
    stopped when the fleet is closed; a host that runs already is used. InputError (`no_store`) where the
    store does not exist.
    """

    def __init__(
        self, url: str, *, host_folder: Path | None = None, host_options: Sequence[str] = ()
    ) -> None:
        """Open the store at `url`; its local host keeps its history in `host_folder`, by default with the
        store.

        `host_options` are further options of `devhost start`, for a local host that is started here.
        """
        self.url = absolute_store_url(url)
        self._host_folder, self._host_options = host_folder, tuple(host_options)
        self._host: EmbeddedHost | None = None
        self._connection: Connection | None = None
        self._blocks = 0
        self._handler: Any = None

    def __enter__(self) -> Self:
        self._blocks += 1
        return self

    def __exit__(self, *_exception: object) -> None:
        self._blocks -= 1
        if self._blocks == 0:
            self.close()

    def close(self) -> None:
        """Stop the local host if it was started here."""
        host, self._host, self._connection = self._host, None, None
        if host is None:
            return
        host.stop()
        atexit.unregister(self.close)
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)
            self._handler = None

    def follow(self, run: str) -> RunStatus:
        """How the run stands, as the local host answers."""
        return self._hosted().ask(lambda app: app.show(run))

    def start_run(
        self,
        workload: str,
        window: str,
        *,
        partitions: Sequence[str] = (),
        models: str = "",
        force: bool = False,
    ) -> Started:
        """Start the window's run on the local host, or find the one that is under way or published."""
        return self._hosted().ask(
            lambda app: app.start_run(workload, window, partitions=partitions, models=models, force=force)
        )

    def start_retry(
        self, run: str, *, only: str = "", partitions: Sequence[str] = (), models: str = ""
    ) -> Started:
        """Start a new round of the run's window on the local host."""
        return self._hosted().ask(
            lambda app: app.start_retry(run, only=only, partitions=partitions, models=models)
        )

    def start_training(self, workload: str, first: str, end: str, *, pin: bool | None = None) -> Started:
        """Start a training on the windows [first, end) on the local host."""
        return self._hosted().ask(lambda app: app.start_training(workload, first, end, pin=pin))

    def start_backfill(
        self, workload: str, first: str, end: str, *, only: str = "", partitions: Sequence[str] = (), models: str = "",
        max_parallel: int = 4, newest_first: bool = False, force: bool = False,
    ) -> BackfillStarted:  # fmt: skip
        """Start a backfill of the windows [first, end) on the local host."""
        return self._hosted().ask(
            lambda app: app.start_backfill(
                workload, first, end, only=only, partitions=partitions, models=models,
                max_parallel=max_parallel, newest_first=newest_first, force=force,
            )
        )  # fmt: skip

    def show_backfill(self, backfill: str) -> BackfillStatus:
        """How the backfill stands, as the local host answers."""
        return self._hosted().ask(lambda app: app.show_backfill(backfill))

    def cancel(self, run: str, *, force: bool = False) -> RunStatus:
        """Ask the run to stop: the local host wakes it if it runs, else the wish lies in the store until
        the run goes on.

        `force` closes its record alone, at once, whatever its orchestration does.
        """
        from fleetscore.fleet.embedded_host import EmbeddedHost
        from fleetscore.fleet.remote import RemoteFleet
        from fleetscore.pipeline.submit import cancel_run, close_by_force
        from fleetscore.runs.status import describe_run

        store = self.store
        running = EmbeddedHost(self.url).find()
        if running is not None:
            return RemoteFleet(running.url).cancel(run, force=force)
        if force:
            close_by_force(store, run, "cli", datetime.now(UTC))
        else:
            cancel_run(store, run, "cli")
        return describe_run(store, run, datetime.now(UTC))

    def _hosted(self) -> Connection:
        """The connection to the local host, started now if it does not run; InputError where there is no
        store.
        """
        if self._connection is None:
            from fleetscore.fleet.connection import Connection
            from fleetscore.fleet.embedded_host import EmbeddedHost

            self._check_quickly()
            self._host = EmbeddedHost(self.url, self._host_folder, self._host_options)
            atexit.register(self.close)
            if threading.current_thread() is threading.main_thread():
                self._handler = signal.signal(signal.SIGTERM, _leave)
            threading.Thread(target=_import_meanwhile, daemon=True).start()
            self._connection = Connection(self._host)
        return self._connection

    def _check_quickly(self) -> None:
        """Refuse a store that does not exist; a folder is looked at without importing what reads it."""
        folder = folder_of(self.url)
        if folder is None or not folder.is_dir():
            _ = self.store


def _import_meanwhile() -> None:
    """Import what following a run takes while the host starts, which leaves a core to it; Arrow is none of
    it.
    """
    import fleetscore.fleet.remote
    import fleetscore.runs.status_answer  # noqa: F401


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)
