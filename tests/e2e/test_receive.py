"""The agent in front of ``fuagent receive``: a copy from database to database over HTTP, whatever is killed on the way."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import pytest
import sqlalchemy as sa

from harness.agent import Agent, until
from harness.copying import KEY, Copy
from harness.server import PASSWORD, USER
from harness.workload_mariadb import MariaDBDialect
from harness.workload_postgres import PostgresDialect

ROWS = 1500
CHANCE = random.Random(7)


class Source(Protocol):
    """A table ``zoo`` with a column of every type."""

    endpoint: dict[str, Any]
    """The source of a configuration."""

    def insert(self, first: int, last: int) -> None:
        """Rows with these ids."""

    def execute(self, sql: str) -> None:
        """Run one statement and commit it."""

    def rows(self) -> dict[int, dict[str, Any]]:
        """What stands there, by id, as an agent writes it."""

    def close(self) -> None:
        """End its session."""


class ServerSource:
    """On a server, with the table of the workloads."""

    def __init__(self, database: Any, dialect: Any, driver: str) -> None:
        self.endpoint = {
            "driver": driver,
            "endpoint": database.url(),
            "credential": {"user": USER, "password": PASSWORD},
        }
        self._dialect = dialect
        dialect.create(database, "zoo")
        self._session = dialect.connect(database)

    def insert(self, first: int, last: int) -> None:
        """See `Source`."""
        plain = {"ver": 1, "tx": 1, "val": "v", "chk": 2**31, "lump_no": 1, "lump": "x" * 50}
        made = [{"id": number, **plain, **self._dialect.zoo(CHANCE)} for number in range(first, last + 1)]
        with self._session.cursor() as cursor:
            for start in range(0, len(made), 50):  # some rows have nothing in a column
                some = made[start : start + 50]
                gone = CHANCE.choice([name for name in some[0] if name.startswith("z_")])
                self._dialect.insert(cursor, "zoo", [{**row, gone: None} for row in some])

    def execute(self, sql: str) -> None:
        """See `Source`."""
        with self._session.cursor() as cursor:
            cursor.execute(sql)

    def rows(self) -> dict[int, dict[str, Any]]:
        """See `Source`."""
        as_json = self._dialect.as_json
        with self._session.cursor() as cursor:
            cursor.execute("SELECT * FROM zoo LIMIT 0")
            names = [column[0] for column in cursor.description]
            wanted = ", ".join(as_json.get(name, ("{}", None))[0].format(name) for name in names)
            cursor.execute(f"SELECT {wanted} FROM zoo")
            found = cursor.fetchall()

        def seen(name: str, value: Any) -> Any:
            return as_json[name][1](value) if name in as_json and value is not None else value

        return {row[0]: {name: seen(name, value) for name, value in zip(names, row, strict=True)} for row in found}

    def close(self) -> None:
        """See `Source`."""
        self._session.close()


class SqliteSource:
    """In a file, where a column of any type takes any value."""

    def __init__(self, path: Path) -> None:
        self.endpoint = {"driver": "sqlite", "endpoint": f"sqlite:///{path}"}
        self._session = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._session.execute("PRAGMA journal_mode = WAL")
        self._session.execute(
            "CREATE TABLE zoo (id INTEGER PRIMARY KEY, ver INT, big BIGINT, rate REAL, name TEXT, raw BLOB, any)"
        )

    def insert(self, first: int, last: int) -> None:
        """See `Source`."""
        values = [None, 0, -(2**63), 2**63 - 1, 1e300, 0.1, "", "007", "ß😀\n", "1e5"]
        self._session.executemany(
            "INSERT INTO zoo (id, ver, big, rate, name, raw, any) VALUES (?, 1, ?, ?, ?, ?, ?)",
            [
                (number, 2**62 + number, number / 8, f"name {number}", bytes([number % 256] * 3), CHANCE.choice(values))
                for number in range(first, last + 1)
            ],
        )

    def execute(self, sql: str) -> None:
        """See `Source`."""
        self._session.execute(sql)

    def rows(self) -> dict[int, dict[str, Any]]:
        """See `Source`."""
        cursor = self._session.execute("SELECT * FROM zoo")
        names = [column[0] for column in cursor.description]
        return {
            row[0]: {
                name: b64encode(value).decode() if isinstance(value, bytes) else value
                for name, value in zip(names, row, strict=True)
            }
            for row in cursor
        }

    def close(self) -> None:
        """See `Source`."""
        self._session.close()


def is_kept(sent: Any, kept: Any) -> bool:
    """Whether a column holds what was sent: exactly, if perhaps as text."""
    if sent is None or kept is None:
        return sent is kept
    if isinstance(sent, bool):
        return str(kept).lower() in {str(sent).lower(), str(int(sent))}
    if isinstance(sent, int | float):
        return Decimal(str(kept)) == Decimal(str(sent))
    return kept == sent if isinstance(sent, str) else json.loads(kept) == sent


def difference(source: Source, engine: sa.Engine) -> str:
    """The first thing in which the copy is not what the source is; empty if there is none."""
    if not sa.inspect(engine).has_table("zoo"):
        return "there is no table yet"
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT * FROM zoo")).mappings().all()
    copied = {int(row["id"]): dict(row) for row in found}
    wanted = source.rows()
    if wanted.keys() != copied.keys():
        return f"other rows: {sorted(wanted.keys() ^ copied.keys())[:5]}"
    for number, row in wanted.items():
        for name, value in row.items():
            if not is_kept(value, copied[number].get(name)):
                return f"row {number}: {name} is {value!r} and was kept as {copied[number].get(name)!r}"
    return ""


def mariadb_url(database: Any, driver: str = "") -> str:
    return f"mysql{driver}://{database.server.superuser}@127.0.0.1:{database.server.port}/{database.name}"


def postgres_url(database: Any, driver: str = "") -> str:
    return f"postgresql{driver}://{database.server.superuser}@127.0.0.1:{database.server.port}/{database.name}"


Pair = tuple[Source, str, sa.Engine]


@pytest.fixture(params=["sqlite-sqlite", "mariadb-postgres", "postgres-sqlite", "postgres-mariadb"])
def pair(request, tmp_path) -> Iterator[Pair]:
    """A source, the URL of a database for its copy, and that database."""
    origin, _, target = request.param.partition("-")
    if origin == "sqlite":
        source: Source = SqliteSource(tmp_path / "shop.db")
    elif origin == "mariadb":
        source = ServerSource(request.getfixturevalue("database"), MariaDBDialect(), "mysql")
    else:
        source = ServerSource(request.getfixturevalue("postgres_database"), PostgresDialect("FULL"), "postgres")
    if target == "sqlite":
        url = own = f"sqlite:///{tmp_path}/copy.db"
    elif target == "mariadb":
        database = request.getfixturevalue("database")
        url, own = mariadb_url(database), mariadb_url(database, "+pymysql")
    else:
        database = request.getfixturevalue("postgres_database")
        url, own = postgres_url(database), postgres_url(database, "+psycopg")
    engine = sa.create_engine(own)
    yield source, url, engine
    engine.dispose()
    source.close()


async def same(source: Source, engine: sa.Engine, copy: Copy, agent: Agent) -> None:
    """Wait until the copy is what the source is."""
    last = ["never compared"]

    def compared() -> bool:
        last[0] = difference(source, engine)
        return not last[0]

    try:
        await until(compared, "the copy is the source")
    except AssertionError:
        message = f"{last[0]}\n{agent.text()[-2000:]}\n{copy.text()[-2000:]}"
        raise AssertionError(message) from None


@pytest.mark.slow
async def test_a_copy_survives_anything(tmp_path: Path, pair: Pair) -> None:
    """Snapshot, changes, a new column, and both programs killed at any time: the copy is the source in the end."""
    source, url, engine = pair
    source.insert(1, ROWS)
    async with Copy(tmp_path, url, "--deletes", "--sweep") as copy:
        settings = copy.settings(source.endpoint, ["zoo"])
        settings["syncs"]["orders-sync"]["batch_size"] = 100
        async with Agent(tmp_path, settings) as agent:
            code, out, err = await agent.call("check")
            assert code == 0, out + err
            await agent.start()
            await until(lambda: counted(engine) > 0, "the first rows arrive")
            await copy.end(signal.SIGKILL)
            source.execute("UPDATE zoo SET ver = ver + 1 WHERE id % 3 = 0")
            source.execute("DELETE FROM zoo WHERE id % 7 = 0")
            await copy.start()
            await same(source, engine, copy, agent)

            source.execute("ALTER TABLE zoo ADD COLUMN extra TEXT")
            source.insert(ROWS + 1, ROWS + 200)
            source.execute("UPDATE zoo SET extra = 'red' WHERE id % 5 = 0")
            await agent.kill()
            source.execute("UPDATE zoo SET id = id + 100000 WHERE id % 11 = 0")
            await agent.start()
            source.execute("DELETE FROM zoo WHERE id % 13 = 0")
            await copy.end(signal.SIGKILL)
            source.insert(ROWS + 1000, ROWS + 1100)
            await copy.start()
            await same(source, engine, copy, agent)
            assert await agent.end() == 0, agent.text()

        # A new agent knows nothing: its snapshot takes away what was deleted meanwhile.
        source.execute("DELETE FROM zoo WHERE id % 17 = 0")
        (tmp_path / "new").mkdir()
        async with Agent(tmp_path / "new", settings | {"agent_id": "agent-ba9876543210"}) as agent:
            assert await agent.once() == 0, agent.text()
            assert difference(source, engine) == ""
        assert await copy.end() == 0

        assert KEY not in copy.text()


def counted(engine: sa.Engine) -> int:
    """Rows of the copy."""
    if not sa.inspect(engine).has_table("zoo"):
        return 0
    with engine.connect() as connection:
        return connection.execute(sa.text("SELECT count(*) FROM zoo")).scalar() or 0


async def test_a_term_lets_a_batch_under_way_finish(tmp_path: Path, postgres_database: Any) -> None:
    """The receiver told to stop while a row waits for a lock answers that batch before it ends, with exit code 0."""
    source = SqliteSource(tmp_path / "shop.db")
    source.insert(1, 3)
    async with (
        Copy(tmp_path, postgres_url(postgres_database), "--deletes") as copy,
        Agent(tmp_path, copy.settings(source.endpoint, ["zoo"])) as agent,
    ):
        assert await agent.once() == 0, agent.text()
        with postgres_database.transaction() as cursor:
            cursor.execute("UPDATE zoo SET ver = 1 WHERE id = 2")
            source.execute("UPDATE zoo SET ver = 5 WHERE id = 2")
            await agent.start()
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            await until(lambda: postgres_database.execute(waiting), "the batch waits")
            assert copy.process is not None
            copy.process.send_signal(signal.SIGTERM)
            await until(lambda: copy.health() == 0, "it takes no more requests")
            assert copy.process.returncode is None
        assert await copy.end() == 0

        assert postgres_database.execute("SELECT ver FROM zoo WHERE id = 2") == [(5,)]
    source.close()


@pytest.mark.parametrize("options", [(), ("--deletes", "--sweep")], ids=str)
async def test_the_judge_finds_nothing(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Every probe of `fuagent conformance` passes."""
    async with Copy(tmp_path, f"sqlite:///{tmp_path}/copy.db", *options) as copy:
        judge = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "fuagent",
                "conformance",
                f"{copy.origin}/openapi.json",
                "--key",
                "env:SERVICE_KEY",
            ),
            *("--batch-endpoint", "/ingest/orders", "--rows", "500"),
            stdout=asyncio.subprocess.PIPE,
            env=copy.env,
        )
        out, _ = await judge.communicate()

    assert judge.returncode == 0, out.decode()
    assert "none failed, 0 skipped: the contract is kept." in out.decode()


