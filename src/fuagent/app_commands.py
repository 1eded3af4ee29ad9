"""What the commands do: ask the running agent, or work on its journal where none runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

from fuagent import app, app_answers, control, preflight
from fuagent.engine.agent import BY_OPERATOR
from fuagent.engine.progress import Progress
from fuagent.errors import FuagentError, StateError
from fuagent.journal import Journal, SnapshotRecord, SyncJournal
from fuagent.model import Finding


async def status(setup: app.Setup) -> dict[str, object]:
    """What the running agent tells, or what the journal holds without one."""
    with suppress(control.NotRunningError):
        told: Any = await control.call(setup.state_dir, "status")
        return dict(told)
    if not setup.state_dir.exists():
        raise StateError("nothing ran here yet.", where=str(setup.state_dir), fix="Start the agent with fuagent run.")
    journal = Journal.open(setup.state_dir)
    try:
        told = [_remembered(journal.sync(name)) for name in setup.config.syncs]
        return app_answers.report(told, journal, running=False)
    finally:
        journal.close()


def _remembered(own: SyncJournal) -> Progress:
    record = own.record
    return Progress(
        own.name,
        gap=record.gap,
        rows=record.rows,
        batches=record.batches,
        left_out=record.left_out,
        rejected=own.rejected_count(),
        index=record.acknowledged,
        answered=record.answered,
        tables=record.tables,
        snapshot_cause=record.snapshot.cause if record.snapshot else "",
        notices=[f"paused; fuagent resume {own.name} ends that"] if record.paused else [],
    )


async def snapshot(setup: app.Setup, name: str) -> str:
    """Ask for a full snapshot of one sync; gives what happens next."""

    def note(own: SyncJournal) -> str:
        due = own.record.snapshot
        # One that was cut off keeps where it began: rows deleted since are then still told.
        whole = due if due is not None and not due.tables else SnapshotRecord()
        own.save(replace(own.record, snapshot=replace(whole, cause=BY_OPERATOR)))
        return "no agent is running; the snapshot is taken when it starts"

    return await _wish(setup, "snapshot", name, note)


async def pause(setup: app.Setup, name: str) -> str:
    """Stop one sync until it is resumed; gives what happens next."""

    def note(own: SyncJournal) -> str:
        own.save(replace(own.record, paused=True))
        return "no agent is running; the sync stays paused when it starts"

    return await _wish(setup, "pause", name, note)


async def reload(setup: app.Setup) -> str:
    """Let the running agent read its configuration again; gives what that changed.

    Raises:
        StateError: none is running.
    """
    return await _running(
        setup,
        "reload",
        "there is nothing to reload.",
        "Start one with fuagent run; it reads the configuration then.",
    )


async def console(setup: app.Setup) -> str:
    """The link of the running agent's console, with its token.

    Raises:
        FuagentError: none is running, or it does not listen.
    """
    return await _running(
        setup, "console", "there is no console.", "Start one with fuagent run --listen 8103 (any free port)."
    )


async def _running(setup: app.Setup, command: str, otherwise: str, fix: str) -> str:
    """What the running agent answers; without one, ``otherwise`` says what that means."""
    try:
        return str(await control.call(setup.state_dir, command))
    except control.NotRunningError:
        raise StateError(f"no agent is running; {otherwise}", where=str(setup.state_dir), fix=fix) from None


async def resume(setup: app.Setup, name: str) -> str:
    """End the pause of one sync; gives what happens next."""

    def note(own: SyncJournal) -> str:
        if not own.record.paused:
            return "the sync was not paused"
        own.save(replace(own.record, paused=False))
        return "no agent is running; the sync goes on when it starts"

    return await _wish(setup, "resume", name, note)


async def accept_gap(setup: app.Setup, name: str) -> str:
    """Take the gap of one sync for known; gives what happens next."""

    def note(own: SyncJournal) -> str:
        if not own.record.gap:
            return "there is no gap"
        own.save(replace(own.record, gap=""))
        return "the gap is accepted; no snapshot is suggested when the agent starts"

    return await _wish(setup, "accept_gap", name, note)


async def _wish(setup: app.Setup, command: str, name: str, note: Callable[[SyncJournal], str]) -> str:
    """Let the running agent do it, or write it down for the next one."""
    known(setup, name)
    with suppress(control.NotRunningError):
        return str(await control.call(setup.state_dir, command, sync=name))
    with closing(Journal.open(setup.state_dir)) as journal:
        return note(journal.sync(name))


def known(setup: app.Setup, name: str) -> None:
    """See that the configuration has a sync of that name.

    Raises:
        FuagentError: naming those there are.
    """
    if name not in setup.config.syncs:
        raise FuagentError(f"there is no sync called {name!r}.", fix=f"Choose one of: {', '.join(setup.config.syncs)}.")


async def remove(setup: app.Setup, source: str) -> list[str]:
    """Take out of one source's database all that fuagent put there; gives a line for each thing.

    Raises:
        StateError: an agent is running on it.
    """
    if source not in setup.config.sources:
        raise FuagentError(
            f"there is no source called {source!r}.", fix=f"Choose one of: {', '.join(setup.config.sources)}."
        )
    journal = Journal.open(setup.state_dir)
    try:
        agent_id = setup.config.agent_id or journal.agent_id()
        if agent_id is None:
            return []
        lines: list[str] = []
        for sync in setup.config.syncs.values():
            if sync.source == source:
                driver = app.source(setup, sync, agent_id, lambda _finding: None)
                try:
                    lines += await driver.remove()
                finally:
                    await driver.close()
        return lines
    finally:
        journal.close()


async def check(setup: app.Setup) -> list[Finding]:
    """Everything that would go wrong later, each with its fix. Changes nothing and sends no row."""
    findings = list(setup.config.warnings)
    agent_id = setup.config.agent_id or "agent-check"
    for sync in setup.config.syncs.values():
        source = app.source(setup, sync, agent_id, findings.append)
        pusher = app.pusher(setup, sync, agent_id, findings.append)
        try:
            findings += await preflight.check(app.settings(sync, agent_id), source, pusher)
        finally:
            await source.close()
            await pusher.close()
    return list(dict.fromkeys(findings))
