"""The one place that knows everyone: configuration in, running agent out."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog

from fuagent import app_answers, app_console, app_memory, control, drivers, functions, traces
from fuagent import config as configuration
from fuagent.app_reload import Reloader
from fuagent.config import Config, SyncConfig
from fuagent.engine.agent import Agent
from fuagent.engine.progress import Progress
from fuagent.engine.reporter import Reporter
from fuagent.engine.settings import SyncSettings
from fuagent.engine.sync import Sync
from fuagent.interfaces import Pusher, PusherContext, Source, SourceContext
from fuagent.journal import Journal
from fuagent.model import Finding, Mapping
from fuagent.version import __version__

Log = structlog.typing.FilteringBoundLogger
SETTLE_EVERY = 0.5
"""Seconds between two looks at the journal's write-ahead log: at most some MB of it by then."""


@dataclass(frozen=True, slots=True)
class Setup:
    """A configuration that was read, and where the agent keeps its state."""

    config: Config
    state_dir: Path


class SystemClock:
    """Time as the machine has it."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def time(self) -> float:
        """Unix time."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class _Anything(dict[str, str]):
    """The environment for commands that send nothing: a variable that is not set does no harm."""

    def get(self, name: str, default: object = None) -> str:  # noqa: ARG002
        """The variable, or its own name in its place."""
        return super().get(name, name)


def setup(path: Path, state_dir: Path | None = None, *, sends: bool = True) -> Setup:
    """Read ``path``.

    Args:
        path: The configuration file.
        state_dir: Where the journal lies, if not where the configuration says.
        sends: Whether credentials are needed; without, unset variables are passed over.

    Raises:
        ConfigError: with every mistake at once.
    """
    environ = dict(os.environ) if sends else _Anything(os.environ)
    config = configuration.load(path, environ=environ, options=drivers.options)
    return Setup(config, (state_dir or config.state_dir).absolute())


# ---------------------------------------------------------------- building


def _agent_id(config: Config, journal: Journal, log: Log) -> str:
    """The id from the configuration, else the one of the last run, else a new one; a change is said."""
    before = journal.agent_id()
    agent_id = config.agent_id or before or f"agent-{secrets.token_hex(6)}"
    if agent_id == before:
        return agent_id
    if before is not None:
        log.warning("agent_id changed: services keep checkpoints by it", old=before, new=agent_id)
    elif config.agent_id is None:
        log.warning("agent_id made: write it into the configuration, so that it outlives the journal", new=agent_id)
    journal.remember_agent_id(agent_id)
    return agent_id


def _shape(sync: SyncConfig) -> str:
    """Hash of what decides which rows are sent: tables, filters, delete mode."""
    told: list[object] = [sync.tables, sync.exclude, str(sync.mapping.deletes), sync.mapping.delete_field]
    if sync.mapping.where or sync.transform:
        told += [sync.mapping.where, sync.transform]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _mapping(sync: SyncConfig) -> Mapping:
    if sync.transform is None:
        return sync.mapping
    return replace(sync.mapping, transform=functions.transform(sync.transform, f"syncs.{sync.name}.transform"))


def settings(sync: SyncConfig, agent_id: str) -> SyncSettings:
    """What the engine has to know of one sync."""
    return SyncSettings(
        name=sync.name,
        agent_id=agent_id,
        mapping=_mapping(sync),
        deletes_given=sync.deletes_given,
        batch_size=sync.batch_size,
        batch_bytes=sync.batch_bytes,
        batch_wait=sync.batch_wait,
        whole_transactions=sync.whole_transactions,
        drain=sync.drain,
        on_reject=sync.on_reject,
        rejected_limit=sync.rejected_limit,
        validate_rows=sync.validate_rows,
        on_lost_place=sync.on_lost_place,
        on_schema_change=sync.on_schema_change,
        trust_checkpoint=sync.trust_checkpoint,
        accept_rejected=sync.accept_rejected,
        shape=_shape(sync),
    )


def source(setup: Setup, sync: SyncConfig, agent_id: str, warn: Callable[[Finding], None]) -> Source:
    """The source of one sync, made and not yet opened."""
    chosen = setup.config.sources[sync.source]
    context = SourceContext(
        sync=sync.name,
        agent_id=agent_id,
        endpoint=chosen.endpoint,
        credential=chosen.credential,
        options=chosen.options,
        tables=sync.tables,
        exclude=sync.exclude,
        base_dir=setup.config.base_dir,
        warn=warn,
    )
    return drivers.load_source(chosen.driver)(context)


