"""The agent's memory: what comes back, what is treated as lost, who may open it."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from journal_record import RECORD

from fuagent import journal_records as records
from fuagent.errors import JournalWriteError, StateError
from fuagent.journal import FILE, LOG_BYTES, RECENT, THINNED, Journal, SnapshotRecord, SyncRecord
from fuagent.model import Anchor, Place
from harness.host import failing


@pytest.fixture
def directory(tmp_path):
    """On a disk of memory where there is one: a synchronous write then costs nothing."""
    memory = Path("/dev/shm")
    made = memory / f"fuagent-{os.getpid()}-{tmp_path.name}" if memory.is_dir() else tmp_path / "state"
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def opened(directory):
    """Opens the journal of ``directory``; whatever is open at the end is closed."""
    journals = []

    def opened(**how) -> Journal:
        journals.append(Journal.open(directory, **how))
        return journals[-1]

    yield opened
    for journal in journals:
        journal.close()


def _anchors(count: int) -> list[Anchor]:
    return [
        Anchor(number, Place(f"1:{number}", number - 1, number), f"shape {number}", boundary=number % 2 == 0)
        for number in range(1, count + 1)
    ]


def _fill(directory: Path) -> None:
    journal = Journal.open(directory)
    journal.remember_agent_id("agent-0123456789ab")
    for name in ("orders", "users"):
        sync = journal.sync(name)
        sync.save(RECORD)
        for anchor in _anchors(4):
            sync.advance(replace(RECORD, acknowledged=anchor.index), anchor)
    sync.set_aside("a", 5, 422, "no email", b'{"id":5,"index":5}')
    sync.set_aside("a", 6, None, "no name", b'{"id":6,"index":6}')
    journal.close()


class TestRoundTrip:
    def test_record(self, directory, opened):
        """Every field of a record comes back from the disk."""
        journal = opened()
        journal.sync("orders").save(RECORD)
        journal.close()

        sync = opened().sync("orders")

        assert sync.record == RECORD
        assert sync.known

    @pytest.mark.parametrize(
        "record",
        [SyncRecord(), replace(RECORD, snapshot=None), replace(RECORD, snapshot=SnapshotRecord())],
        ids=["new", "no snapshot", "snapshot pending"],
    )
    def test_smaller_records(self, directory, record, opened):
        """What is absent comes back absent."""
        journal = opened()
        journal.sync("orders").save(record)

        assert record == journal.sync("orders").record

    def test_new(self, directory, opened):
        """A sync the journal has never seen is not known and has nothing."""
        sync = opened().sync("orders")

        assert not sync.known
        assert SyncRecord() == sync.record
        assert sync.anchors() == []
        assert sync.rejected() == []

    def test_anchors_newest_first(self, directory, opened):
        """Anchors come back whole, newest first, each with its own sync."""
        _fill(directory)

        journal = opened()

        assert _anchors(4)[::-1] == journal.sync("orders").anchors()
        assert journal.sync("others").anchors() == []

    def test_anchor_of_save(self, directory, opened):
        """A record and its anchor are written as one."""
        sync = opened().sync("orders")
        sync.save(RECORD, _anchors(1)[0])

        assert _anchors(1) == sync.anchors()

    def test_forget_anchors(self, directory, opened):
        """Forgetting the anchors of one sync leaves the other's."""
        _fill(directory)
        journal = opened()
        journal.sync("orders").forget_anchors()

        assert journal.sync("orders").anchors() == []
        assert len(journal.sync("users").anchors()) == 4

    def test_agent_id(self, directory, opened):
        """The agent id of the last run is remembered, and can change."""
        journal = opened()
        before = journal.agent_id()
        journal.remember_agent_id("agent-1")
        journal.remember_agent_id("agent-2")

        assert before is None
        assert journal.agent_id() == "agent-2"

    @pytest.mark.fault("F72")
    def test_later_minor_version(self, directory, opened):
        """Keys of a record that this version does not know are passed over."""
        journal = opened()
        sync = journal.sync("orders")
        sync.save(RECORD)
        text = journal.read("SELECT record FROM sync")[0][0].replace('"rows"', '"unheard_of": {"x": 1}, "rows"')
        with journal.durable() as database:
            database.execute("UPDATE sync SET record = ?, sum = ?", (text, records.checksum("orders", text)))

        assert journal.sync("orders").record == RECORD

    def test_size(self, directory, opened):
        """The size counts what stands beside the file too."""
        journal = opened()
        journal.sync("orders").save(RECORD)

        assert journal.size() > (directory / FILE).stat().st_size


