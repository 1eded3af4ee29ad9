"""Kills a receiver of the kit at random moments of a sync, and judges its database each time before it is up again.

The judge is a receiver in memory that is given the same batches. The agent sends one batch at a time, so the
database must hold all that was answered, and of the batch that was not either all or nothing: rows, the run they
carry, checkpoint and the rest of the state. Rows of one batch with the checkpoint of another are neither.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fuagent.contract import payload
from fuagent.receiver.memory import MemoryStore
from fuagent.receiver.redis import RedisStore
from fuagent.receiver.rows import RowType
from fuagent.receiver.service import Route, receive
from fuagent.receiver.store import State, Target
from harness import kept_orders, nursery
from harness.agent import Agent, config, unmeasured, until
from harness.killing import Writer
from harness.orders import SqliteOrders
from harness.passage import Batch, Passage
from harness.server import free_port

Content = tuple[dict[Any, tuple[Any, ...]], dict[str, Any]]
"""Rows by id, and the state of the sync."""
SESSIONS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
    "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
}
"""How many others are at work in the database, where a server may still finish what a dead client began."""


@dataclass
class Report:
    """What a run did and what was found; ``faults`` is empty when every promise held."""

    seed: int
    kills: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    """What became of the batch that was under way when the receiver died."""
    changes: int = 0
    batches: int = 0
    faults: list[str] = field(default_factory=list)


class Process:
    """The receiver as a process, started again and again on one port."""

    def __init__(self, database: str, log: Path, redis: str = "") -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self._env = unmeasured()
        self._env |= {"DATABASE": database, "SERVICE_KEY": "k-1234", "REDIS": redis}
        self.process: nursery.Life | None = None

    async def start(self) -> None:
        """Start, and wait until it takes connections."""
        here = str(Path(__file__).parent)
        command = ["--app-dir", here, "--factory", "kept_orders:app"]
        command += ["--port", str(self.port), "--log-level", "warning"]
        with self._log.open("ab") as log:
            self.process = await nursery.begin(command, self._env, log, log, program="uvicorn")
        await until(self._listens, f"the receiver listens; its log says:\n{self._log.read_text()[-3000:]}")

    async def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, self._log.read_text()[-3000:]
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def kill(self) -> None:
        """SIGKILL, by the saved process id."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


class Judge:
    """What the database must hold."""

    rows_first = False
    """Whether rows may be a batch ahead of the checkpoint; never behind it."""

    def __init__(self, engine: sa.Engine, agent_id: str = "agent-0123456789ab") -> None:
        self._engine = engine
        self._store = MemoryStore()
        self._sync = (agent_id, kept_orders.TASK)
        rows = RowType(kept_orders.Order, ["id"], kept_orders.DELETED)
        self.route = Route(kept_orders.TASK, Target("orders", ("id",)), rows, sweep=True)
        self._seen = 0
        self._lag: dict[str, Any] | None = None
        """The state that rows are ahead of, until the batch is answered."""

    def expected(self) -> Content:
        """All that was applied."""
        rows = self._store._tables.get("orders", {})
        names = [column.key for column in kept_orders.ORDERS.c if column.key != kept_orders.RUN]
        content = {key[0]: (*(row[name] for name in names), run) for key, (row, run) in rows.items()}
        return content, asdict(self._store._states.get(self._sync, State()))

    def found(self) -> Content:
        """What the database holds."""
        state = sa.table("fuagent_state", *(sa.column(name) for name in asdict(State())))
        with self._engine.connect() as connection:
            rows = {row[0]: tuple(row) for row in connection.execute(sa.select(kept_orders.ORDERS))}
            kept = connection.execute(sa.select(state)).mappings().all()
        assert len(kept) <= 1, "one sync has one state"
        return rows, asdict(State(**{**asdict(State()), **_plain(kept[0])})) if kept else asdict(State())

    def judge(self, batches: list[Batch]) -> tuple[str, str]:
        """What became of the batch under way, and what is wrong, if anything is."""
        news, self._seen = batches[self._seen :], len(batches)
        open_ = next((batch for batch in reversed(news) if batch.status is None), None)
        for batch in news:
            if batch.status == 200:
                self._apply(batch)
                self._lag = None
        before, found = self.expected(), self.found()
        if found == before:
            return ("undone" if open_ else "none under way"), ""
        if open_ is not None:
            self._apply(open_)
        after = self.expected()
        if found == after:
            return "kept", ""
        self._lag = self._lag or before[1]
        if self.rows_first and found == (after[0], self._lag):
            return "rows kept", ""
        return "wrong", _difference(found, after)

    def _apply(self, batch: Batch) -> None:
        """Take in what a good store holds behind this batch."""
        receive(self._store, self.route, payload.read(batch.body), batch.key)


