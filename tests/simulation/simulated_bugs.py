"""Bugs planted to prove the oracle: each must be caught within 200 seeds, or the oracle is no evidence.

Each replaces one function of the engine (or, where the bug lives there, of the simulated
source or wire) for as long as a test asks for it. Nothing in the package knows of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import orjson

from fuagent.contract import outcome, status
from fuagent.engine.batcher import Piece
from fuagent.engine.delivery import Delivery
from fuagent.engine.ledger import Ledger
from fuagent.engine.snapshot import Snapshot
from fuagent.engine.stream import Stream
from fuagent.engine.watch import Watch
from fuagent.model import INDEX_MAX, Answer, Checkpoint, Outcome, Place, Verdict
from fuagent.testing import memory


def _ack_before_2xx():
    """The journal says "delivered" before the service did."""
    whole = Stream._deliver

    async def deliver(self, parcel, place, passage):
        if parcel.count and passage.streaming:
            self._sync.ledger.delivered(parcel, acknowledged=True, streaming=True, asked=None)
        return await whole(self, parcel, place, passage)

    return patch.object(Stream, "_deliver", deliver)


def _two_in_flight():
    """The next batch leaves before the answer to this one is there."""
    whole = Delivery._until_clear

    async def both(self, batch):
        if batch.events:
            asyncio.get_running_loop().create_task(self._pusher.push(batch))
            await asyncio.sleep(0)
        return await whole(self, batch)

    return patch.object(Delivery, "_until_clear", both)


def _500_is_404():
    """A status endpoint in trouble is taken for one that has no checkpoint."""
    whole = status.read

    def read(code, *given, **named):
        return Checkpoint(Answer.NONE) if code >= 500 else whole(code, *given, **named)

    return patch.object(status, "read", read)


def _confirm_on_keepalive():
    """The source may let go of whatever the log holds, delivered or not."""

    async def confirm(self, checkpoint=None):
        head = await self._source.head(None)
        await self._source.acknowledge(Place(head.position, 0))

    return patch.object(Ledger, "confirm", confirm)


def _follow_redirects():
    """A POST follows a redirect and is answered 200 by a page that never saw it."""
    whole = outcome.read

    def read(code, *given, **named):
        return Outcome(Verdict.ACKNOWLEDGED, status=200) if code == 302 else whole(code, *given, **named)

    return patch.object(outcome, "read", read)


def _drop_on_413():
    """What is too large is left out."""
    whole = Delivery._until_clear

    async def dropped(self, batch):
        found, attempts = await whole(self, batch)
        return (Outcome(Verdict.ACKNOWLEDGED) if found.verdict is Verdict.SPLIT else found), attempts

    return patch.object(Delivery, "_until_clear", dropped)


def _resume_mid_transaction():
    """Behind a batch that ends inside a transaction the next transaction follows."""
    return patch.object(Piece, "place", property(lambda self: self.rows.end))


def _snapshot_rows_as_position():
    """Every row of a snapshot carries the snapshot's index."""

    async def numbered(rows, index):
        async for chunk in rows:
            lines = [line[:-1] + b',"index":%d}' % index for line in chunk.rows]
            yield replace(chunk, rows=lines, indexes=(index,) * len(lines))

    return patch("fuagent.engine.snapshot.with_last_index", numbered)


def _none_for_absent():
    """A column that the log does not hold is sent as null."""
    whole = memory.MemorySource._cut

    def cut(self, *given, numbered):
        for rows in whole(self, *given, numbered=numbered):
            lines = tuple(_without(line) for line in rows.rows)
            yield replace(rows, rows=lines)

    def _without(line: bytes) -> bytes:
        event = orjson.loads(line)
        return orjson.dumps({**event, "chk": None} if event["v"] % 5 == 0 else event)

    return patch.object(memory.MemorySource, "_cut", cut)


def _new_index_on_retry():
    """A retry numbers its rows anew."""
    whole = Delivery._wait

    async def wait(self, event, found, attempts):
        self.anew = getattr(self, "anew", 0) + 1
        return await whole(self, event, found, attempts)

    whole_push = Delivery._until_clear

    async def renumbered(self, batch):
        push = self._pusher.push

        async def pushed(again):
            anew = getattr(self, "anew", 0)
            lines = [
                orjson.dumps({**event, "index": event["index"] + anew} if "index" in event else event)
                for event in map(orjson.loads, again.events)
            ]
            return await push(replace(again, events=lines) if lines and anew else again)

        with patch.object(self._pusher, "push", pushed):
            return await whole_push(self, batch)

    return (patch.object(Delivery, "_wait", wait), patch.object(Delivery, "_until_clear", renumbered))


def _marker_first():
    """The end marker is sent before the last rows are acknowledged."""
    whole = Snapshot._rows

    async def rows(self, run, numbered):
        await self._sync.delivery.flags(self._sync.routes(), end=True)
        await whole(self, run, numbered)

    return patch.object(Snapshot, "_rows", rows)


def _row_order():
    """Rows are numbered by when they were written, not by when their transaction was committed."""
    whole = memory.MemorySource._numbers

    def numbers(self, place, transaction):
        found = whole(self, place, transaction)
        return [number - 130 if len(found) > 3 and number > 200 else number for number in found]

    return patch.object(memory.MemorySource, "_numbers", numbers)


def _foreign_checkpoint():
    """A checkpoint that nobody gave is believed."""

    async def locate(self, anchors, index):
        return anchors[0].place if anchors else await self.oldest(0)

    return patch.object(memory.MemorySource, "locate", locate)


def _gap_without_a_word():
    """A lost place is passed over."""

    def update(self):
        self.delivery.suggest = False

    return patch("fuagent.engine.sync.Sync.update_flag", update)


def _set_aside_without_a_note():
    """A refused row is passed over instead of halting or being kept."""

    def aside(self, part, found, tally, *, more):
        return None

    return patch.object(Delivery, "_set_aside", aside)


def _checkpoint_never_asked_again():
    """A service put back from a backup is not noticed."""

    async def ask(self, before):
        return Checkpoint(Answer.INDEX, min(before, INDEX_MAX))

    return patch.object(Watch, "_ask", ask)


BUGS: dict[str, Callable[[], object]] = {
    "ack before 2xx": _ack_before_2xx,
    "two POSTs in flight": _two_in_flight,
    "status 500 treated as 404": _500_is_404,
    "confirm on keepalive": _confirm_on_keepalive,
    "follow redirects": _follow_redirects,
    "drop on 413": _drop_on_413,
    "resume mid-transaction": _resume_mid_transaction,
    "snapshot rows treated as stream position": _snapshot_rows_as_position,
    "None for absent column": _none_for_absent,
    "new index on retry": _new_index_on_retry,
    "end marker before last ack": _marker_first,
    "row LSN as order": _row_order,
    "a foreign checkpoint is believed": _foreign_checkpoint,
    "a gap without a word": _gap_without_a_word,
    "a refused row passed over": _set_aside_without_a_note,
    "a backup not noticed": _checkpoint_never_asked_again,
}
"""The bugs every oracle for this contract is held against, and some of our own."""


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The engine with this bug in it; with no name, the engine as it is."""
    if not name:
        yield
        return
    made = BUGS[name]()
    patches = made if isinstance(made, tuple) else (made,)
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in reversed(patches):
            one.stop()