class TestSettling:
    """What is in the write-ahead log gets into the file from beside, without a commit that waits for it."""

    def _write(self, journal, bytes_):
        journal.sync("orders").set_aside("a", 5, 422, "no email", b'"%b"' % (b"x" * bytes_))

    def _in_the_file(self, directory, tmp_path) -> int:
        """Rows set aside that the file alone holds."""
        alone = tmp_path / "alone"
        alone.mkdir()
        shutil.copy(directory / FILE, alone)
        with closing(sqlite3.connect(alone / FILE)) as database:
            [(count,)] = database.execute("SELECT count(*) FROM rejected")
        return count

    def test_much(self, directory, opened, tmp_path):
        """Written over, and what comes after it is kept as well."""
        journal = opened()
        self._write(journal, LOG_BYTES)
        journal.settle()

        assert self._in_the_file(directory, tmp_path) == 1
        journal.sync("orders").save(RECORD)
        assert journal.sync("orders").record == RECORD

    def test_little(self, directory, opened, tmp_path):
        """Left where it is: the disk has more to do than to wait for this."""
        journal = opened()
        journal.settle()
        self._write(journal, 1 << 10)
        journal.settle()

        with pytest.raises(sqlite3.OperationalError):
            self._in_the_file(directory, tmp_path)

    def test_nobody_settles(self, directory, opened):
        """The log stays bounded all the same."""
        journal = opened()
        for _ in range(6):
            self._write(journal, LOG_BYTES)
            journal.sync("orders").withdraw([rejected.id for rejected in journal.sync("orders").rejected()])

        assert (directory / f"{FILE}-wal").stat().st_size < 5 * LOG_BYTES

    def test_removed(self, directory, opened):
        """A file that somebody removed is not made anew, and nothing is raised in the thread."""
        journal = opened()
        self._write(journal, LOG_BYTES)
        (directory / FILE).unlink()
        journal.settle()

        assert not (directory / FILE).exists()


class TestThinning:
    @pytest.fixture
    def clock(self):
        class Clock:
            now = 1_700_000_000.0

        return Clock

    def _advance(self, sync, clock, count: int, step: float) -> None:
        for number in range(count):
            clock.now += step
            sync.advance(RECORD, Anchor(number, Place(f"1:{number}", number)))

    def test_recent_all_older_by_the_minute(self, directory, clock, opened):
        """The newest anchors all stay; before them one a minute does."""
        sync = opened(clock=lambda: clock.now).sync("orders")
        self._advance(sync, clock, 1000, 6.0)

        numbers = [anchor.index for anchor in sync.anchors()]

        assert list(range(999, 999 - RECENT, -1)) == numbers[:RECENT]
        older = numbers[RECENT:]
        assert all(before - after == 10 for before, after in pairwise(older))
        assert 92 <= len(older) <= 95

    def test_bounded(self, directory, clock, opened):
        """However long it runs, no more anchors are kept than said."""
        sync = opened(clock=lambda: clock.now).sync("orders")
        self._advance(sync, clock, THINNED + 300, 61.0)

        assert len(sync.anchors()) <= RECENT + THINNED

    @pytest.mark.fault("F69")
    def test_wall_clock_goes_back(self, directory, clock, opened):
        """A wall clock that jumps back a day does not stop the thinning."""
        sync = opened(clock=lambda: clock.now).sync("orders")
        self._advance(sync, clock, 100, 6.0)
        clock.now -= 86_400
        self._advance(sync, clock, 500, 2.0)

        assert len(sync.anchors()) <= RECENT + 30

    def test_in_a_burst(self, directory, clock, opened):
        """Within one second nothing is thinned, behind it everything is."""
        sync = opened(clock=lambda: clock.now).sync("orders")
        self._advance(sync, clock, 300, 0.001)
        burst = len(sync.anchors())
        self._advance(sync, clock, 1, 2.0)

        assert burst == 300
        assert len(sync.anchors()) <= RECENT + 2


