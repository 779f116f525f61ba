"""Single instructions and whole vectors that a compiler does not find in loops by itself: places of bits,
lines of a table, runs of equal places.
"""

from __future__ import annotations

from typing import Any

import numba  # noqa: F401  # whole before its parts: another thread may be in the midst of importing it
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

WORDS = 8  # of 8 bytes in a table's row, which is a line of the processor's cache; trees are scored in groups
RUN = 16  # places that are written at once
LINES_AT_ONCE = 4  # planes of positions whose lines are joined at a time

_LINE = ir.VectorType(ir.IntType(64), WORDS)
_PLACES = ir.VectorType(ir.IntType(16), RUN)


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def lowest_bit(_: Any, bits: Any) -> Any:  # numba matches the argument by its name
    """The place of the lowest set bit of an unsigned number that is not zero."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.true_bit)

    return bits(bits) if isinstance(bits, types.Integer) else None, generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def set_lines(_: Any, lines: Any, to: Any, table: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """lines[to : to + WORDS] = table[a : a + WORDS] & ..., for four places."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = _joined_lines(context, builder, signature, arguments)
        builder.store(found, _vector(context, builder, signature, arguments, 0, arguments[1], _LINE), align=8)
        return context.get_dummy_value()

    return types.void(lines, to, table, a, b, c, d), generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def and_lines(_: Any, lines: Any, to: Any, table: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """lines[to : to + WORDS] &= table[a : a + WORDS] & ..., for four places."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = _joined_lines(context, builder, signature, arguments)
        target = _vector(context, builder, signature, arguments, 0, arguments[1], _LINE)
        builder.store(builder.and_(found, builder.load(target, align=8)), target, align=8)
        return context.get_dummy_value()

    return types.void(lines, to, table, a, b, c, d), generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def and_down(_: Any, table: Any, begin: Any, end: Any) -> Any:
    """Of the lines `begin` to `end` of a table, each &= the one before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, first, last = arguments
        above = cgutils.alloca_once_value(builder, ir.Constant(_LINE, [-1] * WORDS))
        words = ir.Constant(last.type, WORDS)
        with cgutils.for_range(builder, last, start=first, intp=last.type) as loop:
            place = builder.mul(loop.index, words)
            target = _vector(context, builder, signature, arguments, 0, place, _LINE)
            found = builder.and_(builder.load(above), builder.load(target, align=8))
            builder.store(found, target, align=8)
            builder.store(found, above)
        return context.get_dummy_value()

    return types.void(table, begin, end), generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def set_run(_: Any, places: Any, at: Any, value: Any) -> Any:
    """places[at : at + RUN] = value, for places of two bytes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = builder.trunc(arguments[2], ir.IntType(16))
        one = builder.insert_element(
            ir.Constant(_PLACES, ir.Undefined), number, ir.Constant(ir.IntType(32), 0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), RUN), [0] * RUN)
        run = builder.shuffle_vector(one, ir.Constant(_PLACES, ir.Undefined), zeros)
        builder.store(run, _vector(context, builder, signature, arguments, 0, arguments[1], _PLACES), align=2)
        return context.get_dummy_value()

    return types.void(places, at, value), generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def lowest_bit_from(_: Any, masks: Any, byte: Any, shift: Any) -> Any:
    """The place of the lowest set bit of the eight bytes from `byte` on, counted from bit `shift`; one is
    set there.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.load(_eight_bytes(context, builder, signature, arguments), align=1)
        return builder.cttz(builder.lshr(bits, arguments[2]), cgutils.true_bit)

    return types.uint64(masks, byte, shift), generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def and_bits(_: Any, table: Any, byte: Any, mask: Any) -> Any:
    """The eight bytes of a table from `byte` on &= mask."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target = _eight_bytes(context, builder, signature, arguments)
        builder.store(builder.and_(builder.load(target, align=1), arguments[2]), target, align=1)
        return context.get_dummy_value()

    return types.void(table, byte, mask), generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def lowest_bit_of_four(_: Any, masks: Any, at: Any) -> Any:
    """The place of the lowest set bit of the four words from `at` on, of which one is not zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole, several = ir.IntType(64), ir.VectorType(ir.IntType(64), 4)
        loaded = builder.load(
            _vector(context, builder, signature, arguments, 0, arguments[1], several), align=8
        )
        filled = builder.icmp_unsigned("!=", loaded, ir.Constant(several, [0] * 4))
        word = builder.cttz(builder.zext(builder.bitcast(filled, ir.IntType(4)), whole), cgutils.true_bit)
        place = builder.add(arguments[1], word)
        bits = builder.load(_vector(context, builder, signature, arguments, 0, place, whole), align=8)
        return builder.add(builder.shl(word, ir.Constant(whole, 6)), builder.cttz(bits, cgutils.true_bit))

    return types.uint64(masks, at), generate


def _eight_bytes(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Where the eight bytes from a byte (argument 1) on begin in an array (argument 0)."""
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    bytes_of = builder.bitcast(data, ir.IntType(8).as_pointer())
    return builder.bitcast(builder.gep(bytes_of, [arguments[1]]), ir.IntType(64).as_pointer())


def _joined_lines(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """The lines of the table (argument 2) at the places that follow it, joined."""
    first, *others = [
        builder.load(_vector(context, builder, signature, arguments, 2, place, _LINE), align=8)
        for place in arguments[3:]
    ]
    for other in others:
        first = builder.and_(first, other)
    return first


def _vector(
    context: Any, builder: Any, signature: Any, arguments: Any, which: int, place: Any, vector: Any
) -> Any:
    """Where a vector begins in an array that was passed."""
    data = context.make_array(signature.args[which])(context, builder, arguments[which]).data
    return builder.bitcast(builder.gep(data, [place]), vector.as_pointer())
