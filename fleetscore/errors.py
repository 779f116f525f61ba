"""Everything that Fleetscore raises on purpose.

FleetscoreError                 has a code, a sentence, and what to do next
├── InputError                  what the user gave (data, request, option) cannot be used
│   ├── SettingsError           a setting is missing, out of range or of the wrong type
│   └── FileError               one file of the input cannot be read; it costs no other file
├── ModelError                  a model is missing, unsafe, corrupt or does not fit the data
├── CapacityError               quota, pool, memory or time cannot carry the work
├── StoreError                  a storage operation failed
│   ├── MissingBlobError        nothing is stored at that path
│   ├── DamagedStateError       a state file is damaged, or a newer version wrote it
│   ├── ConflictError           modified concurrently
│   │   └── TakenOverError      another orchestration has the run now
│   └── HostUnreachableError    no app answers at the address
├── AccessError                 the signed-in caller's role does not allow this
│   └── SignInError             nobody is signed in, or the token is not valid
├── SourceError                 a database that data comes from did not answer
├── PublishError                a window cannot be published; what was published before still stands
└── BugError                    a promise of our own was broken; never the user's fault

Codes are stable and listed in docs/reference/errors.md; HTTP answers and ledgers carry them.
"""

from __future__ import annotations


class FleetscoreError(Exception):
    """An error with a stable `code`, a `message` in a sentence, and a `fix` that says what to do next."""

    code = "error"
    retry = False  # whether the same call may succeed later unchanged

    def __init__(
        self, message: str, *, fix: str = "", field: str = "", code: str = "", retry: bool | None = None
    ) -> None:
        """Build the error; `field` names the request field, setting or column at fault; `code` and `retry`
        narrow the class's own.
        """
        super().__init__(f"{message} {fix}".strip())
        self.message = message
        self.fix = fix
        self.field = field
        if code:
            self.code = code
        if retry is not None:
            self.retry = retry


class InputError(FleetscoreError):
    """What the user gave cannot be used."""

    code = "bad_input"


class SettingsError(InputError):
    """A setting is missing, out of range or of the wrong type."""

    code = "bad_setting"


class FileError(InputError):
    """One file of the input cannot be read, and it costs no other file; `field` is its path."""

    code = "unreadable_file"

    def message_with(self, path: str) -> str:
        """The message, which names the file `path`."""
        return self.message if path in self.message else f"{path}: {self.message}"


class ModelError(FleetscoreError):
    """A model is missing, unsafe, corrupt or does not fit the data."""

    code = "bad_model"


class CapacityError(FleetscoreError):
    """Quota, pool, memory or time cannot carry the work."""

    code = "no_capacity"


class StoreError(FleetscoreError):
    """A storage operation failed."""

    code = "store_failed"
    retry = True


class MissingBlobError(StoreError):
    """Nothing is stored at that path."""

    code = "not_found"
    retry = False


class DamagedStateError(StoreError):
    """A state file that nothing else replaces is damaged, or a newer version wrote it; `field` is its
    path.
    """

    code = "damaged_state"
    retry = False


class ConflictError(StoreError):
    """Modified concurrently."""

    code = "conflict"


class TakenOverError(ConflictError):
    """Another orchestration has the run now; this one must leave it alone."""

    code = "taken_over"
    retry = False


class HostUnreachableError(StoreError):
    """No app answers at the address."""

    code = "no_host"


class AccessError(FleetscoreError):
    """The signed-in caller's role does not allow this."""

    code = "no_access"


class SignInError(AccessError):
    """Nobody is signed in, or the token is not valid."""

    code = "not_signed_in"


class SourceError(FleetscoreError):
    """A database that data comes from did not answer."""

    code = "database_failed"
    retry = True


class PublishError(FleetscoreError):
    """A window cannot be published; what was published before still stands."""

    code = "not_published"


class BugError(FleetscoreError):
    """A promise of our own was broken; never the user's fault."""

    code = "bug"
