"""The grammar of autoscale formulas: text in, statements out; nothing is evaluated here.

Statements are `name = expression;`, with `//` comments; the last one may leave out its `;`. At most 8 KB and
100 statements, as the service demands. Precedence, loosest first: `?:`, `||`, `&&`, `== !=`, `< <= >= >`, `+
-`, `* /`, unary `- !`, then `.method(...)` and `.member`.
"""

import re
from dataclasses import dataclass
from typing import TypeAlias

FORMULA_LIMIT_BYTES = 8192
STATEMENT_LIMIT = 100


class FormulaError(Exception):
    """A formula cannot be used.

    `code` is the code of the service and the message names the line and the cause.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Number:
    """A literal double."""

    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A literal string."""

    value: str


@dataclass(frozen=True, slots=True)
class Name:
    """A variable or a constant, with its `$` where it has one."""

    name: str


@dataclass(frozen=True, slots=True)
class Unary:
    """`-x` or `!x`."""

    operator: str
    operand: "Expression"


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`."""

    operator: str
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Choice:
    """`condition ? if_true : if_false`; only the chosen branch is evaluated."""

    condition: "Expression"
    if_true: "Expression"
    if_false: "Expression"


@dataclass(frozen=True, slots=True)
class Call:
    """`function(arguments)`, or with a subject `subject.method(arguments)`."""

    function: str
    arguments: tuple["Expression", ...]
    subject: "Expression | None" = None


@dataclass(frozen=True, slots=True)
class Member:
    """`subject.member` without a call, as in `time().hour`."""

    subject: "Expression"
    member: str


Expression: TypeAlias = Number | Text | Name | Unary | Binary | Choice | Call | Member


@dataclass(frozen=True, slots=True)
class Assignment:
    """One statement; `line` counts from 1."""

    name: str
    expression: Expression
    line: int


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


_TOKENS = re.compile(
    r"""(?P<space>[ \t\r\n]+|//[^\n]*)
      |(?P<number>[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+)
      |(?P<string>"[^"\n]*")
      |(?P<name>\$?[A-Za-z_][A-Za-z0-9_]*)
      |(?P<operator>&&|\|\||==|!=|<=|>=|[-+*/<>!?:=;,.()])""",
    re.VERBOSE,
)
_LEVELS: tuple[frozenset[str], ...] = tuple(
    frozenset(level.split()) for level in ("||", "&&", "== !=", "< <= >= >", "+ -", "* /")
)


def parse(formula: str) -> tuple[Assignment, ...]:
    """The statements of a formula, in order.

    Raises FormulaError with code `AutoScaleFormulaTooLong` or `AutoScalingFormulaSyntaxError`; the message
    names the line.
    """
    if len(formula.encode()) > FORMULA_LIMIT_BYTES:
        size = len(formula.encode())
        raise FormulaError(
            "AutoScaleFormulaTooLong", f"The formula has {size} bytes; the limit is {FORMULA_LIMIT_BYTES}."
        )
    parser = _Parser(_tokenize(formula))
    try:
        statements = parser.statements()
    except RecursionError as error:
        raise _syntax_error(parser.line, "the expression is nested too deeply") from error
    if len(statements) > STATEMENT_LIMIT:
        raise FormulaError(
            "AutoScalingFormulaSyntaxError",
            f"The formula has {len(statements)} statements; the limit is {STATEMENT_LIMIT}.",
        )
    return statements


def _tokenize(formula: str) -> list[_Token]:
    tokens = []
    position, line = 0, 1
    while position < len(formula):
        match = _TOKENS.match(formula, position)
        if match is None:
            raise _syntax_error(line, f"the character {formula[position]!r} is not part of the language")
        if match.lastgroup != "space":
            tokens.append(_Token(str(match.lastgroup), match.group(), line))
        line += match.group().count("\n")
        position = match.end()
    tokens.append(_Token("end", "the end of the formula", line))
    return tokens


def _syntax_error(line: int, problem: str) -> FormulaError:
    return FormulaError("AutoScalingFormulaSyntaxError", f"Line {line}: {problem}.")


class _Parser:
    """Recursive descent over the tokens; one method per level of the grammar."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def statements(self) -> tuple[Assignment, ...]:
        found = []
        while self._next.kind != "end":
            if self._accept(";") is None:  # an empty statement is harmless
                found.append(self._assignment())
        return tuple(found)

    def _assignment(self) -> Assignment:
        target = self._take()
        if target.kind != "name":
            raise _syntax_error(target.line, f"a statement starts with a name, not with {target.text!r}")
        self._expect("=")
        expression = self._choice()
        if self._next.kind != "end":
            self._expect(";")
        return Assignment(target.text, expression, target.line)

    def _choice(self) -> Expression:
        condition = self._binary(0)
        if self._accept("?") is None:
            return condition
        if_true = self._choice()
        self._expect(":")
        return Choice(condition, if_true, self._choice())

    def _binary(self, level: int) -> Expression:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while self._next.kind == "operator" and self._next.text in _LEVELS[level]:
            operator = self._take().text
            left = Binary(operator, left, self._binary(level + 1))
        return left

    def _unary(self) -> Expression:
        for operator in "-!":
            if self._accept(operator) is not None:
                return Unary(operator, self._unary())
        return self._postfix()

    def _postfix(self) -> Expression:
        expression = self._primary()
        while self._accept(".") is not None:
            member = self._take()
            if member.kind != "name":
                raise _syntax_error(member.line, f"a method is expected after '.', not {member.text!r}")
            is_call = self._accept("(") is not None
            subject = expression
            expression = (
                Call(member.text, self._arguments(), subject) if is_call else Member(subject, member.text)
            )
        return expression

    def _primary(self) -> Expression:
        token = self._take()
        if token.kind == "number":
            return Number(float(token.text))
        if token.kind == "string":
            return Text(token.text[1:-1])
        if token.kind == "name":
            return Name(token.text) if self._accept("(") is None else Call(token.text, self._arguments())
        if token.text == "(":
            inner = self._choice()
            self._expect(")")
            return inner
        raise _syntax_error(token.line, f"a value is expected, not {token.text!r}")

    def _arguments(self) -> tuple[Expression, ...]:
        if self._accept(")") is not None:
            return ()
        arguments = [self._choice()]
        while self._accept(",") is not None:
            arguments.append(self._choice())
        self._expect(")")
        return tuple(arguments)

    @property
    def line(self) -> int:
        """The line of the token that comes next."""
        return self._next.line

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._next
        if token.kind != "end":
            self._at += 1
        return token

    def _accept(self, text: str) -> _Token | None:
        token = self._next
        return self._take() if token.kind == "operator" and token.text == text else None

    def _expect(self, text: str) -> None:
        if self._accept(text) is None:
            raise _syntax_error(self._next.line, f"{text!r} is expected before {self._next.text!r}")
