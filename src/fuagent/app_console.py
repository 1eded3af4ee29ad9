"""The agent as its console meets it: what it may tell, field by field, and how it is asked to do something."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import structlog

from fuagent import control
from fuagent.config import Config
from fuagent.console import told
from fuagent.console.server import Console, Room
from fuagent.contract.outcome import REFUSED
from fuagent.contract.text import address, clean
from fuagent.engine.again import Account
from fuagent.engine.agent import Agent
from fuagent.engine.lifecycle import State
from fuagent.engine.progress import Progress
from fuagent.engine.sync import Sync
from fuagent.errors import FuagentError
from fuagent.interfaces import Locating, Whereabouts
from fuagent.journal import Journal
from fuagent.model import Field
from fuagent.model import Mapping as EventMapping
from fuagent.version import __version__

ROWS = 100
"""Rows set aside that are told of one sync."""
_LONGEST = 1000
_WANT_A_PERSON = frozenset({State.HALTED, State.LOST_PLACE, State.WRONG_ANSWER, State.UNAUTHORISED})
_WAITING = frozenset({State.RETRYING, State.WRONG_ANSWER, State.UNAUTHORISED})
_ENDED = frozenset({State.HALTED, State.STOPPED, State.DRAINING})
_COMMANDS = {
    "pause": "pause",
    "resume": "resume",
    "snapshot": "snapshot",
    "accept-gap": "accept_gap",
    "retry-rejected": "rejected_retry",
    "drop-rejected": "rejected_drop",
}


Window = Callable[[Agent, Callable[[], int], Room], AbstractAsyncContextManager[str]]
"""Listens while it stands open: given the agent, what tells the journal's size, and the console; gives its own URL."""


@dataclass(frozen=True, slots=True)
class Listening:
    """What ``run --listen`` asks for.

    ``loopback`` is whether only this machine can reach the address. ``greet`` shows the console's link to a
    person; where nobody sits there is none, and no token is written anywhere.
    """

    window: Window
    loopback: bool
    greet: Callable[[str], None] | None


class Desk:
    """The console of one run, if there is one, and its link for whoever may ask through the control socket."""

    def __init__(self, wanted: Listening | None, agent: Agent, journal: Journal) -> None:
        self._wanted = wanted
        self._agent = agent
        self._journal = journal
        self._link = ""

    async def link(self, _arguments: dict[str, object]) -> object:
        """The link with the token: who can reach the control socket is the agent's own user.

        Raises:
            FuagentError: the agent does not listen.
        """
        if not self._link:
            raise FuagentError(
                "the running agent has no console.", fix="Start it with fuagent run --listen 8103 (any free port)."
            )
        return self._link

    @asynccontextmanager
    async def open(self, config: Callable[[], Config], commands: Mapping[str, control.Command]) -> AsyncIterator[None]:
        """Listen, and keep the console going, for as long as the block runs.

        Raises:
            StopAgentError: the address cannot be listened on.
        """
        if self._wanted is None:
            yield
            return
        watched = Watched(self._agent, self._journal, config, commands)
        console = Console(watched, loopback=self._wanted.loopback)
        async with self._wanted.window(self._agent, self._journal.size, console.answer) as url, console.running():
            self._link = f"{url}/console/#token={console.token}"
            if self._wanted.greet:
                self._wanted.greet(self._link)
            else:
                structlog.get_logger().info("console", address=f"{url}/console/", fix="fuagent console prints its link")
            yield


class Watched:
    """One running agent.

    Args:
        agent: It.
        journal: Its journal.
        config: Gives the configuration as it is now.
        commands: What the agent does when its control socket is asked.
    """

    def __init__(
        self, agent: Agent, journal: Journal, config: Callable[[], Config], commands: Mapping[str, control.Command]
    ) -> None:
        self._agent = agent
        self._journal = journal
        self._config = config
        self._commands = commands
        self._started = time.time()
        self._agent_id = journal.agent_id() or ""
        self._host = socket.gethostname()

    def about(self) -> told.About:
        """The agent itself."""
        return told.About(
            __version__, self._agent_id, self._started, self._host, self._agent.healthy, self._journal.size()
        )

    def syncs(self) -> list[told.Told]:
        """Every sync there is."""
        now = time.time()
        return [overview(one, now) for one in self._agent.progress]

    async def measure(self) -> None:
        """Ask every source how far its sync is behind."""
        await self._agent.status()

    def detail(self, name: str) -> told.Detail:
        """One sync, closely."""
        return _detail(self._agent.find(name), self._config())

    async def act(self, name: str, action: str, numbers: Sequence[int] | None) -> str:
        """Do what the control socket would do; what makes no sense just now is refused."""
        allowed = _actions(self._agent.find(name))
        if action not in allowed:
            raise FuagentError(
                f"{action} is not possible while sync {name} is {self._agent.find(name).progress.shown}.",
                fix=f"Possible now: {', '.join(allowed) or 'nothing'}.",
            )
        arguments: dict[str, object] = {"sync": name} | ({"ids": numbers} if numbers is not None else {})
        done: Any = await self._commands[_COMMANDS[action]](arguments)
        if isinstance(done, Account):
            return f"{done.sent} sent, {done.gone} gone at the source, {len(done.kept)} refused again and kept"
        return f"{done} dropped" if action == "drop-rejected" else str(done)


