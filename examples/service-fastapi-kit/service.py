"""Keeps a copy of a table of orders: ``SERVICE_KEY=secret uvicorn service:app``."""

import os
from decimal import Decimal

from pydantic import BaseModel
from sqlalchemy import BigInteger, Column, MetaData, Numeric, String, Table, create_engine

from fuagent.receiver.database import DatabaseStore
from fuagent.receiver.router import Receiver

orders = Table(
    "orders",
    MetaData(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(200)),
    Column("price", Numeric(12, 3)),
    Column("fuagent_run", String(100)),  # which snapshot a row came in; only for sweep=True
)
engine = create_engine(os.environ.get("DATABASE", "sqlite:///copy.db"), hide_parameters=True)
store = DatabaseStore(engine, {"orders": orders})
store.create()

receiver = Receiver(store, keys=os.environ["SERVICE_KEY"], delete_field="_deleted")


@receiver.task("orders-sync", key="id", table="orders", sweep=True)
class Order(BaseModel):
    """A row as it must be; columns that are not named here are left out."""

    id: int
    name: str | None
    price: Decimal


app = receiver.app()
