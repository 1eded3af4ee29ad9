"""Parts of a place, and what they decide: spots and numbers, sets of what was done, statements, runs, packets."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mysql_scripted import COLUMNS, TABLE, UUID_A, layout, table_map, versions

from fuagent.encode.changes import DELETE, INSERT, UPDATE, Run, Writer
from fuagent.errors import DecodeError, HaltSyncError, LostPlaceError, TryAgainError, UnauthorisedError
from fuagent.model import ABSENT, Deletes, Table
from fuagent.sources.mysql import dump, places
from fuagent.sources.mysql.done import Done
from fuagent.sources.mysql.effects import Effect, Meaning, effect
from fuagent.sources.mysql.places import FILE, LIFTED, Spot
from fuagent.sources.mysql.versions import Unknown
from fuagent.sources.selection import Name
from fuagent.wire.mysql import statements
from fuagent.wire.mysql.gtids import GtidSet, MariadbPosition

# ------------------------------------------------------------ spots

SPOTS = st.builds(
    Spot,
    st.from_regex(r"[a-z.\-]{1,9}\.[0-9]{6}", fullmatch=True),
    st.integers(4, 1 << 40),
    server=st.integers(0, 1 << 32),
    uuid=st.sampled_from(["", UUID_A]),
    created=st.integers(0, 1 << 32),
    gtid=st.sampled_from(["", f"{UUID_A}:1-7", "0-1-9"]),
    base=st.integers(0, LIFTED),
    prepared=st.dictionaries(st.text(max_size=5), st.tuples(st.just("b.000001"), st.integers(4, 99)), max_size=2),
)


@given(SPOTS)
def test_spots_come_back(spot):
    """The text that the journal keeps tells all of it."""
    assert places.read(spot.text()) == spot
    assert places.read(spot.place(7, 9).position) == spot


@pytest.mark.parametrize(
    "text",
    ["", "7", "[]", "null", '{"file": "a.1", "other": 1}', '{"prepared": {"x": 1}}', '{"prepared": []}', '{"lsn": 7}'],
)
def test_places_of_others(text):
    """A journal of another source is no place here."""
    with pytest.raises(HaltSyncError, match="not of a binlog"):
        places.read(text)


@pytest.mark.parametrize(
    ("file", "number"),
    [("binlog.000012", 12), ("a.b.999999", 999_999), ("binlog.1000000", 1_000_000), ("x.4294967295", 4_294_967_295)],
)
def test_numbers_of_files(file, number):
    """The digits behind the last dot, however many."""
    assert places.file_number(file) == number


@pytest.mark.parametrize(
    "file", ["", "binlog", "binlog.", "binlog.x1", "binlog.-1", "binlog.\u0661", "binlog.12345678901"]
)
def test_files_without_a_number(file):
    """A name without one is none of a binlog's."""
    with pytest.raises(DecodeError, match="does not end in a number"):
        places.file_number(file)


@pytest.mark.fault("F04")
def test_names_are_not_compared_as_texts():
    """After 999999 comes 1000000."""
    assert Spot("b.1000000", 4).order > Spot("b.999999", 99).order


def test_the_last_number():
    """2**53 - 1 is one, the next is none."""
    assert places.derived("b.2097151", FILE - 1, 0) == 2**53 - 1
    with pytest.raises(HaltSyncError, match="come to their end"):
        places.derived("b.2097151", FILE, 0)
    with pytest.raises(HaltSyncError, match="come to their end"):
        places.derived("b.1", 0, 2097151)


def test_lifting():
    """Only as far as it takes, but far enough to tell that there was a lift."""
    spot = Spot("b.000003", 4)
    assert places.lifted(spot, spot.number - 1) is spot
    assert places.lifted(spot, spot.number).base == LIFTED
    above = (LIFTED + 9) * FILE + 17
    assert places.lifted(spot, above).base == LIFTED + 10
    assert places.lifted(spot, above).number > above


# ------------------------------------------------------------ what was done


def test_done_grows():
    """Transaction by transaction, of either family; a copy leaves the original alone."""
    done = Done.parse("", {}, mariadb=False)
    done.add(f"{UUID_A}:1")
    done.add(f"{UUID_A}:tag:7")
    assert done.text == f"{UUID_A}:1:tag:7"
    assert done.with_(f"{UUID_A}:2") == f"{UUID_A}:1-2:tag:7"
    assert done.with_("") == done.text == f"{UUID_A}:1:tag:7"

    done = Done.parse("0-1-5", {}, mariadb=True)
    done.add("0-2-6")
    done.add("3-1-1")
    assert done.text == "0-2-6,3-1-1"


