"""The agent's memory: one SQLite file in the state directory.

It makes resumption exact; without it the service's checkpoint has to do.
Two strengths of writing, because they cost differently:

* anchors and counters (:meth:`SyncJournal.advance`) are written after each
  acknowledgement without waiting for the disk. A lost tail costs a re-read.
* everything else (:meth:`SyncJournal.save`, :meth:`SyncJournal.set_aside`) is on
  disk when the call returns, because something is about to hang on it.

In WAL mode a synchronous commit also makes every earlier commit durable
(SQLite, "Write-Ahead Logging", section 3), so :meth:`SyncJournal.flush` is one such commit.

Each record carries a checksum of its own, over its name too: SQLite has none over
its pages, and a flipped bit in an index must not become a gap. A record that does
not check out is taken for lost; a file that does not is renamed, and the agent
starts as one that has lost its journal. Nothing is guessed at. No row value is kept
except in rows set aside.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import orjson

from fuagent import journal_records as records
from fuagent import journal_versions as versions
from fuagent.errors import JournalWriteError, StateError
from fuagent.journal_records import Rejected, SnapshotRecord, SyncRecord
from fuagent.model import Anchor

__all__ = ["Journal", "Rejected", "SnapshotRecord", "SyncJournal", "SyncRecord"]

FILE = "journal.db"
RECENT = 64
"""Anchors always kept; older ones thin out to one a minute, for a day."""
THINNED = 24 * 60
LOG_BYTES = 16 << 20
"""What SQLite's write-ahead log holds before it is settled, and shrinks to then.

