"""Bugs that are planted into a real agent, to see that the crash sweep would find them.

They live where no simulation looks: in the HTTP client and in the sources. Nothing in the package knows of them;
`harness.failpoints` puts one in, in the agent's own process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple


def _acknowledge_early() -> None:
    """A request counts as answered when it is under way."""
    from fuagent.model import Outcome, Verdict
    from fuagent.pushers.openapi import OpenAPI

    whole, under_way = OpenAPI.push, set()

    async def push(self: OpenAPI, batch: Any) -> Outcome:
        under_way.add(asyncio.create_task(whole(self, batch)))
        return Outcome(Verdict.ACKNOWLEDGED, status=200)

    OpenAPI.push = push  # type: ignore[method-assign]


def _two_in_flight() -> None:
    """A second attempt leaves before the answer to the first is there."""
    from fuagent.pushers.client import Client

    whole = Client.post

    async def post(self: Client, *given: Any) -> Any:
        first, _ = await asyncio.gather(whole(self, *given), whole(self, *given))
        return first

    Client.post = post  # type: ignore[method-assign]


def _reset_is_delivered() -> None:
    """A connection that breaks before there is an answer is taken for one that broke behind it."""
    from fuagent.contract.outcome import Fault
    from fuagent.pushers.client import Client, Reply

    whole = Client.post

    async def post(self: Client, url: str, *given: Any) -> Any:
        reply = await whole(self, url, *given)
        return reply if isinstance(reply, Reply) or reply.fault is not Fault.RESET else Reply(200, {}, b"", url)

    Client.post = post  # type: ignore[method-assign]


def _500_is_404() -> None:
    """A status endpoint in trouble is taken for one that has no checkpoint."""
    from fuagent.contract import status
    from fuagent.model import Answer, Checkpoint

    whole = status.read

    def read(code: int, *given: Any, **named: Any) -> Checkpoint:
        return Checkpoint(Answer.NONE) if code >= 500 else whole(code, *given, **named)

    status.read = read


def _follow_redirects() -> None:
    """The HTTP library is left to follow them, and a 302 turns the request into one without a body."""
    import aiohttp

    whole = aiohttp.ClientSession.request

    def request(self: aiohttp.ClientSession, method: str, url: Any, **named: Any) -> Any:
        return whole(self, method, url, **{**named, "allow_redirects": True})

    aiohttp.ClientSession.request = request  # type: ignore[method-assign]


def _drop_on_413() -> None:
    """What is too large is left out."""
    from fuagent.contract import outcome
    from fuagent.model import Outcome, Verdict

    whole = outcome.read

    def read(code: int, *given: Any, **named: Any) -> Outcome:
        return Outcome(Verdict.ACKNOWLEDGED, status=200) if code == 413 else whole(code, *given, **named)

    outcome.read = read


def _confirm_on_keepalive() -> None:
    """PostgreSQL is told that everything may go which has been read, delivered or not."""
    from fuagent.sources.postgres.dump import Dump

    whole = Dump.confirm

    def confirm(self: Dump, received: int, _flushed: int) -> None:
        whole(self, received, received)

    Dump.confirm = confirm  # type: ignore[method-assign]


def _clean_before_delivery() -> None:
    """SQLite's change log is cut behind what has been read, delivered or not."""
    from fuagent.sources.sqlite import places
    from fuagent.sources.sqlite.source import SQLite

    whole = SQLite._next

    async def following(self: SQLite, cursor: Any, last: int | None, *, numbered: bool) -> Any:
        chunk = await whole(self, cursor, last, numbered=numbered)
        self._cleaner.acknowledge(places.read(chunk.cursor.spot.place(0).position))
        return chunk

    SQLite._next = following  # type: ignore[method-assign]


def _skip_the_rest(reader: Any, name: str, transaction: Callable[[Any], Any], first: Callable[..., int]) -> None:
    """Whoever begins again inside a transaction goes on with the next one."""
    whole = getattr(reader, name)

    def changed(self: Any, *given: Any, **named: Any) -> Any:
        begun = self.__dict__.setdefault("begun", {0: self._resume_after})
        number = begun.setdefault(transaction(self), first(self, *given))
        result = yield from whole(self, *given, **named)
        if self.sought is None and number <= begun[0] < self.previous:
            self._resume_after = self.previous
        return result

    setattr(reader, name, changed)


def _resume_mid_transaction_postgres() -> None:
    from fuagent.sources.postgres import places
    from fuagent.sources.postgres.reading import LogReader

    _skip_the_rest(
        LogReader,
        "_take",
        lambda self: self._commit,
        lambda self, *_: places.first_number(self._commit, self.previous),
    )


def _resume_mid_transaction_mysql() -> None:
    from fuagent.sources.mysql.reading import LogReader

    _skip_the_rest(
        LogReader,
        "_changed",
        lambda self: self._group and self._group.gtid,
        lambda self, _kind, _data, start: max(self.previous + 1, self._standing.number(start)),
    )


def _none_for_absent() -> None:
    """A value that the log lacks is sent as null."""
    from fuagent.model import ABSENT
    from fuagent.sources.postgres import reading

    def completed(_version: Any, rows: Any, _fix: str) -> Any:
        yield from ()
        return [tuple(None if value is ABSENT else value for value in row) for row in rows]

    reading.completed = completed


def _order_of_rows() -> None:
    """Rows are numbered by where each was written, not by where its transaction was committed."""
    from fuagent.sources.postgres import places
    from fuagent.sources.postgres.reading import LogReader

    whole, seen = LogReader._changed, [0]

    def changed(self: LogReader, kind: int, data: bytes, place: int, behind: int) -> Any:
        seen[0] = int.from_bytes(data[place + 6 : place + 14])
        return (yield from whole(self, kind, data, place, behind))

    LogReader._changed = changed  # type: ignore[method-assign]
    places.first_number = lambda _commit, _previous: seen[0]


class Bug(NamedTuple):
    """How it is planted, in front of which kind of source it shows, and what is said when it is found."""

    plant: Callable[[], None]
    source: str
    found: str


BUGS = {
    "acknowledged before the 2xx": Bug(_acknowledge_early, "sqlite", "is missing|where .* were written"),
    "two requests in flight": Bug(_two_in_flight, "sqlite", "at the same time"),
    "a reset taken for an answer": Bug(_reset_is_delivered, "sqlite", "is missing|where .* were written|is .*, not "),
    "status 500 taken for 404": Bug(_500_is_404, "sqlite", "without a cause"),
    "redirects followed": Bug(_follow_redirects, "mariadb", "where .* were written"),
    "dropped on 413": Bug(_drop_on_413, "mariadb", "where .* were written"),
    "confirmed on keepalive": Bug(_confirm_on_keepalive, "postgres", "without a cause"),
    "log cut before delivery": Bug(_clean_before_delivery, "sqlite", "without a cause"),
    "resumed behind the transaction (PostgreSQL)": Bug(
        _resume_mid_transaction_postgres, "postgres", "where .* were written"
    ),
    "resumed behind the transaction (MySQL)": Bug(_resume_mid_transaction_mysql, "mariadb", "where .* were written"),
    "null for what the log lacks": Bug(_none_for_absent, "postgres", "is not what was written"),
    "numbered by the place of the row": Bug(_order_of_rows, "postgres", "was new after|is .*, not "),
}


def plant(name: str) -> None:
    """Put a bug in; none where the name is empty."""
    if name:
        BUGS[name].plant()