def test_what_a_file_says_counts_where_nothing_is_known():
    """A place knows better than the head of its file."""
    done = Done.parse("", {}, mariadb=False)
    done.start(GtidSet.parse(f"{UUID_A}:1-5"))
    done.start(GtidSet.parse(f"{UUID_A}:1-9"))
    assert done.text == f"{UUID_A}:1-5"

    done = Done.parse("0-1-5", {}, mariadb=True)
    done.start(MariadbPosition.parse("0-1-9"))
    assert done.text == "0-1-5"


def test_prepared_transactions():
    """They stand until they end; what a spot holds is never changed under it."""
    done = Done.parse("", {"x": ("b.1", 9)}, mariadb=False)
    before = done.prepared
    done.prepare("y", "b.2", 7)
    assert done.prepared == {"x": ("b.1", 9), "y": ("b.2", 7)}
    assert done.ended("x") == ("b.1", 9)
    assert done.ended("x") is None
    assert done.prepared == {"y": ("b.2", 7)}
    assert before == {"x": ("b.1", 9)}


# ------------------------------------------------------------ statements

OURS = Name("shop", "t")
AWAY = "without a word of them in the binlog"


def meaning(statement, schema="shop", known=None):
    said = statements.statement(statement.encode(), 0)
    return effect(said, statement.encode(), schema, known or versions())


@pytest.mark.parametrize(
    ("statement", "kind", "ends"),
    [
        ("BEGIN", Effect.BEGIN, False),
        ("XA START X'61',X'',1", Effect.KEEP, False),
        ("COMMIT", Effect.COMMIT, True),
        ("ROLLBACK", Effect.ROLLBACK, True),
        ("ROLLBACK TO `a`", Effect.ROLLBACK, False),
    ],
)
def test_borders_of_transactions(statement, kind, ends):
    """What begins and ends them."""
    assert meaning(statement) == Meaning(kind, ends=ends)


@pytest.mark.parametrize(
    "statement",
    [
        "SAVEPOINT a",
        "RELEASE SAVEPOINT a",
        "XA END X'61',X'',1",
        "XA COMMIT X'61',X'',1",
        "CREATE TEMPORARY TABLE t (id INT)",
        "DROP TEMPORARY TABLE t",
        "DROP TABLE other",
        "DROP TABLE elsewhere.t",
        "TRUNCATE other",
        "ALTER TABLE other ADD x INT",
        "RENAME TABLE other TO another",
        "DROP DATABASE other",
        "CREATE USER someone",
        "GRANT SELECT ON shop.other TO someone",
        "INSERT INTO other VALUES (1)",
        "CREATE TABLE other (id INT)",
        "FLUSH PRIVILEGES",
    ],
)
def test_statements_of_no_concern(statement):
    """Nothing of the sync's tables is in them."""
    assert meaning(statement) == Meaning()


@pytest.mark.parametrize(
    ("statement", "lost"),
    [
        ("DROP TABLE t", "table t was dropped"),
        ("DROP TABLE IF EXISTS `shop`.`t`", "table t was dropped"),
        ("TRUNCATE TABLE t", "emptied"),
        ("DROP DATABASE shop", "database shop was dropped"),
        ("RENAME TABLE t TO u", "table t was renamed"),
        ("ALTER TABLE t RENAME TO u", "table t was renamed"),
        ("ALTER TABLE t TRUNCATE PARTITION p", AWAY),
        ("ALTER TABLE t DROP PARTITION p", AWAY),
        ("INSERT INTO t VALUES (1)", "as a statement (INSERT INTO T VALUES)"),
        ("UPDATE t SET v = 1", "as a statement"),
        ("DELETE FROM shop.t", "as a statement"),
        ("LOAD DATA INFILE 'a' INTO TABLE t", "as a statement"),
        ("CALL something()", "as a statement"),
        ("# Dummy event replacing event type 160 that slave cannot handle.", "a comment in the place of an event"),
        ("DROP TABLE t WHATEVER ELSE", "not understood"),
    ],
)
def test_statements_that_lose_the_place(statement, lost):
    """Rows come or go that no event tells of; the message holds no value."""
    assert lost in meaning(statement).lost


