"""A store in Redis for checkpoints alone; rows go to the task's own function and nowhere else.

So the function comes first, and the checkpoint is saved once it has returned. A crash in between, and a lock that
runs out, bring the same batch again: rows arrive *at least once*, unlike with the other stores, and the function
must bear that.

One batch of a sync at a time holds the sync's lock (https://redis.io/docs/latest/commands/set/#patterns). The state
is saved by one script that first looks whether the lock is still its own: who has lost it saves nothing, and never
writes over what a later batch has saved.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

import orjson
from redis import Redis
from redis.exceptions import RedisError

from fuagent.errors import FuagentError
from fuagent.receiver.store import Key, Row, State, Target

_PAUSE = 0.02
"""Seconds between two looks at a lock that another holds."""
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
_SAVE = f"""if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('set', KEYS[2], ARGV[2])
{_RELEASE}"""


class RedisStore:
    """Keeps the state of each sync under a key of its own.

    Args:
        redis: A client, or a URL for one (``redis://user:password@host:6379/0``, ``rediss://…``).
        prefix: What all its keys begin with.
        lock_seconds: Longest time that one batch may take. After a crash the sync waits as long.
        patience: Seconds to wait for another batch of the same sync; above it the agent is told to come again.
    """

    keeps_rows = False

    def __init__(
        self, redis: str | Redis, *, prefix: str = "fuagent:", lock_seconds: float = 30.0, patience: float = 10.0
    ) -> None:
        self._client: Any = Redis.from_url(redis, socket_timeout=patience) if isinstance(redis, str) else redis
        self._prefix = prefix
        self._lock_seconds = lock_seconds
        self._patience = patience

    def check(self, target: Target, *, sweep: bool) -> None:
        """Without rows there is nothing to sweep."""
        if sweep:
            raise ValueError(f"{target.table}: Redis keeps checkpoints alone, so sweep=True has no rows to look at")

    @contextmanager
    def transaction(self, agent_id: str, task_id: str) -> Iterator[RedisTransaction]:
        """Hold the sync's lock; what was saved takes effect at the end, if the lock is still held then.

        Raises:
            FuagentError: Redis does not answer, another batch holds the lock, or the lock has run out.
        """
        lock, at = self._key("lock", agent_id, task_id), self._key("state", agent_id, task_id)
        token = secrets.token_hex(16)
        with _readable():
            self._acquire(lock, token)
        try:
            with _readable():
                transaction = RedisTransaction(self._client, _state(self._client.get(at)))
            yield transaction
            with _readable():
                self._save(lock, at, token, transaction.saved)
        except BaseException:
            with suppress(RedisError):  # it runs out by itself
                self._client.eval(_RELEASE, 1, lock, token)
            raise

    def checkpoint(self, agent_id: str, task_id: str) -> int | None:
        """The checkpoint as last saved."""
        with _readable():
            return _state(self._client.get(self._key("state", agent_id, task_id))).checkpoint

    def _key(self, what: str, agent_id: str, task_id: str) -> str:
        # The braces keep both keys of a sync on one node of a cluster, where a script may use them together.
        return f"{self._prefix}{{{orjson.dumps([agent_id, task_id]).decode()}}}:{what}"

    def _acquire(self, lock: str, token: str) -> None:
        end = time.monotonic() + self._patience
        while not self._client.set(lock, token, nx=True, px=max(1, round(self._lock_seconds * 1000))):
            if time.monotonic() > end:
                raise FuagentError("another batch of this sync has held its lock for too long", where=lock)
            time.sleep(_PAUSE)

    def _save(self, lock: str, at: str, token: str, state: State | None) -> None:
        if state is None:
            self._client.eval(_RELEASE, 1, lock, token)
        elif not self._client.eval(_SAVE, 2, lock, at, token, orjson.dumps(asdict(state))):
            raise FuagentError(
                f"the batch took longer than {self._lock_seconds} seconds and its lock ran out: its checkpoint is not "
                "saved, and its rows will come again",
                where=lock,
                fix="give RedisStore more lock_seconds, or let the agent send less at once",
            )


class RedisTransaction:
    """The state of one sync, saved at the end. ``session`` is the client; what it writes is not undone."""

    def __init__(self, client: Any, state: State) -> None:
        self.session = client
        self.state = state
        self.saved: State | None = None

    def put(self, target: Target, rows: Sequence[Row], run: str) -> None:
        """Rows are the function's."""

    def remove(self, target: Target, keys: Iterable[Key]) -> None:
        """Likewise."""

    def sweep(self, target: Target, run: str) -> None:
        """There is nothing to sweep, and no task that asks for it."""

    def save(self, state: State) -> None:
        """Keep it for the end."""
        self.state = self.saved = state


def _state(text: bytes | str | None) -> State:
    try:
        return State(**orjson.loads(text)) if text is not None else State()
    except (orjson.JSONDecodeError, TypeError):
        raise FuagentError(
            "a state in Redis is not what this store writes",
            fix="give RedisStore a prefix of its own, or delete the key: the agent then takes a snapshot",
        ) from None


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        fix = "see whether it runs, and whether the URL and the credential are right"
        raise FuagentError(f"Redis does not do its part: {error}", fix=fix) from error
