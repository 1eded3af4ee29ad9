"""The configuration read again while the agent runs: only what changed is made anew."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager

import structlog

from fuagent.config import Config, SyncConfig
from fuagent.engine.agent import Agent
from fuagent.engine.sync import Sync
from fuagent.errors import ConfigError, FuagentError

Log = structlog.typing.FilteringBoundLogger


class Reloader:
    """Brings a running agent in line with its configuration file.

    Args:
        config: What runs now.
        read: Reads the file anew; raises ConfigError with every mistake.
        prepare: Checks what one sync needs and gives what makes it; raises FuagentError.
    """

    def __init__(
        self,
        config: Config,
        agent: Agent,
        read: Callable[[], Config],
        prepare: Callable[[Config, SyncConfig], Callable[[], Sync]],
        log: Log,
    ) -> None:
        self._config = config
        self._agent = agent
        self._read = read
        self._prepare = prepare
        self._log = log
        self._turn = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()

    @property
    def config(self) -> Config:
        """What runs now."""
        return self._config

    async def reload(self) -> str:
        """Read the file and restart the syncs that it changes; gives what was done in one sentence.

        Raises:
            FuagentError: the file is wrong, or changes what only a restart can; everything goes on as it was.
        """
        async with self._turn:
            config = await asyncio.to_thread(self._read)
            _same_agent(self._config, config)
            changed, gone, new = difference(self._config, config)
            # All that can be wrong is found before anything is stopped.
            come = {name: self._prepare(config, config.syncs[name]) for name in (*changed, *new)}
            # Whoever asked does not wait for a request under way to end, which may take as long as drain.
            self._config = config
            self._begin(self._exchange([*changed, *gone], come, list(config.syncs)))
            said = _said(changed, gone, new)
            self._log.info("reloaded", restarted=changed, removed=gone, added=new)
            for finding in config.warnings:
                self._log.warning("configuration", where=finding.where, what=finding.what, fix=finding.fix)
            return said

    async def _exchange(self, gone: list[str], come: Mapping[str, Callable[[], Sync]], order: list[str]) -> None:
        try:
            await self._agent.exchange(gone, come, order)
        except ExceptionGroup as group:  # nobody else would hear of it
            for error in group.exceptions:
                self._log.error("a sync did not start", problem=type(error).__name__, exc_info=error)

    @asynccontextmanager
    async def on_signal(self) -> AsyncIterator[None]:
        """While inside, SIGHUP reloads; what is wrong with the file is said in the log."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, lambda: self._begin(self._answer()))
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    def _begin(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer(self) -> None:
        try:
            await self.reload()
        except ConfigError as error:
            for finding in error.findings:
                self._log.error("not reloaded", where=finding.where, what=finding.what, fix=finding.fix)
        except FuagentError as error:
            self._log.error("not reloaded", where=error.where, what=error.what, fix=error.fix)


def difference(before: Config, after: Config) -> tuple[list[str], list[str], list[str]]:
    """Names of the syncs that changed (they, their source or their pusher), are gone, and are new."""
    changed = [
        name
        for name, sync in after.syncs.items()
        if name in before.syncs and _whole(before, before.syncs[name]) != _whole(after, sync)
    ]
    gone = [name for name in before.syncs if name not in after.syncs]
    return changed, gone, [name for name in after.syncs if name not in before.syncs]


def _whole(config: Config, sync: SyncConfig) -> tuple[object, ...]:
    return sync, config.sources[sync.source], config.pushers[sync.pusher]


def _same_agent(before: Config, after: Config) -> None:
    for key, old, new in (
        ("agent_id", before.agent_id, after.agent_id),
        ("state_dir", before.state_dir, after.state_dir),
    ):
        if old != new:
            raise FuagentError(
                f"{key} has changed, and that takes a restart; nothing was reloaded.",
                where=key,
                fix="Restart the agent, or put the old value back.",
            )


def _said(changed: list[str], gone: list[str], new: list[str]) -> str:
    parts = [
        f"{word}: {', '.join(names)}"
        for word, names in (("restarted", changed), ("removed", gone), ("added", new))
        if names
    ]
    return "; ".join(parts) if parts else "nothing has changed"
