"""Logs written by hand, readers that are fed with them, and sources before a scripted server."""

import contextlib
import gzip
import json
import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from fuagent.encode.changes import Reread
from fuagent.model import Column, Credential, Deletes, Kind, Mapping, Rows, Secret, Table, TableSpec
from fuagent.sources.mysql import MySQL
from fuagent.sources.mysql.columns import Said, declare
from fuagent.sources.mysql.places import FILE, MAGIC, Spot
from fuagent.sources.mysql.reading import LogReader, Prepared
from fuagent.sources.mysql.tables import Layout
from fuagent.sources.mysql.versions import Unknown, Versions
from fuagent.sources.selection import Name
from fuagent.testing.source_kit import SourceKit
from fuagent.wire.mysql import events
from fuagent.wire.mysql.gtids import GtidSet
from harness.mariadb import PASSWORD, USER
from harness.mysql_wire import Ok

FOLDER = Path(os.environ.get("FUAGENT_FIXTURES", Path(__file__).parents[5] / "shared" / "fixtures")) / "binlogs"
UUID_A, UUID_B = "aaaaaaaa-0000-0000-0000-000000000001", "bbbbbbbb-0000-0000-0000-000000000002"
BEGUN = 1_700_000_000
_FIXED = bytes([56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 95, 0, 4, 26, 8, 0, 0, 0, 8, 8, 8, 2, 0, 0, 0])
"""Lengths of the fixed parts of the first types, as MySQL 5.6 names them."""


def recorded(name):
    """A log that a real server wrote; the test is skipped where it is not at hand."""
    path = FOLDER / name
    packed = path.with_name(path.name + ".gz")
    if not path.is_file() and not packed.is_file():
        pytest.skip(f"recorded log {path} is not there (set FUAGENT_FIXTURES)")
    return path.read_bytes() if path.is_file() else gzip.decompress(packed.read_bytes())


# ------------------------------------------------------------ a log by hand


def event(kind, body, *, end=0, flags=0, time=BEGUN, server=1):
    """One event with a checksum; ``end`` is where it ends in its file, 0 for one that stands in none."""
    data = events.HEADER.pack(time, kind, server, events.HEADER.size + len(body) + 4, end % (1 << 32), flags) + body
    return data + struct.pack("<I", zlib.crc32(data))


def text(value):
    """A VARCHAR of less than 256 bytes, or nothing for NULL, as images hold it."""
    return b"" if value is None else bytes([len(value)]) + value.encode()