class LooseJudge(Judge):
    """For rows and checkpoints that are kept apart."""

    rows_first = True

    def __init__(self, engine: sa.Engine, checkpoints: RedisStore) -> None:
        super().__init__(engine)
        self._checkpoints = checkpoints
        self.route = replace(self.route, sweep=False)

    def found(self) -> Content:
        rows, _ = super().found()
        with self._checkpoints.transaction(*self._sync) as transaction:
            return {id_: row[:-1] for id_, row in rows.items()}, asdict(transaction.state)

    def expected(self) -> Content:
        rows, state = super().expected()
        return {id_: row[:-1] for id_, row in rows.items()}, state


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    flags = {name for name, value in asdict(State()).items() if isinstance(value, bool)}
    return {name: bool(value) if name in flags else value for name, value in row.items()}


def _difference(found: Content, expected: Content) -> str:
    ids = sorted(id_ for id_ in found[0].keys() | expected[0].keys() if found[0].get(id_) != expected[0].get(id_))
    return f"state {found[1]} where {expected[1]} was due; rows that differ: {ids[:10]} ({len(ids)})"


async def run(directory: Path, database: str, kills: int, seed: int, rows: int = 300, redis: str = "") -> Report:
    """Start, kill, judge, start again, ``kills`` times; then let it catch up, and compare with the source.

    ``redis``: where checkpoints are kept, if not with the rows.
    """
    chance, report = random.Random(seed), Report(seed)
    orders = SqliteOrders(directory / "shop.db", rows)
    engine = sa.create_engine(database, poolclass=sa.NullPool)
    kept_orders.store(engine)
    receiver = Process(database, directory / "receiver.log", redis)
    async with Passage(receiver.url) as passage:
        settings = config(directory / "shop.db", f"{passage.url}/openapi.json", sync={"batch_size": 20})
        judge = LooseJudge(engine, RedisStore(redis)) if redis else Judge(engine)
        async with Agent(directory, settings) as agent, _ended(receiver):
            await agent.start()
            writer = Writer(orders, chance)
            writer.start()
            while report.kills < kills and not report.faults:
                await _live_and_die(receiver, passage, chance)
                await until(lambda: _is_alone(engine), "the database ends what the receiver began")
                became, fault = judge.judge(passage.batches)
                report.kills += 1
                report.moments[became] += 1
                report.faults += [f"kill {report.kills}: {fault}"] if fault else []
            await writer.stop()
            await receiver.start()
            passage.open()
            await agent.state("caught up")
            truth = {row["id"]: tuple(row.values()) for row in orders.rows().values()}
            await until(
                lambda: report.faults or {id_: row[:4] for id_, row in judge.found()[0].items()} == truth,
                "copy and source hold the same rows",
            )
            await agent.end()
        report.changes, report.batches = writer.changes, len(passage.batches)
    engine.dispose()
    return report


@asynccontextmanager
async def _ended(receiver: Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await receiver.kill()


async def _live_and_die(receiver: Process, passage: Passage, chance: random.Random) -> None:
    """One life of the receiver: killed at a random moment of one of its next batches, or just behind it."""
    await receiver.start()
    last = asyncio.Event()
    left = chance.randrange(1, 12)

    def count() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            last.set()

    passage.on_batch = count
    passage.open()
    await asyncio.wait_for(last.wait(), 60)
    await asyncio.sleep(chance.random() * 1.2 * passage.lasted)
    passage.shut()
    await receiver.kill()
    await passage.settled()


def _is_alone(engine: sa.Engine) -> bool:
    question = SESSIONS.get(engine.dialect.name)
    if question is None:
        return True
    with engine.connect() as connection:
        return connection.execute(sa.text(question)).scalar() == 0
