"""The example services, each as its README starts it: judged, killed under load, and sent what no agent sends."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from harness import nursery, shop
from harness.agent import Agent, config, unmeasured, until
from harness.server import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = "k-1234"
SYNC = {"agent_id": "agent-of-the-test", "task_id": "orders-sync"}
MARKS = {"is_snapshot_end": False, "snapshot_sync_suggested": False}

UVICORN = [sys.executable, "-m", "uvicorn", "service:app", "--log-level", "warning", "--port"]
COMMANDS = {
    "service-fastapi-kit": UVICORN,
    "service-fastapi": UVICORN,
    "service-stdlib": [sys.executable, "service.py", "--port"],
    "service-express": ["node", "service.mjs"],
    "service-php": ["php", "-d", "display_errors=0", "-S"],
}
"""How each is started; the port follows."""


@dataclass
class Example:
    """One service as a process, with a database of its own."""

    name: str
    folder: Path
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None
    kept: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        """The file its rows are in."""
        return self.folder / "copy.db"

    async def start(self) -> None:
        """Start on the same port as before, and wait until it answers."""
        address = [f"127.0.0.1:{self.port}", "service.php"] if self.name == "service-php" else [str(self.port)]
        # Counting for coverage would make each of many starts half as long again.
        environment = unmeasured()
        environment |= {"SERVICE_KEY": KEY, "SERVICE_DATABASE": str(self.database)}
        environment |= {"DATABASE": f"sqlite:///{self.database}", "PORT": str(self.port)}
        with (self.folder / "service.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *COMMANDS[self.name], *address, cwd=EXAMPLES / self.name, env=environment, stdout=log, stderr=log
            )
        await until(self._answers, f"{self.name} answers; its log says:\n{self.log()}")

    async def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, f"{self.name} ended at once (make test installs all):\n{self.log()}"
        try:
            return (await self.ask("/openapi.json"))[0] == 200
        except aiohttp.ClientConnectionError:
            return False

    async def end(self) -> None:
        """SIGKILL, by the saved process id."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def log(self) -> str:
        """What it wrote."""
        return (self.folder / "service.log").read_text(errors="replace")

    def size(self) -> int:
        """Bytes of its database; the files may come and go while they are looked at."""
        return self.database.stat().st_size if self.database.exists() else 0

    def rows(self) -> list[dict[str, Any]]:
        """Its table, once it has ended: SQLite for Node has locks of its own, which no one else sees."""
        assert self.process is not None
        assert self.process.returncode is not None, "it still runs"
        with closing(sqlite3.connect(self.database)) as database:
            database.row_factory = sqlite3.Row
            found = [dict(row) for row in database.execute("SELECT * FROM orders ORDER BY id")]
        return [{name: value for name, value in row.items() if name != "fuagent_run"} for row in found]

    async def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """A request with these headers, a POST if it has a body; gives status and JSON."""
        data = None if body is None else io.BytesIO(body)
        async with (
            aiohttp.ClientSession() as session,
            session.request("GET" if body is None else "POST", self.url + path, data=data, headers=headers) as reply,
        ):
            return reply.status, await reply.json()

    async def push(self, *events: dict[str, Any], **marks: Any) -> tuple[int, Any]:
        """A batch of these events, with the key."""
        body = json.dumps({**SYNC, **MARKS, "events": events, **marks}).encode()
        return await self.ask("/ingest-batch", body, **JSON, **{"x-api-key": KEY})

    async def change(self, sql: str) -> None:
        """Run a statement in its database while it is down; ``kept`` is what its table held then."""
        await self.end()
        self.kept = self.rows()
        with closing(sqlite3.connect(self.database)) as database, database:
            database.execute(sql)
        await self.start()

    async def checkpoint(self, agent_id: str = SYNC["agent_id"]) -> tuple[int, Any]:
        """What it says of the sync's checkpoint."""
        query = f"?agent_id={agent_id}&task_id={SYNC['task_id']}"
        return await self.ask(f"/fuagent-sync-status{query}", **{"x-api-key": KEY})

    def order(self, number: int, name: str | None = "order", **more: Any) -> dict[str, Any]:
        """An event as its document wants it."""
        reference = {"service-fastapi-kit": {}, "service-express": {"reference": "17"}}
        return {"id": number, "name": name, "price": 0.5, **reference.get(self.name, {"reference": 17}), **more}


JSON = {"Content-Type": "application/json"}


@pytest.fixture(params=COMMANDS)
async def service(request: pytest.FixtureRequest, tmp_path: Path):
    """Each example in turn, started."""
    example = Example(request.param, tmp_path)
    try:
        await example.start()
        yield example
    finally:
        await example.end()