@pytest.mark.parametrize(
    ("statement", "noted"),
    [
        ("ALTER TABLE t ADD x INT", "table t was altered"),
        ("CREATE TABLE IF NOT EXISTS t (id INT)", ""),
        ("RENAME TABLE t TO old, new TO t", "another table has taken the name of t"),
        ("RENAME TABLE new TO t", "another table has taken the name of t"),
        ("CREATE INDEX i ON t (v)", ""),
    ],
)
def test_statements_that_change_a_definition(statement, noted):
    """The table is looked up again; the operator hears of it where rows may be others."""
    found = meaning(statement)
    assert found.lost == ""
    assert OURS in found.changed
    assert noted in found.note
    assert bool(noted) == bool(found.note)


def test_tables_of_another_database():
    """A name without a database is of the one the statement ran in; servers may fold letter cases."""
    assert meaning("DROP TABLE t", schema="elsewhere") == Meaning()
    assert meaning("DROP TABLE shop.T") == Meaning()
    assert "dropped" in meaning("DROP TABLE SHOP.T", known=versions(folds=True)).lost
    assert "dropped" in meaning("DROP DATABASE SHOP", known=versions(folds=True)).lost


# ------------------------------------------------------------ runs


def version(table=TABLE, deletes=Deletes.ROW, **rest):
    """The only version there is of a table."""
    known = versions(table, deletes=deletes, **rest)
    found = known.find(table_map(), 0, mariadb=False)
    assert isinstance(found, Unknown)
    found.layout = layout(table=table)
    return known.learn(found)


def run(of, operation, *pairs, first=10):
    made = Run(of)
    befores = [before for before, _ in pairs if before is not None]
    afters = [after for _, after in pairs if after is not None]
    made.add(operation, befores, afters, first)
    return made


def written(made, after=0, **rest):
    """Events with their numbers, the marks among them, and how many were kept back."""
    [done] = Writer(True, after, **rest).write(made)
    found = [json.loads(bytes(one)) for one in done.texts]
    assert [one.pop("index") for one in found] == list(done.indexes)
    return list(zip(done.indexes, found, strict=True)), done.left_out


A, B, MOVED = (1, b"a"), (1, b"b"), (2, b"a")
ROW_A, ROW_B, ROW_MOVED = {"id": 1, "v": "a"}, {"id": 1, "v": "b"}, {"id": 2, "v": "a"}


@pytest.mark.parametrize(
    ("deletes", "expected", "kept"),
    [
        (Deletes.ROW, [(10, ROW_A)], 0),
        (Deletes.MARK, [(10, ROW_A | {"_deleted": True})], 0),
        (Deletes.SKIP, [], 1),
    ],
)
def test_deletes(deletes, expected, kept):
    """The row as it was, with a mark, or nothing."""
    assert written(run(version(deletes=deletes), DELETE, (A, None))) == (expected, kept)


def test_deletes_of_minimal_images():
    """Only the key is known: it can be marked, and not be sent as a row."""
    part = (1, ABSENT)
    assert written(run(version(), DELETE, (part, None))) == ([], 1)
    marked = written(run(version(deletes=Deletes.MARK), DELETE, (part, None), (A, None), (part, None)))
    key = {"id": 1, "_deleted": True}
    assert marked == ([(10, key), (11, ROW_A | {"_deleted": True}), (12, key)], 0)


def test_marks_among_rows():
    """A column of its own says of each event whether it tells of a deleted row."""
    made = run(version(deletes=Deletes.MARK), DELETE, (A, None))
    made.add(INSERT, [], [B], 20)
    assert written(made) == ([(10, ROW_A | {"_deleted": True}), (20, ROW_B | {"_deleted": False})], 0)


def test_updates_have_two_numbers():
    """The row as it is carries the second one; the first is sent where the key moved."""
    assert written(run(version(), UPDATE, (A, B))) == ([(11, ROW_B)], 0)
    moved = run(version(), UPDATE, (A, MOVED), (A, B))
    assert written(moved) == ([(10, ROW_A), (11, ROW_MOVED), (13, ROW_B)], 0)
    assert written(run(version(deletes=Deletes.SKIP), UPDATE, (A, MOVED))) == ([(11, ROW_MOVED)], 1)


