"""Rows that events told of, read again by their keys: what is the same for every server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import orjson

from fuagent.encode.compile import Encoder, Values
from fuagent.encode.recover import Key, Keys
from fuagent.encode.transform import Unfit
from fuagent.errors import FuagentError
from fuagent.model import Deletes, Row, TableSpec, Written

Fetch = Callable[[Key], Awaitable[Sequence[Values]]]
"""The rows that the server finds under a key, as the encoder takes them; to it more may be equal than one."""

_BY_TRANSFORM = (
    "no row has the key in the event: the row is gone, or the transform changed its key. "
    "Take the row off the list, or take a snapshot"
)


def under(key: Row, places: Sequence[int], row: Row) -> Row:
    """The row under the very key that the log has: what is equal to the server may be written otherwise."""
    values = dict(zip(places, key, strict=True))
    return tuple(values.get(place, value) for place, value in enumerate(row))


async def reread(
    spec: TableSpec, encoder: Callable[[], Encoder], fetch: Fetch, events: Sequence[bytes]
) -> list[Written]:
    """The rows that events of one table told of, as they are now."""
    try:
        again = _Again(spec, encoder(), Keys.of(spec), fetch)
    except FuagentError as error:
        return [Written(refused=_text(error))] * len(events)
    return [await again.one(text) for text in events]


def sent(encoder: Encoder, event: bytes) -> Written:
    """The event as it would be sent."""
    if encoder.transform is None:
        return Written(bytes(event))
    [done] = encoder.transformed([event], None)
    return Written(refused=done.reason) if isinstance(done, Unfit) else Written(done)


def sampled(encoder: Encoder, rows: Sequence[Values], most: int) -> list[Written]:
    """The first rows as they would be sent."""
    return [sent(encoder, text) for text in encoder.rows(rows[:most])] if rows[:most] else []


def fitting(encoder: Encoder, rows: Sequence[Values]) -> list[Values]:
    """Those that meet the sync's condition."""
    return [row for row, fits in zip(rows, encoder.fits(rows), strict=True) if fits]


@dataclass(frozen=True, slots=True)
class _Again:
    """One table while its rows are read again."""

    spec: TableSpec
    encoder: Encoder
    keys: Keys
    fetch: Fetch

    async def one(self, text: bytes) -> Written:
        """The row one event told of."""
        try:
            key = self.keys.read(text)
        except FuagentError as error:
            return Written(refused=_text(error))
        for row in await self.fetch(key):
            [event] = self.encoder.rows([row])
            if self.keys.read(event) == key:
                return sent(self.encoder, event) if self.encoder.fits([row])[0] else self._gone(text)
        if self.spec.mapping.transform is not None:
            return Written(refused=_BY_TRANSFORM)
        return self._gone(text)

    def _gone(self, text: bytes) -> Written:
        """The mark again, if the event was one: its key, as it was written."""
        mapping = self.spec.mapping
        event = orjson.loads(text)
        if mapping.deletes is not Deletes.MARK or event.get(mapping.delete_field) is not True:
            return Written()
        kept = {slot.path[0] for slot in self.keys.slots} | {mapping.delete_field}
        return Written(orjson.dumps({name: value for name, value in event.items() if name in kept}))


def _text(error: FuagentError) -> str:
    return f"{error.what}. {error.fix}".strip()
