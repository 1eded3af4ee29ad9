"""``fuagent schema``: what a sync's events look like, in a language of the service's author."""

from __future__ import annotations

from contextlib import suppress

from fuagent import app
from fuagent.app_commands import known
from fuagent.encode.compile import compile_encoder
from fuagent.errors import FuagentError
from fuagent.model import TableSpec
from fuagent.schemas import openapi, python, sql, typescript
from fuagent.schemas.events import EventShape, shapes

LANGUAGES = ("openapi", "pydantic", "typescript", "sql")


async def schema(setup: app.Setup, name: str, language: str) -> tuple[str, tuple[str, ...]]:
    """The text, and what its reader should know beside it. The source's tables are read; nothing else is asked."""
    known(setup, name)
    sync = setup.config.syncs[name]
    mapping = app.settings(sync, setup.config.agent_id or "agent-schema").mapping
    source = app.source(setup, sync, setup.config.agent_id or "agent-schema", lambda _finding: None)
    try:
        await source.open()
        specs = [TableSpec(table, mapping) for table in await source.discover()]
    finally:
        await source.close()
    for spec in specs:
        compile_encoder(spec)  # what the mapping gets wrong is said as everywhere
    found = shapes(specs)
    return _text(setup, name, language, found), tuple(dict.fromkeys(note for shape in found for note in shape.notes))


def _text(setup: app.Setup, name: str, language: str, found: list[EventShape]) -> str:
    match language:
        case "pydantic":
            return python.module(found, name)
        case "typescript":
            return typescript.module(found, name)
        case "sql":
            return sql.script(found, name)
        case _:
            return openapi.document(found, _asked(setup, name))


def _asked(setup: app.Setup, name: str) -> openapi.Asked:
    """Where the sync's pusher sends to and what it proves; the value of no secret gets into the document."""
    pusher = setup.config.pushers[setup.config.syncs[name].pusher]
    credential = None
    with suppress(FuagentError):  # a file that is not there yet
        credential = pusher.credential()
    endpoint = getattr(pusher.options, "batch_endpoint", openapi.INGEST)
    return openapi.Asked(name, endpoint, credential)
