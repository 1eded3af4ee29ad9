"""The MySQL source keeps the promises of a source, on a real MariaDB."""

import pytest
from server_kit import ServerKit

from fuagent.sources.mysql import MySQL
from fuagent.testing.source_suite import SourceSuite
from harness.server import until


class Kit(ServerKit):
    """A MariaDB server."""

    driver = MySQL

    def begin(self):
        for table in self.tables:
            self.database.execute(f"CREATE TABLE {table} (id BIGINT PRIMARY KEY, v LONGTEXT)")

    async def replace(self):
        self.server.drop(self.database.name)
        # A file is told from another of its name by the second it was begun in.
        now = self.server.execute("SELECT UNIX_TIMESTAMP()")
        until(lambda: self.server.execute("SELECT UNIX_TIMESTAMP()") != now, "the clock stands still")
        self.server.execute("RESET MASTER", database=None)
        self.database = self.server.database(self.database.name)
        self.begin()

    async def interrupt(self):
        # A session that has closed may be listed, and gone when its turn comes.
        self.server.execute(
            "BEGIN NOT ATOMIC DECLARE CONTINUE HANDLER FOR 1094 BEGIN END; "
            "FOR one IN (SELECT id FROM information_schema.processlist WHERE user = 'fuagent') "
            "DO KILL one.id; END FOR; END",
            database=None,
        )


@pytest.fixture(autouse=True)
def _servers(mariadb):
    Kit.server = mariadb


class TestMariaDB(SourceSuite):
    """A server as the how-to sets it up."""

    Kit = Kit
    no_remains = "nothing of fuagent's is ever in the database"
    no_purge = (
        "the server purges by age, whatever was acknowledged; tests/e2e/test_mysql_places.py has it outrun the agent"
    )
    no_miss = "what a session hides with sql_log_bin = 0 leaves no trace on the server"
