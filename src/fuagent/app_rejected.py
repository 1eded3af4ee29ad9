"""Rows set aside: list, show, send once more, let go; by the running agent, or in its journal without one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import asdict, dataclass

from fuagent import control
from fuagent.encode.recover import Keys
from fuagent.engine.again import Account, chosen
from fuagent.engine.agent import Agent
from fuagent.errors import FuagentError
from fuagent.journal import Journal, Rejected
from fuagent.model import TableSpec

PATIENCE = 25.0
"""Seconds a command waits until the agent comes to it and is done; less than the control socket's own."""
_MOST = 2000
"""Rows of a list that are told."""
_LONGEST = 200
"""Characters of one reason in a list."""
_EVENT = 200_000
"""Characters of one event that are shown: an answer on the control socket has an end."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of the list. Nothing of the row itself."""

    id: int
    sync: str
    at: float
    table: str
    index: int
    status: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Shown:
    """One row with all there is; ``key`` is empty where the table's key is not known."""

    listed: Listed
    key: dict[str, object]
    event: str


def listed(journal: Journal, syncs: Iterable[str]) -> list[Listed]:
    """The rows of these syncs, in the order they were set aside."""
    rows = [_listed(name, row) for name in syncs for row in journal.sync(name).rejected()]
    return sorted(rows, key=lambda row: row.id)


def _listed(name: str, row: Rejected) -> Listed:
    return Listed(row.id, name, row.at, row.table, row.index, row.status, row.reason)


def find(journal: Journal, syncs: Iterable[str], number: int) -> tuple[str, Rejected]:
    """One row by its number, and its sync.

    Raises:
        FuagentError: it is not on the list.
    """
    for name in syncs:
        for row in journal.sync(name).rejected():
            if row.id == number:
                return name, row
    raise FuagentError(f"no row {number} is set aside.", fix="See fuagent rejected list.")


def shown(name: str, row: Rejected, specs: Iterable[TableSpec]) -> Shown:
    """One row with its key, read from its event by what is known of its table."""
    key: dict[str, object] = {}
    for spec in specs:
        if spec.table.label == row.table:
            try:
                key = Keys.of(spec).named(row.event)
            except FuagentError:
                key = {}  # the event is there all the same
    return Shown(_listed(name, row), key, row.event.decode(errors="replace")[:_EVENT])


def drop(journal: Journal, name: str, numbers: Sequence[int] | None) -> int:
    """Let rows of one sync go; gives how many."""
    own = journal.sync(name)
    rows = chosen(own, numbers)
    own.withdraw([row.id for row in rows])
    return len(rows)


# ---------------------------------------------------------------- the running agent's side


def answers(agent: Agent, journal: Journal) -> dict[str, control.Command]:
    """What the running agent does."""

    async def show(arguments: dict[str, object]) -> object:
        name, row = find(journal, _syncs(agent, arguments), _number(arguments["id"]))
        return shown(name, row, agent.events(name))

    async def tell(arguments: dict[str, object]) -> object:
        rows = listed(journal, _syncs(agent, arguments))
        return {"rows": [told(row) for row in rows[:_MOST]], "more": max(0, len(rows) - _MOST)}

    async def let_go(arguments: dict[str, object]) -> object:
        [name] = _syncs(agent, arguments)
        gone = drop(journal, name, _numbers(arguments["ids"]))
        for one in agent.progress:
            if one.name == name:
                one.rejected = journal.sync(name).rejected_count()
        return gone

    async def retry(arguments: dict[str, object]) -> object:
        [name] = _syncs(agent, arguments)
        return await _within(agent.retry(name, _numbers(arguments["ids"])))

    return {"rejected": tell, "rejected_show": show, "rejected_drop": let_go, "rejected_retry": retry}


async def _within(work: Awaitable[Account]) -> Account:
    """What became of the rows; what takes longer goes on without whoever asked."""
    try:
        return await asyncio.wait_for(work, PATIENCE)
    except TimeoutError:
        raise FuagentError(
            "the sync has not come to the rows yet; it sends them as soon as it can.",
            fix="See fuagent status for what it is doing, and fuagent rejected list for what is left.",
        ) from None


def told(row: Listed) -> dict[str, object]:
    """One row of the list as it is told."""
    return {**asdict(row), "reason": row.reason[:_LONGEST]}


def _syncs(agent: Agent, arguments: dict[str, object]) -> list[str]:
    """The sync that is meant, or all.

    Raises:
        FuagentError: there is none of that name.
    """
    known = [one.name for one in agent.progress]
    name = arguments.get("sync")
    if name is None:
        return known
    if name not in known:
        raise FuagentError(f"the running agent has no sync called {name!r}.", fix=f"Choose one of: {', '.join(known)}.")
    return [str(name)]


def _number(value: object) -> int:
    if isinstance(value, int):
        return value
    raise FuagentError("this is not the number of a row.")


def _numbers(value: object) -> list[int] | None:
    return [_number(one) for one in value] if isinstance(value, list) else None
