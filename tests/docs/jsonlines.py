"""A pusher that appends batches to a file, one JSON line each."""

import asyncio
import json
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from fuagent import Answer, Batch, Checkpoint, Finding, HaltSyncError, Level, Outcome, PusherContext, Table, Verdict


class JsonLines:
    """Appends every batch to a file, one JSON line each."""

    class Options(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        file: str = Field("batches.jsonl", description="File to append to, relative to the configuration.")

    def __init__(self, context: PusherContext) -> None:
        self._context = context
        self._path = context.base_dir / getattr(context.options, "file", "batches.jsonl")

    async def open(self) -> None:
        if not self._path.parent.is_dir():
            raise HaltSyncError("there is no such directory.", where=str(self._path.parent), fix="Make it.")

    async def close(self) -> None:
        """Nothing is held open."""

    async def check(self, tables: Sequence[Table]) -> list[Finding]:
        names = ", ".join(table.label for table in tables)
        return [Finding(Level.INFO, str(self._path), f"rows of {names} are appended to this file")]

    def event_schema(self, table: Table) -> None:
        """A file asks nothing of an event."""

    def route(self, table: str) -> str:
        """A table's own route: an event does not name its table, so two tables must not share one."""
        return f"{self._path}#{table}"

    async def checkpoint(self) -> Checkpoint:
        return Checkpoint(Answer.NO_ENDPOINT)  # the agent's journal remembers

    async def push(self, batch: Batch) -> Outcome:
        facts = {"table": batch.table, "end": batch.is_snapshot_end, "suggested": batch.snapshot_sync_suggested}
        line = b'%b,"events":[%b]}\n' % (json.dumps(facts)[:-1].encode(), b",".join(batch.events))
        try:
            await asyncio.to_thread(self._append, line)  # a disk must not hold up the other syncs
        except OSError as error:
            return Outcome(Verdict.RETRY, f"the file cannot be written: {error.strerror}")
        return Outcome(Verdict.ACKNOWLEDGED)

    def _append(self, line: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(line)

    async def refresh(self) -> None:
        """There is no credential."""
