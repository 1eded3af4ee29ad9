"""The source keeps the promises of a source."""

import json

from fuagent_jsonlog.source import JsonLog

from fuagent.testing.source_kit import SourceKit
from fuagent.testing.source_suite import SourceSuite


class JournalKit(SourceKit):
    """A journal, and the application that writes it."""

    def __init__(self, directory):
        super().__init__(directory)
        self.path = directory / "journal.jsonl"
        self.begin("first")

    def begin(self, name):
        tables = {table: {"columns": ["id", "v"], "key": ["id"]} for table in self.tables}
        self.path.write_text(json.dumps({"journal": name, "tables": tables}) + "\n")

    def append(self, *entries):
        with self.path.open("a") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in entries)

    def source(self, tables, exclude):
        options = JsonLog.Options(poll_interval=0.01, chunk_rows=7)
        return JsonLog(self.context(tables, exclude, endpoint=str(self.path), options=options))

    async def commit(self, *changes):
        self.append(*map(entry_of, changes), {"commit": 1})

    async def roll_back(self, *changes):
        self.append(*map(entry_of, changes), {"rollback": 1})

    async def replace(self):
        self.begin("second")

    async def remains(self):
        return []  # it writes nothing


def entry_of(change):
    """One line of the journal."""
    rows = {"old": change.old, "new": change.new}
    return {"table": change.table} | {name: row for name, row in rows.items() if row is not None}


class TestJsonLog(SourceSuite):
    """Every promise that a file can show."""

    Kit = JournalKit
    no_alter = "a journal declares its columns once; other columns are another journal"
    no_interrupt = "a file has no connection"
    no_miss = "the journal is the data: there is no change that it does not hold"
    no_purge = "the journal is the data: nothing of it is ever let go"
