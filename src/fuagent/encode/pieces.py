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
from fuagent.model import Kind, TableSpec
from fuagent.model_rows import Columns, Texts

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


class _Writer:
    """The generated functions that write one kind of event, made when they are first needed."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._made: dict[tuple[bool, bool], Make] = {}

    def events(self, rows: Sequence[Values], beside: list[list[object]], facts: Facts, *, indexed: bool) -> list[bytes]:
        """Rows, and what stands beside each, as events."""
        told = [orjson.dumps(fact) for fact in (facts.commit_time, facts.transaction, facts.operations is None)]
        try:
            return self._make(indexed=indexed)(zip(rows, *beside, strict=False) if beside else rows, *told)
        except TypeError:
            careful = self._make(indexed=indexed, careful=True)
            return careful(zip(rows, *beside, strict=False) if beside else rows, *told)

    def _make(self, *, indexed: bool, careful: bool = False) -> Make:
        found = self._made.get((indexed, careful))
        if found is None:
            found = self._made[indexed, careful] = self._code.write(indexed=indexed, careful=careful)
        return found


class _Shape:
    """One kind of event, written from rows as they come."""

    def __init__(self, code: Code) -> None:
        # A text is looked at before it is written, so it must be a piece by then.
        early = not code.converts.keys().isdisjoint(code.texts)
        self._convert = code.convert() if early else None
        self._code = code.converted() if early else code
        self._gather = code.gather() if code.texts else None
        self._exchange = code.exchange()
        self._by_row = _Writer(self._code)
        self._by_column = _Writer(self._code.whole())

    def write(
        self, rows: Sequence[Values], indexes: Iterable[int] | None, deleted: Iterable[bool] | None, facts: Facts
    ) -> Sequence[bytes]:
        """The rows as events, as JSON text."""
        columns = self._columns(rows) if isinstance(rows, Columns) else None
        extras: list[Iterable[object]] = []
        if columns is not None:
            writer, rows, plain = self._by_column, *columns
        else:
            writer = self._by_row
            rows, plain = self._rows(rows)
            extras += [each.column([row[at] for row in rows]) for at, each in self._code.columnwise.items()]
        if self._code.tells:
            extras.append(_words(facts.operations))
        if self._code.made.mark is not None:
            extras.append(repeat(False) if deleted is None else deleted)
        if indexes is not None:
            extras.append(indexes)
        # Lists, since a chunk may have to be gone through twice.
        beside = [list(islice(extra, len(rows))) for extra in extras]
        events = writer.events(rows, beside, facts, indexed=indexes is not None)
        joined = b",".join(events)
        if events and (plain or joined.count(Texts.BORDER) == len(events) - 1):
            return Texts(joined, len(events))
        return events

    def _columns(self, rows: Columns) -> tuple[Columns, bool] | None:
        """Columns of which each is as it is to be written, and whether no text has a brace; None if one needs escapes."""
        if self._convert is not None:
            return None
        columns: list[Sequence[Any]] = list(rows.columns)
        whole = BETWEEN.join([BETWEEN.join(filter(None, columns[at])) for at in self._code.texts])
        if _needs_escapes(whole):
            return None
        for at, each in self._code.columnwise.items():
            columns[at] = each.column(columns[at])
        return Columns(columns, len(rows)), self._code.plain and b"{" not in whole

    def _rows(self, rows: Sequence[Values]) -> tuple[Sequence[Values], bool]:
        """Rows with their texts as they are to be written, and whether none of these has a brace."""
        if self._convert is not None:
            rows = self._convert(rows)
        if self._gather is None:
            return rows, self._code.plain
        texts = self._gather(rows)
        whole = BETWEEN.join(texts)
        return self._escaped(rows, texts, whole), self._code.plain and b"{" not in whole

    def _escaped(self, rows: Sequence[Values], texts: Sequence[bytes], whole: bytes) -> Sequence[Values]:
        """The rows, those of them escaped that need it; ``texts`` are each row's own, and ``whole`` all of them."""
        if not _needs_escapes(whole):
            return rows
        places: Sequence[int] = range(len(rows))
        if _is_utf_8(whole):
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


def _needs_escapes(text: bytes) -> bool:
    return len(text.translate(None, _AWKWARD)) != len(text) or not _is_utf_8(text)


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
