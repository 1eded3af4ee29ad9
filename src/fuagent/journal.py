"""The agent's memory: one SQLite file in the state directory.

It makes resumption exact; without it the service's checkpoint has to do.
Two strengths of writing, because they cost differently:

* anchors and counters (:meth:`SyncJournal.advance`) are written after each
  acknowledgement without waiting for the disk. A lost tail costs a re-read.
* everything else (:meth:`SyncJournal.save`, :meth:`SyncJournal.set_aside`) is on
  disk when the call returns, because something is about to hang on it.

In WAL mode a synchronous commit also makes every earlier commit durable
(SQLite, "Write-Ahead Logging", section 3), so :meth:`SyncJournal.flush` is one such commit.

Each record carries a checksum of its own: SQLite has none over its pages, and a
flipped bit in an index must not become a gap. What does not check out is set
aside, never guessed at: the file is renamed and the agent starts as one that
has lost its journal. No row value is kept except in rows set aside.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any
from zlib import crc32

from fuagent.errors import JournalWriteError, StateError
from fuagent.model import Anchor, Place

VERSION = 1
FILE = "journal.db"
RECENT = 64
"""Anchors always kept; older ones thin out to one a minute, for a day."""
THINNED = 24 * 60

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sync (name TEXT PRIMARY KEY, record TEXT NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE anchor (
    id INTEGER PRIMARY KEY, sync TEXT NOT NULL, at REAL NOT NULL, anchor TEXT NOT NULL, sum INTEGER NOT NULL
);
CREATE INDEX anchor_by_sync ON anchor (sync, id);
CREATE TABLE rejected (
    id INTEGER PRIMARY KEY, sync TEXT NOT NULL, at REAL NOT NULL, source_table TEXT NOT NULL,
    number INTEGER NOT NULL, status INTEGER, reason TEXT NOT NULL, event BLOB NOT NULL,
    UNIQUE (sync, source_table, number, event)
);
"""


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """A snapshot that is due, running, or delivered but for its end marker.

    ``stage`` is ``pending``, ``running`` or ``rows_done``. ``origin`` is where the
    changes under a repeated first snapshot are read from. ``place`` and ``index``
    are S of the running attempt; ``index`` is 0 until its rows begin, so that a
    checkpoint that equals it proves that they arrived. ``tables`` is empty for all
    of them. ``again``: another one was asked for while its rows were on their way.
    """

    stage: str = "pending"
    cause: str = ""
    origin: Place | None = None
    place: Place | None = None
    index: int = 0
    tables: tuple[str, ...] = ()
    again: bool = False


