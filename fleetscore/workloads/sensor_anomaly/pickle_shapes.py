"""What a pickle would build, followed on its opcodes before anything is built: kinds and depths, never
values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

DEPTH_LIMIT = 32
"""Containers within containers; a fitted pipeline needs about ten."""


class Malformed(Exception):  # noqa: N818 - what is wrong, turned into a ModelError where the file is known
    """What a pickle would do that no pipeline needs."""


@dataclass(slots=True, eq=False)
class Shape:
    """A value on the stack: text, class, object (of a class) or other; and how deep containers lay within
    it when it was filled.
    """

    kind: str = "other"
    depth: int = 0


_MARK = Shape("mark")
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_SIMPLE = frozenset(
    "NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()  # noqa: SIM905
)
_TEXTS = frozenset({"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"})
_EMPTY = frozenset({"EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"})


class ShapeStack:
    """The stack and memo of a pickle; `step` raises Malformed at depth, keys and targets that no pipeline
    has.
    """

    def __init__(self) -> None:
        self._stack: list[Shape] = []
        self._memo: dict[int, Shape] = {}
        self._steps: dict[str, Callable[[], None]] = {
            "MARK": lambda: self._stack.append(_MARK),
            "POP": lambda: self._drop(1),
            "POP_MARK": lambda: self._drop_marked(),
            "GLOBAL": lambda: self._stack.append(Shape("class")),
            "STACK_GLOBAL": lambda: self._replace(self._take(2), "class"),
            "NEWOBJ": lambda: self._replace(self._take(2), "object"),
            "REDUCE": lambda: self._replace(self._take(2), "object"),
            "BUILD": lambda: self._build(),
            "TUPLE": lambda: self._replace(self._take_marked(), "other"),
            "APPEND": lambda: self._into(self._take(1)),
            "APPENDS": lambda: self._into(self._take_marked()),
            "SETITEM": lambda: self._set(self._take(2)),
            "SETITEMS": lambda: self._set(self._take_marked()),
        }

    def step(self, name: str, argument: Any) -> None:
        """Follow one opcode; names that are not known here change nothing."""
        if name in _SIMPLE or name in _EMPTY:
            self._stack.append(Shape())
        elif name in _TEXTS:
            self._stack.append(Shape("text"))
        elif name in _TUPLES:
            self._replace(self._take(_TUPLES[name]), "other")
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._top()
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._top()
        elif name in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._known(argument))
        elif name in self._steps:
            self._steps[name]()

    def _known(self, number: int) -> Shape:
        if number not in self._memo:
            raise Malformed("a memo entry that it did not make")
        return self._memo[number]

    def _top(self) -> Shape:
        if not self._stack:
            raise Malformed("an empty stack")
        return self._stack[-1]

    def _take(self, count: int) -> list[Shape]:
        if len(self._stack) < count or _MARK in self._stack[-count:]:
            raise Malformed("too few values on its stack")
        taken = self._stack[-count:]
        del self._stack[-count:]
        return taken

    def _take_marked(self) -> list[Shape]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                taken = self._stack[place + 1 :]
                del self._stack[place:]
                return taken
        raise Malformed("no mark on its stack")

    def _drop(self, count: int) -> None:
        self._take(count)

    def _drop_marked(self) -> None:
        self._take_marked()

    def _replace(self, parts: Iterable[Shape], kind: str) -> None:
        self._stack.append(Shape(kind, _deeper(parts)))

    def _into(self, parts: Iterable[Shape]) -> None:
        target = self._top()
        target.depth = max(target.depth, _deeper(parts))

    def _set(self, parts: list[Shape]) -> None:
        if len(parts) % 2 or any(key.kind != "text" for key in parts[::2]):
            raise Malformed("a dictionary whose keys are not text")
        self._into(parts[1::2])

    def _build(self) -> None:
        target, state = self._take(2)
        if target.kind != "object":
            raise Malformed("a state for something that is no instance")
        target.depth = max(target.depth, _deeper([state]))
        self._stack.append(target)


def _deeper(parts: Iterable[Shape]) -> int:
    depth = 1 + max((part.depth for part in parts), default=0)
    if depth > DEPTH_LIMIT:
        raise Malformed(f"containers more than {DEPTH_LIMIT} deep")
    return depth
