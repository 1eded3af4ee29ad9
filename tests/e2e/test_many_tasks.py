"""Fifty tasks of five agents at once on one receiver of the kit."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fuagent.receiver.database import DatabaseStore
from fuagent.receiver.router import Receiver
from harness.agent import Agent, until
from harness.receiving import KEY, served

AGENTS, TASKS, ROUNDS = range(5), range(10), 40
META = sa.MetaData()
TABLES = {
    f"t{task}": sa.Table(
        f"t{task}",
        META,
        sa.Column("owner", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("ver", sa.Integer, nullable=False),
    )
    for task in TASKS
}


def source(path: Path, owner: int) -> sqlite3.Connection:
    """A database with one small table per task; all its rows are this owner's."""
    database = sqlite3.connect(path, isolation_level=None, timeout=30)
    database.execute("PRAGMA journal_mode = WAL")
    for table in TABLES:
        database.execute(f"CREATE TABLE {table} (owner INTEGER, id INTEGER, ver INTEGER, PRIMARY KEY (owner, id))")
        database.executemany(f"INSERT INTO {table} VALUES (?, ?, 0)", [(owner, id_) for id_ in range(30)])
    return database


def settings(path: Path, owner: int, document: str) -> dict[str, Any]:
    syncs = {f"task-{table}": {"source": "shop", "pusher": "service", "tables": [table]} for table in TABLES}
    return {
        "agent_id": f"agent-{owner:012x}",
        "sources": {"shop": {"driver": "sqlite", "endpoint": f"sqlite:///{path}"}},
        "pushers": {"service": {"driver": "openapi", "endpoint": document, "credential": {"key": KEY}}},
        "syncs": syncs,
    }


def change(database: sqlite3.Connection, owner: int, chance: random.Random, version: int) -> None:
    """One transaction over some tables."""
    database.execute("BEGIN IMMEDIATE")
    for table in chance.sample(sorted(TABLES), 4):
        id_ = chance.randrange(40)
        if chance.random() < 0.2:
            database.execute(f"DELETE FROM {table} WHERE id = ?", (id_,))
        else:
            database.execute(f"REPLACE INTO {table} VALUES (?, ?, ?)", (owner, id_, version))
    database.execute("COMMIT")


def rows(connection: Any, table: str) -> set[tuple[int, ...]]:
    return {tuple(row) for row in connection.execute(sa.text(f"SELECT owner, id, ver FROM {table}"))}


async def agreed(agent: Agent, owner: int, kept: DatabaseStore) -> bool:
    """Whether agent and receiver name the same checkpoint of every task; what has just arrived is acknowledged soon."""
    names = [f"task-{table}" for table in TABLES]
    known = {name: (await agent.state("caught up", name))["index"] for name in names}
    return known == {name: kept.checkpoint(f"agent-{owner:012x}", name) for name in names}


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
async def test_no_row_is_lost_and_no_checkpoint_mixed(store: str, tmp_path: Path, copy) -> None:
    """Five agents share the names of ten tasks: each row arrives, and each checkpoint is its own agent's."""
    engine = sa.create_engine(copy(store))
    kept = DatabaseStore(engine, TABLES)
    kept.create()
    receiver = Receiver(kept, keys=KEY, delete_field="_deleted")
    for table in TABLES:
        receiver.task(f"task-{table}", key=["owner", "id"], table=table)(dict[str, Any])
    chance = random.Random(store)
    async with AsyncExitStack() as stack:
        service = stack.enter_context(served(receiver.app()))
        agents, sources = [], []
        for owner in AGENTS:
            folder = tmp_path / f"agent-{owner}"
            folder.mkdir()
            sources.append(stack.enter_context(closing(source(folder / "shop.db", owner))))
            made = settings(folder / "shop.db", owner, f"{service.origin}/openapi.json")
            agents.append(await stack.enter_async_context(Agent(folder, made)))
        await asyncio.gather(*(agent.start() for agent in agents))
        for version in range(1, ROUNDS + 1):
            for owner, database in enumerate(sources):
                change(database, owner, chance, version)
            await asyncio.sleep(chance.random() * 0.1)

        def same() -> bool:
            with engine.connect() as copied:
                return all(
                    rows(copied, table)
                    == {row for database in sources for row in database.execute(f"SELECT owner, id, ver FROM {table}")}
                    for table in TABLES
                )

        await until(same, "the copies hold what the sources hold")
        for owner, agent in enumerate(agents):
            await until(
                partial(agreed, agent, owner, kept), f"agent {owner} and the receiver know the same checkpoints"
            )
            assert await agent.end() == 0
        assert same()
    engine.dispose()
