"""Rows that the service refused and that were set aside, sent once more.

Each is read again from the source by its key and sent as it is now, alone and without an index,
in the order in which they were set aside: a checkpoint that moved on must not move back.
What is refused again stays on the list; what is gone at the source leaves it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from fuagent.errors import FuagentError
from fuagent.interfaces import Source
from fuagent.journal import Rejected, SyncJournal
from fuagent.model import Outcome, TableSpec, Verdict

Send = Callable[[str, bytes], Awaitable[Outcome]]
"""Sends one event of a table; the outcome is one that says what to do with the row."""


@dataclass(slots=True)
class Account:
    """What became of the rows. ``kept`` are those that stay: number and reason."""

    sent: int = 0
    gone: int = 0
    kept: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator asks of a running sync; ``numbers`` None means all rows on the list."""

    numbers: tuple[int, ...] | None
    answer: asyncio.Future[Account | FuagentError]


def chosen(own: SyncJournal, numbers: Sequence[int] | None) -> list[Rejected]:
    """The rows on the list of one sync that these numbers name, in the order they were set aside.

    Raises:
        FuagentError: a number is not on the list.
    """
    rows = own.rejected()
    if numbers is None:
        return rows
    unknown = sorted(set(numbers) - {row.id for row in rows})
    if unknown:
        raise FuagentError(
            f"no row {', '.join(map(str, unknown))} of sync {own.name} is set aside.",
            fix=f"See fuagent rejected list {own.name}.",
        )
    return [row for row in rows if row.id in numbers]


async def send_again(
    own: SyncJournal, source: Source, specs: Sequence[TableSpec], numbers: Sequence[int] | None, send: Send
) -> Account:
    """Send these rows again; the list on disk tells at every moment which of them are still owed."""
    account = Account()
    by_table = {spec.table.label: spec for spec in specs}
    taken: set[tuple[str, bytes]] = set()
    for row in chosen(own, numbers):
        spec = by_table.get(row.table)
        if spec is None:
            account.kept.append((row.id, f"table {row.table} is no longer part of the sync"))
            continue
        [now] = await source.reread(spec, [row.event])
        if now.refused:
            account.kept.append((row.id, now.refused))
        elif now.event is None:
            own.withdraw([row.id])
            account.gone += 1
        elif (row.table, now.event) in taken or await _taken(own, row, now.event, send, account):
            own.withdraw([row.id])
            taken.add((row.table, now.event))
            account.sent += 1
    return account


async def _taken(own: SyncJournal, row: Rejected, event: bytes, send: Send, account: Account) -> bool:
    outcome = await send(row.table, event)
    if outcome.verdict is Verdict.ACKNOWLEDGED:
        return True
    own.refused_again(row.id, outcome.status, outcome.reason)
    account.kept.append((row.id, outcome.reason))
    return False
