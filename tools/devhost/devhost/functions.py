"""The functions of the app as the host sees them: plain records that the workers send to the host."""

from dataclasses import dataclass, field
from typing import Any

ORCHESTRATION = "orchestrationTrigger"
ACTIVITY = "activityTrigger"
HTTP = "httpTrigger"
TIMER = "timerTrigger"
QUEUE = "queueTrigger"
WARM_UP = "warmupTrigger"


@dataclass(frozen=True, slots=True)
class FunctionInfo:
    """One function of the app: its name, what triggers it, and its bindings as the SDK describes them.

    `trigger` and every entry of `bindings` is the binding's dictionary (`type`, `name`, `direction`, and the
    keys of its kind). `is_async` is True for `async def` functions. `retry` is the function-level retry
    policy. `left_out` says why this host cannot run the function; empty for one that it can.
    """

    name: str
    trigger: dict[str, Any]
    bindings: list[dict[str, Any]]
    is_async: bool = False
    retry: dict[str, Any] | None = None
    left_out: str = ""

    @property
    def kind(self) -> str:
        """The trigger's type, such as `httpTrigger`."""
        return str(self.trigger["type"])

    @property
    def durable_name(self) -> str:
        """The name by which orchestrations call the function: the trigger's own name, or the function's."""
        key = {ORCHESTRATION: "orchestration", ACTIVITY: "activity"}.get(self.kind, "")
        return str(self.trigger.get(key) or self.name)


@dataclass(frozen=True, slots=True)
class FunctionIndex:
    """All functions of the app; every lookup ignores case, as the host does.

    `left_out` are those that need what this host does not have; no lookup finds them.
    """

    functions: list[FunctionInfo] = field(default_factory=list)
    left_out: list[FunctionInfo] = field(default_factory=list)

    @property
    def warm_up(self) -> FunctionInfo | None:
        """The app's warm-up: the function of that kind that has the name which Azure asks for, or None."""
        found = self.by_name("warmup")
        return found if found is not None and found.kind == WARM_UP else None

    def of_kind(self, kind: str) -> list[FunctionInfo]:
        """Return the functions with that trigger type, in the order of registration."""
        return [each for each in self.functions if each.kind == kind]

    def by_name(self, name: str) -> FunctionInfo | None:
        """Return the function of that name, or None."""
        return next((each for each in self.functions if each.name.lower() == name.lower()), None)

    def require(self, name: str) -> FunctionInfo:
        """Return the function of that name; raises LookupError when the app has none."""
        found = self.by_name(name)
        if found is None:
            raise LookupError(f"the app has no function {name}")
        return found

    def durable(self, kind: str, name: str) -> FunctionInfo | None:
        """Return the orchestrator or activity that answers to that durable name, or None."""
        return next((each for each in self.of_kind(kind) if each.durable_name.lower() == name.lower()), None)

    def missing(self, kind: str, name: str) -> str:
        """Return the text for a call of a function that is not there: the extension's, or why it was left
        out.
        """
        noun = "orchestrator" if kind == ORCHESTRATION else "activity"
        if found := self._left_out(kind, name):
            return found.left_out
        known = ", ".join(f"'{each.durable_name}'" for each in self.of_kind(kind))
        return (
            f"The function '{name}' doesn't exist, is disabled, or is not an {noun} function. "
            f"Additional info: The following are the known {noun} functions: {known}."
        )

    def is_left_out(self, kind: str, name: str) -> bool:
        """Return whether the app has the orchestrator or activity, but this host cannot run it."""
        return self._left_out(kind, name) is not None

    def _left_out(self, kind: str, name: str) -> FunctionInfo | None:
        wanted = (kind, name.lower())
        return next(
            (each for each in self.left_out if (each.kind, each.durable_name.lower()) == wanted), None
        )