def pusher(
    setup: Setup,
    sync: SyncConfig,
    agent_id: str,
    warn: Callable[[Finding], None],
    traced: traces.Traces | None = None,
) -> Pusher:
    """The pusher of one sync, made and not yet opened."""
    chosen = setup.config.pushers[sync.pusher]
    spans = traced.of(sync.name) if traced else None
    context = PusherContext(
        sync=sync.name,
        agent_id=agent_id,
        endpoint=chosen.endpoint,
        credential=chosen.credential,
        options=chosen.options,
        timeout=sync.timeout,
        outcomes=dict(sync.outcomes),
        accept_rejected=sync.accept_rejected,
        base_dir=setup.config.base_dir,
        cache=setup.state_dir / "documents",
        warn=warn,
    )
    if spans is None:
        return drivers.load_pusher(chosen.driver)(context)
    return traces.Traced(drivers.load_pusher(chosen.driver)(replace(context, headers=spans.headers)), spans)


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the syncs of one start of the agent."""

    agent_id: str
    state_dir: Path
    journal: Journal
    log: Log
    started: str
    clock: SystemClock
    traced: traces.Traces | None

    def prepare(self, config: Config, sync: SyncConfig) -> Callable[[], Sync]:
        """What makes one sync; all that can be wrong with its configuration is found here."""
        known = settings(sync, self.agent_id)
        return partial(self._make, Setup(config, self.state_dir), sync, known)

    def _make(self, setup: Setup, sync: SyncConfig, known: SyncSettings) -> Sync:
        progress = Progress(sync.name, since=self.clock.time())
        reporter = Reporter(progress, self.log, self.clock)

        def warn(finding: Finding) -> None:
            reporter.notice(f"{finding.what} {finding.fix}".strip(), where=finding.where)

        own = self.journal.sync(sync.name)
        progress.rejected = own.rejected_count()
        return Sync(
            known,
            source(setup, sync, self.agent_id, warn),
            pusher(setup, sync, self.agent_id, warn, self.traced),
            own,
            self.clock,
            random.random,
            reporter,
            self.started,
        )


def _maker(setup: Setup, journal: Journal, log: Log) -> _Maker:
    agent_id = _agent_id(setup.config, journal, log)
    started = f"{time.time_ns() // 1_000_000:x}"
    clock = SystemClock()
    traced = traces.begin(agent_id, os.environ, log, clock)
    return _Maker(agent_id, setup.state_dir, journal, log, started, clock, traced)


# ---------------------------------------------------------------- running


async def run(
    setup: Setup,
    *,
    once: bool,
    watch: Callable[[Agent], Awaitable[None]] | None = None,
    listening: app_console.Listening | None = None,
) -> int:
    """Run the agent until a signal (or, with ``once``, until caught up); gives the exit code.

    ``watch`` runs beside it and shows what it likes; ``listening`` opens metrics and console.

    Raises:
        StopAgentError: the agent cannot run, or cannot listen.
    """
    log: Log = structlog.get_logger()
    app_memory.tame_collector()
    app_memory.keep_large_apart()
    # A command that looks into the journal for a moment must not keep the agent from starting.
    journal = Journal.open(setup.state_dir, patience=2.0)
    try:
        if journal.damaged is not None:
            log.error(
                "the journal was damaged; it is put aside and the services' checkpoints decide",
                kept=str(journal.damaged),
            )
        if journal.kept is not None:
            log.info("the journal of an earlier version was carried over; it is kept", kept=str(journal.kept))
        for finding in setup.config.warnings:
            log.warning("configuration", where=finding.where, what=finding.what, fix=finding.fix)
        maker = _maker(setup, journal, log)
        agent = Agent([maker.prepare(setup.config, sync)() for sync in setup.config.syncs.values()])
        reloader = Reloader(setup.config, agent, partial(_read, setup.config.path), maker.prepare, log)
        log.info("agent starts", version=__version__, syncs=list(setup.config.syncs), state_dir=str(setup.state_dir))
        desk = app_console.Desk(listening, agent, journal)
        commands = app_answers.commands(agent, journal) | {"reload": _reload(reloader), "console": desk.link}
        async with (
            control.serve(setup.state_dir, commands),
            reloader.on_signal(),
            desk.open(lambda: reloader.config, commands),
            _watching(agent, watch),
            _settling(journal),
            app_memory.giving_back(),
        ):
            forced = await _until_signal(agent, once=once)
            if maker.traced and not forced:
                await maker.traced.end()
        log.info("agent ends", healthy=agent.healthy)
        if forced:
            return 128 + forced
        return 0 if agent.healthy else 1
    finally:
        journal.close()


def _read(path: Path) -> Config:
    return configuration.load(path, environ=dict(os.environ), options=drivers.options)


def _reload(reloader: Reloader) -> control.Command:
    async def reload(_arguments: dict[str, object]) -> object:
        return await reloader.reload()

    return reload


@asynccontextmanager
async def _watching(agent: Agent, watch: Callable[[Agent], Awaitable[None]] | None) -> AsyncIterator[None]:
    task = asyncio.ensure_future(watch(agent)) if watch else None
    try:
        yield
    finally:
        if task:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def _settling(journal: Journal) -> AsyncIterator[None]:
    """Keeps the journal's log short, in a thread, so that no row waits for the disk."""
    ending = asyncio.Event()

    async def settle() -> None:
        while not ending.is_set():
            await asyncio.to_thread(journal.settle)
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_EVERY):
                    await ending.wait()

    task = asyncio.ensure_future(settle())
    try:
        yield
    finally:
        ending.set()
        await task


async def _until_signal(agent: Agent, *, once: bool) -> int:
    """Run until the agent ends; the first signal drains it, the second ends it at once."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(agent.run(once=once))
    ending: list[asyncio.Task[None]] = []
    forced = 0

    def stop(number: int) -> None:
        nonlocal forced
        if ending:
            forced = number
            task.cancel()
            return
        ending.append(asyncio.ensure_future(agent.stop()))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not forced:
            raise
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        for stopping in ending:
            if forced:
                stopping.cancel()
            with suppress(asyncio.CancelledError):
                await stopping
    return forced
