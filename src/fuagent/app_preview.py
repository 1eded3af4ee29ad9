"""``fuagent preview``: the requests that the first rows of a sync would make, and how they fit the document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import orjson

from fuagent import app
from fuagent.app_commands import known
from fuagent.contract import fit, payload
from fuagent.engine.batcher import Batcher, SizeLimit
from fuagent.engine.checking import Check, checks
from fuagent.engine.settings import SyncSettings
from fuagent.engine.sync import refuse_mix, spec_for
from fuagent.interfaces import Previewing, Pusher
from fuagent.model import Batch, Finding, Place, Request, Rows, TableSpec, Written

_NOWHERE = Place("", 0)
"""Rows of a preview have no place in any log."""


@dataclass(slots=True)
class Preview:
    """What would be sent. ``wrong`` are sentences about single rows, by their place, without a value."""

    requests: list[Request] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: int = 0


async def preview(setup: app.Setup, name: str, most: int) -> Preview:
    """Read the first rows of each table of a sync and write their requests; nothing is sent and nothing is changed."""
    known(setup, name)
    sync = setup.config.syncs[name]
    agent_id = setup.config.agent_id or "agent-preview"
    made = Preview()
    source = app.source(setup, sync, agent_id, _nothing)
    pusher = app.pusher(setup, sync, agent_id, _nothing)
    try:
        await pusher.open()
        await source.open()
        tables = await source.discover()
        refuse_mix(tables, pusher)
        settings = app.settings(sync, agent_id)
        for table in tables:
            spec = spec_for(settings, table, pusher)
            rows = await source.sample(spec, most)
            _judge(made, spec, checks(settings, [spec]).get(table.label), rows)
            made.requests += _requests(settings, table.label, rows, pusher)
    finally:
        await source.close()
        await pusher.close()
    return made


def _nothing(_finding: Finding) -> None:
    """What is worth a warning ``fuagent check`` tells."""


def _judge(made: Preview, spec: TableSpec, check: Check | None, rows: Sequence[Written]) -> None:
    table, schema = spec.table.label, spec.schema
    made.rows += len(rows)
    if not rows:
        made.notes.append(f"table {table} has no row to show")
    if schema is None:
        made.notes.append(f"the document says nothing about the events of table {table}: they are not checked")
    for place, row in enumerate(rows, 1):
        where = f"table {table}, row {place}"
        if row.refused:
            made.wrong.append(f"{where}: {row.refused}")
        elif schema is not None and row.event is not None:
            # Only where every row is validated does the rest of what the schema says keep one from being sent.
            complaint = check.complaint(row.event) if check else ""
            said = [complaint] if complaint else fit.problems(schema, orjson.loads(row.event))
            made.wrong += [f"{where}: {one}" for one in said]


def _requests(settings: SyncSettings, table: str, rows: Sequence[Written], pusher: Pusher) -> Iterator[Request]:
    """The rows in batches as the agent cuts them."""
    events = [row.event for row in rows if row.event is not None]
    overhead = payload.overhead(settings.agent_id, settings.name)
    batcher = Batcher(settings.batch_size, SizeLimit(settings.batch_bytes), overhead, pusher.route)
    if events:
        batcher.add(Rows(table, events, (), _NOWHERE, _NOWHERE, boundary=True))
    for number in count(1):
        parcel = batcher.take()
        if parcel is None:
            return
        batch = Batch(settings.name, settings.agent_id, f"preview.1.{number}", parcel.events(), table)
        # A driver that makes no requests of its own shows at least what it is given.
        plain = Request("", pusher.route(table), (), payload.body(batch))
        yield pusher.preview(batch) if isinstance(pusher, Previewing) else plain