class TestRejected:
    def test_kept(self, directory, opened):
        """A row set aside comes back with all that was known of it."""
        _fill(directory)

        first, second = opened().sync("users").rejected()

        assert (
            first.table,
            first.index,
            first.status,
            first.reason,
            first.event,
        ) == ("a", 5, 422, "no email", b'{"id":5,"index":5}')
        assert second.status is None

    def test_met_again(self, directory, opened):
        """The same row refused again is the same entry, with the newer reason."""
        sync = opened().sync("orders")
        number = sync.set_aside("a", 5, 422, "no email", b"{}")
        again = sync.set_aside("a", 5, 400, "no email, still", b"{}")

        [row] = sync.rejected()
        assert number == again
        assert (row.reason, row.status) == ("no email, still", 400)
        assert sync.rejected_count() == 1

    def test_two_rows(self, directory, opened):
        """Rows that differ in table, number or bytes are two entries."""
        sync = opened().sync("orders")
        for table, index, event in (("a", 0, b"1"), ("b", 0, b"1"), ("a", 1, b"1"), ("a", 0, b"2")):
            sync.set_aside(table, index, 422, "", event)

        assert sync.rejected_count() == 4

    def test_heads(self, directory, opened):
        """Without the events and no more than asked for; and how many there are of each table."""
        journal = opened()
        sync = journal.sync("orders")
        numbers = [sync.set_aside(table, 7, 422, "why", b"large") for table in ("a", "b")]
        sync.set_aside("b", 8, None, "why", b"large")
        journal.sync("others").set_aside("a", 7, 422, "why", b"large")

        heads = sync.rejected_heads(2)

        assert [(row.id, row.table, row.index, row.status, row.reason, row.event) for row in heads] == [
            (numbers[0], "a", 7, 422, "why", b""),
            (numbers[1], "b", 7, 422, "why", b""),
        ]
        assert sync.rejected_tables() == {"a": 1, "b": 2}

    def test_withdrawn(self, directory, opened):
        """What is withdrawn is gone, the rest stays."""
        sync = opened().sync("orders")
        numbers = [sync.set_aside("a", index, 422, "", b"") for index in range(3)]
        sync.withdraw(numbers[:2])

        assert [row.index for row in sync.rejected()] == [2]

    def test_of_one_sync(self, directory, opened):
        """One sync does not see the other's."""
        _fill(directory)

        assert opened().sync("orders").rejected() == []


