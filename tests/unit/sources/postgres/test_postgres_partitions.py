"""Partitions that are attached and detached while a server reads its log that does not notice."""

import asyncio
from contextlib import aclosing

import pytest
from postgres_following import following, plain, prepared, session, standing

from fuagent.errors import LostPlaceError, TryAgainError
from harness.postgres import since

pytestmark = since(13)


@pytest.fixture
def parted(postgres_database, monkeypatch):
    """A partitioned table; the agent looks at it all the time, and trusts no version to notice by itself."""
    monkeypatch.setattr("fuagent.sources.postgres.source.NOTICED", 990_000)
    monkeypatch.setattr("fuagent.sources.postgres.source._LOOK", 0.0)
    postgres_database.create("t", "id int PRIMARY KEY) PARTITION BY RANGE (id")
    postgres_database.execute(
        "CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE mid PARTITION OF t FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id);"
        "CREATE TABLE mid_10 PARTITION OF mid FOR VALUES IN (10)"
    )
    return postgres_database


async def coming(stream):
    """The keys in the next Rows that have any."""
    async with asyncio.timeout(60):
        async for rows in stream:
            if rows.rows:
                return [row["id"] for row in plain([rows])]
    return []


ATTACH = "ALTER TABLE t ATTACH PARTITION high FOR VALUES FROM (20) TO (30)"


@pytest.mark.parametrize(
    "how",
    [
        ["CREATE TABLE high PARTITION OF t FOR VALUES FROM (20) TO (30)"],
        [f"CREATE TABLE high (LIKE t INCLUDING ALL); {ATTACH}"],
        [
            "CREATE TABLE high PARTITION OF t FOR VALUES FROM (20) TO (30) PARTITION BY LIST (id)",
            "CREATE TABLE high_22 PARTITION OF high FOR VALUES IN (22)",
        ],
    ],
    ids=["made as one", "made and attached at once", "made on two levels"],
)
async def test_a_new_partition_costs_nothing(parted, how):
    """It was no table before, so that the server cannot have thought anything of it."""
    async with following(parted, "t") as source, aclosing(source.stream(await standing(source))) as stream:
        session(parted, "INSERT INTO t VALUES (1)")
        assert await coming(stream) == [1]
        for statement in how:
            parted.execute(statement)
        session(parted, "INSERT INTO t VALUES (22)")
        assert await coming(stream) == [22]
        session(parted, "INSERT INTO t VALUES (2)")
        assert await coming(stream) == [2]


@pytest.mark.fault("F49")
@pytest.mark.parametrize(
    "table",
    [
        "(LIKE t INCLUDING ALL)",
        "(LIKE t INCLUDING ALL) PARTITION BY LIST (id); CREATE TABLE high_22 PARTITION OF high DEFAULT",
    ],
    ids=["plain", "with a partition of its own"],
)
async def test_one_that_is_attached_is_a_lost_place(parted, table):
    """What the server keeps back of it is not lost silently; behind the snapshot that follows, all of it comes."""
    parted.execute(f"CREATE TABLE high {table}; INSERT INTO high VALUES (21)")
    async with following(parted, "t") as source:
        place = await standing(source)
        async with aclosing(source.stream(place)) as stream:
            session(parted, "INSERT INTO high VALUES (22)", "INSERT INTO t VALUES (1)")
            assert await coming(stream) == [1]
            parted.execute(ATTACH)
            session(parted, "INSERT INTO t VALUES (23)")
            with pytest.raises(LostPlaceError, match="was attached to t as a partition"):
                await coming(stream)
        async with aclosing(source.stream(await standing(source))) as stream:
            session(parted, "INSERT INTO t VALUES (24)")
            assert await coming(stream) == [24]


async def test_one_that_was_attached_while_nobody_read_is_a_lost_place_too(parted):
    """The session before may have kept changes of it back."""
    parted.execute("CREATE TABLE high (LIKE t INCLUDING ALL)")
    async with following(parted, "t") as source:
        parted.execute(ATTACH)
        with pytest.raises(LostPlaceError, match="was attached to t as a partition"):
            await prepared(source)
        await prepared(source, mend=True)


@pytest.mark.fault("F49")
async def test_one_that_is_detached_is_read_no_longer(parted):
    """The log is read in a session that knows."""
    async with following(parted, "t") as source:
        place = await standing(source)
        async with aclosing(source.stream(place)) as stream:
            session(parted, "INSERT INTO t VALUES (1)")
            assert await coming(stream) == [1]
            parted.execute("ALTER TABLE t DETACH PARTITION low")
            with pytest.raises(TryAgainError, match="partition low of table t is no longer one"):
                await coming(stream)
        await prepared(source)
        async with aclosing(source.stream(await standing(source))) as stream:
            session(parted, "INSERT INTO low VALUES (2)", "INSERT INTO t VALUES (10)")
            assert await coming(stream) == [10]
