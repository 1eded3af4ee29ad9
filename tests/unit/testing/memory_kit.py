"""The database in memory as the suite for sources wants it."""

from fuagent.model import Column, Kind, Table
from fuagent.testing.database import Database
from fuagent.testing.memory import MemorySource
from fuagent.testing.source_kit import SourceKit

COLUMNS = (Column("id", Kind.INTEGER), Column("v", Kind.TEXT))


class MemoryKit(SourceKit):
    """Each test has a database of its own; ``Driver`` may be a broken one."""

    Driver = MemorySource

    def __init__(self, directory):
        super().__init__(directory)
        self.database = Database()
        for name in self.tables:
            self.database.create(Table(name, COLUMNS, ("id",)))

    def source(self, tables, exclude):
        return self.Driver(self.context(tables, exclude, endpoint="memory://"), self.database, chunk=4)

    async def commit(self, *changes):
        self.database.commit(*changes)

    async def alter(self, table):
        self.database.alter(table, Column("extra", Kind.TEXT))

    async def purge(self):
        self.database.purge()

    async def miss(self, *changes):
        for change in changes:
            self.database.rows(change.table)[change.new["id"]] = change.new
        self.database.unwatched = True

    async def interrupt(self):
        self.database.drop()

    async def remains(self):
        return [f"acknowledged by {sync}" for sync in self.database.acknowledged]
