"""The pusher: keeps the promises of ``fuagent.interfaces.Pusher`` with a file.

A batch is one line. The checkpoint stands in a file beside it, together with the size the file had
when the last batch was whole: what lies behind that was cut off by a crash and goes when
the pusher opens, so that the batch, which comes again, stands there once.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from fuagent import (
    Answer,
    Batch,
    Checkpoint,
    Finding,
    HaltSyncError,
    Level,
    Outcome,
    PusherContext,
    Table,
    TryAgainError,
    Verdict,
)

_BROKEN = "correct the file, or delete it to begin again"


class BatchFile:
    """Appends every batch to a file, one JSON line each, with a checkpoint beside it."""

    class Options(BaseModel):
        """Every ``driver_params`` key."""

        model_config = ConfigDict(frozen=True, extra="forbid")
        needs_endpoint: ClassVar[bool] = True

        sync: bool = Field(default=True, description="Wait until each batch is on the disk before it counts.")

    def __init__(self, context: PusherContext) -> None:
        self._path = context.base_dir / context.endpoint.removeprefix("file://")
        self._notes = self._path.with_name(self._path.name + ".checkpoint")
        self._sync = not isinstance(context.options, BatchFile.Options) or context.options.sync
        # A cancelled push may still be writing when the next call comes.
        self._lock = threading.Lock()

    async def open(self) -> None:
        """Cut off what a crash has left behind the last whole batch."""
        await asyncio.to_thread(self._mend)

    def _mend(self) -> None:
        with self._lock:
            if not self._path.parent.is_dir():
                where = str(self._path.parent)
                raise HaltSyncError("there is no such directory.", where=where, fix="Make it, or correct endpoint.")
            if self._path.exists():
                os.truncate(self._path, self._noted()[1])

    async def close(self) -> None:
        """Nothing is held open."""

    async def check(self, tables: Sequence[Table]) -> list[Finding]:
        """Say where rows go."""
        names = ", ".join(table.label for table in tables)
        return [Finding(Level.INFO, str(self._path), f"rows of {names} are appended to this file")]

    def event_schema(self, table: Table) -> None:
        """A file asks nothing of an event."""

    def route(self, table: str) -> str:
        """A table's own: a line names its table once, so two tables must not share one."""
        return f"{self._path}#{table}"

    async def checkpoint(self) -> Checkpoint:
        """The largest index in the file."""
        index, size = await asyncio.to_thread(self._noted)
        return Checkpoint(Answer.INDEX, index) if size and index else Checkpoint(Answer.NONE)

    def _noted(self) -> tuple[int, int]:
        """The largest index, and the size of the file that holds it."""
        try:
            index, size = json.loads(self._notes.read_text())
        except FileNotFoundError:
            return 0, 0
        except OSError as error:
            raise TryAgainError(f"it cannot be read: {error.strerror}", where=str(self._notes)) from error
        except (ValueError, TypeError):
            raise HaltSyncError("this is no checkpoint.", where=str(self._notes), fix=_BROKEN) from None
        if not isinstance(index, int) or index < 0:
            raise HaltSyncError("the checkpoint is no index.", where=str(self._notes), fix=_BROKEN)
        return index, size

    async def push(self, batch: Batch) -> Outcome:
        """Append one line, and only then raise the checkpoint."""
        try:
            await asyncio.to_thread(self._append, batch)
        except OSError as error:
            return Outcome(Verdict.RETRY, f"{self._path} cannot be written: {error.strerror}")
        return Outcome(Verdict.ACKNOWLEDGED)

    def _append(self, batch: Batch) -> None:
        ends, suggests = batch.is_snapshot_end, batch.snapshot_sync_suggested
        facts = {"key": batch.key, "table": batch.table, "snapshot_end": ends, "suggested": suggests}
        line = b'%b,"events":[%b]}\n' % (json.dumps(facts)[:-1].encode(), b",".join(batch.events))
        highest = max((json.loads(text).get("index", 0) for text in batch.events), default=0)
        with self._lock:
            before, _ = self._noted()
            with self._path.open("ab") as file:
                file.write(line)
                file.flush()
                if self._sync:
                    os.fsync(file.fileno())
                size = file.tell()
            fresh = self._notes.with_suffix(".new")
            fresh.write_text(json.dumps([max(before, highest), size]))
            fresh.replace(self._notes)

    async def refresh(self) -> None:
        """There is no credential."""
