"""Sources for the tests of what a live server's log becomes: made, prepared, read, and closed again."""

import contextlib
import json
import re
from dataclasses import replace
from pathlib import Path

from fuagent.model import Credential, Deletes, Mapping, Secret, TableSpec
from fuagent.sources.mysql import MySQL
from fuagent.testing.source_kit import SourceKit, gather, pictured, standing
from harness.mariadb import PASSWORD, USER
from harness.server import until

_NUMBERED = re.compile(rb',"index":\d+\}$')


@contextlib.asynccontextmanager
async def following(database, *tables, deletes=Deletes.ROW, warn=None, sync="suite", **options):
    """A source for these tables of a database, as the agent makes it: open and prepared."""
    source = unopened(database, *tables, warn=warn, sync=sync, **options)
    try:
        await source.open()
        await source.prepare([TableSpec(table, Mapping(deletes=deletes)) for table in await source.discover()])
        yield source
    finally:
        await source.close()


def unopened(database, *tables, warn=None, sync="suite", **options):
    """The same before it is opened."""
    made = MySQL.Options(**{"heartbeat": 10.0, **options})
    context = SourceKit(Path()).context(tables, endpoint=database.url(), options=made)
    credential = Credential(user=USER, password=Secret(PASSWORD))
    warn = warn or (lambda _finding: None)
    return MySQL(replace(context, credential=lambda: credential, warn=warn, sync=sync))


def session(database, *statements):
    """Statements in one session, settings first. The server has ended it then: what it has prepared is anybody's."""
    with database.connect() as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    alive = "SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = %s"
    until(lambda: not database.execute(alive, connection.thread_id()), "the session never ended")


def bare(text):
    """An event without its number."""
    return _NUMBERED.sub(b"}", bytes(text))


def found(rows):
    """Table and row of each event, without its number."""
    return [(one.table, json.loads(bare(text))) for one in rows for text in one.rows]


def left_out(rows):
    """How many images were kept back."""
    return sum(one.left_out for one in rows)


__all__ = ["bare", "following", "found", "gather", "left_out", "pictured", "session", "standing", "unopened"]
