"""The commands on rows set aside: ask the running agent, or work on its journal and source where none runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from itertools import count
from typing import Any

from fuagent import app, app_rejected, control
from fuagent.app_commands import known
from fuagent.app_rejected import Listed, Shown
from fuagent.engine.again import Account, Send, chosen, send_again
from fuagent.engine.checking import Check, checks
from fuagent.engine.settings import SyncSettings
from fuagent.engine.sync import BY_SERVICE, refuse_mix, spec_for
from fuagent.errors import FuagentError, HaltSyncError, TryAgainError
from fuagent.interfaces import Pusher, Source
from fuagent.journal import Journal, Rejected, SnapshotRecord, SyncJournal
from fuagent.model import Batch, Outcome, TableSpec, Verdict


async def listed(setup: app.Setup, name: str | None) -> tuple[list[Listed], int]:
    """The rows of one sync or all of them, and how many more there are than are told."""
    if name is not None:
        known(setup, name)
    with suppress(control.NotRunningError):
        told: Any = await control.call(setup.state_dir, "rejected", sync=name)
        return [Listed(**row) for row in told["rows"]], int(told["more"])
    with closing(Journal.open(setup.state_dir)) as journal:
        return app_rejected.listed(journal, _syncs(setup, name)), 0


async def show(setup: app.Setup, name: str | None, number: int) -> Shown:
    """One row with its key and event."""
    if name is not None:
        known(setup, name)
    with suppress(control.NotRunningError):
        told: Any = await control.call(setup.state_dir, "rejected_show", sync=name, id=number)
        return Shown(Listed(**told["listed"]), told["key"], told["event"])
    with closing(Journal.open(setup.state_dir)) as journal:
        of, row = app_rejected.find(journal, _syncs(setup, name), number)
        return await _shown(setup, of, row)


async def _shown(setup: app.Setup, name: str, row: Rejected) -> Shown:
    """The row, its key read by the table as it stands; a source that is not to be had costs the key alone."""
    specs: list[TableSpec] = []
    with suppress(FuagentError):
        sync = setup.config.syncs[name]
        source = app.source(setup, sync, setup.config.agent_id or "agent-show", lambda _finding: None)
        try:
            await source.open()
            specs = [TableSpec(table, sync.mapping) for table in await source.discover()]
        finally:
            await source.close()
    return app_rejected.shown(name, row, specs)


async def drop(setup: app.Setup, name: str, numbers: Sequence[int] | None) -> int:
    """Let rows go; gives how many."""
    known(setup, name)
    with suppress(control.NotRunningError):
        gone: Any = await control.call(setup.state_dir, "rejected_drop", sync=name, ids=numbers)
        return int(gone)
    with closing(Journal.open(setup.state_dir)) as journal:
        return app_rejected.drop(journal, name, numbers)


async def retry(read: Callable[[bool], app.Setup], name: str, numbers: Sequence[int] | None) -> Account:
    """Send rows once more; gives what became of them.

    Args:
        read: Reads the configuration; True where credentials are needed.
        name: The sync.
        numbers: The rows; None for all.
    """
    setup = read(False)
    known(setup, name)
    with suppress(control.NotRunningError):
        told: Any = await control.call(setup.state_dir, "rejected_retry", sync=name, ids=numbers)
        return Account(told["sent"], told["gone"], [(number, reason) for number, reason in told["kept"]])
    setup = read(True)
    with closing(Journal.open(setup.state_dir)) as journal:
        own = journal.sync(name)
        if not chosen(own, numbers):
            return Account()
        agent_id = setup.config.agent_id or journal.agent_id() or ""
        sync = setup.config.syncs[name]
        source = app.source(setup, sync, agent_id, lambda _finding: None)
        pusher = app.pusher(setup, sync, agent_id, lambda _finding: None)
        try:
            await pusher.open()
            await source.open()
            specs = await _specs(app.settings(sync, agent_id), source, pusher)
            by_table = checks(app.settings(sync, agent_id), specs)
            return await send_again(own, source, specs, numbers, _once(own, pusher, agent_id, by_table))
        finally:
            await source.close()
            await pusher.close()


async def _specs(settings: SyncSettings, source: Source, pusher: Pusher) -> list[TableSpec]:
    tables = await source.discover()
    refuse_mix(tables, pusher)
    return [spec_for(settings, table, pusher) for table in tables]


def _once(own: SyncJournal, pusher: Pusher, agent_id: str, by_table: Mapping[str, Check]) -> Send:
    """Sends a row once: what an agent would wait out ends the command, and the row stays on the list."""
    started, numbers = f"{time.time_ns() // 1_000_000:x}", count(1)

    async def send(table: str, event: bytes) -> Outcome:
        if table in by_table and (complaint := by_table[table].complaint(event)):
            return Outcome(Verdict.REJECTED, complaint)
        key = f"{started}.0.{next(numbers)}"
        outcome = await pusher.push(Batch(own.name, agent_id, key, (event,), table))
        if outcome.verdict is Verdict.HALT:
            raise HaltSyncError(outcome.reason, where=pusher.route(table), fix=outcome.fix)
        if outcome.verdict in (Verdict.RETRY, Verdict.WRONG_ANSWER, Verdict.UNAUTHORISED):
            fix = "Retry when the service answers; what it has not taken is still on the list."
            raise TryAgainError(outcome.reason, where=pusher.route(table), fix=f"{outcome.fix} {fix}".strip())
        if outcome.snapshot_needed and own.record.snapshot is None:
            own.save(replace(own.record, snapshot=SnapshotRecord(cause=BY_SERVICE), gap=""))
        return outcome

    return send


def _syncs(setup: app.Setup, name: str | None) -> list[str]:
    return list(setup.config.syncs) if name is None else [name]
