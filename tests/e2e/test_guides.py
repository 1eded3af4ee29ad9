"""The guides for servers, followed word for word on a fresh server: what they say, and what check says then, is enough."""

import json
import re
from pathlib import Path

import pytest

from harness.agent import Agent, config
from harness.mariadb import BINLOG
from harness.service import Service

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "how-to"
PASSWORD = "a password"


def block(guide: str, heading: str, language: str) -> str:
    """The first block of code in this language below a heading."""
    section = (GUIDES / guide).read_text(encoding="utf-8").partition(f"# {heading}\n")[2]
    return section.partition(f"```{language}\n")[2].partition("```")[0]


def statements(guide: str, heading: str) -> list[str]:
    """The SQL below a heading, for an account that the server does not know yet."""
    text = re.sub(r"--.*", "", block(guide, heading, "sql")).replace("'…'", f"'{PASSWORD}'")
    return [one.strip() for one in text.replace("fuagent", "reader").split(";") if one.strip()]


def options(guide: str, heading: str) -> dict[str, str]:
    """The server's settings below a heading."""
    lines = [re.sub(r"#.*", "", line) for line in block(guide, heading, "ini").splitlines()]
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    return {name.strip(): value.strip() for name, value in found.items()}


def settings(url: str, document: str) -> dict[str, object]:
    """A configuration of one sync from there."""
    source = {"driver": url.partition(":")[0], "endpoint": url, "credential": {"user": "reader", "password": PASSWORD}}
    return config(Path(), document, source=source)


async def errors(agent: Agent) -> list[dict[str, str]]:
    """What check finds wrong."""
    _, out, _ = await agent.call("check", "--json")
    return [one for one in json.loads(out) if one["level"] == "error"]


@pytest.mark.slow
async def test_the_guide_for_postgresql(private_postgres, tmp_path):
    """A server as it comes, the statements of the guide, and the one that check prints for the owner: rows arrive."""
    server = private_postgres(wal_level=None)
    database = server.database()
    database.execute("CREATE TABLE orders (id integer PRIMARY KEY)")
    database.execute("INSERT INTO orders VALUES (1), (2)")
    async with Service() as service, Agent(tmp_path, settings(database.url(), service.openapi)) as agent:
        assert [one["what"] for one in await errors(agent)] == ["the login was refused"]

        for statement in statements("use-postgres.md", "Prepare the server"):
            database.execute(statement)
        server.restart()
        [left] = await errors(agent)
        database.execute(re.search("CREATE PUBLICATION.*", left["fix"])[0])

        assert await errors(agent) == []
        assert await agent.once() == 0
        assert sorted(row["id"] for row in service.rows.values()) == [1, 2]


@pytest.mark.slow
async def test_the_guide_for_mariadb(private_mariadb, tmp_path):
    """A server with the settings of the guide and its statements: check finds nothing wrong, and rows arrive."""
    server = private_mariadb(**dict.fromkeys(BINLOG) | options("use-mysql.md", "MariaDB"))
    database = server.database()
    database.execute("CREATE TABLE orders (id integer PRIMARY KEY)")
    database.execute("INSERT INTO orders VALUES (1), (2)")
    async with Service() as service, Agent(tmp_path, settings(database.url(), service.openapi)) as agent:
        for statement in statements("use-mysql.md", "MariaDB"):
            database.execute(statement)

        assert await errors(agent) == []
        assert await agent.once() == 0
        assert sorted(row["id"] for row in service.rows.values()) == [1, 2]