class TestDamage:
    def _seen(self, directory: Path):
        """What a fresh agent finds; everything must be as it was, or not there."""
        journal = Journal.open(directory)
        try:
            assert journal.agent_id() in ("agent-0123456789ab", None)
            whole = journal.damaged is None
            for name in ("orders", "users", "others"):
                sync = journal.sync(name)
                if sync.known:
                    assert name != "others"
                    assert sync.record in [replace(RECORD, acknowledged=at) for at in (12, 1, 2, 3, 4)]
                else:
                    assert SyncRecord() == sync.record
                anchors = sync.anchors()
                assert [anchor for anchor in _anchors(4)[::-1] if anchor in anchors] == anchors
                assert name != "others" or not anchors
                rows = [(row.table, row.index, row.status, row.reason, row.event) for row in sync.rejected()]
                kept = [
                    ("a", 5, 422, "no email", b'{"id":5,"index":5}'),
                    ("a", 6, None, "no name", b'{"id":6,"index":6}'),
                ]
                assert [row for row in kept if row in rows] == rows
                assert name == "users" or not rows
            # It also still works.
            journal.sync("orders").save(RECORD)
            return whole
        finally:
            journal.close()

    @pytest.mark.parametrize("flip", [0x01, 0x40, 0xFF])
    @pytest.mark.fault("F68")
    def test_flipped_bytes(self, directory, flip):
        """A flipped byte anywhere: what comes back is what was written, or is treated as lost."""
        _fill(directory)
        path = directory / FILE
        data = path.read_bytes()
        step = 1 if "FUAGENT_FLIPS" in os.environ else 7
        places = [at for at, byte in enumerate(data) if byte or at < 200]
        aside = 0
        for at in (*range(100), *places[flip % step :: step]):
            for other in directory.glob(f"{FILE}*"):
                other.unlink()
            path.write_bytes(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
            try:
                aside += not self._seen(directory)
            except BaseException as error:
                error.add_note(f"byte {at} of {len(data)}, flipped by {flip:#x}")
                raise

        assert aside

    @pytest.mark.fault("F68")
    def test_cut_off(self, directory):
        """A file cut off anywhere never brings wrong content and never stops the agent."""
        _fill(directory)
        path = directory / FILE
        data = path.read_bytes()
        aside = []
        for length in (0, 1, 50, 99, 100, 101, 512, 4095, 4096, 4097, 8192, 12288, len(data) - 4096, len(data) - 1):
            for other in directory.glob(f"{FILE}*"):
                other.unlink()
            path.write_bytes(data[:length])
            aside.append(not self._seen(directory))

        assert not aside[0]  # an empty file is a new one
        assert all(aside[1:])

    @pytest.mark.fault("F68")
    def test_flipped_in_the_log(self, directory, tmp_path, opened):
        """A flipped byte in what is not yet merged into the file loses a tail, never more."""
        journal = opened()
        journal.remember_agent_id("agent-0123456789ab")
        for name in ("orders", "users"):
            sync = journal.sync(name)
            sync.save(RECORD)
            for anchor in _anchors(4):
                sync.advance(replace(RECORD, acknowledged=anchor.index), anchor)
        files = {path.name: path.read_bytes() for path in directory.glob(f"{FILE}*") if not path.name.endswith("-shm")}
        journal.close()
        log = f"{FILE}-wal"
        size = len(files[log])
        whole = []
        for at in (*range(32), *range(32, size, 97)):
            for other in directory.glob(f"{FILE}*"):
                other.unlink()
            for name, data in files.items():
                (directory / name).write_bytes(data)
            data = files[log]
            (directory / log).write_bytes(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])
            whole.append(self._seen(directory))

        assert all(whole)

    @pytest.mark.fault("F68")
    def test_put_aside(self, directory):
        """A file that is no journal is kept under another name, and a second one beside it."""
        for number in (1, 2):
            directory.mkdir(exist_ok=True)
            (directory / FILE).write_bytes(b"this is no database, and longer than a header " * 100)
            journal = Journal.open(directory)
            kept = directory / f"{FILE}.damaged-{number}"
            assert kept == journal.damaged
            assert kept.read_bytes().startswith(b"this is no database")
            journal.sync("orders").save(RECORD)
            journal.close()

    def test_other_text_encoding(self, directory, opened):
        """Bytes that are no text are treated as lost."""
        _fill(directory)
        journal = opened()
        with journal.durable() as database:
            database.execute("UPDATE sync SET record = CAST(x'ff7b' AS TEXT) WHERE name = 'orders'")
            database.execute("UPDATE anchor SET anchor = x'00' WHERE sync = 'orders'")
            database.execute("UPDATE meta SET value = CAST(x'fe' AS TEXT) WHERE key = 'agent_id'")

        assert not journal.sync("orders").known
        assert journal.sync("orders").anchors() == []
        assert journal.agent_id() is None

    def test_swapped_names(self, directory, opened):
        """A record under another sync's name is not that sync's."""
        _fill(directory)
        journal = opened()
        with journal.durable() as database:
            database.execute("UPDATE sync SET name = 'others' WHERE name = 'orders'")
            database.execute("UPDATE anchor SET sync = 'others' WHERE sync = 'orders'")

        assert not journal.sync("others").known
        assert journal.sync("others").anchors() == []


