"""Fixtures that give tests a MariaDB server: one shared by a whole run, or any number of private ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from harness.mariadb import Database, MariaDB, make_template, program

_names = count(1)


@pytest.fixture(scope="session")
def mariadb_template(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The data directory servers are copied from; all workers of a run share it."""
    if program("mariadbd") is None or program("mariadb-install-db") is None:
        pytest.skip("needs a MariaDB server: scripts/system-packages tests")
    base = tmp_path_factory.getbasetemp()
    return make_template(base.parent if hasattr(request.config, "workerinput") else base)


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
    mariadb.execute(f"DROP DATABASE `{made.name}`")


@pytest.fixture
def private_mariadb(mariadb_template: Path) -> Iterator[Callable[..., MariaDB]]:
    """Makes servers to be stopped, killed and configured: ``private_mariadb(server_id=2)``, started."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(MariaDB(mariadb_template, **options))
