"""One function per table version that turns tuples of pieces into the JSON text of events.

A *piece* is a value that is nearly JSON already: ``bytes`` (digits, ISO 8601, base64, UTF-8 text, JSON
text), ``int``, or None. So an event is one bytes template that a row is put into, and the work per
row is one pass of generated code::

    [T % (c0, b'null' if c1 is None else b'"%b"' % c1, …) for (c0, c1, …) in rows]

Nothing of a name is in that code: names are data in the template, escaped as JSON and then for ``%``.

Two things are looked for once in a chunk and not in every value. Texts that need escapes: the texts of each
row are joined, and rows whose texts differ from a copy without quotes, backslashes and control characters
(RFC 8259 section 7) have theirs escaped, all in one go. And a None where the table says there is none (a
zero date, or a view's column over odd data), or an integer that is not of the sort expected: the template refuses
it with a TypeError, and the chunk is written again by code that takes everything anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, repeat
from typing import Any, cast

import orjson

from fuagent.encode import where
from fuagent.encode.cells import escaped, value
from fuagent.encode.compile import SNAPSHOT, Encoder, Facts, Values, encoder, key_marks
from fuagent.encode.plan import plan
from fuagent.encode.templates import BETWEEN, Code, Convert, Make
from fuagent.model import Kind, TableSpec, Texts

_AWKWARD = bytes(range(0x20)) + b'"\\'


def compile_pieces(spec: TableSpec, converts: Sequence[Convert | None] = (), *, numbers: bool = False) -> Encoder:
    """Build the encoder for one table version; its ``rows`` and ``keys`` take tuples of raw values.

    Args:
        spec: The table and its mapping.
        converts: For each column what makes a piece of its raw value, never called with None; None, or
            no entry, where the value is a piece already.
        numbers: Whether integers come as ``int`` rather than as digits. Either is written; this says
            which is usual, and quick.

    Raises:
        HaltSyncError: table, mapping and event schema do not fit together.
    """
    made = plan(spec)
    columns = spec.table.columns
    every = (*converts, *repeat(None, len(columns) - len(converts)))
    key = [cast("int", slot.column) for slot in made.key]
    condition = spec.mapping.where
    reads = [_reader(column.kind, convert) for column, convert in zip(columns, every, strict=True)]
    row = Code.of(made, columns, every, numbers=numbers)
    mark = Code.of(key_marks(made), [columns[at] for at in key], [every[at] for at in key], numbers=numbers)
    return encoder(
        spec,
        made,
        where.read(condition, spec.table, reads=reads) if condition else None,
        _Shape(row).write,
        _Shape(mark).write,
    )


def _reader(kind: Kind, convert: Convert | None) -> where.Read:
    def read(raw: Any) -> object:
        piece = raw if raw is None or convert is None else convert(raw)
        return None if piece is None else value(piece, kind)

    return read


class _Shape:
    """The generated functions for one kind of event, those that write when they are first needed."""

    def __init__(self, code: Code) -> None:
        # A text is looked at before it is written, so it must be a piece by then.
        early = not code.converts.keys().isdisjoint(code.texts)
        self._convert = code.convert() if early else None
        self._code = code.converted() if early else code
        self._gather = code.gather() if code.texts else None
        self._exchange = code.exchange()
        self._plain = code.plain
        self._writes: dict[tuple[bool, bool], Make] = {}

    def write(
        self, rows: Sequence[Values], indexes: Iterable[int] | None, deleted: Iterable[bool] | None, facts: Facts
    ) -> Sequence[bytes]:
        """The rows as events, as JSON text."""
        if self._convert is not None:
            rows = self._convert(rows)
        plain = self._plain
        if self._gather is not None:
            texts = self._gather(rows)
            whole = BETWEEN.join(texts)
            plain = plain and b"{" not in whole
            rows = self._escaped(rows, texts, whole)
        extras: list[Iterable[object]] = [each.column(rows, at) for at, each in self._code.columnwise.items()]
        if self._code.tells:
            extras.append(_words(facts.operations))
        if self._code.made.mark is not None:
            extras.append(repeat(False) if deleted is None else deleted)
        if indexes is not None:
            extras.append(indexes)
        # Lists, since a chunk may have to be gone through twice.
        beside = [list(islice(extra, len(rows))) for extra in extras]
        events = self._events(rows, beside, facts, indexed=indexes is not None)
        joined = b",".join(events)
        if events and (plain or joined.count(Texts.BORDER) == len(events) - 1):
            return Texts(joined, len(events))
        return events

    def _events(
        self, rows: Sequence[Values], beside: list[list[object]], facts: Facts, *, indexed: bool
    ) -> list[bytes]:
        told = [orjson.dumps(fact) for fact in (facts.commit_time, facts.transaction, facts.operations is None)]
        try:
            return self._write(indexed=indexed)(zip(rows, *beside, strict=False) if beside else rows, *told)
        except TypeError:
            careful = self._write(indexed=indexed, careful=True)
            return careful(zip(rows, *beside, strict=False) if beside else rows, *told)

    def _write(self, *, indexed: bool, careful: bool = False) -> Make:
        found = self._writes.get((indexed, careful))
        if found is None:
            found = self._writes[indexed, careful] = self._code.write(indexed=indexed, careful=careful)
        return found

    def _escaped(self, rows: Sequence[Values], texts: Sequence[bytes], whole: bytes) -> Sequence[Values]:
        """The rows, those of them escaped that need it; ``texts`` are each row's own, and ``whole`` all of them."""
        places: Sequence[int] = range(len(rows))
        if _is_utf_8(whole):
            if len(whole.translate(None, _AWKWARD)) == len(whole):
                return rows
            places = [place for place, text in enumerate(texts) if len(text.translate(None, _AWKWARD)) != len(text)]
        safe = list(rows)
        some = [rows[place] for place in places]
        columns = self._code.texts
        pieces = escaped(BETWEEN.join([texts[place] for place in places])).split(BETWEEN)
        if len(pieces) != len(some) * len(columns):  # a text holds what stands between them
            pieces = [escaped(cast("bytes", row[column]) or b"") for row in some for column in columns]
        step = len(columns)
        replaced = self._exchange(zip(some, *(pieces[at::step] for at in range(step)), strict=True))
        for place, row in zip(places, replaced, strict=True):
            safe[place] = row
        return safe


def _is_utf_8(text: bytes) -> bool:
    try:
        return text.isascii() or text.decode() is not None
    except UnicodeDecodeError:
        return False


def _words(operations: Sequence[str] | None) -> Iterable[bytes]:
    """What happened to each row, as JSON."""
    if operations is None:
        return repeat(orjson.dumps(SNAPSHOT))
    words = {word: orjson.dumps(word) for word in set(operations)}
    return map(words.__getitem__, operations)
