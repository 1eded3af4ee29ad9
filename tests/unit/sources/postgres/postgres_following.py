"""Sources for the tests of what a live server's log becomes: made, prepared, read, and closed again."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path

from fuagent.model import Credential, Deletes, Mapping, Secret, TableSpec
from fuagent.sources.postgres import Postgres
from fuagent.testing.source_kit import SourceKit, gather, pictured, plain, standing
from harness.postgres import PASSWORD, USER


@contextlib.asynccontextmanager
async def following(database, *tables, deletes=Deletes.ROW, warn=None, sync="suite", **options):
    """A source for these tables of a database, as the agent makes it: open and prepared."""
    source = unopened(database, *tables, warn=warn, sync=sync, **options)
    try:
        await source.open()
        await prepared(source, deletes=deletes)
        yield source
    finally:
        await source.close()


async def prepared(source, *, deletes=Deletes.ROW, mend=False):
    """The same, for all tables it finds."""
    await source.prepare([TableSpec(table, Mapping(deletes=deletes)) for table in await source.discover()], mend=mend)


def unopened(database, *tables, warn=None, sync="suite", **options):
    """The same before it is opened."""
    made = Postgres.Options(**{"heartbeat": 10.0, **options})
    context = SourceKit(Path()).context(tables, endpoint=database.url(), options=made)
    credential = Credential(user=USER, password=Secret(PASSWORD))
    warn = warn or (lambda _finding: None)
    return Postgres(replace(context, credential=lambda: credential, warn=warn, sync=sync))


def session(database, *statements):
    """Statements in one transaction."""
    with database.connect(autocommit=False) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def stored(picture):
    """The rows of a snapshot."""
    return [json.loads(text) for rows in picture.rows for text in rows.rows]


__all__ = ["following", "gather", "pictured", "plain", "prepared", "session", "standing", "stored", "unopened"]
