"""A place is proven or lost; it is never guessed."""

import json
import shutil
import sqlite3
from dataclasses import replace

import pytest
from sqlite_world import events, gather, pictured, prepare

from fuagent.errors import HaltSyncError, LostPlaceError
from fuagent.model import INDEX_MAX, Anchor, Place


async def begun(world, **more):
    world.sql("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, v)")
    source = await world.ready("t", **more)
    run, _ = await pictured(source)
    return source, run.place


def copied(world, target):
    """A copy of the database, as a backup makes it."""
    backup = sqlite3.connect(target)
    world.db.backup(backup)
    backup.close()


def restored(world, copy):
    """The copy put back over the database, the way an operator does it: file by file, same name."""
    world.db.close()
    world.db = None
    shutil.copyfile(copy, world.path)
    for suffix in ("-wal", "-shm"):
        world.path.with_name(world.path.name + suffix).unlink(missing_ok=True)
    world.db = world.connect()


async def test_a_snapshots_number_is_a_place(world):
    """S is met exactly, with and without its anchor, and lies between the images around it."""
    source, _ = await begun(world)
    world.sql("INSERT INTO t VALUES (1, 'a')")
    async with await source.snapshot(["t"]) as run:
        pass
    world.sql("INSERT INTO t VALUES (2, 'b')")

    anchor = Anchor(run.index, run.place)
    assert run.place == await source.locate([anchor], run.index)
    assert run.place == await source.locate([], run.index)
    assert run.index == run.place.previous
    assert [run.index + 2] == [event["index"] for event in await events(source, run.place)]


async def test_a_number_between_two_changes_is_lost(world):
    """An insert has one number; the one after it belongs to nothing."""
    source, place = await begun(world)
    world.sql("INSERT INTO t VALUES (1, 'a')")

    with pytest.raises(LostPlaceError, match="between two changes"):
        await source.locate([Anchor(place.previous, place)], place.previous + 3)


@pytest.mark.parametrize("number", [10**6, INDEX_MAX, 2**70])
async def test_a_number_beyond_the_end_is_lost(world, number):
    """A checkpoint of another environment."""
    source, _ = await begun(world)

    with pytest.raises(LostPlaceError, match="beyond the end"):
        await source.locate([], number)


async def test_the_place_of_an_anchor_with_that_index_is_taken(world):
    """Where the log moved on without a row, the newest anchor says how far."""
    source, place = await begun(world)
    world.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    (rows,) = await gather(source, place)
    head = await source.head(None)
    further = Place(head.position, rows.indexes[-1])

    found = await source.locate([Anchor(17, further), Anchor(17, place)], 17)

    assert further == found
    assert (await source.head(found)).rows_behind == 0
    assert (await source.head(place)).rows_behind == 2


async def test_an_anchor_inside_rows_becomes_the_exact_place(world):
    """What the engine wrote as a start and a number is the place right behind that number."""
    source, place = await begun(world)
    world.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    (rows,) = await gather(source, place)
    number = rows.indexes[1]

    found = await source.locate([Anchor(number, replace(rows.start, resume_after=number))], number)

    assert found.resume_after == 0
    assert [event["id"] for event in await events(source, found)] == [3]


@pytest.mark.fault("F26", "F59")
async def test_a_token_that_differs_is_another_log(world, tmp_path):
    """A file restored from a backup went another way since: same numbers, other changes."""
    source, _ = await begun(world)
    copied(world, tmp_path / "backup.db")
    world.sql("INSERT INTO t VALUES (1, 'a')")
    rows = (await gather(source, await source.oldest(0)))[-1]
    anchor = Anchor(rows.indexes[-1], rows.end)
    await source.close()
    restored(world, tmp_path / "backup.db")
    world.sql("INSERT INTO t VALUES (1, 'another')")

    again = await world.ready("t")
    assert rows.indexes[-1] == (await gather(again, await again.oldest(0)))[-1].indexes[-1]
    with pytest.raises(LostPlaceError, match="replaced or restored"):
        await again.locate([anchor], anchor.index)
    with pytest.raises(LostPlaceError, match="restored"):
        await anext(again.stream(rows.end))


async def test_a_restored_copy_goes_on_where_the_service_was_restored_too(world, tmp_path):
    """Both at the same state: an older anchor still proves the log, and the rest is sent again as it is there."""
    source, place = await begun(world)
    world.sql("INSERT INTO t VALUES (1, 'a')")
    (first,) = await gather(source, place)
    copied(world, tmp_path / "backup.db")
    world.sql("INSERT INTO t VALUES (2, 'b')")
    (second,) = await gather(source, first.end)
    anchors = [Anchor(rows.indexes[-1], rows.end) for rows in (second, first)]
    await source.close()
    restored(world, tmp_path / "backup.db")

    again = await world.ready("t")

    assert first.end == await again.locate(anchors, first.indexes[-1])
    with pytest.raises(LostPlaceError, match="beyond the end"):
        await again.locate(anchors, second.indexes[-1])


