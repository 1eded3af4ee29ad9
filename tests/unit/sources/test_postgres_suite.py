"""The PostgreSQL source keeps the promises of a source, on a real server."""

import pytest
from server_kit import ServerKit

from fuagent.sources.postgres import Postgres
from fuagent.testing.source_suite import SourceSuite
from harness.server import USER


class Kit(ServerKit):
    """A PostgreSQL server."""

    driver = Postgres

    def begin(self):
        for table in self.tables:
            self.database.create(table, "id bigint PRIMARY KEY, v text")
            self.database.execute(f"ALTER TABLE {table} REPLICA IDENTITY FULL")

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
