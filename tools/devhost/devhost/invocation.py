"""Call the app's functions with arguments made by the SDK's own converters.

Runs in a worker process. Synchronous functions run on a thread pool, `async def` functions on one event loop
in a thread of its own that lives as long as the process (the SDK client keeps one HTTP session for that
loop).
"""

import asyncio
import inspect
import json
import threading
import typing
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from azure.functions import get_binding_registry, meta

from devhost.contexts import Call, Out, TryInfo
from devhost.failures import Failure, describe
from devhost.functions import ACTIVITY, HTTP, QUEUE, TIMER, FunctionInfo
from devhost.loader import LoadedApp


class Invoker:
    """Runs functions of the loaded app; results and failures come back as plain values."""

    def __init__(self, app: LoadedApp, threads: int) -> None:
        self._app = app
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="function")
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(
        self, name: str, payload: dict[str, Any], done: Callable[[dict[str, Any] | Failure], None]
    ) -> None:
        """Start the function; `done` gets its result, or a Failure, on another thread."""
        info = self._app.index.require(name)
        if info.is_async:
            started: Future[Any] = asyncio.run_coroutine_threadsafe(
                self._settle_async(info, payload), self._user_loop()
            )
        else:
            started = self._pool.submit(self._run_sync, info, payload)
        started.add_done_callback(lambda future: done(_outcome(future)))

    def run_here(self, name: str, payload: dict[str, Any]) -> None:
        """Run the function on this thread, starting no other; raises what it raises."""
        info = self._app.index.require(name)
        if info.is_async:
            asyncio.run(self._run_async(info, payload))
        else:
            self._run_sync(info, payload)

    def _user_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="user-loop", daemon=True).start()
        return self._loop

    def _run_sync(self, info: FunctionInfo, payload: dict[str, Any]) -> dict[str, Any]:
        arguments, outs = _arguments(info, self._app.callables[info.name], payload)
        return _encode_result(info, self._app.callables[info.name](**arguments), outs)

    async def _run_async(self, info: FunctionInfo, payload: dict[str, Any]) -> dict[str, Any]:
        arguments, outs = _arguments(info, self._app.callables[info.name], payload)
        return _encode_result(info, await self._app.callables[info.name](**arguments), outs)

    async def _settle_async(self, info: FunctionInfo, payload: dict[str, Any]) -> dict[str, Any] | Failure:
        """Run the function; an exit that it raises is an outcome too, and must not end the loop."""
        try:
            return await self._run_async(info, payload)
        except (SystemExit, KeyboardInterrupt) as failure:
            return describe(failure)


def _outcome(future: Future[dict[str, Any] | Failure]) -> dict[str, Any] | Failure:
    try:
        return future.result()
    except BaseException as failure:  # whatever user code raises, a cancellation included, is an outcome
        return describe(failure)


def _arguments(
    info: FunctionInfo, function: Callable[..., Any], payload: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Out]]:
    arguments: dict[str, Any] = {}
    outs: dict[str, Out] = {}
    for binding in info.bindings:
        name, kind = binding["name"], binding["type"]
        if name == "$return":
            continue
        if binding["direction"] == "out":
            arguments[name] = outs[name] = Out()
        elif kind == "durableClient":
            arguments[name] = payload["client"]
        elif kind == QUEUE and _is_generic(function, name):
            arguments[name] = payload["body"]
        else:
            arguments[name] = _decode(kind, payload)
    if "context" not in arguments and "context" in inspect.signature(function).parameters:
        tries = TryInfo(**payload.get("tries") or {})
        arguments["context"] = Call(info.name, payload.get("invocation_id") or str(uuid.uuid4()), tries)
    return arguments, outs


def _is_generic(function: Callable[..., Any], name: str) -> bool:
    """Return whether the parameter is annotated as text or bytes: it then receives the data as they came."""
    return typing.get_type_hints(function).get(name) in (str, bytes)