@pytest.mark.parametrize(("after", "expected"), [(9, [10, 11, 13]), (10, [11, 13]), (11, [13]), (12, [13]), (13, [])])
def test_going_on_in_the_middle(after, expected):
    """Between the two numbers of an update, and between updates."""
    made = run(version(), UPDATE, (A, MOVED), (A, B))
    assert [number for number, _ in written(made, after)[0]] == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((1, b"in"), (1, b"in"), [11]),
        ((1, b"in"), (1, b"out"), [10]),
        ((1, b"out"), (1, b"in"), [11]),
        ((1, b"out"), (1, b"out"), []),
        ((1, b"in"), (2, b"in"), [10, 11]),
        ((1, ABSENT), (1, b"out"), []),
    ],
)
def test_rows_that_enter_and_leave(before, after, expected):
    """A row that leaves the condition is told as gone; one whose image is in part may have been in it."""
    found, kept = written(run(version(where="v = 'in'"), UPDATE, (before, after)))
    assert [number for number, _ in found] == expected
    assert (kept > 0) == (not expected)


def test_inserts_outside_of_the_condition():
    """They are counted."""
    made = run(version(where="v = 'in'"), INSERT, (None, (1, b"out")), (None, (2, b"in")))
    assert written(made) == ([(11, {"id": 2, "v": "in"})], 1)


def test_no_key():
    """Without a key nobody can tell whether two rows are one: both images are judged by all they hold."""
    bare = version(Table("t", COLUMNS))
    assert [number for number, _ in written(run(bare, UPDATE, (A, B)))[0]] == [11]


def test_a_version_that_cannot_be_written():
    """Its rows are counted and left out."""
    known = version()
    known.encoder = None
    [done] = Writer(True).write(run(known, INSERT, (None, A), (None, B)))
    assert (done.left_out, list(done.texts)) == (2, [])


def test_nothing_to_write():
    """All of it was delivered."""
    assert written(run(version(), INSERT, (None, A)), 10) == ([], 0)
    assert written(run(version(), UPDATE, (A, MOVED)), 11) == ([], 0)


# ------------------------------------------------------------ packets


def packet(payload, number=0):
    """One event behind its packet headers, in as many packets as it takes."""
    whole = b"\0" + payload
    out = b""
    for start in range(0, len(whole) + 1, 0xFFFFFF):
        piece = whole[start : start + 0xFFFFFF]
        out += len(piece).to_bytes(3, "little") + bytes([number & 255]) + piece
        number += 1
    return out


def split_all(data, cuts):
    """All events, as the bytes arrive piece by piece; the reader asks for no less than it needs."""
    found, held, need, at = [], b"", 5, 0
    for cut in [*sorted(cuts), len(data)]:
        held, at = held + data[at:cut], cut
        while len(held) >= need:
            parts = dump.split(held)
            found += parts.events
            held, need = held[parts.taken :], parts.need
            if parts.stop:
                return found, parts.stop
            assert parts.need > 0
    assert not held or len(held) < need
    return found, b""


@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_any_split_gives_the_same_events(payloads, data):
    """Wherever the network cuts, the events are those that were sent; the end ends them."""
    sent = b"".join(packet(one, number) for number, one in enumerate(payloads))
    stop = data.draw(st.sampled_from([b"", b"\xfe\0\0\2\0", b"\xff\xd4\4#HY000gone"]))
    if stop:
        sent += len(stop).to_bytes(3, "little") + b"\0" + stop
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=6))

    assert split_all(sent, cuts) == (payloads, stop)


@pytest.mark.parametrize("size", [0xFFFFFD, 0xFFFFFE, 0xFFFFFF, 0x1FFFFFD, 0x1FFFFFE, 0x2000000])
def test_events_beyond_one_packet(size):
    """A packet of 16 MB goes on in the next one, which may be empty."""
    big = bytes(range(256)) * (size >> 8) + bytes(size & 255)
    data = packet(b"first") + packet(big, 1) + packet(b"last", 9)

    assert split_all(data, []) == ([b"first", big, b"last"], b"")
    assert split_all(data, [10, 17, 0xFFFFFF, 0x1000010, size + 9])[0] == [b"first", big, b"last"]


@pytest.mark.fault("S23")
def test_an_event_larger_than_any():
    """A stream that never ends its event is given up before it fills the memory."""
    head = b"\xff\xff\xff\0"
    one = head + bytes(0xFFFFFF)
    with pytest.raises(TryAgainError, match="larger than any server writes"):
        dump.split(one * 66)


@given(st.binary(max_size=200))
@pytest.mark.fault("S23")
def test_garbage_packets(data):
    """Whatever the bytes: events, and where to go on, and never an event that is not there."""
    parts = dump.split(data)
    assert 0 <= parts.taken <= len(data)
    assert sum(len(one) + 5 for one in parts.events) <= len(data)
    assert parts.need >= 5


def test_an_empty_packet_ends():
    """No server sends one; it is not taken for an event."""
    assert dump.split(b"\0\0\0\0\0") == dump.Parts([], 0, 5, b"\xfe")


