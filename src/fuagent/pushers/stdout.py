"""Prints batches instead of sending them, for trying out a source and its mapping.

What is printed is the body a service would get, one line per batch, written
straight to the file descriptor: once ``push`` has answered, the line is out.
"""

from __future__ import annotations

import asyncio
import os
import select
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from fuagent.contract import payload
from fuagent.errors import HaltSyncError
from fuagent.interfaces import PusherContext
from fuagent.model import Answer, Batch, Checkpoint, EventSchema, Finding, Level, Outcome, Table, Verdict

# Syncs print side by side; a line must not be cut by another one's.
_ONE_LINE_AT_A_TIME = threading.Lock()

_FIX = "keep the program that reads the output running, or redirect the output to a file with room"


class Stdout:
    """Prints every batch to standard output, one JSON line each; keeps no checkpoint."""

    class Options(BaseModel):
        """What ``driver_params`` may say."""

        model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
        needs_endpoint: ClassVar[bool] = False

        pretty: bool = Field(default=False, description="Put every event on a line of its own.")

    def __init__(self, context: PusherContext) -> None:
        self._context = context
        self._pretty = isinstance(context.options, Stdout.Options) and context.options.pretty

    async def open(self) -> None:
        """Make sure that there is somewhere to print to."""
        _descriptor(self._context.sync)

    async def close(self) -> None:
        """Nothing is held open."""

    async def check(self, tables: Sequence[Table]) -> list[Finding]:
        """Say what this pusher does not do."""
        what = f"rows of {', '.join(table.label for table in tables) or 'no table'} are printed and go to no service"
        return [Finding(Level.INFO, f"syncs.{self._context.sync}.pusher", what, "use driver openapi to send them")]

    def event_schema(self, table: Table) -> EventSchema | None:  # noqa: ARG002 - part of the promise
        """Nothing is asked of an event here."""
        return None

    def route(self, table: str) -> str:  # noqa: ARG002 - part of the promise
        """All tables share one output."""
        return "stdout"

    async def checkpoint(self) -> Checkpoint:
        """The journal is the checkpoint."""
        return Checkpoint(Answer.NO_ENDPOINT)

    async def push(self, batch: Batch) -> Outcome:
        """Print the batch; acknowledged once the last byte is written."""
        text = _spread(batch) if self._pretty else payload.body(batch)
        descriptor = _descriptor(self._context.sync)
        try:
            # A reader that stops reading (a pager) must not stop the other syncs.
            await asyncio.to_thread(_write, descriptor, text + b"\n")
        except BrokenPipeError:
            return Outcome(Verdict.HALT, "the program that read the output has closed it", _FIX)
        except OSError as error:
            return Outcome(Verdict.HALT, f"the output cannot be written: {error.strerror}", _FIX)
        return Outcome(Verdict.ACKNOWLEDGED)

    async def refresh(self) -> None:
        """There is no credential."""


def _spread(batch: Batch) -> bytes:
    """The body with line breaks between events; nothing inside an event is touched."""
    shell = payload.body(replace(batch, events=()))
    if not batch.events:
        return shell
    return b"".join((shell[:-2], b"\n  ", b",\n  ".join(batch.events), b"\n", shell[-2:]))


def _descriptor(sync: str) -> int:
    try:
        return sys.stdout.fileno()
    except (AttributeError, ValueError, OSError) as error:  # None under pythonw, closed, or not a file
        raise HaltSyncError("there is no standard output to print to", where=f"syncs.{sync}", fix=_FIX) from error


def _write(descriptor: int, data: bytes) -> None:
    with _ONE_LINE_AT_A_TIME:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:  # another program that shares the terminal made it non-blocking
                select.select([], [descriptor], [])