async def test_nothing_is_found_in_it(service: Example) -> None:
    """Every probe of the judge is passed, those that are only advice too."""
    command = ["conformance", service.url, "--key", "env:KEY", "--json"]
    more = ["--task-id", "orders-sync"] if service.name == "service-fastapi-kit" else []  # the kit knows its tasks
    code, out, _ = await nursery.call([*command, *more], unmeasured() | {"KEY": KEY})
    report = json.loads(out)

    assert [one for one in report["findings"] if one["result"] == "failed"] == []
    assert report["counts"] == {"passed": 39, "failed": 0, "skipped": 0}
    assert code == 0


def source(path: Path, rows: int, service: Example) -> sqlite3.Connection:
    """A shop whose orders have what is easily lost: all digits of a real and of a large integer, and any text."""
    database = shop.make(path, rows)
    database.execute("ALTER TABLE orders ADD COLUMN reference INTEGER")
    database.execute("UPDATE orders SET reference = 9007199254740993 + id, name = name || ? || id", (" €\0\U0001f600",))
    database.execute("UPDATE orders SET name = NULL, reference = NULL WHERE id % 10 = 0")
    if service.name != "service-fastapi-kit":  # its prices are there, and exact decimals of three digits
        database.execute("UPDATE orders SET price = CASE WHEN id % 9 THEN id / 7.0 END")
    return database


def expected(database: sqlite3.Connection, service: Example) -> list[dict[str, Any]]:
    """The source's orders as the service is to hold them."""
    names = ["id", "name", "price"] + ([] if service.name == "service-fastapi-kit" else ["reference"])
    return [{name: row[name] for name in names} for row in shop.rows(database).values()]


async def test_a_real_agent_keeps_it_equal_while_it_is_killed(service: Example, tmp_path: Path) -> None:
    """Killed in the middle of the snapshot and again among the changes, it ends with the rows of the source."""
    database = source(tmp_path / "shop.db", 3000, service)
    settings = config(tmp_path / "shop.db", f"{service.url}/openapi.json", sync={"batch_size": 50})
    async with Agent(tmp_path, settings) as agent:
        await agent.start()
        await until(lambda: service.size() > 60_000, "a part of the snapshot is stored")
        await service.end()
        assert service.rows()
        # The lock of SQLite for Node, as a kill inside of a transaction leaves it.
        Path(f"{service.database}.lock").mkdir(exist_ok=True)
        database.execute("UPDATE orders SET name = 'changed' WHERE id % 1000 = 1")
        await service.start()
        await agent.state("caught up")

        before = await service.checkpoint("agent-0123456789ab")
        database.execute("BEGIN")
        database.execute("UPDATE orders SET name = 'again', reference = -9223372036854775807 WHERE id % 3 = 0")
        database.execute("DELETE FROM orders WHERE id % 7 = 0")
        database.execute("UPDATE orders SET id = id + 100000 WHERE id % 11 = 0")
        database.execute("COMMIT")
        await until(lambda: moved(service, before), "a part of the changes is stored")
        await service.end()
        database.execute("UPDATE orders SET price = 0.125 WHERE id % 1000 = 2")
        await service.start()
        await agent.end()
        assert await agent.once() == 0, agent.text()

    await service.end()
    assert service.rows() == expected(database, service)
    database.close()


async def moved(service: Example, before: tuple[int, Any]) -> bool:
    """Whether the agent's checkpoint is another."""
    return await service.checkpoint("agent-0123456789ab") != before


async def test_a_row_is_what_came_last(service: Example) -> None:
    """Replays change nothing, rows without an index always count, marks delete, and unknown names do nothing."""
    new, other, order = service.order(1, "new", index=5), service.order(2, index=5), service.order
    await service.push(order(1, "first", index=3), order(1, "second", index=4), order(3, index=4))
    await service.push(new, order(3, index=5, _deleted=True))
    await service.push(order(1, "old", index=4), other, order(4, index=6, **{"x) SELECT 1; --": 1, "fuagent_run": "x"}))
    await service.push(order(5, "of a snapshot"), order(6, "goes"), {"id": 6, "_deleted": True})
    checkpoint = await service.checkpoint()
    await service.end()

    assert {row["id"]: row["name"] for row in service.rows()} == {1: "new", 4: "order", 5: "of a snapshot"}
    assert checkpoint == (200, {"index": 6})


async def test_one_row_that_does_not_fit_refuses_its_batch(service: Example) -> None:
    """Nothing of the batch is kept, so that the agent can find the row by halving; the answer does not repeat it."""
    misfits = [
        {"id": "secret"},
        {"id": 2, "index": 8},
        service.order(2, ["secret"]),
        service.order(2**63),
        service.order(2.5),
    ]
    answers = [await service.push(service.order(1, index=7), misfit) for misfit in misfits]
    checkpoint = await service.checkpoint()
    await service.end()

    assert [status for status, _ in answers] == [422] * len(misfits)
    assert "secret" not in json.dumps(answers) + service.log()
    assert checkpoint[0] == 404
    assert service.rows() == []


