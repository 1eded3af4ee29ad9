"""One function per table version that turns rows into the JSON text of events.

The time is spent here, so the work per row is one pass of generated code: a
list comprehension that takes a row apart and fills a dict display. The code is
built as a syntax tree in which names stand as constants; nothing of a name is ever
parsed, so quotes, percent signs or newlines in it mean nothing.

A chunk is serialised as one array and stays one text for as long as nobody asks for
a single event of it. It can be cut at ``},{`` later: every border between two events is
such a place, so there are exactly as many as rows less one, unless a text holds
the same three bytes, and then rows are serialised one by one.

JSON cannot say Infinity or NaN, and orjson writes null for them without a word
(RFC 8259 section 6 has no such number). Nulls are therefore counted: as many in
the text as there are NULLs in the rows means there was none.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from math import isfinite
from operator import itemgetter
from typing import Any, cast

import orjson

from fuagent.encode.plan import INDEX, Plan, Slot, plan
from fuagent.encode.shown import shown
from fuagent.encode.values import converter, not_finite, not_json
from fuagent.errors import HaltSyncError
from fuagent.model import TableSpec, Texts

Values = tuple[object, ...]
Event = dict[str, object]


@dataclass(frozen=True, slots=True)
class Encoder:
    """Writes the events of one table as it stands in one version."""

    table: str
    properties: tuple[str, ...]
    """Names of an event's properties in order, the index (always last) left out."""
    marks: bool
    """Whether every event says if its row was deleted."""
    _row: _Shape
    _key: _Shape

    def rows(
        self, rows: Sequence[Values], indexes: Iterable[int] | None = None, deleted: Iterable[bool] | None = None
    ) -> Sequence[bytes]:
        """One event per row, each row a tuple of all the table's columns in order, in the frame compiled for.

        Args:
            rows: The rows.
            indexes: Their indexes, written as the last property; None for rows without.
            deleted: Which of them are deleted rows, where deletes are marked; None means none is.

        Raises:
            HaltSyncError: a value cannot be written as the service's document wants it.
        """
        return self._row.write(rows, indexes, deleted, self.table)

    def keys(self, keys: Sequence[Values], indexes: Iterable[int] | None = None) -> Sequence[bytes]:
        """One event per old key, marked as deleted and carrying the key's columns alone."""
        return self._key.write(keys, indexes, repeat(True), self.table)


@dataclass(frozen=True, slots=True)
class Frame:
    """What else stands in the tuples that hold the rows: so many values before the columns, and after them.

    ``nulls`` of these are NULL in a usual row. Where a row has fewer, a chunk is looked through once
    more for nothing; it must never have more.
    """

    before: int = 0
    after: int = 0
    nulls: int = 0


BARE = Frame()


def compile_encoder(spec: TableSpec, frame: Frame = BARE) -> Encoder:
    """Build the encoder for one table version; its ``rows`` takes rows in ``frame``.

    Raises:
        HaltSyncError: table, mapping and event schema do not fit together.
    """
    made = plan(spec)
    label = spec.table.label
    key = tuple(Slot(slot.name, place, slot.form) for place, slot in enumerate(made.key))
    names = tuple(slot.name for slot in made.slots) + ((made.mark,) if made.mark is not None else ())
    return Encoder(
        label,
        names,
        made.mark is not None,
        _Shape.build(made, len(spec.table.columns), frame),
        _Shape.build(Plan(key, made.mark, ()), len(key), BARE),
    )


