"""Rows read by themselves, beside log and snapshot: those an old event told of, and the first of a table.

SQLite's values have types of their own, and JSON has fewer: what stands in an event as text may
have been text, a number under a form that makes it text, or a blob in base64. Each is tried,
and a row found counts only if its key is written the same way again.
"""

from __future__ import annotations

import sqlite3
from base64 import b64decode
from binascii import Error as NotBase64Error
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import orjson

from fuagent.encode.compile import Encoder, compile_encoder
from fuagent.encode.recover import Key, Keys
from fuagent.encode.transform import Unfit
from fuagent.errors import FuagentError
from fuagent.model import Deletes, TableSpec, Written
from fuagent.sources.sqlite.layout import Layout
from fuagent.sources.sqlite.names import quote
from fuagent.sources.sqlite.worker import lenient, reading

_BY_TRANSFORM = (
    "no row has the key in the event: the row is gone, or the transform changed its key. "
    "Take the row off the list, or take a snapshot"
)
_LARGEST = 2**63 - 1


def reread(connection: sqlite3.Connection, spec: TableSpec, found: Layout, events: Sequence[bytes]) -> list[Written]:
    """The rows that events of one table told of, as they are now."""
    spec = replace(spec, table=found.table)
    try:
        again = _Rereading(connection, spec, compile_encoder(spec), Keys.of(spec))
    except FuagentError as error:
        return [Written(refused=_text(error))] * len(events)
    with reading(connection):
        return [lenient(connection, partial(again.one, text)) for text in events]


def sample(connection: sqlite3.Connection, spec: TableSpec, found: Layout, most: int) -> list[Written]:
    """The first rows of a table, in its own order, as events."""
    spec = replace(spec, table=found.table)
    encoder = compile_encoder(spec)
    columns = ", ".join(quote(column.name) for column in found.table.columns)
    query = f"SELECT {columns} FROM {quote(found.table.name)} NOT INDEXED"  # noqa: S608

    def read() -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        for row in connection.execute(query):
            if len(rows) == most:
                break
            rows += [row] if encoder.fits([row])[0] else []
        return rows

    with reading(connection):
        return [_sent(encoder, text) for row in lenient(connection, read) for text in encoder.rows([row])]


@dataclass(frozen=True, slots=True)
class _Rereading:
    """One table while its rows are read again."""

    connection: sqlite3.Connection
    spec: TableSpec
    encoder: Encoder
    keys: Keys

    def one(self, text: bytes) -> Written:
        """The row one event told of."""
        try:
            key = self.keys.read(text)
        except FuagentError as error:
            return Written(refused=_text(error))
        for row in self._rows(key):
            [event] = self.encoder.rows([row])
            if self.keys.read(event) == key:
                return _sent(self.encoder, event) if self.encoder.fits([row])[0] else self._gone(text, key)
        if self.spec.mapping.transform is not None:
            return Written(refused=_BY_TRANSFORM)
        return self._gone(text, key)

    def _gone(self, text: bytes, key: Key) -> Written:
        """The mark again, if the event was one; the key's values are written as they were read."""
        mapping = self.spec.mapping
        if mapping.deletes is Deletes.MARK and orjson.loads(text).get(mapping.delete_field) is True:
            [event] = self.encoder.keys([key])
            return _sent(self.encoder, event)
        return Written()

    def _rows(self, key: Key) -> Iterator[tuple[object, ...]]:
        columns = ", ".join(quote(column.name) for column in self.spec.table.columns)
        same = " AND ".join(f"{quote(name)} IS ?" for name in self.spec.table.key)
        query = f"SELECT {columns} FROM {quote(self.spec.table.name)} WHERE {same}"  # noqa: S608
        for values in product(*map(_may_have_been, key)):
            yield from self.connection.execute(query, values).fetchall()


def _may_have_been(value: object) -> list[object]:
    """The values of SQLite that this one of JSON may stand for, the likeliest first."""
    if value is None or isinstance(value, int | float):
        text = [] if value is None else [orjson.dumps(value).decode()]
        return [value if _fits(value) else None, *text]
    if not isinstance(value, str):
        return []
    possible: list[object] = [value]
    with suppress(ValueError):
        possible += [number for number in [float(value) if "." in value else int(value)] if _fits(number)]
    with suppress(NotBase64Error, ValueError):
        possible.append(b64decode(value, validate=True))
    return possible


def _fits(value: object) -> bool:
    return not isinstance(value, int) or -_LARGEST - 1 <= value <= _LARGEST


def _sent(encoder: Encoder, event: bytes) -> Written:
    """The event as it would be sent."""
    if encoder.transform is None:
        return Written(bytes(event))
    [done] = encoder.transformed([event], None)
    return Written(refused=done.reason) if isinstance(done, Unfit) else Written(done)


def _text(error: FuagentError) -> str:
    return f"{error.what}. {error.fix}".strip()
