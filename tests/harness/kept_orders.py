"""A receiver of table ``orders``, to be a process of its own: ``uvicorn --factory kept_orders:app``.

``DATABASE`` is the URL of the copy, ``SERVICE_KEY`` the credential.
"""

from __future__ import annotations

import os
from typing import Any

from pydantic import BaseModel
from sqlalchemy import BigInteger, Column, Double, Engine, Integer, MetaData, String, Table, create_engine

from fuagent.receiver.database import DatabaseStore
from fuagent.receiver.router import Receiver

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
    receiver = Receiver(store(engine), keys=os.environ["SERVICE_KEY"], delete_field=DELETED)
    receiver.task(TASK, key="id", table="orders", sweep=True)(Order)
    return receiver.app()
