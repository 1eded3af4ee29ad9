"""Journals of other versions: carried over whole or not at all, gone on with, or refused with the way back."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import journal_record
import pytest

from fuagent import journal_records as records
from fuagent import journal_versions as versions
from fuagent.errors import StateError
from fuagent.journal import FILE, Journal
from fuagent.model import Anchor, Place

KEPT = f"{FILE}.version-1"
RECORD = replace(journal_record.RECORD, acknowledged=4)
NEXT = (
    "ALTER TABLE sync ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",
    "CREATE TABLE batch (id INTEGER PRIMARY KEY, rows INTEGER NOT NULL)",
)
"""A step into the future of the kind that an earlier program can live with."""


@pytest.fixture
def first(tmp_path):
    """A state directory with the journal that the first version wrote, kept since then."""
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    with closing(sqlite3.connect(directory / FILE, isolation_level=None)) as database:
        database.executescript((Path(__file__).parent / "journal-1.sql").read_text(encoding="utf-8"))
    return directory


@pytest.fixture
def later(monkeypatch):
    """Makes of this program one of the next version, and the earlier one of it again."""

    def later(*step, readable_by=1):
        monkeypatch.setattr(versions, "STEPS", (*versions.STEPS, step))
        monkeypatch.setattr(versions, "READABLE_BY", readable_by)
        return monkeypatch.undo

    return later


def _holds_all(journal: Journal) -> None:
    """Everything that the first version wrote down is there."""
    sync = journal.sync("orders")
    assert journal.damaged is None
    assert journal.agent_id() == "agent-0123456789ab"
    assert sync.record == RECORD
    assert sync.anchors() == [
        Anchor(number, Place(f"1:{number}", number - 1, number), f"shape {number}", boundary=number % 2 == 0)
        for number in (4, 3, 2, 1)
    ]
    assert [(row.table, row.index, row.status, row.event) for row in journal.sync("users").rejected()] == [
        ("a", 5, 422, b'{"id":5,"index":5}'),
        ("a", 6, None, b'{"id":6,"index":6}'),
    ]


def _version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return versions.version_of(database)


@pytest.mark.fault("F72")
def test_the_first_version_is_read(first):
    """A journal that the first version wrote is read by every later one."""
    with closing(Journal.open(first)) as journal:
        _holds_all(journal)

        assert (journal.kept, _version(first / FILE)) == (None, 1)


@pytest.mark.fault("F72")
def test_an_earlier_version_is_carried_over(first, later):
    """Nothing is lost, the tables are those a new journal gets, and the old one is kept, closed to others."""
    later(*NEXT)
    with closing(Journal.open(first)) as journal:
        _holds_all(journal)

        assert journal.kept == first / KEPT
        assert versions.layout_of(journal._database) == versions.layout(len(versions.STEPS))
    with closing(Journal.open(first)) as journal:
        _holds_all(journal)

        assert journal.kept is None
    assert (_version(first / FILE), _version(first / KEPT)) == (len(versions.STEPS), len(versions.STEPS) - 1)
    assert stat.S_IMODE((first / KEPT).stat().st_mode) == 0o600
    assert sorted(path.name for path in first.glob(f"{FILE}.*")) == [KEPT]


@pytest.mark.fault("F72")
def test_what_is_kept_is_whole(first, later):
    """Put in the journal's place it is the journal as it was before, for the program of before."""
    back = later(*NEXT)
    with closing(Journal.open(first)) as journal:
        journal.sync("orders").save(replace(RECORD, acknowledged=99))
    back()
    for ending in ("-wal", "-shm"):
        (first / (FILE + ending)).unlink(missing_ok=True)
    shutil.copy(first / KEPT, first / FILE)

    assert _version(first / FILE) == 1
    with closing(Journal.open(first)) as journal:
        _holds_all(journal)


@pytest.mark.fault("F72")
def test_a_second_way_there_keeps_the_later_one(first, later):
    """After going back and on, the copy is the journal as it was the last time."""
    (first / KEPT).write_text("an older copy")
    (first / f"{KEPT}.unfinished").write_text("half of one")
    later(*NEXT)
    Journal.open(first).close()

    assert _version(first / KEPT) == 1
    assert not (first / f"{KEPT}.unfinished").exists()


