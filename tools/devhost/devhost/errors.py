"""The error tree of the local host.

HostError
├── SettingsError         host.json, local.settings.json or an option cannot be used
├── LoadError             the app cannot be loaded or indexed
├── HostLockedError       another host already works on the data folder
├── RequestError          a management request cannot be done; carries the HTTP status
├── TemplateLostError     the process that holds the app has ended
└── WorkerLostError       a worker process died, or was stopped, before it answered
"""


class HostError(Exception):
    """Any error that the local host raises on purpose."""


class SettingsError(HostError):
    """A setting cannot be used; the text names the file or variable, the value and what was expected."""


class LoadError(HostError):
    """The app cannot be loaded; the text is the one that Azure's worker would give."""


class HostLockedError(HostError):
    """The data folder is in use by another host process."""


class TemplateLostError(HostError):
    """The process that has imported the app, from which workers are forked, has ended."""


class WorkerLostError(HostError):
    """The worker process ended before it answered; the work may or may not have been done."""


class RequestError(HostError):
    """A management request cannot be done.

    `status` is the HTTP status; `message` and `detail` become the Durable error body `{"Message",
    "ExceptionMessage", ...}`, or an empty body where `message` is empty. With `is_plain` the body is the
    message alone, as a JSON text.
    """

    def __init__(
        self, status: int, message: str = "", detail: str = "", kind: str = "", *, is_plain: bool = False
    ) -> None:
        super().__init__(detail or message)
        self.status = status
        self.message = message
        self.detail = detail
        self.kind = kind
        self.is_plain = is_plain
