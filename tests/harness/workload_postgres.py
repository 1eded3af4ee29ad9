"""What a `Workload` knows of PostgreSQL."""

from __future__ import annotations

import base64
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from harness.postgres import Database
from harness.workload_table import Chance, Values, day, moment

FIXED = {
    "id": "BIGINT NOT NULL PRIMARY KEY",
    "ver": "INT NOT NULL",
    "tx": "INT NOT NULL",
    "val": "TEXT NOT NULL",
    "chk": "BIGINT NOT NULL",
    "lump_no": "BIGINT NOT NULL",
    "lump": "TEXT NOT NULL",
    "z_big": "BIGINT",
    "z_dec": "NUMERIC(20,4)",
    "z_num": "NUMERIC",
    "z_dbl": "DOUBLE PRECISION",
    "z_real": "REAL",
    "z_flag": "BOOLEAN",
    "z_short": "VARCHAR(40)",
    "z_bin": "BYTEA",
    "z_date": "DATE",
    "z_dt": "TIMESTAMP",
    "z_ts": "TIMESTAMPTZ(3)",
    "z_span": "INTERVAL",
    "z_enum": "w_kind",
    "z_set": "TEXT[]",
    "z_grid": "INT[]",
    "z_json": "JSONB",
    "z_uuid": "UUID",
}
EXTRA = {
    "INT DEFAULT 7": lambda chance: chance.randrange(1000),
    "VARCHAR(30) DEFAULT 'new'": lambda _: "x" * 9,
    "BIGINT": lambda chance: chance.randrange(2**40),
    "TEXT": lambda chance: chance.choice(("", "some", "more")),
}
ADDED = ("INT DEFAULT 7", "VARCHAR(30) DEFAULT 'new'")
"""What a column is when it comes; its type may change later."""
CALLED = dict(zip(("integer", "character varying", "bigint", "text"), EXTRA, strict=True))
MOST_ADDED = 1400
"""A dropped column counts for ever, and there can be 1600."""


def _number(value: float) -> Any:
    return value if math.isfinite(value) else {"inf": "Infinity", "-inf": "-Infinity"}.get(str(value), "NaN")


AS_JSON = {
    "z_dec": ("{}::text", str),
    "z_num": ("{}::text", str),
    "z_dbl": ("{}", _number),
    "z_bin": ("{}", lambda value: base64.b64encode(value).decode()),
    "z_date": ("{}::text", str),
    "z_dt": ("{}::text", lambda value: value.replace(" ", "T")),
    "z_ts": ("{}::text", lambda value: value.replace(" ", "T").replace("+00", "Z")),
    "z_span": ("{}::text", str),
    "z_uuid": ("{}::text", str),
}


