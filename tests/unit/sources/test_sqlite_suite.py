"""The SQLite source keeps the promises of a source."""

import sqlite3

from fuagent.sources.sqlite import SQLite
from fuagent.sources.sqlite.names import PREFIX, Names
from fuagent.testing.source_kit import SourceKit
from fuagent.testing.source_suite import SourceSuite


class Kit(SourceKit):
    """A database file, and a second program that writes to it."""

    values = (*SourceKit.values, 7, -(2**63), 0.1, 1e300, b"\x00\xff")
    mode = "wal"

    def __init__(self, directory):
        super().__init__(directory)
        self.path = directory / "shop.db"
        self.db = self.begun()

    def begun(self):
        db = sqlite3.connect(self.path, isolation_level=None, timeout=20)
        db.execute(f"PRAGMA journal_mode = {self.mode}")
        db.execute("PRAGMA synchronous = OFF")
        for table in self.tables:
            db.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, v)")
        return db

    async def __aexit__(self, *_error):
        self.db.close()

    def source(self, tables, exclude):
        options = SQLite.Options(chunk_rows=7, keep_rows=0)
        return SQLite(self.context(tables, exclude, endpoint=f"sqlite:///{self.path}", options=options))

    def write(self, changes, end):
        self.db.execute("BEGIN IMMEDIATE")
        for change in changes:
            if change.old is None:
                names = ", ".join(change.new)
                values = ", ".join("?" * len(change.new))
                self.db.execute(f"INSERT INTO {change.table} ({names}) VALUES ({values})", [*change.new.values()])
            elif change.new is None:
                self.db.execute(f"DELETE FROM {change.table} WHERE id = ?", (change.old["id"],))
            else:
                values = (change.new["id"], change.new["v"], change.old["id"])
                self.db.execute(f"UPDATE {change.table} SET id = ?, v = ? WHERE id = ?", values)
        self.db.execute(end)

    async def commit(self, *changes):
        self.write(changes, "COMMIT")

    async def roll_back(self, *changes):
        self.write(changes, "ROLLBACK")

    async def alter(self, table):
        self.db.execute(f"ALTER TABLE {table} ADD COLUMN extra TEXT")

    async def purge(self):
        for source in self._made:
            if source._worker is not None:
                source._cleaner._due = 0.0
                await source._clean()

    async def replace(self):
        self.db.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self.db = self.begun()

    async def miss(self, *changes):
        names = Names.of("agent-0123456789ab", "suite")
        found = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?"
        for change in changes:
            for (trigger,) in self.db.execute(found, (change.table,)).fetchall():
                assert trigger.startswith(names.log[: len(PREFIX)])
                self.db.execute(f'DROP TRIGGER "{trigger}"')
        self.write(changes, "COMMIT")

    async def remains(self):
        return [
            name for (name,) in self.db.execute("SELECT name FROM sqlite_schema WHERE name LIKE ?", (PREFIX + "%",))
        ]


class RollbackKit(Kit):
    """The same with a rollback journal."""

    mode = "delete"


class TestSQLite(SourceSuite):
    """A database in WAL mode."""

    Kit = Kit
    no_previous = "numbers come from the log alone; what oldest() gives lies above by a base kept in the database"
    no_interrupt = "there is no connection to cut: the database is a file"


class TestSQLiteRollback(TestSQLite):
    """A database with a rollback journal."""

    Kit = RollbackKit
    no_write_beside = "with a rollback journal SQLite lets nobody commit while a picture is read; check says so"
