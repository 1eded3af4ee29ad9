"""``where:`` — a condition over a table's columns, in the part of SQL that every database agrees on.

::

    condition  = term {OR term}          term = factor {AND factor}       factor = [NOT] predicate
    predicate  = ( condition ) | operand comparison operand | operand IS [NOT] NULL
               | operand [NOT] IN ( literal, … ) | operand [NOT] BETWEEN operand AND operand
               | operand [NOT] LIKE 'text'
    operand    = column | "column" | `column` | 'text' | number | TRUE | FALSE | NULL
    comparison = = | != | <> | < | <= | > | >=

It is decided here and never by the database, over the values as the log and the snapshot both give
them, so that a row has one verdict wherever it is met. As in SQL, a comparison with NULL is
neither true nor false (ISO/IEC 9075-2, 8.2), and only what is true is sent. Numbers compare as
numbers, texts by code points, bytes by bytes; a number and a text that is none are not comparable: unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any, Never

from fuagent.encode.shown import shown
from fuagent.errors import HaltSyncError
from fuagent.model import Table

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(?P<text>'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")+"|`[^`]+`)
    |(?P<word>[^\W\d]\w*)|(?P<mark><=|>=|<>|!=|[=<>(),-]))""",
    re.VERBOSE,
)
_WORDS = {"and", "or", "not", "in", "is", "null", "like", "between", "true", "false"}
_LONGEST = 10_000
_DEEPEST = 50

Value = object
Read = Callable[[Any], Value]
Test = Callable[[Sequence[Value]], bool | None]
"""Whether a row meets the condition; None where SQL says unknown."""


@dataclass(frozen=True, slots=True)
class Token:
    """One word of the condition and where it begins."""

    kind: str
    text: str
    at: int


def read(condition: str, table: Table, before: int = 0, reads: Sequence[Read] = ()) -> Test:
    """The condition as a function of a row, a tuple with ``before`` values before the table's columns.

    ``reads`` gives for each column how its value comes out of what stands in the row; empty: it stands there itself.

    Raises:
        HaltSyncError: it cannot be read, or names a column that is not there; says where.
    """
    return _Reader(condition, table, before, reads).whole()


def compare(left: Value, right: Value) -> int | None:
    """-1, 0 or 1 as left is below, equal to or above right; None where that is unknown."""
    if isinstance(left, str) != isinstance(right, str):
        left, right = _number(left), _number(right)
    # A float is what its digits say: 0.1 in a condition is the 0.1 of the column.
    if isinstance(left, float) and isinstance(right, Decimal):
        right = float(right)
    elif isinstance(left, Decimal) and isinstance(right, float):
        left = float(left)
    if left is None or right is None:
        return None
    one: Any = left
    other: Any = right
    try:
        return int(one > other) - int(one < other)
    except TypeError:
        return None


def _number(value: Value) -> Value:
    """A number as it is; a text that says one (a decimal comes as text) as that number."""
    if not isinstance(value, str):
        return value
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