@dataclass(frozen=True, slots=True)
class SyncRecord:
    """What is remembered of one sync."""

    acknowledged: int = 0
    """The last index in a batch that the service itself took."""
    answered: int = 0
    """The last checkpoint the service named."""
    snapshot: SnapshotRecord | None = None
    snapshots: int = 0
    """Snapshots finished."""
    snapshot_pause: float = 60.0
    """Seconds of streaming owed before the service may ask for the next one."""
    gap: str = ""
    """Why the place was lost, until it is accepted."""
    tables: tuple[str, ...] = ()
    """Tables whose rows are all at the service."""
    paused: bool = False
    rows: int = 0
    batches: int = 0
    left_out: int = 0
    run: int = 0
    """Rises with every snapshot or stream begun: the middle part of the idempotency key."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """One row that the service refused and that was set aside."""

    id: int
    at: float
    table: str
    index: int
    status: int | None
    reason: str
    event: bytes


class Journal:
    """The open journal of one agent; holds the lock on the state directory."""

    def __init__(self, directory: Path, database: sqlite3.Connection, lock: IO[bytes], damaged: Path | None) -> None:
        self.directory = directory
        self.damaged = damaged
        """Where a journal that did not check out was put aside, if one was."""
        self._database = database
        self._lock = lock

    @classmethod
    def open(cls, directory: Path) -> Journal:
        """Open or make the journal below ``directory``.

        Raises:
            StateError: another agent holds it, it cannot be written, or a newer fuagent wrote it.
        """
        lock = _lock(directory)
        try:
            path = directory / FILE
            damaged = None if _sound(path) else _put_aside(path)
            database = _connect(path)
        except sqlite3.Error as error:
            lock.close()
            raise StateError(
                f"the journal cannot be opened: {error}.", where=str(directory), fix="Free space or repair the disk."
            ) from error
        except StateError:
            lock.close()
            raise
        return cls(directory, database, lock, damaged)

    def close(self) -> None:
        """Close and let go of the lock."""
        self._database.close()
        self._lock.close()

    def agent_id(self) -> str | None:
        """The agent id the last run used."""
        row = self._database.execute("SELECT value FROM meta WHERE key = 'agent_id'").fetchone()
        return str(row[0]) if row else None

    def remember_agent_id(self, agent_id: str) -> None:
        """Write the agent id down."""
        with self.durable() as database:
            database.execute("INSERT OR REPLACE INTO meta VALUES ('agent_id', ?)", (agent_id,))

    def sync(self, name: str) -> SyncJournal:
        """The part of the journal that belongs to one sync."""
        return SyncJournal(self, name)

    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.directory.glob(FILE + "*"))

    def read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of one query."""
        return self._database.execute(query, values).fetchall()

    @contextmanager
    def durable(self) -> Iterator[sqlite3.Connection]:
        """One transaction that is on disk when the block ends."""
        with self.transaction("FULL") as database:
            yield database

    @contextmanager
    def transaction(self, synchronous: str) -> Iterator[sqlite3.Connection]:
        """One transaction at SQLite's ``synchronous`` level; faults become JournalWriteError."""
        try:
            self._database.execute(f"PRAGMA synchronous = {synchronous}")
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                yield self._database
        except sqlite3.Error as error:
            raise JournalWriteError(
                f"the journal takes no writes ({error}), so nothing more is sent.",
                where=str(self.directory / FILE),
                fix="Free disk space; the sync goes on by itself.",
            ) from error


class SyncJournal:
    """One sync's record, anchors and rejected rows."""

    def __init__(self, journal: Journal, name: str) -> None:
        self._journal = journal
        self.name = name
        self.known = False
        """False when the journal holds nothing of this sync: it is new, or the journal was lost."""
        self.record = SyncRecord()
        self._next_thinned = 0.0
        self._load()

    def _load(self) -> None:
        for text, checksum in self._journal.read("SELECT record, sum FROM sync WHERE name = ?", self.name):
            if checksum == _sum(text):
                self.record = _record(json.loads(text))
                self.known = True

    def anchors(self) -> list[Anchor]:
        """All anchors kept, newest first; damaged ones are passed over."""
        rows = self._journal.read("SELECT anchor, sum FROM anchor WHERE sync = ? ORDER BY id DESC", self.name)
        return [_anchor(json.loads(text)) for text, checksum in rows if checksum == _sum(text)]

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
            [(number,)] = database.execute(
                "INSERT INTO rejected (sync, at, source_table, number, status, reason, event) VALUES (?,?,?,?,?,?,?)"
                " ON CONFLICT DO UPDATE SET at = excluded.at, reason = excluded.reason RETURNING id",
                (self.name, time.time(), table, index, status, reason, event),
            ).fetchall()
        return int(number)

    def withdraw(self, numbers: Sequence[int]) -> None:
        """Take back rows set aside: the fault was not theirs."""
        with self._journal.durable() as database:
            database.executemany("DELETE FROM rejected WHERE id = ?", [(number,) for number in numbers])

    def rejected(self) -> list[Rejected]:
        """Rows set aside, oldest first."""
        rows = self._journal.read(
            "SELECT id, at, source_table, number, status, reason, event FROM rejected WHERE sync = ? ORDER BY id",
            self.name,
        )
        return [Rejected(*row) for row in rows]

    def rejected_count(self) -> int:
        """How many rows are set aside."""
        return int(self._journal.read("SELECT count(*) FROM rejected WHERE sync = ?", self.name)[0][0])

    def _write(self, database: sqlite3.Connection, record: SyncRecord, anchor: Anchor | None) -> None:
        text = json.dumps(asdict(record))
        database.execute("INSERT OR REPLACE INTO sync VALUES (?, ?, ?)", (self.name, text, _sum(text)))
        if anchor is None:
            return
        text = json.dumps(asdict(anchor))
        now = time.time()
        database.execute(
            "INSERT INTO anchor (sync, at, anchor, sum) VALUES (?, ?, ?, ?)", (self.name, now, text, _sum(text))
        )
        self._thin(database, now)

    def _thin(self, database: sqlite3.Connection, now: float) -> None:
        """Keep the newest anchors, one a minute behind them, nothing older than a day."""
        if now < self._next_thinned:
            return
        self._next_thinned = now + 1.0
        database.execute(
            "DELETE FROM anchor WHERE sync = :sync AND id NOT IN"
            " (SELECT id FROM anchor WHERE sync = :sync ORDER BY id DESC LIMIT :recent) AND id NOT IN"
            " (SELECT max(id) FROM anchor WHERE sync = :sync GROUP BY CAST(at / 60 AS INTEGER)"
            "  ORDER BY 1 DESC LIMIT :thinned)",
            {"sync": self.name, "recent": RECENT, "thinned": THINNED},
        )


