"""A database of its own on a shared server, and a second program that writes to it, for the suite of sources."""

from dataclasses import replace
from itertools import count

from fuagent.model import Credential, Secret
from fuagent.testing.source_kit import SourceKit
from harness.server import PASSWORD, USER

_names = count(1)


class ServerKit(SourceKit):
    """What is the same for every server."""

    server = None
    driver = None

    def __init__(self, directory):
        super().__init__(directory)
        self.database = self.server.database(f"shop_suite_{next(_names)}")
        self.begin()

    def begin(self):
        """Make the tables."""
        raise NotImplementedError

    async def __aexit__(self, *_error):
        self.server.drop(self.database.name)

    def source(self, tables, exclude):
        options = self.driver.Options(chunk_rows=7, heartbeat=10.0)
        credential = Credential(user=USER, password=Secret(PASSWORD))
        context = self.context(tables, exclude, endpoint=self.database.url(), options=options)
        return self.driver(replace(context, credential=lambda: credential))

    def write(self, changes, end):
        with self.database.transaction() as cursor:
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