# ------------------------------------------------------------ ends of a dump


def failure(text, code=1236, state=b"#HY000"):
    return b"\xff" + struct.pack("<H", code) + state + text.encode()


@pytest.mark.fault("F01", "F02", "F18")
@pytest.mark.parametrize("state", [b"#HY000", b""])
@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("Could not find first log file name in binary log index file", LostPlaceError, "purged"),
        (
            (
                "The slave is connecting using CHANGE MASTER TO MASTER_AUTO_POSITION = 1, but the master has purged "
                "binary logs containing GTIDs that the slave requires."
            ),
            LostPlaceError,
            "purged",
        ),
        (
            (
                "Cannot replicate because the source purged required binary logs. Replicate the missing transactions "
                "from elsewhere"
            ),
            LostPlaceError,
            "purged",
        ),
        (
            (
                "Could not find GTID state requested by slave in any binlog files. Probably the slave state is too old "
                "and required binlog files have been purged."
            ),
            LostPlaceError,
            "purged",
        ),
        (
            "Client requested source to start replication from position > file size",
            LostPlaceError,
            "lost its tail",
        ),
        (
            (
                "Client requested master to start replication from impossible position; the first event 'b.000001' at "
                "9999, the last event read from './b.000001' at 4, the last byte read from './b.000001' at 4."
            ),
            LostPlaceError,
            "lost its tail",
        ),
        (
            "binlog truncated in the middle of event; consider out of disk space on master; the first event",
            LostPlaceError,
            "lost its tail",
        ),
        (
            (
                "Slave has more GTIDs than the master has, using the master's SERVER_UUID. This may indicate that the "
                "end of the binary log was truncated"
            ),
            LostPlaceError,
            "lost its tail",
        ),
        (
            "An attempt was made to binlog GTID 0-1-7 which would create an out-of-order sequence number",
            TryAgainError,
            "error 1236",
        ),
        ("A slave with the same server_uuid/server_id as this slave has connected to the master", TryAgainError, "ano"),
        ("A replica with the same server_uuid/server_id as this replica has connected", TryAgainError, "another"),
        ("log event entry exceeded max_allowed_packet; Increase max_allowed_packet", TryAgainError, "error 1236"),
        ("event read from binlog did not pass crc check; the first event", TryAgainError, "error 1236"),
        ("bogus data in log event; the first event", TryAgainError, "error 1236"),
        ("memory allocation failed reading log event", TryAgainError, "error 1236"),
        ("whatever a later server may say", TryAgainError, "whatever a later server may say"),
        ("", TryAgainError, "error 1236"),
    ],
)
def test_error_1236_by_its_text(text, kind, said, state):
    """Five things at least; a text that nobody knows is tried again."""
    error = dump.ended(failure(text, state=state), "here")
    assert isinstance(error, kind)
    assert said in error.what
    assert error.where == "here"


def test_what_to_do_about_error_1236():
    """Where the server's own settings or disk are the reason, that is said."""
    for text, fix in (
        ("log event entry exceeded max_allowed_packet", "SET GLOBAL"),
        ("bogus data in log event", "disk"),
    ):
        assert fix in dump.ended(failure(text), "here").fix
    assert not dump.ended(failure("memory allocation failed"), "here").fix


@pytest.mark.fault("F18")
@pytest.mark.parametrize(
    ("packet_", "kind", "said"),
    [
        (b"\xfe\0\0\2\0", TryAgainError, "ended sending"),
        (b"\xfe", TryAgainError, "ended sending"),
        (b"\x07garbage", TryAgainError, "ended sending"),
        (failure("Access denied; you need REPLICATION SLAVE", 1227), HaltSyncError, "lacks a privilege"),
        (failure("Access denied for user", 1045), UnauthorisedError, "refused"),
        (failure("Server shutdown in progress", 1053), TryAgainError, "1053"),
        (failure("A slave with the same server_uuid/server_id as this slave has connected", 4052), TryAgainError, ""),
        (failure("purged", 9999), TryAgainError, "9999"),
        (b"\xff", TryAgainError, "error 0"),
    ],
)
def test_other_ends(packet_, kind, said):
    """An end in order, other errors, and cut ones; only 1236 loses a place."""
    error = dump.ended(packet_, "here")
    assert isinstance(error, kind)
    assert said in error.what


@given(st.binary(max_size=60))
def test_any_end_has_a_meaning(packet_):
    """Whatever ends it."""
    assert dump.ended(packet_, "here").what
