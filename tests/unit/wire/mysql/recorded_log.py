"""Logs that real servers wrote, walked to the rows in them."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fuagent.errors import DecodeError
from fuagent.wire.mysql import compressed, events, images, rows, tablemap

FOLDER = Path(os.environ.get("FUAGENT_FIXTURES", Path(__file__).parents[5] / "shared" / "fixtures")) / "binlogs"
MANIFEST = FOLDER / "manifest.json"
if not MANIFEST.is_file():
    pytest.skip(f"recorded logs are not at {FOLDER} (set FUAGENT_FIXTURES)", allow_module_level=True)

LOGS = ("mariadb-types/mariadb-10.11-types.000001", "mariadb-types/mariadb-10.11-compressed-full-metadata.000001")
"""The same statements, plain and with compressed events: a table for each type of MariaDB."""

UTF8 = 45
"""The collation utf8mb4_general_ci."""


@dataclass(frozen=True)
class Change:
    """One row that was inserted, updated or deleted."""

    event: int
    schema: str
    table: str
    operation: str
    before: tuple | None
    after: tuple | None


def content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else gzip.decompress(path.with_name(path.name + ".gz").read_bytes())


def told(name: str):
    return json.loads(content(FOLDER / f"{name}.expected.json"))


class Log:
    """The changes of one file. ``says`` gives what its table maps leave out, by table."""

    def __init__(self, name: str, says=None) -> None:
        self.changes: list[Change] = []
        self.maps: dict[int, tablemap.TableMap] = {}
        self.tables: dict[str, tablemap.TableMap] = {}
        self.faults: list[str] = []
        self._says = says or (lambda _, columns: columns)
        self._readers: dict = {}
        self._description = None
        self._number = 0
        data = content(FOLDER / name)
        try:
            for at, header, body in events.events(data):
                self._number += 1
                if header.kind == events.FORMAT_DESCRIPTION:
                    self._description = events.read_format_description(data[at : at + header.size])
                self._event(header, body)
        except DecodeError as error:
            self.faults.append(error.what)

    def _event(self, header, body) -> None:
        kind = header.kind
        if kind in compressed.COMPRESSED:
            kind, body = compressed.uncompressed(kind, body, self._description)
        if kind == events.TRANSACTION_PAYLOAD:
            for inner, data in compressed.payload(body, self._description):
                self._event(inner, data)
        elif kind == events.TABLE_MAP:
            width = 4 if self._description.post_header(kind, 8) == 6 else 6
            found = tablemap.read(body, mariadb=self._description.mariadb, id_bytes=width)
            assert tablemap.identify(body, width) == (found.table_id, found.schema, found.name)
            self.maps[found.table_id] = self.tables[found.name] = found
        elif kind in rows.ROWS:
            try:
                self._rows(rows.read_rows_header(kind, body, self._description), body)
            except DecodeError as error:
                self.faults.append(error.what)

    def _rows(self, header, body) -> None:
        table = self.maps[header.table_id]
        wanted = (header.operation == rows.UPDATE, header.partial, header.present, header.present_after)
        key = (table.name, table.columns, *wanted)
        if key not in self._readers:
            self._readers[key] = compiled(self._says(table.name, table.columns), *wanted)
        found = self._readers[key](body, header.start, len(body))
        if header.operation == rows.UPDATE:
            pairs = zip(*found, strict=True)
        else:
            pairs = ((row, None) if header.operation == rows.DELETE else (None, row) for row in found)
        self.changes += [
            Change(self._number, table.schema, table.name, header.operation, before, after) for before, after in pairs
        ]

    def of(self, table: str) -> list[Change]:
        return [change for change in self.changes if change.table == table]


def compiled(columns, update, partial, present, after):
    if update:
        return images.compile_updates(columns, present, after, partial=partial)
    return images.compile_reader(columns, present)


def unsaid(table, columns):
    """What logs without metadata leave out: here all integers are signed and all texts UTF-8."""
    del table
    labels = tuple(b"label %d" % number for number in range(1, 65))
    return [
        replace(
            column,
            unsigned=bool(column.unsigned),
            collation=UTF8 if column.collation is None else column.collation,
            labels=labels if column.labels is None else column.labels,
        )
        for column in columns
    ]
