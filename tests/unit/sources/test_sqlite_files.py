"""The file itself: opened, refused, locked, replaced; what check says; what is taken out again."""

import os
import re
import sqlite3
from pathlib import Path

import pytest
from sqlite_world import events, following, gather, pictured, prepare

from fuagent.drivers import load_source, options, summary
from fuagent.errors import HaltSyncError, LostPlaceError, TryAgainError
from fuagent.model import Anchor, Level
from fuagent.sources.sqlite import SQLite, faults, names
from fuagent.sources.sqlite import source as source_module


async def test_endpoints_may_be_relative_or_from_the_root(world, tmp_path):
    """Relative ones begin at the configuration's directory; signs of URLs are written with percent signs."""
    world.sql("CREATE TABLE t (id)", f"VACUUM INTO '{tmp_path}/a b?#%ü.db'")

    for endpoint in ("sqlite:///shop.db", f"sqlite:///{world.path}", "sqlite:///a%20b%3F%23%25ü.db"):
        one = world.make("t", endpoint=endpoint)
        await one.open()
        assert [table.name for table in await one.discover()] == ["t"]


@pytest.mark.parametrize(
    "endpoint",
    ["sqlite://shop.db", "sqlite://", "sqlite:///", "sqlite:///a?mode=ro", "sqlite:///a#b", "file:///a", "a%00"],
)
async def test_an_endpoint_spelled_wrong_is_refused(world, endpoint):
    """The text says how it is spelled right."""
    with pytest.raises(HaltSyncError, match="write sqlite:///data/shop"):
        await world.make("t", endpoint=endpoint).open()


async def test_a_missing_file_is_never_made(world, tmp_path):
    """A wrong path is an error and leaves no empty database behind."""
    for path in ("none.db", "shop.db/below"):
        with pytest.raises(HaltSyncError, match="no such database file"):
            await world.make("t", endpoint=f"sqlite:///{path}").open()

    assert not (tmp_path / "none.db").exists()


async def test_what_is_no_database_is_refused(world, tmp_path):
    """A directory, a pipe, a text, an encrypted file: each with its reason."""
    (tmp_path / "text.db").write_text("this is a text, and a rather long one at that" * 50)
    (tmp_path / "secret.db").write_bytes(os.urandom(8192))
    os.mkfifo(tmp_path / "pipe.db")
    expected = {".": "a directory", "pipe.db": "not a regular file", "text.db": "encrypted", "secret.db": "encrypted"}

    for path, what in expected.items():
        with pytest.raises(HaltSyncError, match=what) as caught:
            await world.make("t", endpoint=f"sqlite:///{path}").open()
        assert caught.value.fix