async def test_a_failure_in_the_middle_leaves_nothing(service: Example) -> None:
    """A database that refuses the last row of a batch keeps none of it, nor the checkpoint; later the same batch passes."""
    batch = [service.order(number, index=number) for number in (1, 2, 3)]
    nothing = await service.checkpoint()
    await service.change(
        "CREATE TRIGGER refuse BEFORE INSERT ON orders WHEN new.id = 3 BEGIN SELECT raise(ABORT, '3'); END"
    )
    status, answer = await service.push(*batch)
    other = await service.push(service.order(4))
    checkpoint = await service.checkpoint()
    await service.change("DROP TRIGGER refuse")
    kept = service.kept

    assert status in {422, 500}
    assert "INSERT" not in json.dumps(answer)
    assert (nothing[0], other[0], checkpoint[0]) == (404, 200, 404)
    assert [row["id"] for row in kept] == [4]
    assert (await service.push(*batch))[0] == 200
    assert await service.checkpoint() == (200, {"index": 3})


async def test_the_key_opens_both_endpoints_in_either_header(service: Example) -> None:
    """And nothing else does; the document is open."""
    body = json.dumps({**SYNC, **MARKS, "events": [service.order(1, index=1)]}).encode()
    wrong = [{}, {"x-api-key": "wrong"}, {"x-api-key": ""}, {"authorization": f"Basic {KEY}"}, {"x-api-key": KEY[:-1]}]
    refused = [await service.ask("/ingest-batch", body, **JSON, **headers) for headers in wrong]
    refused += [await service.ask("/fuagent-sync-status?task_id=t&agent_id=a", **headers) for headers in wrong]
    bearer = await service.ask("/ingest-batch", body, **JSON, authorization=f"Bearer {KEY}")

    assert {status for status, _ in refused} == {401}
    assert bearer[0] == 200
    assert await service.checkpoint() == (200, {"index": 1})


async def test_a_body_has_a_limit_packed_or_not(service: Example) -> None:
    """What is small is taken out of its gzip; what is large, or becomes large, is answered with 413."""
    body = json.dumps({**SYNC, **MARKS, "events": [service.order(1, index=1)]}).encode()
    packed = {**JSON, "x-api-key": KEY, "content-encoding": "gzip"}
    large = body + b" " * (17 << 20)
    taken = await service.ask("/ingest-batch", gzip.compress(body), **packed)
    bomb = await service.ask("/ingest-batch", gzip.compress(large), **packed)
    plain = await service.ask("/ingest-batch", large, **JSON, **{"x-api-key": KEY})
    broken = [await service.ask("/ingest-batch", wrong, **packed) for wrong in (body, gzip.compress(body)[:-30])]
    unknown = await service.ask("/ingest-batch", body, **{**packed, "content-encoding": "compress"})

    assert (taken[0], bomb[0], plain[0], unknown[0]) == (200, 413, 413, 415)
    assert {status for status, _ in broken} <= {400, 422}
    assert await service.checkpoint() == (200, {"index": 1})


@pytest.mark.parametrize("service", ["service-fastapi-kit", "service-fastapi"], indirect=True)
async def test_an_attempt_that_was_given_up_comes_too_late(service: Example) -> None:
    """Rows of a snapshot have no index: what tells a late attempt is the name of its batch."""
    marks = [{"Idempotency-Key": f"19abc.{name}"} for name in ("1.9", "1.10", "1.9", "1.10", "2.1")]
    names = ["first", "second", "first", "second, as if it were another", "third"]
    answers = []
    for name, mark in zip(names, marks, strict=True):
        body = json.dumps({**SYNC, **MARKS, "events": [service.order(1, name), service.order(len(answers) + 10)]})
        answers.append((await service.ask("/ingest-batch", body.encode(), **JSON, **mark, **{"x-api-key": KEY}))[0])
    await service.end()

    assert answers == [200, 200, 425, 200, 200]
    assert [(row["id"], row["name"]) for row in service.rows()] == [
        (1, "third"),
        (10, "order"),
        (11, "order"),
        (14, "order"),
    ]


async def test_the_test_of_an_example_passes(tmp_path: Path) -> None:
    """The judge as a service's own tests call it, run from the example's folder as its README says."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "own")]
    own = await asyncio.create_subprocess_exec(
        *command, cwd=EXAMPLES / "service-fastapi", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(own.communicate(), 120)

    assert own.returncode == 0, out.decode()
    assert b"1 passed" in out
