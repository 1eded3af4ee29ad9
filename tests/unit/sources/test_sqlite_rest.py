"""What happens at rest: delivered changes are let go of, writes are noticed, and nothing else is done."""

import asyncio
import json
import resource
import time
from pathlib import Path

import pytest
from sqlite_world import following, gather, pictured, until

from fuagent.errors import HaltSyncError
from fuagent.sources.sqlite import cleaning
from fuagent.sources.sqlite.watch import Watcher

MANY = "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT NULL FROM n"


async def filled(world, rows, **more):
    """A source, and the end of its log after so many changes."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = await world.ready("t", **more)
    run, _ = await pictured(source)
    world.sql(MANY.format(rows))
    return source, (await gather(source, run.place))[-1].end, run


def seqs(world, source):
    return [row[0] for row in world.db.execute(f'SELECT seq FROM "{source._names.log}" ORDER BY seq')]


async def test_delivered_changes_are_let_go_of_but_for_some(world):
    """keep_rows stay behind the acknowledged row, and that one always does."""
    source, end, run = await filled(world, 100, keep_rows=10)
    last = json.loads(end.position)["seq"]

    await source.acknowledge(end)

    assert list(range(last - 10, last + 1)) == seqs(world, source)
    assert end == await source.locate([], end.previous)
    with pytest.raises(Exception, match="no longer"):
        await source.locate([], run.index)


@pytest.mark.parametrize("keep_rows", [0, 5, 10_000])
async def test_the_acknowledged_row_stays(world, keep_rows):
    """However little is to be kept, there is a row to stand on."""
    source, end, _ = await filled(world, 20, keep_rows=keep_rows)

    await source.acknowledge(end)

    assert json.loads(end.position)["seq"] == seqs(world, source)[-1]
    assert len(seqs(world, source)) == min(keep_rows + 1, 22)


async def test_cleaning_is_done_now_and_then(world, monkeypatch):
    """Acknowledging often costs nothing; the next look comes later."""
    monkeypatch.setattr(cleaning, "EVERY", 3600.0)
    source, end, _ = await filled(world, 20, keep_rows=0)
    await source.acknowledge(end)
    world.sql(MANY.format(5))
    (rows,) = await gather(source, end)

    await source.acknowledge(rows.end)
    assert len(seqs(world, source)) == 6
    monkeypatch.setattr(time, "monotonic", lambda real=time.monotonic: real() + cleaning.EVERY)
    await source.acknowledge(rows.end)
    assert len(seqs(world, source)) == 1


async def test_cleaning_goes_on_in_small_pieces(world, monkeypatch):
    """What one turn leaves has the next one, and a stream at rest does it as well."""
    monkeypatch.setattr(cleaning, "_PIECE", 10)
    monkeypatch.setattr(cleaning, "_PIECES", 3)
    source, end, _ = await filled(world, 100, keep_rows=0, poll_interval=0.01)

    await source.acknowledge(end)
    assert len(seqs(world, source)) == 72

    async with following(source, end) as next_rows:
        await next_rows()
        waiting = asyncio.create_task(next_rows())
        await until(lambda: len(seqs(world, source)) == 1)
        world.sql("INSERT INTO t VALUES (NULL)")
        assert len((await waiting).rows) == 1


async def test_cleaning_waits_for_nobody(world):
    """While somebody else writes nothing is deleted, nothing fails, and it is done later."""
    source, end, _ = await filled(world, 20, keep_rows=0, busy_timeout=30)
    world.sql("BEGIN IMMEDIATE")

    async with asyncio.timeout(10):
        await source.acknowledge(end)

    assert len(seqs(world, source)) == 22
    world.sql("COMMIT")
    assert await source._opened().run(lambda db: db.execute("PRAGMA busy_timeout").fetchone()) == (30_000,)


async def test_another_log_is_not_cleaned(world):
    """A place whose token is not there says nothing about what may go."""
    source, end, _ = await filled(world, 20, keep_rows=0)
    world.sql(f'UPDATE "{source._names.log}" SET token = 0')

    await source.acknowledge(end)

    assert len(seqs(world, source)) == 22


async def test_an_error_while_cleaning_is_told(world):
    """Only a lock is waited out."""
    source, end, _ = await filled(world, 20, keep_rows=0)
    world.sql(
        f'CREATE TRIGGER no BEFORE DELETE ON "{source._names.log}" BEGIN SELECT missing(1); END',
    )

    with pytest.raises(HaltSyncError, match="missing"):
        await source.acknowledge(end)


def test_a_cleaner_without_anything_delivered_has_nothing_to_do(world):
    """Asked too early it leaves everything alone."""
    cleaner = cleaning.Cleaner("unused", 0)

    assert not cleaner.due(10**9)
    cleaner.clean(world.db, 0.0)
    assert not cleaner.due(10**9)


async def test_a_write_ends_the_wait(tmp_path):
    """A write to the file, or to the log or journal beside it, wakes at once; other files do not."""
    for suffix in ("", "-wal", "-journal"):
        watcher = Watcher(tmp_path / "x.db", 3600)
        assert watcher.start()
        waiting = asyncio.create_task(watcher.wait())
        await asyncio.sleep(0)
        (tmp_path / "other").write_text("x")
        (tmp_path / "x.db-shm").write_text("x")
        done, _ = await asyncio.wait({waiting}, timeout=0.05)
        assert not done
        (tmp_path / f"x.db{suffix}").write_text("x")
        async with asyncio.timeout(20):
            await waiting
        watcher.stop()
        watcher.stop()


async def test_a_write_before_the_wait_is_not_missed(tmp_path):
    """What was written since the last look is told at once."""
    watcher = Watcher(tmp_path / "x.db", 3600)
    watcher.start()
    (tmp_path / "x.db").write_text("x")
    async with asyncio.timeout(20):
        await watcher.wait()
        # The looks that follow a vain one come by themselves, and then it waits again.
        for _ in range(8):
            await watcher.wait()
    waiting = asyncio.create_task(watcher.wait())
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert not done
    watcher.seen()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    watcher.stop()


async def test_without_notifications_the_slow_poll_does_it(world, monkeypatch):
    """No watch can be had: a person is told once, and changes still come."""

    def none_left(_notice):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("fuagent.sources.sqlite.notices.ask", none_left)
    source, end, _ = await filled(world, 1, poll_interval=0.02)
    for _ in range(2):
        async with following(source, end) as next_rows:
            await next_rows()
            world.sql("INSERT INTO t VALUES (NULL)")
            rows = await next_rows()
            assert rows.rows
            end = rows.end

    assert sum("polling" in warning.what for warning in world.warnings) == 1


async def test_an_idle_file_is_polled_by_its_looks(tmp_path):
    """While sizes and times stay the same the database is left alone, but not for ever; a difference ends the wait."""
    path = tmp_path / "x.db"
    path.write_text("x")
    watcher = Watcher(path, 0.001)  # never started: nobody tells it anything
    async with asyncio.timeout(20):
        await watcher.wait()  # the first look at the files
        polls = 0
        whole = watcher._differs

        def counted():
            nonlocal polls
            polls += 1
            return whole()

        watcher._differs = counted
        await watcher.wait()
        trusted = polls
        path.write_text("xy")
        await watcher.wait()

    assert trusted == 30
    assert polls == 31


async def test_one_instance_for_all(tmp_path):
    """However many databases are followed, the process holds one inotify instance, and none behind the last."""

    def instances():
        links = [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        return sum(str(link.readlink()) == "anon_inode:inotify" for link in links)

    before = instances()
    watchers = [Watcher(tmp_path / f"{number}.db", 3600) for number in range(300)]
    started = [watcher.start() for watcher in watchers]
    held = instances() - before
    (tmp_path / "7.db").write_text("x")
    async with asyncio.timeout(20):
        await watchers[7].wait()
    for watcher in watchers:
        watcher.stop()

    assert all(started)
    assert held == 1
    assert instances() == before


async def test_a_directory_that_cannot_be_watched_says_so(tmp_path):
    """It is not there, or no descriptors are left."""
    assert not Watcher(tmp_path / "none" / "x.db", 1).start()

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert not Watcher(tmp_path / "x.db", 1).start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not list(tmp_path.iterdir())