@pytest.mark.parametrize(
    ("options", "env", "text", "code"),
    [
        ([], {"SERVICE_KEY": ""}, "export SERVICE_KEY=$(python3", 5),
        (["--key-env", "k-12 34"], {}, "never the key itself", 2),
        (["--key", "zoo"], {}, "write TABLE=COLUMN", 2),
        (["--unknown", "drop"], {}, "is not one of ignore, reject, add", 2),
        (["--unknown", "reject"], {}, "tables that are made from rows grow", 5),
        (["--database", "mongodb://x/y"], {}, "names no database", 5),
        (["--database", "sqlite://"], {}, "names no database", 5),
        ([], {"FUAGENT_DATABASE": "postgresql://a:s3cret@127.0.0.1:1/b"}, "does not let us in", 5),
        pytest.param(
            *(["--database", "postgresql://a:s3cret@127.0.0.1:1/b"], {}, "set FUAGENT_DATABASE", 2),
            marks=pytest.mark.fault("S07"),
        ),
        (["--listen", "8000x"], {}, "write host:port", 2),
        (["--listen", "192.0.2.1:80"], {}, "cannot listen there", 5),
        (["--schema", "none.sql"], {}, "No such file", 2),
    ],
)
async def test_what_cannot_be_run_is_said(tmp_path: Path, options, env, text, code) -> None:
    """What happened, where and what to do; no password and no trace."""
    copy = Copy(tmp_path, f"sqlite:///{tmp_path}/copy.db", *options, env=env | {"COLUMNS": "300"})
    await copy.start(ready=False)
    assert copy.process is not None

    assert await copy.process.wait() == code, copy.text()
    assert text in copy.text()
    assert "s3cret" not in copy.text()
    assert "Traceback" not in copy.text()


async def test_a_user_who_may_make_no_tables_is_told_what_to_grant(tmp_path: Path, database: Any) -> None:
    """At the start, and not as a defect of the program."""
    copy = Copy(tmp_path, f"mysql://{USER}:{PASSWORD}@127.0.0.1:{database.server.port}/{database.name}")
    await copy.start(ready=False)
    assert copy.process is not None

    assert await copy.process.wait() == 5, copy.text()
    assert "CREATE command denied" in copy.text()
    assert "fix: Grant this user what it takes" in copy.text()
    assert PASSWORD not in copy.text()


def test_without_its_libraries_the_command_says_what_to_install() -> None:
    """One error with the fix; every other command goes on as before."""
    code = "import sys; sys.modules['uvicorn'] = None; sys.argv = ['fuagent', *sys.argv[1:]]; from fuagent import cli; cli.main()"
    command = [sys.executable, "-c", code, "receive", "--database", "sqlite:///x.db"]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"SERVICE_KEY": KEY})

    assert ended.returncode == 5
    assert "pip install 'fuagent[receiver]'" in ended.stderr
    assert "uvicorn" in ended.stderr