async def test_a_backup_from_before_the_log_is_noticed(world, tmp_path):
    """The log is made anew, and nothing of what the journal knows is in it."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    copied(world, tmp_path / "backup.db")
    source, place = await begun(world)
    world.sql("INSERT INTO t VALUES (1, 'a')")
    (rows,) = await gather(source, place)
    await source.close()
    restored(world, tmp_path / "backup.db")

    again = await world.ready("t")

    with pytest.raises(LostPlaceError, match="holds nothing of what was read"):
        await again.locate([Anchor(rows.indexes[-1], rows.end)], rows.indexes[-1])


async def test_a_copy_that_went_on_is_followed_on(world, tmp_path):
    """Another file with the same log, such as VACUUM INTO makes, is the same database."""
    source, place = await begun(world)
    world.sql("INSERT INTO t VALUES (1, 'a')", "DELETE FROM t", f"VACUUM INTO '{tmp_path}/new.db'")
    (rows,) = await gather(source, place)
    await source.close()
    world.db.close()
    (tmp_path / "new.db").rename(world.path)
    world.db = world.connect()

    again = await world.ready("t")

    assert rows.end == await again.locate([Anchor(rows.indexes[-1], rows.end)], rows.indexes[-1])


@pytest.mark.parametrize("text", ["", "5", "[]", "{}", '{"seq":"1","token":2}', '{"seq":1,"token":null}', "binlog.1:4"])
async def test_a_place_of_another_driver_is_lost(world, text):
    """The journal may come from a time when the source was another one."""
    source, _ = await begun(world)

    with pytest.raises(LostPlaceError, match="not one of an SQLite change log"):
        await source.locate([Anchor(1, Place(text, 0))], 1)


@pytest.mark.parametrize("above", [0, 1, 7, 8, 10**6 + 1, 2**52])
async def test_the_oldest_place_numbers_everything_above(world, above):
    """All that follows lies above the checkpoint, leads back to its row, and stays so after a restart."""
    source, _ = await begun(world)
    world.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')", "UPDATE t SET v = 'c'")

    place = await source.oldest(above)
    told = [event["index"] for event in await events(source, place)]
    again = await world.ready("t")

    assert all(index > above for index in told)
    assert sorted(set(told)) == told
    assert told == [event["index"] for event in await events(again, place)]
    for number, index in enumerate(told):
        assert told[number + 1 :] == [event["index"] for event in await events(again, await again.locate([], index))]
    assert place == await again.oldest(above)
    async with await again.snapshot(["t"]) as run:
        assert run.index > told[-1]


async def test_no_number_goes_beyond_what_json_keeps_exact(world):
    """A checkpoint near the largest integer leaves no room, and that needs a person."""
    source, _ = await begun(world)

    with pytest.raises(HaltSyncError, match="no room"):
        await source.oldest(INDEX_MAX - 1)


async def test_an_old_key_whose_row_before_is_gone_is_lost(world):
    """Half an update cannot be gone on from where nothing is left to stand on."""
    source, place = await begun(world)
    world.sql("INSERT INTO t VALUES (1, 'a')", "UPDATE t SET id = 2")
    head = json.loads((await source.head(None)).position)["seq"]
    world.sql(f'DELETE FROM "{source._names.log}" WHERE seq < {head}')

    with pytest.raises(LostPlaceError, match="no longer"):
        await source.locate([], place.previous + 4)
    assert await events(source, await source.locate([], place.previous + 5)) == []


async def test_removing_and_coming_back_is_a_lost_place(world):
    """fuagent source remove forgets everything, and what follows knows that it did."""
    source, place = await begun(world)
    world.sql("INSERT INTO t VALUES (1, 'a')")
    (rows,) = await gather(source, place)
    await source.remove()
    await prepare(source)

    with pytest.raises(LostPlaceError):
        await source.locate([Anchor(rows.indexes[-1], rows.end)], rows.indexes[-1])
    assert (await source.oldest(rows.indexes[-1])).previous >= rows.indexes[-1] - 1


async def test_the_oldest_place_of_an_emptied_log(world):
    """There is one: a row of our own is written to stand on."""
    source, _ = await begun(world)
    world.sql("INSERT INTO t VALUES (1, 'a')", f'DELETE FROM "{source._names.log}"')

    place = await source.oldest(100)
    world.sql("INSERT INTO t VALUES (2, 'b')")

    assert [event["id"] for event in await events(source, place)] == [2]
