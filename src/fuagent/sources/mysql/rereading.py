"""Rows read by themselves, beside log and snapshot: by their keys, and the first of a table."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from fuagent.encode.compile import Values
from fuagent.encode.recover import Key
from fuagent.encode.shown import shown
from fuagent.errors import HaltSyncError
from fuagent.model import Kind, Row, TableSpec, Written
from fuagent.sources import rereading
from fuagent.sources.mysql.columns import Declared, pieces, quote, quoted
from fuagent.sources.mysql.link import Link, RawRow
from fuagent.sources.mysql.tables import Layout, layouts
from fuagent.sources.mysql.versions import Version
from fuagent.sources.picture import encoder

_NUMBERS = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT})
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_MOMENTS = frozenset({Kind.DATETIME, Kind.TIMESTAMP})


async def by_key(link: Link, version: Version, keys: Sequence[Row], home: str) -> list[Row | None]:
    """Rows as they are now, as ``version`` has its columns; None for one that is gone.

    Raises:
        HaltSyncError: the table is gone, or has not all of these columns any more, or has them of another type.
    """
    await link.rows("START TRANSACTION READ ONLY")
    try:
        # From the first statement on nobody alters the table before the end of the transaction.
        await link.rows(f"SELECT 1 FROM {quoted(version.name)} LIMIT 0")  # noqa: S608 - names go through quote
        [layout] = await layouts(link, [version.name], home)
        columns = _same(version, layout)
        declared = {one.column.name: one for one in layout.columns}
        key = [declared[name] for name in version.table.key]
        rows: list[Row | None] = []
        for one in keys:
            raw = await _some(link, layout, columns, key, one)
            rows.append(rereading.under(one, version.keys, pieces(columns, raw)[0]) if raw else None)
        return rows
    finally:
        await link.attempt("ROLLBACK")


def _same(version: Version, layout: Layout) -> list[Declared]:
    """The columns of a version as the table has them now: what is read of others would be taken for another type's."""
    declared = {one.column.name: one for one in layout.columns}
    found = [
        declared[column.name]
        for column in version.table.columns
        if column.name in declared and replace(declared[column.name].column, nullable=column.nullable) == column
    ]
    if len(found) < len(version.table.columns):
        raise HaltSyncError(
            f"rows of table {shown(version.label)} lack columns in the binlog, that the table has no more or of another type",
            fix="SET GLOBAL binlog_row_image = FULL; then take a snapshot with fuagent snapshot",
        )
    return found


async def reread(link: Link, spec: TableSpec, layout: Layout, events: Sequence[bytes]) -> list[Written]:
    """The rows that events of one table told of, as they are now."""
    spec = replace(spec, table=layout.table)
    declared = {one.column.name: one for one in layout.columns}
    names = [declared[name] for name in layout.table.key]

    async def fetch(key: Key) -> list[RawRow]:
        return await _some(link, layout, layout.columns, names, key)

    return await rereading.reread(spec, lambda: encoder(spec, layout), fetch, events)


async def sample(link: Link, spec: TableSpec, layout: Layout, most: int) -> list[Written]:
    """The first rows of a table, in its own order, as events."""
    spec = replace(spec, table=layout.table)
    writer = encoder(spec, layout)
    rows: list[Values] = []
    async with aclosing(link.raw(_selecting(layout.columns, layout), 100)) as found:
        async for some in found:
            rows += rereading.fitting(writer, some)
            if len(rows) >= most:
                break
    return rereading.sampled(writer, rows, most)


def _selecting(columns: Sequence[Declared], layout: Layout) -> str:
    return f"SELECT {', '.join(one.select for one in columns)} FROM {quoted(layout.name)}"  # noqa: S608 - names go through quote


async def _some(
    link: Link, layout: Layout, columns: Sequence[Declared], key: Sequence[Declared], values: Row | Key
) -> list[RawRow]:
    conditions = [
        f"{quote(one.column.name)} = {_literal(value, one.column.kind)}" for one, value in zip(key, values, strict=True)
    ]
    query = f"{_selecting(columns, layout)} WHERE {' AND '.join(conditions)}"
    rows: list[RawRow] = []
    async with aclosing(link.raw(query, 100)) as found:
        async for some in found:
            rows += some
    return rows


def _literal(value: object, kind: Kind) -> str:
    """A value of a key in a statement; as hexadecimal digits, nothing in it can end the text."""
    if value is None or isinstance(value, bool):
        return "NULL"
    text = value.decode() if isinstance(value, bytes) else str(value)
    if kind in _NUMBERS and _NUMBER.fullmatch(text):
        return text
    if kind is Kind.BINARY:
        return f"x'{b64decode(text).hex()}'"
    if kind in _MOMENTS:
        text = text.replace("T", " ").removesuffix("Z")
    return f"_utf8mb4 x'{text.encode().hex()}'"
