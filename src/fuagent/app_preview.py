"""``fuagent preview``: the requests that the first rows of a sync would make, and how they fit the document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from fuagent import app
from fuagent.app_commands import known
from fuagent.config import SyncConfig
from fuagent.contract import fit, payload
from fuagent.engine.sync import mapping_for, refuse_mix
from fuagent.interfaces import Previewing, Pusher
from fuagent.model import Batch, EventSchema, Finding, Request, TableSpec, Written


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
        for table in tables:
            schema = pusher.event_schema(table)
            spec = TableSpec(table, mapping_for(app.settings(sync, agent_id), schema), schema)
            rows = await source.sample(spec, most)
            _judge(made, table.label, schema, rows)
            made.requests += _requests(sync, agent_id, table.label, rows, pusher)
    finally:
        await source.close()
        await pusher.close()
    return made


def _nothing(_finding: Finding) -> None:
    """What is worth a warning ``fuagent check`` tells."""


def _judge(made: Preview, table: str, schema: EventSchema | None, rows: Sequence[Written]) -> None:
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
            made.wrong += [f"{where}: {said}" for said in fit.problems(schema, orjson.loads(row.event))]


def _requests(
    sync: SyncConfig, agent_id: str, table: str, rows: Sequence[Written], pusher: Pusher
) -> Iterator[Request]:
    """The rows in batches as the settings cut them."""
    events = [row.event for row in rows if row.event is not None]
    room = sync.batch_bytes - payload.overhead(agent_id, sync.name)
    number = 0
    while events:
        taken, size = 1, len(events[0])
        while taken < min(len(events), sync.batch_size) and size + len(events[taken]) + 1 <= room:
            size += len(events[taken]) + 1
            taken += 1
        number += 1
        batch = Batch(sync.name, agent_id, f"preview.1.{number}", tuple(events[:taken]), table)
        events = events[taken:]
        # A driver that makes no requests of its own shows at least what it is given.
        plain = Request("", pusher.route(table), (), payload.body(batch))
        yield pusher.preview(batch) if isinstance(pusher, Previewing) else plain