def overview(one: Progress, now: float) -> told.Told:
    """What is told of one sync at Unix time ``now``."""
    state = one.shown
    return told.Told(
        name=one.name,
        state=str(state),
        since=one.since,
        needs_person=state in _WANT_A_PERSON or bool(one.gap),
        problem=clean(one.problem, _LONGEST),
        fix=clean(one.fix, _LONGEST),
        gap=clean(one.gap, _LONGEST),
        rows=one.rows,
        batches=one.batches,
        bytes=one.bytes,
        retries=one.retries,
        rejected=one.rejected,
        lag=one.lag(now),
        behind_rows=one.behind_rows,
        behind_bytes=one.behind_bytes,
        kept_bytes=one.kept_bytes,
        room_bytes=one.room_bytes,
        kept_seconds=one.kept_seconds,
        room_seconds=one.room_seconds(now),
        loss_is_near=one.loss_is_near(now),
        snapshot=_snapshot(one),
    )


def _snapshot(one: Progress) -> told.SnapshotTold | None:
    if one.state is not State.SNAPSHOT and one.snapshot_since is None and one.snapshot_allowed_in is None:
        return None
    return told.SnapshotTold(
        one.snapshot_rows,
        one.snapshot_total,
        clean(one.snapshot_cause, _LONGEST),
        one.snapshot_since,
        one.snapshot_allowed_in,
    )


def _detail(sync: Sync, config: Config) -> told.Detail:
    progress, record = sync.progress, sync.ledger.record
    configured = config.syncs.get(sync.settings.name)
    source = config.sources.get(configured.source) if configured else None
    pusher = config.pushers.get(configured.pusher) if configured else None
    found = _whereabouts(sync)
    anchors = sync.journal.anchors()
    return told.Detail(
        tables=_tables(sync),
        mapping=_mapping(
            sync.settings.mapping,
            configured.tables if configured else (),
            configured.exclude if configured else (),
        ),
        deletes=progress.deletes or str(sync.settings.mapping.deletes),
        driver=source.driver if source else "",
        position=clean(anchors[0].place.position, _LONGEST) if anchors else "",
        document=found.document if found else address(pusher.endpoint) if pusher else "",
        batch_endpoints=progress.routes,
        status_endpoint=found.status if found else None,
        here=record.acknowledged,
        service=record.answered,
        batches=tuple(
            told.BatchTold(
                one.at, one.rows, one.bytes, round(one.seconds, 4), one.attempts, one.status, clean(one.answer)
            )
            for one in reversed(sync.reporter.recent.batches)
        ),
        retrying=_retrying(sync),
        notices=tuple(clean(text, _LONGEST) for text in progress.notices),
        rejected_rows=tuple(
            told.RejectedTold(row.id, row.table, row.at, row.status, _reason(row.reason))
            for row in sync.journal.rejected_heads(ROWS)
        ),
        actions=_actions(sync),
    )


def _whereabouts(sync: Sync) -> Whereabouts | None:
    with suppress(FuagentError):  # it has not been opened yet
        if isinstance(sync.pusher, Locating):
            return sync.pusher.whereabouts()
    return None


def _tables(sync: Sync) -> tuple[told.TableTold, ...]:
    refused = sync.journal.rejected_tables() if sync.progress.rejected else {}
    names = dict.fromkeys((*sync.progress.tables, *refused))  # a table may have left, and its rows are still here
    return tuple(told.TableTold(name, _route(sync, name), refused.get(name, 0)) for name in names)


def _route(sync: Sync, table: str) -> str:
    with suppress(FuagentError):
        return sync.pusher.route(table)
    return ""


def _mapping(mapping: EventMapping, tables: tuple[str, ...], exclude: tuple[str, ...]) -> told.MappingTold:
    fields = mapping.fields
    return told.MappingTold(
        tables=tables,
        exclude=exclude,
        fields=None if fields is None else tuple(told.FieldTold(one.name, _source(one)) for one in fields),
        where=clean(mapping.where, _LONGEST),
        masks=tuple(told.MaskTold(mask.column, str(mask.cover)) for mask in mapping.masks),
        transform=mapping.transform.name if mapping.transform else None,
        delete_field=mapping.delete_field,
    )


def _source(field: Field) -> str:
    """What a property is made from; a constant may be a secret of the service's, so its value is not told."""
    if field.column is not None:
        return f"column {field.column}"
    return str(field.fact) if field.fact is not None else "constant"


def _retrying(sync: Sync) -> told.RetryTold | None:
    waiting = sync.reporter.recent.waiting
    if waiting is None or sync.progress.state not in _WAITING:
        return None
    return told.RetryTold(waiting.attempt, waiting.reason, round(max(0.0, waiting.until - time.time()), 1))


def _reason(reason: str) -> str:
    """Why a row was refused, without the service's own words, which stand behind ours and may hold values of it."""
    ours, refused, _ = reason.partition(REFUSED)
    return clean(ours + refused, _LONGEST)


def _actions(sync: Sync) -> tuple[str, ...]:
    """What makes sense now: a sync that has ended heeds nothing but what concerns its list."""
    record, progress = sync.ledger.record, sync.progress
    works = progress.state not in _ENDED
    possible = {
        "pause": works and not record.paused,
        "resume": works and record.paused,
        "snapshot": works and not record.paused and (record.snapshot is None or record.snapshot.stage == "pending"),
        "accept-gap": works and bool(record.gap),
        "retry-rejected": works and bool(progress.rejected) and progress.state is not State.PAUSED,
        "drop-rejected": bool(progress.rejected),
    }
    return tuple(name for name in told.ACTIONS if possible[name])