def image(*values):
    """A row image of numbers and texts; None is NULL."""
    nulls = sum(1 << place for place, value in enumerate(values) if value is None)
    parts = [struct.pack("<i", value) if isinstance(value, int) else text(value) for value in values]
    return nulls.to_bytes((len(values) + 7) // 8, "little") + b"".join(parts)


def table_map(table="t", *, number=7, schema="shop", names=(b"id", b"v"), key=True):
    """``id INT, v VARCHAR(…)``, or as many more texts, with full metadata."""
    wide = len(names) - 1
    fields = b"\x01\x01\x00" + b"\x02\x01\x2d"
    told = b"".join(bytes([len(name)]) + name for name in names)
    fields += b"\x04" + bytes([len(told)]) + told + (b"\x08\x01\x00" if key else b"")
    head = number.to_bytes(6, "little") + b"\x01\0"
    called = b"".join(bytes([len(name)]) + name.encode() + b"\0" for name in (schema, table))
    types = bytes([len(names), 3]) + b"\x0f" * wide + bytes([2 * wide]) + b"\xc8\0" * wide
    return head + called + types + b"\xfe" + fields


class Log:
    """One binlog file, written event by event; ``spot`` and ``end`` are where it has got to."""

    def __init__(self, file="binlog.000001", *, version="8.0.40", gtids=None, created=BEGUN, server=1, offset=MAGIC):
        self.file, self.server, self.end, self.created = file, server, offset, created
        self.mariadb = "MariaDB" in version
        self.events = []
        body = struct.pack("<H50sIB", 4, version.encode(), created, 19) + _FIXED + b"\x01"
        self.add(events.FORMAT_DESCRIPTION, body, time=created)
        if gtids is not None:
            self.add(events.PREVIOUS_GTIDS, GtidSet.parse(gtids).encode())

    def add(self, kind, body, **rest):
        """Write any event; gives the offset it stands at."""
        start = self.end
        self.end += events.HEADER.size + len(body) + 4
        self.events.append(event(kind, body, end=self.end, server=self.server, **rest))
        return start

    def pass_by(self, count):
        """Leave bytes out, as a server does that was asked for a later place."""
        self.end += count

    def gtid(self, number, uuid=UUID_A, *, committed=1_700_000_000_000_000):
        body = b"\x01" + UUID(uuid).bytes + struct.pack("<q", number) + b"\x02" + struct.pack("<QQ", 1, 2)
        return self.add(events.GTID, body + committed.to_bytes(7, "little"))

    def anonymous(self):
        return self.add(events.ANONYMOUS_GTID, b"\x01" + bytes(24))

    def mariadb_gtid(self, sequence, flags=0, rest=b""):
        return self.add(events.MARIADB_GTID, struct.pack("<QIB", sequence, 0, flags) + rest + bytes(6))

    def query(self, statement, schema="shop"):
        mode = b"\x01" + bytes(8)
        head = struct.pack("<IIBHH", 1, 0, len(schema), 0, len(mode))
        return self.add(events.QUERY, head + mode + schema.encode() + b"\0" + statement.encode())

    def map(self, table="t", **rest):
        return self.add(events.TABLE_MAP, table_map(table, **rest))

    def rows(self, kind, *images, number=7, width=2, present=None, time=BEGUN):
        every = ((1 << width) - 1).to_bytes((width + 7) // 8, "little")
        masks = present or [every] * (2 if kind in (events.UPDATE_ROWS_V2, events.PARTIAL_UPDATE_ROWS) else 1)
        head = number.to_bytes(6, "little") + b"\x01\0" + b"\x02\0" + bytes([width])
        return self.add(kind, head + b"".join(masks) + b"".join(images), time=time)

    def insert(self, *rows, **rest):
        return self.rows(events.WRITE_ROWS_V2, *(image(*row) for row in rows), **rest)

    def update(self, *rows, **rest):
        return self.rows(events.UPDATE_ROWS_V2, *(image(*row) for row in rows), **rest)

    def delete(self, *rows, **rest):
        return self.rows(events.DELETE_ROWS_V2, *(image(*row) for row in rows), **rest)

    def xid(self):
        return self.add(events.XID, bytes(8))

    def transaction(self, number, *rows, uuid=UUID_A):
        """A whole one of inserts; gives the offset of its rows."""
        self.gtid(number, uuid)
        self.query("BEGIN")
        self.map()
        at = self.insert(*rows)
        self.xid()
        return at

    def rotate(self, file):
        return self.add(events.ROTATE, struct.pack("<Q", MAGIC) + file.encode())

    @property
    def data(self):
        """The file."""
        return events.MAGIC + b"".join(self.events)

    @property
    def spot(self):
        """Where it stands now, for readers that know nothing else."""
        return Spot(self.file, self.end)


def artificial(file, offset=MAGIC):
    """What a server says first."""
    return event(events.ROTATE, struct.pack("<Q", offset) + file.encode(), flags=events.ARTIFICIAL_F, time=0)


def sent(log):
    """All of a log as a server sends it from its start."""
    return [artificial(log.file), *log.events]


# ------------------------------------------------------------ readers


COLUMNS = (Column("id", Kind.INTEGER, "int", nullable=False), Column("v", Kind.TEXT, "varchar(50)"))
TABLE = Table("t", COLUMNS, ("id",))
NAME = Name("shop", "t")


def versions(*tables, deletes=Deletes.ROW, folds=False, **rest):
    """What a sync of these tables knows at first."""
    mapping = Mapping(deletes=deletes, **rest)
    found = {Name("shop", table.name): TableSpec(table, mapping) for table in tables or (TABLE,)}
    return Versions(found, {"utf8mb4_general_ci": 45}, folds=folds)


def layout(*names, table=TABLE):
    """The table as information_schema has it."""
    said = [Said(one.name, one.type.partition("(")[0], one.type, one.nullable, "", "", "", 50) for one in table.columns]
    columns = tuple(declare(one, table.name) for one in said if not names or one.name in names)
    return Layout(NAME, table, columns)


def reader(log, known=None, spot=None, previous=0, **rest):
    """A reader at the start of a log, or at ``spot``."""
    at = spot or Spot(log.file, MAGIC)
    return LogReader(known or versions(), at, previous, mariadb=log.mariadb, **rest)


def drained(reading, arrived, rows=None, earlier=None, found=None, keyed=True):
    """What a reader gives; its questions are answered: tables are as the log says, rows are ``rows`` by their
    key, and a transaction that was prepared is read from ``earlier``. What comes before an error stays in ``found``."""
    found = [] if found is None else found
    for given in reading.feed(arrived):
        if isinstance(given, Unknown):
            given.layout = layout() if keyed else layout(table=replace(TABLE, key=()))
        elif isinstance(given, Reread):
            given.rows = [(rows or {}).get(key) for key in given.keys]
        elif isinstance(given, Prepared):
            found += drained(given.inner, earlier, rows)
            assert given.inner.finished
        else:
            assert isinstance(given, Rows)
            found.append(given)
    return found


def told(found):
    """Each event with its number."""
    return [json.loads(bytes(one)) for rows in found for one in rows.rows]


def numbers(found):
    """The numbers beside the events."""
    return [number for rows in found for number in rows.indexes]


# ------------------------------------------------------------ sources before a scripted server


def says(server, *, variables=None, tables=None, schema="shop"):
    """Have a server answer what a source asks of it: MySQL 8 or 9 with GTIDs.

    ``tables``: name → columns as (name, type, charset), the first of them the key.
    """
    known = {
        "version": server.version,
        "version_comment": "MySQL Community Server - GPL",
        "server_id": "1",
        "server_uuid": UUID_A,
        "log_bin": "ON",
        "binlog_format": "ROW",
        "binlog_row_image": "FULL",
        "gtid_mode": "ON",
        **(variables or {}),
    }
    tables = tables or {"t": [("id", "int", ""), ("v", "varchar(50)", "utf8mb4")]}
    columns = [
        (
            table,
            name,
            type_.partition("(")[0].partition(" ")[0],
            type_,
            "YES" if place else "NO",
            charset or None,
            f"{charset}_general_ci" if charset else None,
            "",
            50 if charset else None,
        )
        for table, described in tables.items()
        for place, (name, type_, charset) in enumerate(described)
    ]
    server.rows(r"SHOW GLOBAL VARIABLES.*", ["Variable_name", "Value"], *known.items())
    server.rows(r"SELECT SCHEMA_NAME.*", ["SCHEMA_NAME"], ("information_schema",), (schema,))
    server.rows(r"SELECT TABLE_NAME, TABLE_TYPE.*", ["n", "t"], *((table, "BASE TABLE") for table in tables))
    server.rows(r"SELECT TABLE_NAME, ENGINE.*", ["n", "e", "r"], *((table, "InnoDB", 3) for table in tables))
    server.rows(r"SELECT TABLE_NAME, COLUMN_NAME.*", [*"abcdefghij"], *((*column, "") for column in columns))
    keys = [(table, "PRIMARY", described[0][0], None) for table, described in tables.items()]
    server.rows(r"SELECT TABLE_NAME, INDEX_NAME.*", ["n", "i", "c", "s"], *keys)
    server.rows(r"SELECT UNIX_TIMESTAMP\(CREATE_TIME\).*", ["t"], (1_500_000_000,))
    server.rows(r"SELECT COLLATION_NAME, ID.*", ["c", "i"], ("utf8mb4_general_ci", "45"), ("utf8mb4_0900_ai_ci", "255"))
    server.rows(r"SELECT GET_LOCK.*", ["a", "b"], (1, 1))
    server.answer(r"DO RELEASE_LOCK.*|FLUSH TABLES.*|UNLOCK TABLES|(ROLLBACK TO )?SAVEPOINT.*", Ok())
    return server


def holds(server, *logs, executed="", purged=""):
    """Give a server its log files, as :class:`Log` or as (name, bytes)."""
    server.binlogs = dict((one.file, one.data) if isinstance(one, Log) else one for one in logs)
    file, data = list(server.binlogs.items())[-1]
    server.rows(r"SHOW BINARY LOGS", ["n", "s"], *((name, len(data)) for name, data in server.binlogs.items()))
    status = ["File", "Position", "Do", "Ignore", "Gtids"]
    server.rows(r"SHOW (MASTER|BINARY LOG) STATUS", status, (file, len(data), "", "", executed))
    server.rows(r"SELECT @@GLOBAL.gtid_executed.*", ["e", "p"], (executed, purged))
    return server


def unopened(server, *tables, schema="shop", warn=None, **options):
    """A source before this server, as the agent makes it."""
    made = MySQL.Options(**{"heartbeat": 30.0, **options})
    context = SourceKit(Path()).context(tables or ("*",), endpoint=server.url(schema), options=made)
    credential = Credential(user=USER, password=Secret(PASSWORD))
    return MySQL(replace(context, credential=lambda: credential, warn=warn or (lambda _finding: None)))


@contextlib.asynccontextmanager
async def source(server, *tables, deletes=Deletes.ROW, **rest):
    """The same, open and prepared."""
    made = unopened(server, *tables, **rest)
    try:
        await made.open()
        await made.prepare([TableSpec(table, Mapping(deletes=deletes)) for table in await made.discover()])
        yield made
    finally:
        await made.close()


def start(file="binlog.000001", previous=0, **rest):
    """The start of a file of the server with UUID_A."""
    return Spot(file, rest.pop("offset", MAGIC), 1, UUID_A, **rest).place(previous)


__all__ = ["FILE"]