def _decode(kind: str, payload: dict[str, Any]) -> Any:
    converter = get_binding_registry().get(kind)
    if kind == HTTP:
        return converter.decode(_http_datum(payload), trigger_metadata=None)
    if kind == TIMER:
        return converter.decode(meta.Datum(payload["timer"], "json"), trigger_metadata=None)
    if kind == QUEUE:
        metadata = {key: meta.Datum(value, "string") for key, value in payload["metadata"].items()}
        metadata["DequeueCount"] = meta.Datum(payload["metadata"]["DequeueCount"], "int")
        kind_of_body = "string" if isinstance(payload["body"], str) else "bytes"
        return converter.decode(meta.Datum(payload["body"], kind_of_body), trigger_metadata=metadata)
    text = payload["input"]
    return converter.decode(meta.Datum("null" if text is None else text, "string"), trigger_metadata=None)


def _http_datum(payload: dict[str, Any]) -> meta.Datum:
    def texts(values: dict[str, str]) -> dict[str, meta.Datum]:
        return {key: meta.Datum(value, "string") for key, value in values.items()}

    value: dict[str, Any] = {key: texts(payload[key]) for key in ("headers", "query", "params")}
    value |= texts({"method": payload["method"], "url": payload["url"]})
    value["body"] = meta.Datum(payload["body"], "bytes")
    return meta.Datum(value, "http")


def _encode_result(info: FunctionInfo, result: Any, outs: dict[str, Out]) -> dict[str, Any]:
    encoded: dict[str, Any] = {}
    for binding in info.bindings:
        if binding["type"] == "http" and binding["name"] in outs:
            encoded["http"] = _http_output(outs[binding["name"]].get())
        elif binding["name"] in outs and outs[binding["name"]].get() is not None:
            encoded.setdefault("outs", {})[binding["name"]] = _output(binding, outs[binding["name"]].get())
    if info.kind == ACTIVITY:
        return encoded | {"result": _activity_result(result)}
    returned = next((each for each in info.bindings if each["name"] == "$return"), None)
    if returned is not None and returned["type"] == "http":
        return encoded | {"http": _http_result(result)}
    if returned is not None:
        if result is not None:
            encoded.setdefault("outs", {})["$return"] = _output(returned, result)
        return encoded
    if result is not None:  # the worker's own text, with its missing space
        raise RuntimeError(f"function {info.name!r} without a $return bindingreturned a non-None value")
    return encoded


def _output(binding: dict[str, Any], value: Any) -> list[Any]:
    datum = get_binding_registry().get(binding["type"]).encode(value, expected_type=None)
    return [datum.type, datum.value]


def _http_output(value: Any) -> dict[str, Any]:
    """Return the answer that an output parameter was set to; one that was not set is an empty 200."""
    if value is None:
        return {"status": 200, "headers": {}, "cookies": [], "body": b""}
    return {"text": value.decode(errors="replace")} if isinstance(value, bytes) else _http_result(value)


def _activity_result(result: Any) -> str | None:
    """Return the JSON text of an activity's result; None stays None, as the host never stores it."""
    if result is None:
        return None
    text = get_binding_registry().get(ACTIVITY).encode(result, expected_type=None).value
    if "NaN" in text or "Infinity" in text:  # cheap look first; the parse decides
        json.loads(text, parse_constant=_refuse_constant)
    return str(text)


def _refuse_constant(name: str) -> None:
    raise ValueError(
        f'the activity returned {name}, which is not JSON: Azure would hand it on as the text "{name}". '
        "Return None or a text of your own instead."
    )


def _http_result(result: Any) -> dict[str, Any]:
    try:
        datum = get_binding_registry().get("http").encode(result, expected_type=None)
    except NotImplementedError as error:
        raise TypeError(
            'unable to encode outgoing TypedData: unsupported type "http" for Python type '
            f'"{type(result).__name__}"'
        ) from error
    if datum.type == "string":
        return {"text": datum.value}
    value = datum.value
    return {
        "status": int(value["status_code"].value),
        "headers": {key: each.value for key, each in value["headers"].items()},
        "cookies": [morsel.OutputString() for jar in value["cookies"] or [] for morsel in jar.values()],
        "body": bytes(value["body"].value),
    }