class TestLock:
    @pytest.mark.fault("F71")
    def test_second_process(self, directory):
        """While another process holds it, opening fails and names that process; when it is killed, it works."""
        code = (
            "import sys, time; from pathlib import Path; from fuagent.journal import Journal;"
            f"journal = Journal.open(Path({str(directory)!r})); print('open', flush=True); sys.stdin.read()"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout.readline() == b"open\n"

            with pytest.raises(StateError, match=f"process {holder.pid}\\)") as caught:
                Journal.open(directory)

            assert str(directory) == caught.value.where
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            Journal.open(directory).close()

    def test_same_process(self, directory):
        """Nor can one process open it twice; closing lets go."""
        journal = Journal.open(directory)
        with pytest.raises(StateError, match=f"process {os.getpid()}\\)"):
            Journal.open(directory)
        journal.close()
        Journal.open(directory).close()

    @pytest.mark.fault("S09")
    def test_modes(self, directory, opened):
        """Nobody else may read the directory or any file in it."""
        before = os.umask(0)
        try:
            journal = opened()
            journal.sync("orders").save(RECORD)
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
        finally:
            os.umask(before)

        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert set(modes) == {"lock", FILE, f"{FILE}-wal", f"{FILE}-shm"}
        assert set(modes.values()) == {0o600}

    def test_directory_cannot_be_made(self, tmp_path):
        """A state directory that cannot be used is said with its path."""
        (tmp_path / "file").write_text("")

        with pytest.raises(StateError, match="cannot be used") as caught:
            Journal.open(tmp_path / "file" / "state")

        assert "--state-dir" in caught.value.fix

    def test_not_a_file(self, directory):
        """A directory in the journal's place is an error of the state, not a crash."""
        (directory / FILE).mkdir(parents=True)

        with pytest.raises(StateError):
            Journal.open(directory)


class TestWriteFailure:
    @pytest.fixture
    def full(self, directory, opened):
        """A journal that has no page left, and what makes room again."""
        journal = opened()
        sync = journal.sync("orders")
        sync.save(RECORD)
        [(pages,)] = journal.read("PRAGMA page_count")
        journal.read(f"PRAGMA max_page_count = {pages}")
        return sync, lambda: journal.read("PRAGMA max_page_count = 100000")

    def test_says_so(self, full):
        """A write that finds no room raises, and the record in memory stays the old one."""
        sync, _ = full
        with pytest.raises(JournalWriteError, match="takes no writes") as caught:
            sync.save(replace(RECORD, gap="x" * 100_000))

        assert FILE in caught.value.where
        assert sync.record == RECORD

    @pytest.mark.fault("F66")
    def test_every_kind_of_write(self, full):
        """So does every other kind of write."""
        sync, _ = full
        with pytest.raises(JournalWriteError):
            sync.advance(replace(RECORD, gap="x" * 100_000), None)
        with pytest.raises(JournalWriteError):
            sync.set_aside("a", 1, 422, "", b"x" * 100_000)

        assert sync.record == RECORD

    def test_goes_on(self, full):
        """With room again the next write succeeds, and nothing of the failed one is there."""
        sync, make_room = full
        with pytest.raises(JournalWriteError):
            sync.save(replace(RECORD, gap="x" * 100_000), _anchors(1)[0])
        make_room()
        sync.save(replace(RECORD, gap="y" * 100_000))

        assert sync.record.gap == "y" * 100_000
        assert sync.anchors() == []

    @pytest.mark.fault("F67")
    async def test_a_sync_that_fails(self, directory, opened, tmp_path):
        """Told once by the kernel: the next write opens the file anew and writes all of its log where it is synced."""
        code = (
            "import sys; from dataclasses import replace; from pathlib import Path; from fuagent.model import *;"
            "from fuagent.errors import *; from fuagent.journal import *;"
            f"sync = Journal.open(Path({str(directory)!r})).sync('orders'); sync.save(SyncRecord(acknowledged=1));"
            "print('ready', flush=True)\n"
            "for number in (2, 3):\n"
            "    sys.stdin.readline()\n"
            "    sync.advance(SyncRecord(acknowledged=number), Anchor(number, Place(f'1:{number}', 1)))\n"
            "    try:\n        sync.flush(); print('flushed', flush=True)\n"
            "    except JournalWriteError as error: print(error, flush=True)\n"
            "sys.stdin.readline()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        ) as writer:
            said = [writer.stdout.readline()]
            async with failing(writer.pid, "fsync,fdatasync", "EIO"):
                writer.stdin.write(b"\n")
                said.append(writer.stdout.readline())
            writer.stdin.write(b"\n")
            said.append(writer.stdout.readline())
            alone = tmp_path / "alone"
            alone.mkdir()
            shutil.copy(directory / FILE, alone)
            writer.kill()

        assert said[0] == b"ready\n"
        assert b"takes no writes (disk I/O error)" in said[1]
        assert said[2] == b"flushed\n"
        with closing(sqlite3.connect(alone / FILE)) as database:
            # What the failed sync had left in doubt stands in the file itself, whatever became of its log.
            assert database.execute("SELECT count(*) FROM anchor").fetchone() == (1,)
        assert [anchor.index for anchor in opened().sync("orders").anchors()] == [3, 2]

    @pytest.mark.fault("F67")
    def test_opened_anew(self, directory, opened):
        """A reader in the way is waited for; a file that is gone is not made anew; then all is there as it was."""
        journal = opened()
        sync = journal.sync("orders")
        sync.save(RECORD, _anchors(1)[0])
        journal._doubtful = True
        with closing(sqlite3.connect(directory / FILE, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM anchor").fetchone()
            with pytest.raises(JournalWriteError, match="another process reads it just now"):
                sync.save(replace(RECORD, rows=2))
            other.execute("COMMIT")
        (directory / FILE).rename(directory / "elsewhere")
        with pytest.raises(JournalWriteError, match="No such file"):
            sync.save(replace(RECORD, rows=3))
        (directory / "elsewhere").rename(directory / FILE)
        sync.save(replace(RECORD, rows=4))

        assert (sync.record.rows, sync.anchors()) == (4, _anchors(1))

    @pytest.mark.fault("F67")
    def test_damaged_while_the_disk_failed(self, directory, opened):
        """What does not check out when it is opened again takes no more writes, and is left for the next start."""
        journal = opened()
        sync = journal.sync("orders")
        sync.save(RECORD)
        journal._doubtful = True
        journal._database.close()
        (directory / FILE).write_bytes(b"nothing of ours")

        for _ in range(2):
            with pytest.raises(JournalWriteError, match="damaged since the disk failed") as caught:
                sync.save(RECORD)
            assert "start the agent again" in caught.value.fix

    def test_flush(self, directory, opened):
        """What was advanced is written for good by a flush."""
        journal = opened()
        sync = journal.sync("orders")
        sync.advance(RECORD, _anchors(1)[0])
        sync.flush()

        assert journal.sync("orders").record == RECORD

    def test_cannot_be_read(self, directory, opened):
        """A journal that gives no answer is as one that takes no writes."""
        journal = opened()
        sync = journal.sync("orders")
        sync.save(RECORD)
        with journal.durable() as database:
            database.execute("DROP TABLE anchor")

        with pytest.raises(JournalWriteError, match="cannot be read"):
            sync.anchors()