class _Reader:
    """Reads one condition from left to right."""

    def __init__(self, condition: str, table: Table, before: int, reads: Sequence[Read]) -> None:
        self._condition = condition
        self._table = table
        self._columns = {column.name: before + place for place, column in enumerate(table.columns)}
        self._reads = {before + place: read for place, read in enumerate(reads)}
        self._tokens = self._split(condition)
        self._at = 0
        self._depth = 0

    def whole(self) -> Test:
        if not self._tokens:
            self._wrong("there is no condition")
        made = self._or()
        if self._at < len(self._tokens):
            self._wrong("it should end here, or go on with AND or OR")
        return made

    def _split(self, condition: str) -> list[Token]:
        if len(condition) > _LONGEST:
            self._wrong(f"it is longer than {_LONGEST} characters", 0)
        tokens: list[Token] = []
        at = 0
        while at < len(condition.rstrip()):
            match = _TOKEN.match(condition, at)
            if match is None or match.lastgroup is None:
                self._wrong("this character means nothing here", at)
            tokens.append(Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            at = match.end()
        return tokens

    def _wrong(self, what: str, at: int | None = None) -> Never:
        if at is None:
            at = self._tokens[self._at].at if self._at < len(self._tokens) else len(self._condition)
        raise HaltSyncError(
            f"the condition cannot be read at character {at + 1} ({shown(self._condition[at : at + 20]) or 'its end'}): {what}",
            where="where",
            fix="write it like status = 'paid' AND total >= 10",
        )

    # ------------------------------------------------------------ tokens

    def _is(self, *texts: str) -> bool:
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        return token is not None and token.kind in ("word", "mark") and token.text.lower() in texts

    def _took(self, *texts: str) -> bool:
        taken = self._is(*texts)
        self._at += taken
        return taken

    def _need(self, text: str) -> None:
        if not self._took(text):
            self._wrong(f"{text.upper()} is missing")

    # ------------------------------------------------------------ conditions

    def _or(self) -> Test:
        parts = [self._and()]
        while self._took("or"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else _either(parts)

    def _and(self) -> Test:
        parts = [self._factor()]
        while self._took("and"):
            parts.append(self._factor())
        return parts[0] if len(parts) == 1 else _both(parts)

    def _factor(self) -> Test:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._wrong("it is nested too deep")
        made = _negated(self._factor()) if self._took("not") else self._predicate()
        self._depth -= 1
        return made

    def _predicate(self) -> Test:
        if self._took("("):
            inner = self._or()
            self._need(")")
            return inner
        left = self._operand()
        if self._took("is"):
            return self._null(left)
        if self._is("=", "!=", "<>", "<", "<=", ">", ">="):
            self._at += 1
            return _comparison(self._tokens[self._at - 1].text, left, self._operand())
        negated = self._took("not")
        made = self._among(left)
        return _negated(made) if negated else made

    def _null(self, left: _Operand) -> Test:
        negated = self._took("not")
        self._need("null")
        if negated:
            return lambda row: left(row) is not None
        return lambda row: left(row) is None

    def _among(self, left: _Operand) -> Test:
        if self._took("in"):
            return _any_of(left, self._list())
        if self._took("between"):
            low = self._operand()
            self._need("and")
            high = self._operand()
            return _both([_comparison(">=", left, low), _comparison("<=", left, high)])
        if self._took("like"):
            return _like(left, self._pattern())
        return self._wrong("a comparison belongs here: =, <, IN, LIKE, BETWEEN or IS NULL")

    def _list(self) -> list[_Operand]:
        self._need("(")
        found = [self._operand()]
        while self._took(","):
            found.append(self._operand())
        self._need(")")
        return found

    def _pattern(self) -> re.Pattern[str]:
        if self._at >= len(self._tokens) or self._tokens[self._at].kind != "text":
            self._wrong("LIKE wants a text in single quotes")
        text = self._tokens[self._at].text[1:-1].replace("''", "'")
        self._at += 1
        parts = {"%": ".*", "_": "."}
        return re.compile("".join(parts.get(character, re.escape(character)) for character in text), re.DOTALL)

    # ------------------------------------------------------------ operands

    def _operand(self) -> _Operand:
        if self._at >= len(self._tokens):
            self._wrong("a column or a value is missing")
        token = self._tokens[self._at]
        self._at += 1
        match token.kind:
            case "number":
                return _literal(self._figure(token))
            case "text":
                return _literal(token.text[1:-1].replace("''", "'"))
            case "quoted":
                return self._column(token.text[1:-1].replace('""', '"'), token.at)
            case "word" if token.text.lower() not in _WORDS:
                return self._column(token.text, token.at)
        return self._spelled(token)

    def _spelled(self, token: Token) -> _Operand:
        if token.text == "-" and self._at < len(self._tokens) and self._tokens[self._at].kind == "number":
            self._at += 1
            return _literal(self._figure(self._tokens[self._at - 1], "-"))
        spelled = {"true": True, "false": False, "null": None}
        if token.text.lower() not in spelled:
            self._at -= 1
            self._wrong("a column or a value belongs here")
        return _literal(spelled[token.text.lower()])

    def _figure(self, token: Token, sign: str = "") -> int | Decimal:
        # With its sign: to negate a Decimal would round it.
        try:
            return int(sign + token.text) if token.text.isdecimal() else Decimal(sign + token.text)
        except (ValueError, InvalidOperation):
            self._wrong("a number is too long", token.at)

    def _column(self, name: str, at: int) -> _Operand:
        place = self._columns.get(name)
        if place is None:
            by_case = [other for other in self._columns if other.casefold() == name.casefold()]
            close = by_case or get_close_matches(name, self._columns, 1)
            hint = f'; did you mean "{shown(close[0])}"?' if close else ""
            self._wrong(f'table {shown(self._table.label)} has no column "{shown(name)}"{hint}', at)
        read = self._reads.get(place)
        return (lambda row: row[place]) if read is None else (lambda row: read(row[place]))


_Operand = Callable[[Sequence[Value]], Value]
_MEETS: dict[str, Callable[[int], bool]] = {
    "=": lambda order: order == 0,
    "!=": lambda order: order != 0,
    "<>": lambda order: order != 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}


def _literal(value: Value) -> _Operand:
    return lambda _row: value


def _comparison(how: str, left: _Operand, right: _Operand) -> Test:
    meets = _MEETS[how]

    def tell(row: Sequence[Value]) -> bool | None:
        order = compare(left(row), right(row))
        return None if order is None else meets(order)

    return tell


def _any_of(left: _Operand, choices: list[_Operand]) -> Test:
    return _either([_comparison("=", left, choice) for choice in choices])


def _like(left: _Operand, pattern: re.Pattern[str]) -> Test:
    def tell(row: Sequence[Value]) -> bool | None:
        value = left(row)
        return pattern.fullmatch(value) is not None if isinstance(value, str) else None

    return tell


def _negated(inner: Test) -> Test:
    def tell(row: Sequence[Value]) -> bool | None:
        found = inner(row)
        return None if found is None else not found

    return tell


def _both(parts: list[Test]) -> Test:
    def tell(row: Sequence[Value]) -> bool | None:
        known: bool | None = True
        for part in parts:
            found = part(row)
            if found is False:
                return False
            if found is None:
                known = None
        return known

    return tell


def _either(parts: list[Test]) -> Test:
    def tell(row: Sequence[Value]) -> bool | None:
        known: bool | None = False
        for part in parts:
            found = part(row)
            if found:
                return True
            if found is None:
                known = None
        return known

    return tell
