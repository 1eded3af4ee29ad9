"""The MySQL source keeps the promises of a source, on a real MariaDB."""

from dataclasses import replace
from itertools import count

import pytest

from fuagent.model import Credential, Secret
from fuagent.sources.mysql import MySQL
from fuagent.testing.source_kit import SourceKit
from fuagent.testing.source_suite import SourceSuite
from harness.mariadb import PASSWORD, USER

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
            self.database.execute(f"CREATE TABLE {table} (id BIGINT PRIMARY KEY, v LONGTEXT)")

    async def __aexit__(self, *_error):
        self.server.execute(f"DROP DATABASE IF EXISTS `{self.database.name}`", database=None)

    def source(self, tables, exclude):
        options = MySQL.Options(chunk_rows=7, heartbeat=0.5)
        credential = Credential(user=USER, password=Secret(PASSWORD))
        endpoint = f"mysql://127.0.0.1:{self.server.port}/{self.database.name}"
        context = self.context(tables, exclude, endpoint=endpoint, options=options)
        return MySQL(replace(context, credential=lambda: credential))

    def write(self, changes, end):
        with self.database.connect() as connection:
            cursor = connection.cursor()
            cursor.execute("BEGIN")
            for change in changes:
                if change.old is None:
                    names = ", ".join(change.new)
                    values = ", ".join(["%s"] * len(change.new))
                    cursor.execute(f"INSERT INTO {change.table} ({names}) VALUES ({values})", [*change.new.values()])
                elif change.new is None:
                    cursor.execute(f"DELETE FROM {change.table} WHERE id = %s", (change.old["id"],))
                else:
                    values = (change.new["id"], change.new["v"], change.old["id"])
                    cursor.execute(f"UPDATE {change.table} SET id = %s, v = %s WHERE id = %s", values)
            cursor.execute(end)

    async def commit(self, *changes):
        self.write(changes, "COMMIT")

    async def roll_back(self, *changes):
        self.write(changes, "ROLLBACK")

    async def alter(self, table):
        self.database.execute(f"ALTER TABLE {table} ADD COLUMN extra TEXT")

    async def replace(self):
        self.server.execute(f"DROP DATABASE `{self.database.name}`", database=None)
        self.server.execute("RESET MASTER", database=None)
        self.database = self.server.database(self.database.name)
        self.begin()

    async def interrupt(self):
        self.server.execute(
            "BEGIN NOT ATOMIC FOR one IN (SELECT id FROM information_schema.processlist WHERE user = 'fuagent') "
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
