"""Fixtures that give tests a MariaDB, PostgreSQL or Redis server: one shared by a whole run, or any number of private ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from harness import postgres as pg
from harness.dying import Story
from harness.mariadb import Database, MariaDB, make_template, program
from harness.orders import MariaDBOrders, Orders, PostgresOrders, SqliteOrders
from harness.redis_server import RedisServer
from harness.redis_server import program as redis_program
from harness.workload import Workload
from harness.workload_mariadb import MariaDBDialect
from harness.workload_postgres import PostgresDialect
from harness.workload_sqlite import File, SQLiteDialect

_names = count(1)


@pytest.fixture(scope="session")
def mariadb_template(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The data directory servers are copied from; all workers of a run share it."""
    if program("mariadbd") is None or program("mariadb-install-db") is None:
        pytest.skip("needs a MariaDB server: scripts/system-packages tests")
    return make_template(_shared(tmp_path_factory, request))


def _shared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The folder that all workers of a run have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if hasattr(request.config, "workerinput") else base


@pytest.fixture(scope="session")
def mariadb(mariadb_template: Path) -> Iterator[MariaDB]:
    """The shared server: leave its options and its process alone."""
    with MariaDB(mariadb_template) as server:
        yield server


@pytest.fixture
def database(mariadb: MariaDB) -> Iterator[Database]:
    """A fresh, empty database on the shared server."""
    made = mariadb.database(f"shop_{next(_names)}")
    yield made
    mariadb.drop(made.name)


@pytest.fixture
def private_mariadb(mariadb_template: Path) -> Iterator[Callable[..., MariaDB]]:
    """Makes servers to be stopped, killed and configured: ``private_mariadb(server_id=2)``, started."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(MariaDB(mariadb_template, **options))


@pytest.fixture(scope="session")
def postgres_template(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The data directory servers are copied from; all workers of a run share it."""
    if pg.program("postgres") is None or pg.program("initdb") is None:
        assert not os.environ.get("POSTGRES_BIN"), f"there is no PostgreSQL server in {os.environ['POSTGRES_BIN']}"
        pytest.skip("needs a PostgreSQL server: scripts/system-packages tests")
    return pg.make_template(_shared(tmp_path_factory, request))


@pytest.fixture(scope="session")
def postgres(postgres_template: Path) -> Iterator[pg.Postgres]:
    """The shared server: leave its options and its process alone."""
    with pg.Postgres(postgres_template) as server:
        yield server


@pytest.fixture
def postgres_database(postgres: pg.Postgres) -> Iterator[pg.Database]:
    """A fresh, empty database on the shared server; slots and sessions that are left on it go with it."""
    made = postgres.database(f"shop_{next(_names)}")
    yield made
    postgres.drop(made.name)


@pytest.fixture
def private_postgres(postgres_template: Path) -> Iterator[Callable[..., pg.Postgres]]:
    """Makes servers to be stopped, killed and configured, started.

    ``private_postgres(wal_level="replica")``, or ``private_postgres(standby_of=first)``.
    """
    with ExitStack() as stack:
        yield lambda template=postgres_template, **options: stack.enter_context(pg.Postgres(template, **options))


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    if redis_program() is None:
        pytest.skip("needs a Redis server: scripts/system-packages tests")
    with RedisServer() as server:
        yield server


@pytest.fixture
def orders(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str, int], Orders]]:
    """Makes a table of orders on one kind of database: ``orders("postgres", 600)``, with so many rows."""
    with ExitStack() as stack:

        def made(source: str, rows: int) -> Orders:
            if source == "sqlite":
                return SqliteOrders(tmp_path / "shop.db", rows)
            table: PostgresOrders | MariaDBOrders
            if source == "mariadb":
                table = MariaDBOrders(request.getfixturevalue("database"), rows)
            else:
                table = PostgresOrders(request.getfixturevalue("postgres_database"), rows)
            stack.callback(table.close)
            return table

        yield made


@pytest.fixture
def copy(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Makes an empty database for a receiver: ``copy("postgres")`` gives its URL for SQLAlchemy."""

    def made(store: str) -> str:
        if store == "sqlite":
            return f"sqlite:///{tmp_path}/copy.db"
        if store == "mariadb":
            database = request.getfixturevalue("database")
            server = database.server
            return f"mysql+pymysql://{server.superuser}@127.0.0.1:{server.port}/{database.name}?charset=utf8mb4"
        database = request.getfixturevalue("postgres_database")
        server = database.server
        return f"postgresql+psycopg://{server.superuser}@127.0.0.1:{server.port}/{database.name}"

    return made


@pytest.fixture
def stories(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Story]]:
    """Makes an agent that dies at chosen points: ``stories("postgres", seed)``, with a database of its own.

    Further options are those of `Story`.
    """
    left = ExitStack()
    made_by = {"sqlite": _sqlite_story, "mariadb": _mariadb_story, "postgres": partial(_postgres_story, left)}

    def made(source: str, seed: int, **options: Any) -> Story:
        left.close()  # of the story before: its slot would be in the way of one in another database
        folder = tmp_path / f"story-{next(_names)}"
        folder.mkdir()
        return made_by[source](request, folder, seed, **options)

    with left:
        yield made


def _sqlite_story(_request: pytest.FixtureRequest, folder: Path, seed: int, **options: Any) -> Story:
    file = File(folder / "shop.db")

    def lose() -> None:
        for kind, statement in (("trigger", 'DROP TRIGGER "{}"'), ("table", 'DELETE FROM "{}"')):
            query = "SELECT name FROM sqlite_master WHERE type = %s AND name LIKE %s"
            for (name,) in file.execute(query, kind, "%fuagent%" if kind == "trigger" else "%fuagent%log"):
                file.execute(statement.format(name))

    source = {"driver": "sqlite", "endpoint": f"sqlite:///{file.path}", "driver_params": {"keep_rows": 20}}
    return Story(folder, source, [_workload(file, SQLiteDialect(), seed)], lose, seed, **options)


def _mariadb_story(request: pytest.FixtureRequest, folder: Path, seed: int, **options: Any) -> Story:
    server = request.getfixturevalue("private_mariadb")()
    account = {"user": pg.USER, "password": pg.PASSWORD}
    source = {"driver": "mysql", "endpoint": server.url(), "credential": account}
    workload = _workload(server.database(), MariaDBDialect(), seed)
    return Story(folder, source, [workload], lambda: server.execute("RESET MASTER"), seed, **options)


def _postgres_story(left: ExitStack, request: pytest.FixtureRequest, folder: Path, seed: int, **options: Any) -> Story:
    """Two tables: transactions on one stay open while others on the other begin and end."""
    server = request.getfixturevalue("postgres")
    database = server.database(f"shop_{next(_names)}")
    left.callback(server.drop, database.name)

    def lose() -> None:
        for (name,) in database.execute("SELECT pubname FROM pg_publication"):
            database.execute(f'DROP PUBLICATION "{name}"')

    account = {"user": pg.USER, "password": pg.PASSWORD}
    source = {"driver": "postgres", "endpoint": database.url(), "credential": account}
    quick = _workload(database, PostgresDialect("FULL"), seed)
    slow = _workload(database, PostgresDialect("DEFAULT"), seed, table="v", first=10**9, linger=0.05)
    return Story(folder, source, [quick, slow], lose, seed, **options)


def _workload(database: Any, dialect: Any, seed: int, **options: Any) -> Workload:
    return Workload(database, dialect, seed, rows=60, ddl=False, **options)
