"""What functions receive as `context` and as output parameters."""

import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azure import functions
from azure.functions import _abc


@dataclass(frozen=True, slots=True)
class TryInfo:
    """Where a call stands in a function-level retry policy; `count` is 0 at the first try, `limit` 0 without
    one.
    """

    count: int = 0
    limit: int = 0
    failure: str = ""
    trace: str = ""


class _RpcException(_abc.RpcException):  # type: ignore[misc]  # the SDK ships no types
    """The failure of the try before this one."""

    def __init__(self, info: TryInfo) -> None:
        self._info = info

    @property
    def source(self) -> str:
        return ""

    @property
    def stack_trace(self) -> str:
        return self._info.trace

    @property
    def message(self) -> str:
        return self._info.failure


class _RetryContext(_abc.RetryContext):  # type: ignore[misc]  # the SDK ships no types
    """Which try of how many this call is."""

    def __init__(self, info: TryInfo) -> None:
        self._info = info

    @property
    def retry_count(self) -> int:
        return self._info.count

    @property
    def max_retry_count(self) -> int:
        return self._info.limit

    @property
    def exception(self) -> _RpcException:
        return _RpcException(self._info)


class _TraceContext(_abc.TraceContext):  # type: ignore[misc]  # the SDK ships no types
    """A trace of its own for every call, in the form of the W3C; the worker's second spelling of the names
    too.
    """

    def __init__(self) -> None:
        self._parent = f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-00"

    @property
    def trace_state(self) -> str:
        return ""

    @property
    def trace_parent(self) -> str:
        return self._parent

    @property
    def attributes(self) -> dict[str, str]:
        return {}

    Tracestate = trace_state
    Traceparent = trace_parent
    Attributes = attributes


@dataclass
class Call(functions.Context):  # type: ignore[misc]  # the SDK ships no types
    """What a function's `context` parameter receives."""

    name: str
    id: str
    tries: TryInfo = TryInfo()  # immutable
    _local: threading.local = field(default_factory=threading.local)
    _trace: _TraceContext = field(default_factory=_TraceContext)

    def __post_init__(self) -> None:
        self._local.invocation_id = self.id

    @property
    def invocation_id(self) -> str:
        return self.id

    @property
    def thread_local_storage(self) -> Any:
        return self._local

    @property
    def function_name(self) -> str:
        return self.name

    @property
    def function_directory(self) -> str:
        return str(Path.cwd())

    @property
    def trace_context(self) -> Any:
        return self._trace

    @property
    def retry_context(self) -> Any:
        return _RetryContext(self.tries)


class Out(functions.Out):  # type: ignore[misc]  # the SDK ships no types
    """An output parameter."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, val: Any) -> None:
        self._value = val

    def get(self) -> Any:
        return self._value
