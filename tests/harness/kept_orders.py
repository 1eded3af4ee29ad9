"""A receiver of table ``orders``, to be a process of its own: ``uvicorn --factory kept_orders:app``.

``DATABASE`` is the URL of the copy, ``SERVICE_KEY`` the credential. With ``REDIS`` the checkpoint is kept there, and
rows are written by a function of the task's own, in a transaction of its own.
"""

from __future__ import annotations

import os
from typing import Any

from pydantic import BaseModel
from sqlalchemy import BigInteger, Column, Double, Engine, Integer, MetaData, String, Table, create_engine

from fuagent.receiver.database import DatabaseStore
from fuagent.receiver.redis import RedisStore
from fuagent.receiver.router import Receiver
from fuagent.receiver.service import Changes

TASK, RUN, DELETED = "orders-sync", "fuagent_run", "_deleted"
ORDERS = Table(
    "orders",
    MetaData(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(200)),
    Column("price", Double),
    Column("ver", Integer, nullable=False),
    Column(RUN, String(100)),
)


class Order(BaseModel):
    """A row as it must be."""

    id: int
    name: str | None
    price: float | None
    ver: int


def store(engine: Engine) -> DatabaseStore:
    """Where rows and checkpoint go, with its tables."""
    made = DatabaseStore(engine, {"orders": ORDERS})
    made.create()
    return made


def app() -> Any:
    """The application."""
    engine = create_engine(os.environ["DATABASE"], hide_parameters=True)
    if url := os.environ.get("REDIS"):
        return _apart(engine, RedisStore(url, lock_seconds=1))
    receiver = Receiver(store(engine), keys=os.environ["SERVICE_KEY"], delete_field=DELETED)
    receiver.task(TASK, key="id", table="orders", sweep=True)(Order)
    return receiver.app()


def _apart(engine: Engine, checkpoints: RedisStore) -> Any:
    receiver = Receiver(checkpoints, keys=os.environ["SERVICE_KEY"], delete_field=DELETED)

    @receiver.task(TASK, key="id", table="orders")
    def take(changes: Changes[Order]) -> None:
        with engine.begin() as connection:
            ids = [row.id for row in changes.rows] + [key[0] for key in changes.gone]
            connection.execute(ORDERS.delete().where(ORDERS.c.id.in_(ids)))
            if changes.rows:
                connection.execute(ORDERS.insert(), [row.model_dump() for row in changes.rows])

    return receiver.app()
