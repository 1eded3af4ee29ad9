"""A service made with the receiver kit, for measurements: ``kit.py DATABASE TYPE``, its port on standard output.

``TYPE`` says how rows are taken: ``dict`` as they come, ``model`` as what pydantic makes of them.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvicorn
from pydantic import BaseModel
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
)

from fuagent.receiver import ready_server
from fuagent.receiver.database import DatabaseStore
from fuagent.receiver.router import Receiver

ORDERS = Table(
    "orders",
    MetaData(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(60), nullable=False),
    Column("email", String(100), nullable=False),
    Column("price", Numeric(12, 2), nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("note", Text),
    Column("active", Boolean, nullable=False),
    Column("created", DateTime, nullable=False),
    Column("changed", DateTime(timezone=True), nullable=False),
    Column("weight", Double, nullable=False),
)
KEY = "key of the bench"


class Order(BaseModel):
    """A row, each value in the type that the agent writes it in."""

    id: int
    name: str
    email: str
    price: str
    quantity: int
    note: str | None
    active: bool
    created: str
    changed: str
    weight: float


def main(database: str, kind: str) -> None:
    """Serve until told to stop."""
    store = DatabaseStore(ready_server.open_database(database), {"orders": ORDERS})
    store.create()
    receiver = Receiver(store, keys=KEY, delete_field="_deleted")
    receiver.task("orders", key="id")(Order if kind == "model" else dict)
    # asyncio turns Nagle's algorithm off for sockets that say they are TCP's, and create_server's do not.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    server = uvicorn.Server(uvicorn.Config(receiver.app(), log_level="warning", lifespan="off", ws="none"))
    asyncio.run(server.serve(sockets=[listening]))


if __name__ == "__main__":
    main(*sys.argv[1:])
