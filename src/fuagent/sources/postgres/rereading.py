"""Rows read by themselves, beside log and snapshot: by their keys, and the first of a table."""

from __future__ import annotations

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
from fuagent.sources.picture import encoder
from fuagent.sources.postgres.columns import Declared, quote, quoted
from fuagent.sources.postgres.link import Link
from fuagent.sources.postgres.tables import Layout
from fuagent.sources.postgres.versions import Version
from fuagent.wire.postgres import copy


async def by_key(link: Link, layout: Layout, version: Version, keys: Sequence[Row]) -> list[Row | None]:
    """Rows as they are now, as ``version`` has its columns; None for one that is gone.

    Raises:
        HaltSyncError: the table has not all of these columns any more, or they are of another type.
    """
    by_name = {one.column.name: one for one in layout.columns}
    wanted = [by_name.get(column.name) for column in version.table.columns]
    found = [one for one in wanted if one is not None]
    if len(found) < len(wanted):
        raise _altered(layout, version)
    names = [by_name[name] for name in version.table.key]
    rows: list[Row | None] = []
    for key in keys:
        texts = [value.decode() if isinstance(value, bytes) else None for value in key]
        raw = await _some(link, layout, found, names, texts, typed=True)
        # Asked in the same statement: the layout may be older than the last ALTER TABLE, and not the log's own either.
        if raw and raw[0][-1] != ",".join(map(str, version.types)).encode():
            raise _altered(layout, version)
        rows.append(rereading.under(key, version.keys, raw[0][:-1]) if raw else None)
    return rows


def _altered(layout: Layout, version: Version) -> HaltSyncError:
    what = "of columns that the table has no more, or that are of another type now"
    return HaltSyncError(
        f"rows of table {shown(version.label)} lack large values in the log, {what}",
        fix=f"ALTER TABLE {shown(quoted(layout.name))} REPLICA IDENTITY FULL; then take a snapshot with fuagent snapshot",
    )


async def reread(link: Link, spec: TableSpec, layout: Layout, events: Sequence[bytes]) -> list[Written]:
    """The rows that events of one table told of, as they are now."""
    spec = replace(spec, table=layout.table)
    by_name = {one.column.name: one for one in layout.columns}
    names = [by_name[name] for name in layout.table.key]

    async def fetch(key: Key) -> list[Row]:
        texts = [_text(value, one.column.kind) for value, one in zip(key, names, strict=True)]
        return await _some(link, layout, layout.columns, names, texts)

    return await rereading.reread(spec, lambda: encoder(spec, layout), fetch, events)


async def sample(link: Link, spec: TableSpec, layout: Layout, most: int) -> list[Written]:
    """The first rows of a table, in its own order, as events."""
    spec = replace(spec, table=layout.table)
    writer = encoder(spec, layout)
    rows: list[Values] = []
    async with aclosing(link.copy(f"COPY ({_selecting(layout.columns, layout)}) TO STDOUT")) as blocks:
        async for block in blocks:
            rows += rereading.fitting(writer, copy.rows(block, len(layout.columns)))
            if len(rows) >= most:
                break
    return rereading.sampled(writer, rows, most)


def _selecting(columns: Sequence[Declared], layout: Layout, *, typed: bool = False) -> str:
    only = "" if layout.partitioned else "ONLY "
    wanted = [one.select for one in columns]
    if typed:
        types = ", ".join(f"pg_catalog.pg_typeof({one})::pg_catalog.oid" for one in wanted)
        wanted.append(f"pg_catalog.concat_ws(',', {types})")
    return f"SELECT {', '.join(wanted)} FROM {only}{quoted(layout.name)}"  # noqa: S608 - names go through quote


async def _some(
    link: Link,
    layout: Layout,
    columns: Sequence[Declared],
    key: Sequence[Declared],
    values: Sequence[str | None],
    *,
    typed: bool = False,
) -> list[Row]:
    """Rows of one key; with ``typed`` each ends with the OIDs of its columns' types, joined by commas."""
    # A literal without a type takes that of the column it is compared with.
    conditions = [f"{quote(one.column.name)} = {_literal(value)}" for one, value in zip(key, values, strict=True)]
    query = f"COPY ({_selecting(columns, layout, typed=typed)} WHERE {' AND '.join(conditions)}) TO STDOUT"
    rows: list[Row] = []
    async with aclosing(link.copy(query)) as blocks:
        async for block in blocks:
            rows += copy.rows(block, len(columns) + typed)
    return rows


def _text(value: object, kind: Kind) -> str | None:
    """A value out of an event as the database reads it."""
    if value is None:
        return None
    if kind is Kind.BINARY:
        return f"\\x{b64decode(str(value)).hex()}"
    return str(value)


def _literal(text: str | None) -> str:
    """A text in a statement; backslashes mean nothing there (standard_conforming_strings)."""
    return "NULL" if text is None else "'{}'".format(text.replace("'", "''"))
