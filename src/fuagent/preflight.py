"""``fuagent check`` for one sync: source, document, credentials, mapping against the event schema."""

from __future__ import annotations

from collections.abc import Sequence

from fuagent.contract.text import clean
from fuagent.encode.compile import compile_encoder
from fuagent.encode.plan import never_null
from fuagent.engine.checking import checks
from fuagent.engine.settings import SyncSettings
from fuagent.engine.sync import refuse_mix, spec_for
from fuagent.errors import FuagentError
from fuagent.interfaces import Pusher, Source
from fuagent.model import Finding, Level, Table


async def check(settings: SyncSettings, source: Source, pusher: Pusher) -> list[Finding]:
    """All findings of one sync, those of the source first. Sends no row and changes nothing."""
    where = f"syncs.{settings.name}"
    tables, findings = await _tables(source, where)
    try:
        await pusher.open()
        findings += await pusher.check(tables)
        refuse_mix(tables, pusher)
    except FuagentError as error:
        findings.append(_finding(error, where))
    else:
        for table in tables:
            findings += _mapping(settings, table, pusher, where)
    return findings


async def _tables(source: Source, where: str) -> tuple[Sequence[Table], list[Finding]]:
    try:
        await source.open()
        findings = await source.check()
        return await source.discover(), findings
    except FuagentError as error:
        return [], [_finding(error, where)]


def _mapping(settings: SyncSettings, table: Table, pusher: Pusher, where: str) -> list[Finding]:
    """Whether this table's rows can be written as the document wants them."""
    spec = spec_for(settings, table, pusher)
    try:
        compile_encoder(spec)
        checks(settings, [spec])
    except FuagentError as error:
        return [_finding(error, where)]
    schema = spec.schema
    checked = f"fits the event schema at {schema.where}" if schema else "no event schema to check against"
    told = [Finding(Level.INFO, where, f"table {table.label}: {checked}; deletes: {spec.mapping.deletes}.")]
    if doubtful := never_null(spec):
        columns = clean(", ".join(f'"{column.name}" ({column.type or column.kind})' for column in doubtful))
        what = f"table {table.label}: these columns may hold NULL, and the document takes no null for them: {columns}"
        fix = 'Add "null" to the type of the property, or make the column NOT NULL; a row with NULL may be refused.'
        told.append(Finding(Level.WARNING, where, what, fix))
    return told


def _finding(error: FuagentError, where: str) -> Finding:
    return Finding(Level.ERROR, f"{where}: {error.where}" if error.where else where, error.what, error.fix)
