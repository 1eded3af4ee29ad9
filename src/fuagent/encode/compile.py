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
from dataclasses import dataclass, replace
from itertools import repeat
from math import isfinite
from operator import itemgetter
from typing import Any, cast

import orjson

from fuagent.encode import where
from fuagent.encode.masks import masked
from fuagent.encode.plan import INDEX, Plan, Slot, plan
from fuagent.encode.shown import shown
from fuagent.encode.transform import Unfit, transformed
from fuagent.encode.values import converter, not_finite, not_json
from fuagent.errors import HaltSyncError
from fuagent.model import Fact, TableSpec, Transform
from fuagent.model_rows import Texts

SNAPSHOT = "snapshot"
"""What ``$operation`` says of a row that a snapshot found."""

Values = tuple[object, ...]
Event = dict[str, object]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the changes that rows come from, where the mapping tells it (``$operation`` and its kin).

    ``operations`` runs beside the rows; None for rows of a snapshot. ``commit_time`` is ISO 8601 in UTC.
    """

    operations: Sequence[str] | None = None
    commit_time: str | None = None
    transaction: str | None = None


STORED = Facts()
"""Rows as a snapshot finds them."""

Write = Callable[[Sequence[Values], Iterable[int] | None, Iterable[bool] | None, Facts], Sequence[bytes]]
"""Rows, their indexes, which are deleted, and what is told of their changes: one event each."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """Writes the events of one table as it stands in one version."""

    table: str
    properties: tuple[str, ...]
    """Names of an event's properties in order, the index (always last) left out."""
    marks: bool
    """Whether every event says if its row was deleted."""
    facts: frozenset[Fact]
    """What events tell of the change itself: pass it in :class:`Facts`."""
    where: where.Test | None
    """Which rows, in the frame compiled for, are to be sent at all; None for all of them."""
    transform: Transform | None
    """A function every event is to go through: see :meth:`transformed`."""
    _row: Write
    _key: Write

    def fits(self, rows: Sequence[Values]) -> list[bool]:
        """Which rows meet the condition of the sync."""
        meets = self.where
        return [True] * len(rows) if meets is None else [meets(row) is True for row in rows]

    def transformed(self, texts: Sequence[bytes], indexes: Sequence[int] | None) -> list[bytes | Unfit | None]:
        """Events (written without an index) through the transform: new texts, None for one left out, or Unfit."""
        assert self.transform is not None
        return transformed(self.transform, texts, indexes)

    def rows(
        self,
        rows: Sequence[Values],
        indexes: Iterable[int] | None = None,
        deleted: Iterable[bool] | None = None,
        facts: Facts = STORED,
    ) -> Sequence[bytes]:
        """One event per row, each row a tuple of all the table's columns in order, in the frame compiled for.

        Args:
            rows: The rows.
            indexes: Their indexes, written as the last property; None for rows without.
            deleted: Which of them are deleted rows, where deletes are marked; None means none is.
            facts: What is told of the changes they come from.

        Raises:
            HaltSyncError: a value cannot be written as the service's document wants it.
        """
        return self._row(rows, indexes, deleted, facts)

    def keys(self, keys: Sequence[Values], indexes: Iterable[int] | None = None) -> Sequence[bytes]:
        """One event per old key, marked as deleted and carrying the key's columns alone."""
        return self._key(keys, indexes, repeat(True), STORED)


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
    condition = spec.mapping.where
    return encoder(
        spec,
        made,
        where.read(condition, spec.table, frame.before) if condition else None,
        _Shape.build(made, len(spec.table.columns), frame, label).write,
        _Shape.build(key_marks(made), len(made.key), BARE, label).write,
    )


def key_marks(made: Plan) -> Plan:
    """What marks of old keys are made of; their rows are tuples of the key's values alone."""
    key = tuple(replace(slot, column=place) for place, slot in enumerate(made.key))
    return Plan(key, made.mark, ())