async def test_a_path_that_may_not_be_read_is_refused(world, monkeypatch):
    """Permission on a directory above it is missing."""

    def denied(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(source_module.os, "stat", denied)
    with pytest.raises(HaltSyncError, match="cannot be reached: Permission denied"):
        await world.make("t").open()


async def test_an_old_sqlite_is_refused(world, monkeypatch):
    """Its pragmas are missing."""
    monkeypatch.setattr(source_module.sqlite3, "sqlite_version_info", (3, 31, 0))
    with pytest.raises(HaltSyncError, match="too old"):
        await world.make("t").open()


async def test_opening_and_closing_may_be_repeated(world):
    """Both are idempotent, and close works without open."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    one = world.make("t")
    await one.close()
    for _ in range(2):
        await one.open()
        await one.open()
        await prepare(one)
        await one.close()
        await one.close()

    with pytest.raises(TryAgainError, match="not open"):
        await one.head(None)
    await one.open()
    other = world.make("t")
    await other.open()
    with pytest.raises(TryAgainError, match="not prepared"):
        await other.oldest(0)


@pytest.mark.fault("F58")
async def test_a_locked_file_is_tried_again(rollback_world):
    """Already at opening."""
    rollback_world.sql("CREATE TABLE t (id)", "BEGIN EXCLUSIVE")

    with pytest.raises(TryAgainError, match="locked") as caught:
        await rollback_world.make("t", busy_timeout=0.05).open()
    assert "busy_timeout" in caught.value.what


@pytest.mark.fault("F59")
async def test_a_replaced_file_is_opened_anew(rollback_world, tmp_path):
    """Noticed by the stream at rest; the next session opens the new file and asks for the token."""
    world = rollback_world
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    one = await world.ready("t", poll_interval=0.05)
    run, _ = await pictured(one)
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    other.close()

    async with following(one, run.place) as next_rows:
        await next_rows()
        (tmp_path / "other.db").rename(world.path)
        with pytest.raises(TryAgainError, match="replaced"):
            await next_rows()
    with pytest.raises(TryAgainError, match="replaced"):
        await one.snapshot(["t"])
    await one.close()
    await one.open()
    await prepare(one)
    with pytest.raises(LostPlaceError):
        await one.locate([Anchor(run.index, run.place)], run.index)


async def test_a_file_that_vanished_is_waited_for(world):
    """Once it was there, its absence is taken to pass: somebody is putting another one in its place."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    one = await world.ready("t", poll_interval=0.05)
    run, _ = await pictured(one)
    world.path.rename(world.path.with_suffix(".away"))

    with pytest.raises(TryAgainError, match="is gone"):
        await anext(one.stream(run.place))
    await one.close()
    with pytest.raises(TryAgainError, match="is gone"):
        await one.open()
    world.path.with_suffix(".away").rename(world.path)
    await one.open()
    assert [table.name for table in await one.discover()] == ["t"]


async def test_a_symbolic_link_is_followed_and_its_change_noticed(world, tmp_path):
    """The link leads to the file; led to another one, that is a replaced file."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)", f"VACUUM INTO '{tmp_path}/other.db'")
    link = tmp_path / "link.db"
    link.symlink_to(world.path)
    one = await world.ready("t", endpoint="sqlite:///link.db", poll_interval=0.05)
    run, _ = await pictured(one)
    world.sql("INSERT INTO t VALUES (1)")
    assert [event["id"] for event in await events(one, run.place)] == [1]

    link.unlink()
    link.symlink_to(tmp_path / "other.db")
    with pytest.raises(TryAgainError, match="replaced"):
        await gather(one, run.place)


async def test_tables_are_selected_by_name_and_pattern(world):
    """In the order asked for, each once, in any letter case; what cannot be followed is never selected."""
    world.sql(
        "CREATE TABLE Orders (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "CREATE TABLE order_items (id)",
        "CREATE TABLE log_a (id)",
        "CREATE TABLE log_b (id)",
        'CREATE TABLE "log_[x]" (id)',
        "CREATE VIEW order_view AS SELECT 1",
        "CREATE VIRTUAL TABLE order_text USING fts5(x)",
    )
    await world.ready("orders", sync="before")

    async def names_of(*tables, exclude=()):
        one = world.make(*tables, exclude=exclude)
        await one.open()
        return [table.name for table in await one.discover()]

    assert await names_of("LOG_B", "order*", "orders") == ["log_b", "Orders", "order_items"]
    assert await names_of("log_[x]") == ["log_[x]"]
    assert await names_of("*", exclude=["ORDERS", "log_[x]"]) == ["log_a", "log_b", "order_items"]
    assert await names_of("*", exclude=["log*"]) == ["Orders", "order_items"]
    for tables, exclude, message in [
        (("order_view",), (), "is a view"),
        (("order_text",), (), "is a virtual table"),
        (("order_text_content",), (), "part of a virtual table"),
        (("sqlite_sequence",), (), "keeps for itself"),
        (("oders",), (), "did you mean Orders"),
        (("zzz",), (), "there are: Orders"),
        (("zzz*",), (), 'no table matches "zzz'),
        (("log_a",), ("log_*",), "exclude takes away"),
    ]:
        with pytest.raises(HaltSyncError, match=message):
            await names_of(*tables, exclude=exclude)


async def test_an_empty_database_has_no_table(world):
    """A file of no bytes is a database without tables."""
    with pytest.raises(HaltSyncError, match="there are: none"):
        await world.ready("t")


@pytest.mark.fault("F55", "F56")
async def test_check_says_what_would_go_wrong(rollback_world, monkeypatch):
    """Each finding with its fix; nothing is written."""
    world = rollback_world
    world.sql(
        "CREATE TABLE t (a UNIQUE, 'index')",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TABLE fine (id INTEGER PRIMARY KEY)",
    )
    before = world.path.read_bytes()
    one = world.make("*")
    await one.open()
    monkeypatch.setattr("os.access", lambda *_: False)

    found = await one.check()

    told = {(finding.level, word) for finding in found for word in WORDS if word in finding.what}
    assert {
        (Level.ERROR, "no permission"),
        (Level.WARNING, "WAL"),
        (Level.WARNING, "no primary key"),
        (Level.WARNING, "REPLACE"),
        (Level.INFO, '"index"'),
        (Level.INFO, "is a view"),
        (Level.INFO, "busy timeout"),
        (Level.INFO, "DROP COLUMN"),
    } == told
    assert all(finding.fix for finding in found if "is a view" not in finding.what)
    assert before == world.path.read_bytes()


WORDS = ("no permission", "WAL", "no primary key", "REPLACE", '"index"', "is a view", "busy timeout", "DROP COLUMN")


async def test_check_finds_nothing_wrong_with_a_sound_database(world):
    """Only what is good to know."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    one = world.make("t")
    await one.open()

    assert {Level.INFO} == {finding.level for finding in await one.check()}


async def test_removing_takes_out_everything_of_this_sync(world):
    """Each thing on a line of its own; what others made stays; a second time there is nothing."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)", "CREATE TRIGGER theirs AFTER INSERT ON t BEGIN SELECT 1; END")
    query = "SELECT name FROM sqlite_master WHERE name <> 'sqlite_sequence' ORDER BY name"
    before = world.db.execute(query).fetchall()
    other = await world.ready("t", sync="other")
    between = world.db.execute(query).fetchall()
    one = await world.ready("t")
    await one.close()

    lines = await one.remove()

    assert len(lines) == 6
    assert all(str(world.path) in line and line.endswith("dropped") for line in lines)
    assert between == world.db.execute(query).fetchall()
    assert await one.remove() == []
    await other.remove()
    assert before == world.db.execute(query).fetchall()
    world.sql("INSERT INTO t VALUES (1)")


CODES = {
    sqlite3.SQLITE_BUSY_SNAPSHOT: TryAgainError,
    sqlite3.SQLITE_FULL: TryAgainError,
    sqlite3.SQLITE_IOERR_READ: TryAgainError,
    sqlite3.SQLITE_READONLY_DIRECTORY: HaltSyncError,
    sqlite3.SQLITE_CANTOPEN: HaltSyncError,
    sqlite3.SQLITE_CORRUPT: HaltSyncError,
    sqlite3.SQLITE_NOTADB: HaltSyncError,
    sqlite3.SQLITE_ERROR: HaltSyncError,
}


@pytest.mark.parametrize(("code", "kind"), CODES.items())
def test_errors_are_told_apart_by_their_code(code, kind):
    """What passes by itself is tried again; the rest needs a person. Each says where and what to do."""
    error = sqlite3.OperationalError("any text")
    error.sqlite_errorcode = code

    found = faults.translate(error, Path("/x.db"))

    assert kind is type(found)
    assert (found.where, bool(found.fix)) == ("/x.db", True)


def test_an_error_never_shows_a_value():
    """The text of one error of the sqlite3 module holds the value it could not read."""
    error = sqlite3.OperationalError("Could not decode to UTF-8 column 'v' with text 'secret'")

    assert "secret" not in str(faults.translate(error, Path("/x.db")))


def test_a_log_that_is_gone_is_a_lost_place():
    """A table of ours that is not there any more is not somebody else's wrong statement."""
    ours = faults.translate(sqlite3.OperationalError(f"no such table: {names.PREFIX}1_log"), Path("/x.db"))
    theirs = faults.translate(sqlite3.OperationalError("no such table: t"), Path("/x.db"))

    assert [LostPlaceError, HaltSyncError] == [type(ours), type(theirs)]


async def test_a_table_that_cannot_be_read_halts(world):
    """Its columns use a function that only the other program has."""
    world.db.create_function("theirs", 1, lambda value: value, deterministic=True)
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, g AS (theirs(id)))", "INSERT INTO t VALUES (1)")

    source = await world.ready("t")
    with pytest.raises(HaltSyncError, match="function: theirs"):
        await pictured(source)


def test_the_driver_is_found_by_its_name():
    """The entry point, its one line, and its options that refuse unknown keys."""
    assert load_source("sqlite") is SQLite
    assert summary("fuagent.sources", "sqlite").startswith("Follows the tables of an SQLite database")
    with pytest.raises(ValueError, match="extra"):
        options("fuagent.sources", "sqlite").model_validate({"keep": 1})


@pytest.mark.fault("S26")
def test_our_own_names_are_plain_whatever_the_sync_is_called():
    """Tables and triggers of ours are named by a digest: nothing of an id gets into SQL, and no two syncs share them."""
    ids = ["a", 'x"; DROP TABLE t; --', "a\0b", "ü" * 300, ""]
    made = [names.Names.of("agent-1", sync) for sync in ids]
    found = {name for one in made for name in (one.log, one.meta, one.trigger(1, "insert"))}

    assert len(found) == 3 * len(ids)
    assert [name for name in found if not re.fullmatch("[a-z0-9_]{1,63}", name)] == []
