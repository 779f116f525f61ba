"""The errors of the local Batch service.

DevBatchError
├── ConfigurationError   a command-line option or a pool file cannot be used; nothing was started
└── ServiceError         a request is refused; carries what the service answers
"""

from collections.abc import Mapping


class DevBatchError(Exception):
    """Base of all errors that this package raises."""


class ConfigurationError(DevBatchError):
    """A command-line option or a pool file cannot be used; the message says which and what is expected."""


class ServiceError(DevBatchError):
    """A request is refused with an HTTP status, a Batch error code, a message and details by name."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = dict(details or {})
        self.headers = dict(headers or {})


def invalid_property(name: str, value: object, reason: str) -> ServiceError:
    """400 InvalidPropertyValue, with the property, its value and the reason as details."""
    return ServiceError(
        400,
        "InvalidPropertyValue",
        f"The value provided for the property {name} is not valid: {reason}.",
        {"PropertyName": name, "PropertyValue": str(value)[:200], "Reason": reason},
    )


def unsupported(what: str, instead: str) -> ServiceError:
    """400 for a feature that Azure has and this service has not; the message names the alternative."""
    return ServiceError(
        400,
        "UnsupportedByLocalService",
        f"{what} is not supported by the local Batch service. {instead}",
        {"Unsupported": what},
    )


def not_found(kind: str, identifier: str) -> ServiceError:
    """404 `<kind>NotFound`."""
    return ServiceError(
        404, f"{kind}NotFound", f"The specified {kind.lower()} {identifier!r} does not exist."
    )


def conflict(code: str, message: str) -> ServiceError:
    """409 with the given code."""
    return ServiceError(409, code, message)