class PostgresDialect:
    """See `harness.workload_table.Dialect`.

    Args:
        identity: The table's replica identity, FULL or DEFAULT. With the latter a large value that was left alone is
            not in the log, so that the row is read again: no column may go then, or become another.
    """

    fixed, extra, as_json = FIXED, EXTRA, AS_JSON
    errors = (psycopg.Error,)
    once = "INSERT INTO {} VALUES (%s, %s) ON CONFLICT DO NOTHING"

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.leaves_out = identity == "DEFAULT"

    def create(self, database: Database, table: str) -> None:
        """See `harness.workload_table.Dialect`."""
        if not database.execute("SELECT 1 FROM pg_type WHERE typname = 'w_kind'"):
            database.execute("CREATE TYPE w_kind AS ENUM ('one', 'two', 'th\"ree')")
        database.create(table, ", ".join(f"{name} {declared}" for name, declared in self.fixed.items()))
        database.execute(f"ALTER TABLE {table} ALTER COLUMN lump SET STORAGE EXTERNAL")  # never small by compression
        database.execute(f"ALTER TABLE {table} REPLICA IDENTITY {self.identity}")

    def connect(self, database: Database) -> psycopg.Connection[Any]:
        """See `harness.workload_table.Dialect`."""
        settings = "-c timezone=UTC -c intervalstyle=iso_8601"
        return database.connect(options=settings, prepare_threshold=None)  # a plan does not outlive a DDL

    def is_lost(self, error: Exception) -> bool:
        """See `harness.workload_table.Dialect`."""
        state = (error.sqlstate or "08") if isinstance(error, psycopg.Error) else "08"
        ours = isinstance(error, OSError | psycopg.OperationalError | psycopg.InterfaceError)
        return ours and state.startswith(("08", "57P0"))

    def forget(self, session: psycopg.Connection[Any]) -> None:
        """See `harness.workload_table.Dialect`."""
        session.close()

    def zoo(self, chance: Chance) -> Values:
        """See `harness.workload_table.Dialect`."""
        grids = ("{}", "{1,NULL,-3}", "{{1,2},{3,4}}")
        jsons = ({}, [], {"a": [1, None, 2.5], "b": {"c": "Zoë 🦉"}}, "text", 12345678901234567890, None, False)
        return {
            "z_big": chance.choice((0, 1, -(2**63), 2**63 - 1)),
            "z_dec": f"{chance.randrange(-(10**15), 10**15)}.{chance.randrange(10**4):04}",
            "z_num": chance.choice(("0", "NaN", "-0.000000000000000001", "1e30", "98765432109876543210.123456789")),
            "z_dbl": chance.choice((0.0, -1.5, 1e300, math.inf, math.nan, chance.random())),
            "z_real": chance.choice((0.0, -1.5, 0.1, 1e30)),
            "z_flag": chance.random() < 0.5,
            "z_short": chance.choice(("", "café", "£§", "\\N", "tab\tline\n")),
            "z_bin": chance.randbytes(chance.choice((0, 1, 40, 300))),
            "z_date": day(chance),
            "z_dt": moment(chance, 6),
            "z_ts": moment(chance, 3),
            "z_span": chance.choice(("0", "1 year 2 days", "-3 hours", "00:00:01.5")),
            "z_enum": chance.choice(("one", "two", 'th"ree')),
            "z_set": chance.choice(("{}", "{a}", '{a,"c d",NULL}', '{"q\\"uote","back\\\\slash",Zoë}')),
            "z_grid": chance.choice(grids),
            "z_json": json.dumps(chance.choice(jsons)),
            "z_uuid": str(uuid.UUID(bytes=chance.randbytes(16))),
        }

    def insert(self, cursor: psycopg.Cursor[Any], table: str, rows: Sequence[Values]) -> None:
        """One row by INSERT, more by COPY."""
        names = ", ".join(rows[0])
        if len(rows) > 1:
            with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(list(row.values()))
            return
        marks = ", ".join(["%s"] * len(rows[0]))
        cursor.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(rows[0].values()))

    def upsert(self, names: Sequence[str]) -> str:
        """See `harness.workload_table.Dialect`."""
        return f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = EXCLUDED.{name}' for name in names)}"

    def extras(self, cursor: psycopg.Cursor[Any], table: str) -> dict[str, str]:
        """See `harness.workload_table.Dialect`."""
        cursor.execute("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s", (table,))
        return {name: CALLED[type_] for name, type_ in cursor.fetchall() if name not in self.fixed}

    def alteration(self, table: str, extra: Mapping[str, str], count: int, chance: Chance) -> str:
        """See `harness.workload_table.Dialect`."""
        kind = chance.random()
        fresh = f"x_{count}"
        if kind < 0.05 or (self.leaves_out and len(extra) >= 4):
            return f"VACUUM (FULL) {table}"  # written anew, and the log knows
        if not extra or (kind < 0.4 and len(extra) < 4 and count < MOST_ADDED) or self.leaves_out:
            return f"ALTER TABLE {table} ADD COLUMN {fresh} {chance.choice(ADDED)}"
        chosen = chance.choice(sorted(extra))
        if kind < 0.55:
            type_ = "BIGINT" if extra[chosen].startswith("INT") and chance.random() < 0.5 else "TEXT"
            return f"ALTER TABLE {table} ALTER COLUMN {chosen} TYPE {type_}"
        change = f"DROP COLUMN {chosen}" if kind < 0.75 else f"RENAME COLUMN {chosen} TO {fresh}"
        return f"ALTER TABLE {table} {change}"
