"""The PostgreSQL source keeps the promises of a source, on a real server."""

from dataclasses import replace
from itertools import count

import pytest

from fuagent.model import Credential, Secret
from fuagent.sources.postgres import Postgres
from fuagent.testing.source_kit import SourceKit
from fuagent.testing.source_suite import SourceSuite
from harness.postgres import PASSWORD, USER

_names = count(1)


class Kit(SourceKit):
    """A server of its own, and a second program that writes to it."""

    server = None

    def __init__(self, directory):
        super().__init__(directory)
        self.database = self.server.database(f"shop_suite_{next(_names)}")
        self.begin()

    def begin(self):
        for table in self.tables:
            self.database.create(table, "id bigint PRIMARY KEY, v text")
            self.database.execute(f"ALTER TABLE {table} REPLICA IDENTITY FULL")

    async def __aexit__(self, *_error):
        self.server.drop(self.database.name)

    def source(self, tables, exclude):
        options = Postgres.Options(chunk_rows=7, heartbeat=0.5)
        credential = Credential(user=USER, password=Secret(PASSWORD))
        context = self.context(tables, exclude, endpoint=self.database.url(), options=options)
        return Postgres(replace(context, credential=lambda: credential))

    def write(self, changes, end):
        with self.database.connect(autocommit=False) as session:
            for change in changes:
                if change.old is None:
                    names = ", ".join(change.new)
                    values = ", ".join(["%s"] * len(change.new))
                    session.execute(f"INSERT INTO {change.table} ({names}) VALUES ({values})", [*change.new.values()])
                elif change.new is None:
                    session.execute(f"DELETE FROM {change.table} WHERE id = %s", (change.old["id"],))
                else:
                    values = (change.new["id"], change.new["v"], change.old["id"])
                    session.execute(f"UPDATE {change.table} SET id = %s, v = %s WHERE id = %s", values)
            session.execute(end)

    async def commit(self, *changes):
        self.write(changes, "COMMIT")

    async def roll_back(self, *changes):
        self.write(changes, "ROLLBACK")

    async def alter(self, table):
        self.database.execute(f"ALTER TABLE {table} ADD COLUMN extra text")

    async def purge(self):
        self.database.execute("SELECT pg_switch_wal()")
        self.database.execute("CHECKPOINT")

    async def replace(self):
        self.server.drop(self.database.name)
        self.database = self.server.database(self.database.name)
        self.begin()

    async def miss(self, *changes):
        [(name,)] = self.database.execute("SELECT pubname FROM pg_publication")
        for table in {change.table for change in changes}:
            self.database.execute(f"ALTER PUBLICATION {name} DROP TABLE {table}")
        self.write(changes, "COMMIT")

    async def remains(self):
        query = (
            "SELECT pubname::text FROM pg_publication UNION ALL "
            "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
        )
        return [name for (name,) in self.database.execute(query)]

    async def interrupt(self):
        for (pid,) in self.database.execute(
            "SELECT pid FROM pg_stat_activity WHERE usename = %s AND datname = %s", USER, self.database.name
        ):
            self.server.terminate(pid)


@pytest.fixture(autouse=True)
def _server(postgres):
    Kit.server = postgres


class TestPostgres(SourceSuite):
    """All of the suite."""

    Kit = Kit