def encoder(spec: TableSpec, made: Plan, test: where.Test | None, row: Write, key: Write) -> Encoder:
    """The encoder for a table's plan, however it writes rows and marks of old keys."""
    names = tuple(slot.name for slot in made.slots) + ((made.mark,) if made.mark is not None else ())
    return Encoder(
        spec.table.label,
        names,
        made.mark is not None,
        frozenset(slot.fact for slot in made.slots if slot.fact is not None),
        test,
        spec.mapping.transform,
        row,
        key,
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
    tells: bool
    """Whether each event tells its operation."""
    label: str
    """The table's, for messages."""

    @classmethod
    def build(cls, made: Plan, width: int, frame: Frame, label: str) -> _Shape:
        """Generate them for rows of ``width`` values in ``frame``."""
        values: dict[str, object] = {}
        for number, slot in enumerate(made.slots):
            if slot.column is not None:
                if write := _writer(slot):
                    values[f"f{number}"] = write
            elif slot.fact is None:
                values[f"k{number}"] = orjson.Fragment(slot.constant)
        own = nested([(slot.path, orjson.Fragment(slot.constant or b"0")) for slot in made.slots])
        return cls(
            _generate(_events(made, _row(made, width, frame), indexed=False), values),
            _generate(_events(made, _row(made, width, frame), indexed=True), values),
            _null_counter([slot.column for slot in made.slots if slot.column is not None], width, frame),
            orjson.dumps({**own, made.mark or "": 0}).count(b"null"),
            made.mark is not None,
            any(slot.fact is Fact.OPERATION for slot in made.slots),
            label,
        )

    def write(
        self,
        rows: Sequence[Values],
        indexes: Iterable[int] | None,
        deleted: Iterable[bool] | None,
        facts: Facts,
    ) -> Sequence[bytes]:
        """The rows as events, as JSON text."""
        extras = () if indexes is None else (indexes,)
        if self.marked:
            extras = (repeat(False) if deleted is None else deleted, *extras)
        if self.tells:
            extras = (repeat(SNAPSHOT) if facts.operations is None else facts.operations, *extras)
        source = zip(rows, *extras, strict=False) if extras else rows
        make = self.plain if indexes is None else self.indexed
        events = make(source, facts.commit_time, facts.transaction, facts.operations is None)
        try:
            return self._text(rows, events)
        except orjson.JSONEncodeError:
            # "from None": the first error's text may show the value.
            message = f"a row of table {shown(self.label)} holds a value that no JSON text can carry"
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
            elif isinstance(value, dict):
                found |= _spelled_out([value])
    return found


def _writer(slot: Slot) -> Callable[[object], object] | None:
    """The function a column's values go through; None where they are fine as they are."""
    convert = converter(slot.form)
    return convert if slot.mask is None else masked(slot.mask, convert)


def nested(fed: Iterable[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    """Values by path as objects in objects."""
    whole: dict[str, Any] = {}
    for (*outer, name), value in fed:
        inner = whole
        for step in outer:
            inner = inner.setdefault(step, {})
        inner[name] = value
    return whole


# ------------------------------------------------------------------ generated code


def _generate(element: ast.ListComp, values: dict[str, object]) -> Callable[..., Any]:
    function = ast.parse("lambda rows, time, transaction, snapshot: None", mode="eval")
    cast("ast.Lambda", function.body).body = element
    return cast("Callable[..., Any]", eval(compile(ast.fix_missing_locations(function), "<encoder>", "eval"), values))  # noqa: S307 - a tree of our own making


def _events(made: Plan, row: ast.Tuple, *, indexed: bool) -> ast.ListComp:
    """``[{name: c0, name: f1(c1), …, "index": n} for (c0, c1, …), d, n in rows]``."""
    whole = nested([(slot.path, _value(number, slot)) for number, slot in enumerate(made.slots)])
    keys: list[ast.expr | None] = [ast.Constant(name) for name in whole]
    values = [_display(value) for value in whole.values()]
    target: ast.expr = row
    extras = []
    if any(slot.fact is Fact.OPERATION for slot in made.slots):
        extras.append(_store("o"))
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


def _display(value: ast.expr | dict[str, Any]) -> ast.expr:
    """A value, or a dict display for what is nested."""
    if not isinstance(value, dict):
        return value
    return ast.Dict([ast.Constant(name) for name in value], [_display(inner) for inner in value.values()])


_TOLD = {
    Fact.OPERATION: "o",
    Fact.COMMIT_TIME: "time",
    Fact.TRANSACTION: "transaction",
    Fact.SNAPSHOT: "snapshot",
}


def _value(number: int, slot: Slot) -> ast.expr:
    if slot.fact is not None:
        return _load(_TOLD[slot.fact])
    if slot.column is None:
        return _load(f"k{number}")
    column = _load(f"c{slot.column}")
    return ast.Call(_load(f"f{number}"), [column], []) if _writer(slot) else column


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