@pytest.mark.fault("F72")
def test_a_step_that_fails_leaves_the_old_one(first, later):
    """Whatever the disk does half way, it is the old journal, and the program of before goes on with it."""
    back = later(*NEXT, "INSERT INTO no_such_table VALUES (1)")
    with pytest.raises(StateError, match="cannot be opened"):
        Journal.open(first)
    back()

    with closing(Journal.open(first)) as journal:
        _holds_all(journal)

        assert versions.layout_of(journal._database) == versions.layout(1)


@pytest.mark.fault("F72")
def test_a_crash_on_the_way_leaves_the_old_one(first):
    """A process that ends between the steps and their commit has changed nothing."""
    code = f"""
import os
from pathlib import Path
from fuagent import journal_versions as versions
from fuagent.journal import Journal
versions.STEPS = (*versions.STEPS, {NEXT!r})
versions.tell = lambda *_: os._exit(7)
Journal.open(Path({str(first)!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)

    assert done.returncode == 7
    with closing(Journal.open(first)) as journal:
        _holds_all(journal)

        assert versions.layout_of(journal._database) == versions.layout(1)


@pytest.mark.fault("F72")
def test_a_damaged_earlier_one_is_not_carried_over(first, later):
    """An old journal is held against the tables of its own version before anything is made of it."""
    with closing(sqlite3.connect(first / FILE)) as database:
        database.execute("DROP INDEX anchor_by_sync")
    later(*NEXT)
    with closing(Journal.open(first)) as journal:
        assert journal.damaged is not None
        assert journal.kept is None
        assert not journal.sync("orders").known


@pytest.mark.fault("F72")
def test_a_newer_one_that_says_so_is_gone_on_with(first, later):
    """There and back: what this program writes in a newer journal is there, and so is what it knows nothing of."""
    back = later(*NEXT)
    with closing(Journal.open(first)) as journal, journal.durable() as database:
        database.execute("UPDATE sync SET note = 'newer'")
        database.execute("INSERT INTO batch (rows) VALUES (12)")
    back()
    moved = Anchor(5, Place("1:5", 4, 5), "shape 5")
    with closing(Journal.open(first)) as journal:
        _holds_all(journal)
        journal.remember_agent_id("agent-another-one")
        journal.sync("orders").save(replace(RECORD, acknowledged=5), moved)
        journal.sync("orders").set_aside("a", 7, 422, "no", b"{}")
        journal.sync("brand-new").save(RECORD)
    assert _version(first / FILE) == len(versions.STEPS) + 1

    later(*NEXT)
    with closing(Journal.open(first)) as journal:
        assert journal.damaged is None
        assert journal.kept is None
        assert journal.agent_id() == "agent-another-one"
        assert journal.sync("orders").record == replace(RECORD, acknowledged=5)
        assert journal.sync("orders").anchors()[0] == moved
        assert dict(journal.read("SELECT name, note FROM sync")) == {
            "orders": "none",  # written by the older program since
            "users": "newer",
            "brand-new": "none",
        }
        assert journal.read("SELECT rows FROM batch") == [(12,)]


@pytest.mark.fault("F72")
def test_a_newer_one_that_does_not_is_refused(first, later):
    """It is not touched; the message names both versions and the copy of before, and the lock is let go of."""
    back = later(*NEXT, readable_by=2)
    Journal.open(first).close()
    back()
    before = (first / FILE).read_bytes()
    for _ in range(2):
        with pytest.raises(StateError, match="has version 2; this fuagent knows up to 1") as caught:
            Journal.open(first)

    assert "a newer one" in caught.value.fix
    assert str(first / KEPT) in caught.value.fix
    assert (first / FILE).read_bytes() == before


@pytest.mark.fault("F72")
def test_a_newer_one_without_a_copy(tmp_path):
    """One that a newer fuagent began with has no copy, and none is spoken of; nor does it say who may read it."""
    Journal.open(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as database:
        database.execute("PRAGMA user_version = 9")
        database.execute(
            "UPDATE meta SET value = '9', sum = ? WHERE key = 'version'", (records.checksum("version", "9"),)
        )
        database.execute("DELETE FROM meta WHERE key = 'readable_by'")

    with pytest.raises(StateError, match="has version 9; this fuagent knows up to 1") as caught:
        Journal.open(tmp_path)

    assert "version-" not in caught.value.fix


def test_released_steps_stay_as_they_are(first):
    """The tables of the first version are those of the journal that was kept, to the blank."""
    with closing(sqlite3.connect(first / FILE)) as database:
        assert versions.layout_of(database) == versions.layout(1)
