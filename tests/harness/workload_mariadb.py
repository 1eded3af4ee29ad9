"""What a `Workload` knows of MariaDB."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from harness.mariadb import Database
from harness.workload_table import Chance, Values, day, moment

LOST = {1053, *range(1158, 1162), 1317, 1927, 2002, 2003, 2006, 2013, 2014, 2055}
"""Numbers of errors that mean a connection is no more."""


FIXED = {
    "id": "BIGINT NOT NULL PRIMARY KEY",
    "ver": "INT NOT NULL",
    "tx": "INT NOT NULL",
    "val": "TEXT CHARACTER SET utf8mb4 NOT NULL",
    "chk": "INT UNSIGNED NOT NULL",
    "lump_no": "BIGINT NOT NULL",
    "lump": "MEDIUMTEXT CHARACTER SET latin1 NOT NULL",
    "z_big": "BIGINT UNSIGNED",
    "z_dec": "DECIMAL(20,4)",
    "z_dbl": "DOUBLE",
    "z_latin": "VARCHAR(40) CHARACTER SET latin1",
    "z_bin": "VARBINARY(300)",
    "z_date": "DATE",
    "z_dt": "DATETIME(6)",
    "z_ts": "TIMESTAMP(3) NULL",
    "z_enum": "ENUM('one','two','three')",
    "z_set": "SET('a','b','c')",
}
EXTRA = {"INT DEFAULT 7": lambda chance: chance.randrange(1000), "VARCHAR(30) DEFAULT 'new'": lambda _: "x" * 9}
AS_JSON = {
    "z_dec": ("CAST({} AS CHAR)", str),
    "z_bin": ("{}", lambda value: base64.b64encode(value).decode()),
    "z_date": ("CAST({} AS CHAR)", str),
    "z_dt": ("CAST({} AS CHAR)", lambda value: value.replace(" ", "T")),
    "z_ts": ("CAST({} AS CHAR)", lambda value: value.replace(" ", "T") + "Z"),
    "z_set": ("{}", lambda value: [label for label in value.split(",") if label]),
}


class MariaDBDialect:
    """See `harness.workload_table.Dialect`."""

    fixed, extra, as_json = FIXED, EXTRA, AS_JSON
    errors = (pymysql.err.MySQLError,)
    once = "INSERT IGNORE INTO {} VALUES (%s, %s)"
    leaves_out = False

    def create(self, database: Database, table: str) -> None:
        """See `harness.workload_table.Dialect`."""
        columns = ", ".join(f"{name} {declared}" for name, declared in self.fixed.items())
        database.execute(f"CREATE TABLE {table} ({columns})")

    def connect(self, database: Database) -> Connection[Any]:
        """See `harness.workload_table.Dialect`."""
        return database.connect(init_command="SET time_zone = '+00:00'")

    def is_lost(self, error: Exception) -> bool:
        """See `harness.workload_table.Dialect`."""
        number = error.args[0] if error.args else 0
        return isinstance(error, OSError | pymysql.err.InterfaceError) or number in LOST

    def forget(self, session: Connection[Any]) -> None:
        """See `harness.workload_table.Dialect`."""
        session._force_close()

    def zoo(self, chance: Chance) -> Values:
        """See `harness.workload_table.Dialect`."""
        return {
            "z_big": chance.choice((0, 1, 2**63, 2**64 - 1)),
            "z_dec": f"{chance.randrange(-(10**15), 10**15)}.{chance.randrange(10**4):04}",
            "z_dbl": chance.choice((0.0, -1.5, 1e300, chance.random())),
            "z_latin": chance.choice(("", "café", "£§")),
            "z_bin": chance.randbytes(chance.choice((0, 1, 40, 300))),
            "z_date": day(chance),
            "z_dt": moment(chance, 6),
            "z_ts": moment(chance, 3),
            "z_enum": chance.choice(("one", "two", "three")),
            "z_set": chance.choice(("", "a", "a,c", "a,b,c")),
        }

    def insert(self, cursor: Cursor, table: str, rows: Sequence[Values]) -> None:
        """See `harness.workload_table.Dialect`."""
        names = list(rows[0])
        marks = ", ".join(["%s"] * len(names))
        text = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"
        cursor.executemany(text, [tuple(row.values()) for row in rows])

    def upsert(self, names: Sequence[str]) -> str:
        """See `harness.workload_table.Dialect`."""
        return f"ON DUPLICATE KEY UPDATE {', '.join(f'{name} = VALUES({name})' for name in names)}"

    def extras(self, cursor: Cursor, table: str) -> dict[str, str]:
        """See `harness.workload_table.Dialect`."""
        cursor.execute(f"SHOW COLUMNS FROM {table}")
        return {name: self._declared(type_) for name, type_, *_ in cursor.fetchall() if name not in self.fixed}

    def _declared(self, type_: str) -> str:
        return next(declared for declared in self.extra if declared.startswith(type_.partition("(")[0].upper()))

    def alteration(self, table: str, extra: Mapping[str, str], count: int, chance: Chance) -> str:
        """See `harness.workload_table.Dialect`."""
        if count % 50 == 49:
            return (
                f"ALTER TABLE {table} FORCE"  # dropped columns take room in InnoDB's rows until the table is made anew
            )
        kind = chance.random()
        fresh = f"x_{count}"
        if not extra or (kind < 0.4 and len(extra) < 4):
            place = chance.choice(("", " FIRST", " AFTER val"))
            return f"ALTER TABLE {table} ADD COLUMN {fresh} {chance.choice(sorted(self.extra))}{place}"
        chosen = chance.choice(sorted(extra))
        change = f"DROP COLUMN {chosen}" if kind < 0.7 else f"RENAME COLUMN {chosen} TO {fresh}"
        return f"ALTER TABLE {table} {change}"