While the disk takes it, an append may have to wait as well: so it is done rarely, once in some thousand writes.
"""
LOG_PAGES = 4 * LOG_BYTES // 4096
"""Pages it grows to before a commit settles it by itself: where nobody calls :meth:`Journal.settle`, or not in time."""


class Journal:
    """The open journal of one agent; holds the lock on the state directory."""

    def __init__(
        self,
        directory: Path,
        database: sqlite3.Connection,
        lock: IO[bytes],
        clock: Callable[[], float],
        *,
        damaged: Path | None = None,
        kept: Path | None = None,
    ) -> None:
        self.directory = directory
        self.clock = clock
        self.damaged = damaged
        """Where a journal that did not check out was put aside, if one was."""
        self.kept = kept
        """Where the journal of an earlier version is kept that was carried over just now, if one was."""
        self._database = database
        self._lock = lock
        self._synchronous = ""
        self._doubtful = False
        """Whether the disk failed in a write: what it holds of earlier ones is then unknown."""

    @classmethod
    def open(cls, directory: Path, patience: float = 0.0, clock: Callable[[], float] = time.time) -> Journal:
        """Open or make the journal below ``directory``.

        Args:
            directory: The state directory.
            patience: Seconds to wait for a command that holds it for a moment.
            clock: Gives Unix time; nothing but the thinning of old anchors hangs on it.

        Raises:
            StateError: another agent holds it, it cannot be written, or a newer fuagent wrote it.
        """
        lock = _lock(directory, patience)
        try:
            path = directory / FILE
            damaged = None if _sound(path) else _put_aside(path)
            database, kept = _connect(path)
        except (sqlite3.Error, OSError) as error:
            lock.close()
            raise StateError(
                f"the journal cannot be opened: {error}.", where=str(directory), fix="Free space or repair the disk."
            ) from error
        except StateError:
            lock.close()
            raise
        return cls(directory, database, lock, clock, damaged=damaged, kept=kept)

    def close(self) -> None:
        """Close and let go of the lock."""
        self._database.close()
        self._lock.close()

    def agent_id(self) -> str | None:
        """The agent id the last run used."""
        return versions.told(self._database, "agent_id")

    def remember_agent_id(self, agent_id: str) -> None:
        """Write the agent id down."""
        with self.durable() as database:
            versions.tell(database, "agent_id", agent_id)

    def sync(self, name: str) -> SyncJournal:
        """The part of the journal that belongs to one sync."""
        return SyncJournal(self, name)

    def size(self) -> int:
        """Bytes on disk, without those of journals put aside."""
        files = (self.directory / f"{FILE}{ending}" for ending in ("", "-wal", "-shm"))
        return sum(path.stat().st_size for path in files if path.exists())

    def settle(self) -> None:
        """Move what SQLite's write-ahead log holds into the file, if that is much; for a thread of its own.

        A commit would do it otherwise, and so wait for the disk; beside commits it holds nobody up
        (https://www.sqlite.org/wal.html#ckpt). Where the disk refuses, a write will say so.
        """
        log = self.directory / f"{FILE}-wal"
        with suppress(OSError, sqlite3.Error):
            if log.stat().st_size > LOG_BYTES:
                # Not made anew if somebody has removed it.
                address = f"{(self.directory / FILE).absolute().as_uri()}?mode=rw"
                with closing(sqlite3.connect(address, uri=True)) as database:
                    database.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of one query.

        Raises:
            JournalWriteError: the disk gives no answer.
        """
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise JournalWriteError(
                f"the journal cannot be read ({error}), so nothing more is sent.",
                where=str(self.directory / FILE),
                fix="Repair the disk; the sync goes on by itself.",
            ) from error

    @contextmanager
    def durable(self) -> Iterator[sqlite3.Connection]:
        """One transaction that is on disk when the block ends."""
        with self.transaction("FULL") as database:
            yield database

    @contextmanager
    def transaction(self, synchronous: str) -> Iterator[sqlite3.Connection]:
        """One transaction at SQLite's ``synchronous`` level; faults become JournalWriteError."""
        try:
            if self._doubtful:
                self._renew()
            if synchronous != self._synchronous:
                self._database.execute(f"PRAGMA synchronous = {synchronous}")
                self._synchronous = synchronous
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                yield self._database
        except (sqlite3.Error, OSError) as error:
            code = getattr(error, "sqlite_errorcode", 0)
            self._doubtful = self._doubtful or code & 0xFF == sqlite3.SQLITE_IOERR
            raise JournalWriteError(
                f"the journal takes no writes ({error}), so nothing more is sent.",
                where=str(self.directory / FILE),
                fix="Free disk space, or repair the disk; the sync goes on by itself.",
            ) from error

    def _renew(self) -> None:
        """Open the file again, look whether it is whole, and write anew what the disk may have forgotten.

        A failed fsync is told once. The kernel then takes what it could not write for written, and the
        next fsync succeeds without it (https://wiki.postgresql.org/wiki/Fsync_Errors). So everything
        in the write-ahead log is moved into the file and synced there, and the log begins anew.

        Raises:
            sqlite3.Error, OSError: the disk still fails.
            JournalWriteError: the file is damaged.
        """
        path = self.directory / FILE
        self._database.close()
        path.stat()  # where it is gone a new one would be made, and know nothing
        if not _sound(path):
            raise JournalWriteError(
                "the journal is damaged since the disk failed, so nothing more is sent.",
                where=str(path),
                fix="Repair the disk and start the agent again: it puts the file aside.",
            )
        self._database, _ = _connect(path)
        self._synchronous = ""
        self._database.execute("PRAGMA synchronous = FULL")
        [(busy, _, _)] = self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if busy:
            raise sqlite3.OperationalError("another process reads it just now")
        self._doubtful = False


class SyncJournal:
    """One sync's record, anchors and rejected rows."""

    def __init__(self, journal: Journal, name: str) -> None:
        self._journal = journal
        self.name = name
        self.known = False
        """False when the journal holds nothing of this sync: it is new, or the journal was lost."""
        self.record = SyncRecord()
        self._thinned_at = 0.0
        self._load()

    def _load(self) -> None:
        for text, checksum in self._journal.read("SELECT record, sum FROM sync WHERE name = ?", self.name):
            if checksum == records.checksum(self.name, text):
                self.record = records.record_of(orjson.loads(text))
                self.known = True

    def anchors(self) -> list[Anchor]:
        """All anchors kept, newest first; damaged ones are passed over."""
        rows = self._journal.read("SELECT anchor, sum FROM anchor WHERE sync = ? ORDER BY id DESC", self.name)
        return [
            records.anchor_of(orjson.loads(text))
            for text, checksum in rows
            if checksum == records.checksum(self.name, text)
        ]

    def save(self, record: SyncRecord, anchor: Anchor | None = None) -> None:
        """Remember ``record``; it is on disk when this returns.

        Raises:
            JournalWriteError: it is not, and the record in memory is the old one.
        """
        with self._journal.durable() as database:
            self._write(database, record, anchor)
        self.record, self.known = record, True

    def advance(self, record: SyncRecord, anchor: Anchor | None) -> None:
        """Remember ``record`` and ``anchor`` soon: a crash may forget the last of these."""
        with self._journal.transaction("NORMAL") as database:
            self._write(database, record, anchor)
        self.record, self.known = record, True

    def note(self, record: SyncRecord) -> None:
        """Remember ``record`` in memory; the next write of any kind takes it along."""
        self.record = record

    def flush(self) -> None:
        """Make everything advanced so far durable."""
        self.save(self.record)

    def forget_anchors(self) -> None:
        """Drop all anchors: they point into a log or numbering that is no more."""
        with self._journal.durable() as database:
            database.execute("DELETE FROM anchor WHERE sync = ?", (self.name,))

    def set_aside(self, table: str, index: int, status: int | None, reason: str, event: bytes) -> int:
        """Keep a row the service refused; on disk when this returns. Gives its number."""
        with self._journal.durable() as database:
            # A row met again after a crash is the same entry, not a second one.
            at = self._journal.clock()
            checksum = records.checksum(self.name, at, table, index, status, reason, event)
            [(number,)] = database.execute(
                "INSERT INTO rejected (sync, at, source_table, number, status, reason, event, sum)"
                " VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET at = excluded.at, status = excluded.status,"
                " reason = excluded.reason, sum = excluded.sum RETURNING id",
                (self.name, at, table, index, status, reason, event, checksum),
            ).fetchall()
        return int(number)

    def withdraw(self, numbers: Sequence[int]) -> None:
        """Take back rows set aside: the fault was not theirs."""
        with self._journal.durable() as database:
            database.executemany("DELETE FROM rejected WHERE id = ?", [(number,) for number in numbers])

    def refused_again(self, number: int, status: int | None, reason: str) -> None:
        """Note why a row set aside was refused once more; it stays as it was."""
        for row in self.rejected():
            if row.id == number:
                self.set_aside(row.table, row.index, status, reason, row.event)

    def rejected(self) -> list[Rejected]:
        """Rows set aside, oldest first; damaged ones are passed over."""
        rows = self._journal.read(
            "SELECT id, at, source_table, number, status, reason, event, sum FROM rejected WHERE sync = ? ORDER BY id",
            self.name,
        )
        return [Rejected(*row) for *row, checksum in rows if checksum == records.checksum(self.name, *row[1:])]

    def rejected_heads(self, most: int) -> list[Rejected]:
        """The oldest rows set aside without their events, which may be large; as they stand, unproven."""
        rows = self._journal.read(
            "SELECT id, at, source_table, number, status, reason, x'' FROM rejected WHERE sync = ? ORDER BY id LIMIT ?",
            self.name,
            most,
        )
        return [Rejected(*row) for row in rows]

    def rejected_tables(self) -> dict[str, int]:
        """How many rows of each table are set aside."""
        query = "SELECT source_table, count(*) FROM rejected WHERE sync = ? GROUP BY source_table"
        return {str(table): int(count) for table, count in self._journal.read(query, self.name)}

    def rejected_count(self) -> int:
        """How many rows are set aside."""
        return int(self._journal.read("SELECT count(*) FROM rejected WHERE sync = ?", self.name)[0][0])

    def _write(self, database: sqlite3.Connection, record: SyncRecord, anchor: Anchor | None) -> None:
        text = orjson.dumps(record).decode()
        # Not an update: SQLite writes none whose row is as before, and then a flush would make nothing durable.
        database.execute(
            "INSERT OR REPLACE INTO sync (name, record, sum) VALUES (?, ?, ?)",
            (self.name, text, records.checksum(self.name, text)),
        )
        if anchor is None:
            return
        text = orjson.dumps(anchor).decode()
        now = self._journal.clock()
        database.execute(
            "INSERT INTO anchor (sync, at, anchor, sum) VALUES (?, ?, ?, ?)",
            (self.name, now, text, records.checksum(self.name, text)),
        )
        if abs(now - self._thinned_at) >= 1.0:  # the clock may have been set back
            self._thinned_at = now
            self._thin(database)

    def _thin(self, database: sqlite3.Connection) -> None:
        """Keep the newest anchors, one a minute behind them, nothing older than a day."""
        database.execute(
            "DELETE FROM anchor WHERE sync = :sync AND id NOT IN"
            " (SELECT id FROM anchor WHERE sync = :sync ORDER BY id DESC LIMIT :recent) AND id NOT IN"
            " (SELECT max(id) FROM anchor WHERE sync = :sync GROUP BY CAST(at / 60 AS INTEGER)"
            "  ORDER BY 1 DESC LIMIT :thinned)",
            {"sync": self.name, "recent": RECENT, "thinned": THINNED},
        )


def _lock(directory: Path, patience: float) -> IO[bytes]:
    """Hold the state directory for this process; the kernel lets go when it ends, however it ends."""
    until = time.monotonic() + patience
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.fdopen(os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    except OSError as error:
        raise StateError(
            f"the state directory cannot be used: {error.strerror}.",
            where=str(directory),
            fix="Give fuagent a directory it may write, with --state-dir.",
        ) from error
    while not _locked(handle):
        if time.monotonic() >= until:
            holder = handle.read(20).decode(errors="replace").strip() or "unknown"
            handle.close()
            raise StateError(
                f"another agent (process {holder}) is using this state directory.",
                where=str(directory),
                fix="Stop it, or give this one a state directory of its own with --state-dir.",
            )
        time.sleep(0.05)
    handle.seek(0)
    handle.truncate()
    handle.write(f"{os.getpid()}\n".encode())
    handle.flush()
    return handle


def _locked(handle: IO[bytes]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _connect(path: Path) -> tuple[sqlite3.Connection, Path | None]:
    """The journal ready for use, and where one of an earlier version is kept that was carried over."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    # Commands of a person and the engine share the connection from one thread at a time.
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.text_factory = _text
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        database.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        return database, versions.carry_over(database, path)
    except BaseException:
        database.close()
        raise


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _sound(path: Path) -> bool:
    """True unless the file is there and is not a whole journal."""
    if not path.is_file() or not path.stat().st_size:
        return True
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return False
        file.seek(_FORMATS)
        if file.read(2) != b"\2\2":  # another number would make SQLite refuse to write, or to open
            return False
    database = sqlite3.connect(path, isolation_level=None)
    database.text_factory = _text
    try:
        return _checks_out(database)
    except sqlite3.DatabaseError as error:
        # The disk's fault is not the file's: a whole file must not be put aside for it.
        if error.sqlite_errorcode & 0xFF in _OF_THE_DISK:
            raise
        return False
    except UnicodeDecodeError:  # SQLite quotes the damaged bytes in its message
        return False
    finally:
        database.close()


_MAGIC = b"SQLite format 3\0"
_FORMATS = 18
"""Where the header says how the file is written and read; 2 and 2 in WAL mode (SQLite, "Database File Format")."""
_OF_THE_DISK = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
}


def _checks_out(database: sqlite3.Connection) -> bool:
    if database.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
        return False
    version, layout = versions.version_of(database), versions.layout_of(database)
    if not layout and not version:
        return True  # the last run ended before it made the tables
    if versions.told(database, "version") != str(version):
        return False
    return version > len(versions.STEPS) or layout == versions.layout(version)


def _put_aside(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{FILE}.damaged-{number}")).exists():
        number += 1
    path.rename(kept)
    for ending in ("-wal", "-shm"):
        path.with_name(FILE + ending).unlink(missing_ok=True)
    return kept