@dataclass(frozen=True, slots=True)
class _Shape:
    """The generated functions for one kind of event."""

    plain: Callable[..., list[Event]]
    indexed: Callable[..., list[Event]]
    nulls: Callable[[Sequence[Values]], int]
    """Counts the NULLs of rows in the columns that are sent."""
    nulls_each: int
    """How often every event's own text says null: in names and constants."""
    marked: bool

    @classmethod
    def build(cls, made: Plan, width: int, frame: Frame) -> _Shape:
        """Generate them for rows of ``width`` values in ``frame``."""
        values: dict[str, object] = {}
        for number, slot in enumerate(made.slots):
            if slot.column is None:
                values[f"k{number}"] = orjson.Fragment(slot.constant)
            elif convert := converter(slot.form):
                values[f"f{number}"] = convert
        own = {slot.name: orjson.Fragment(slot.constant or b"0") for slot in made.slots}
        return cls(
            _generate(_events(made, _row(made, width, frame), indexed=False), values),
            _generate(_events(made, _row(made, width, frame), indexed=True), values),
            _null_counter([slot.column for slot in made.slots if slot.column is not None], width, frame),
            orjson.dumps({**own, made.mark or "": 0}).count(b"null"),
            made.mark is not None,
        )

    def write(
        self, rows: Sequence[Values], indexes: Iterable[int] | None, deleted: Iterable[bool] | None, label: str
    ) -> Sequence[bytes]:
        """The rows as events, as JSON text."""
        extras = () if indexes is None else (indexes,)
        if self.marked:
            extras = (repeat(False) if deleted is None else deleted, *extras)
        source = zip(rows, *extras, strict=False) if extras else rows
        events = (self.plain if indexes is None else self.indexed)(source)
        try:
            return self._text(rows, events)
        except orjson.JSONEncodeError:
            # "from None": the first error's text may show the value.
            message = f"a row of table {shown(label)} holds a value that no JSON text can carry"
            raise HaltSyncError(message) from None

    def _text(self, rows: Sequence[Values], events: list[Event]) -> Sequence[bytes]:
        text = orjson.dumps(events, not_json)
        nulls = text.count(b"null")
        if nulls and nulls != self.nulls(rows) + self.nulls_each * len(rows) and _spelled_out(events):
            text = orjson.dumps(events, not_json)
        if text.count(Texts.BORDER) == len(events) - 1:
            return Texts(text[1:-1], len(events))
        return [orjson.dumps(event, not_json) for event in events]


def _null_counter(places: list[int], width: int, frame: Frame) -> Callable[[Sequence[Values]], int]:
    if sorted(places) == list(range(width)):
        return lambda rows: sum(map(tuple.count, rows, repeat(None))) - frame.nulls * len(rows)
    if len(places) < 2:  # itemgetter gives a tuple only for two and more
        return lambda rows: sum(row[frame.before + place] is None for row in rows for place in places)
    sent = itemgetter(*(frame.before + place for place in places))
    return lambda rows: sum(map(tuple.count, map(sent, rows), repeat(None)))


def _spelled_out(events: list[Event]) -> bool:
    """Put words in the place of floats that are no JSON numbers; tells whether there were any."""
    found = False
    for event in events:
        for name, value in event.items():
            if isinstance(value, float) and not isfinite(value):
                event[name] = not_finite(value)
                found = True
    return found


# ------------------------------------------------------------------ generated code


def _generate(element: ast.ListComp, values: dict[str, object]) -> Callable[..., Any]:
    function = ast.parse("lambda rows: None", mode="eval")
    cast("ast.Lambda", function.body).body = element
    return cast("Callable[..., Any]", eval(compile(ast.fix_missing_locations(function), "<encoder>", "eval"), values))  # noqa: S307 - a tree of our own making


def _events(made: Plan, row: ast.Tuple, *, indexed: bool) -> ast.ListComp:
    """``[{name: c0, name: f1(c1), …, "index": n} for (c0, c1, …), d, n in rows]``."""
    keys: list[ast.expr | None] = [ast.Constant(slot.name) for slot in made.slots]
    values = [_value(number, slot) for number, slot in enumerate(made.slots)]
    target: ast.expr = row
    extras = []
    if made.mark is not None:
        keys.append(ast.Constant(made.mark))
        values.append(_load("d"))
        extras.append(_store("d"))
    if indexed:
        keys.append(ast.Constant(INDEX))
        values.append(_load("n"))
        extras.append(_store("n"))
    if extras:
        target = ast.Tuple([target, *extras], ast.Store())
    return _comprehension(ast.Dict(keys, values), target)


def _value(number: int, slot: Slot) -> ast.expr:
    if slot.column is None:
        return _load(f"k{number}")
    column = _load(f"c{slot.column}")
    return ast.Call(_load(f"f{number}"), [column], []) if converter(slot.form) else column


def _row(made: Plan, width: int, frame: Frame) -> ast.Tuple:
    sent = {slot.column for slot in made.slots}
    columns = [f"c{place}" if place in sent else "_" for place in range(width)]
    return ast.Tuple([*map(_store, ["_"] * frame.before + columns + ["_"] * frame.after)], ast.Store())


def _comprehension(element: ast.expr, target: ast.expr) -> ast.ListComp:
    return ast.ListComp(element, [ast.comprehension(target, _load("rows"), [], 0)])


def _load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _store(name: str) -> ast.Name:
    return ast.Name(name, ast.Store())