def _sum(text: str) -> int:
    return crc32(text.encode())


def _place(value: dict[str, Any] | None) -> Place | None:
    return None if value is None else Place(**value)


def _anchor(value: dict[str, Any]) -> Anchor:
    return Anchor(**{**value, "place": Place(**value["place"])})


def _record(value: dict[str, Any]) -> SyncRecord:
    """A record as it was; keys of a later minor version are passed over."""
    known = {key: value[key] for key in SyncRecord.__dataclass_fields__ if key in value}
    record = SyncRecord(**known)
    snapshot = known.get("snapshot")
    if isinstance(snapshot, dict):
        rest = {**snapshot, "tables": tuple(snapshot["tables"])}
        rest |= {"origin": _place(snapshot["origin"]), "place": _place(snapshot["place"])}
        record = replace(record, snapshot=SnapshotRecord(**rest))
    return replace(record, tables=tuple(record.tables))


def _lock(directory: Path) -> IO[bytes]:
    """Hold the state directory for this process; the kernel lets go when it ends, however it ends."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.fdopen(os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    except OSError as error:
        raise StateError(
            f"the state directory cannot be used: {error.strerror}.",
            where=str(directory),
            fix="Give fuagent a directory it may write, with --state-dir.",
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = handle.read(20).decode(errors="replace").strip() or "unknown"
        handle.close()
        raise StateError(
            f"another agent (process {holder}) is using this state directory.",
            where=str(directory),
            fix="Stop it, or give this one a state directory of its own with --state-dir.",
        ) from error
    handle.seek(0)
    handle.truncate()
    handle.write(f"{os.getpid()}\n".encode())
    handle.flush()
    return handle


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    # Commands of a person and the engine share the connection from one thread at a time.
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA journal_size_limit = 1048576")
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        database.close()
        raise StateError(
            f"the journal has version {version}; this fuagent knows up to {VERSION}.",
            where=str(path),
            fix="Install the fuagent that wrote it, or a newer one.",
        )
    if version == 0:
        database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    return database


def _sound(path: Path) -> bool:
    """True unless the file exists and is not a whole SQLite database."""
    if not path.exists():
        return True
    try:
        database = sqlite3.connect(path, isolation_level=None)
        try:
            return bool(database.execute("PRAGMA quick_check").fetchone()[0] == "ok")
        finally:
            database.close()
    except sqlite3.OperationalError:
        raise  # the disk's fault, not the file's: it must not be put aside
    except sqlite3.DatabaseError:
        return False


def _put_aside(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{FILE}.damaged-{number}")).exists():
        number += 1
    path.rename(kept)
    for ending in ("-wal", "-shm"):
        path.with_name(FILE + ending).unlink(missing_ok=True)
    return kept
