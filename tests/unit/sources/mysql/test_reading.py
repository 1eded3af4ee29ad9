"""The reader of a log, fed with events as servers write them: what it gives, and where it stands then."""

import struct
import zlib

import pytest
import zstandard
from mysql_scripted import (
    BEGUN,
    COLUMNS,
    UUID_A,
    Log,
    artificial,
    drained,
    event,
    image,
    layout,
    numbers,
    reader,
    sent,
    told,
    versions,
)

from fuagent.encode.changes import Reread
from fuagent.errors import DecodeError, HaltSyncError, LostPlaceError
from fuagent.model import Deletes, Fact, Field, Table
from fuagent.sources.mysql import places
from fuagent.sources.mysql.places import FILE, Spot
from fuagent.sources.mysql.reading import Prepared
from fuagent.sources.mysql.versions import Unknown
from fuagent.wire.mysql import events

XID = "X'61',X'62',1"


def xa_prepare(*, one_phase=False):
    return bytes([one_phase]) + struct.pack("<III", 1, 1, 1) + b"ab"


def payload(*inner, kind=0):
    """A TRANSACTION_PAYLOAD's body; inside it events have no checksum."""
    bare = b"".join(inner)
    packed = zstandard.ZstdCompressor().compress(bare) if kind == 0 else bare
    fields = b"\x02\x03\xfc" + bytes([kind, 0]) + b"\x03\x03\xfc" + struct.pack("<H", len(bare))
    return fields + b"\x01\x03\xfc" + struct.pack("<H", len(packed)) + b"\0" + packed


def unsummed(events_):
    """Events as they stand in a payload."""
    bare = []
    for one in events_:
        head = list(events.HEADER.unpack_from(one))
        head[3] -= 4
        head[4] = 0
        bare.append(events.HEADER.pack(*head) + one[19:-4])
    return bare


# ------------------------------------------------------------ places and numbers


def test_numbers_are_places():
    """The number of an image is where its event stands, and one more for each behind it there."""
    log = Log(gtids="")
    first = log.transaction(1, (1, "a"), (2, None))
    second = log.transaction(2, (3, "c"))
    reading = reader(log)
    found = drained(reading, sent(log))

    assert told(found) == [
        {"id": 1, "v": "a", "index": FILE + first},
        {"id": 2, "v": None, "index": FILE + first + 1},
        {"id": 3, "v": "c", "index": FILE + second},
    ]
    assert reading.spot == Spot(log.file, log.end, created=BEGUN, gtid=f"{UUID_A}:1-2")
    assert [one.boundary for one in found] == [True]
    assert found[0].end.previous == reading.previous == FILE + second
    assert reading.idle


def test_signs_of_life_move_no_place():
    """A heartbeat tells of the log's position, which may lie beyond what has been sent."""
    log = Log()
    log.transaction(1, (1, "a"))
    reading = reader(log)
    drained(reading, sent(log))
    before = reading.spot
    for kind, flags in ((events.HEARTBEAT, 0), (events.HEARTBEAT_V2, 0), (events.HEARTBEAT, events.ARTIFICIAL_F)):
        drained(reading, [event(kind, log.file.encode(), end=log.end + 5000, flags=flags)])
    at = log.transaction(2, (2, "b"))

    assert reading.spot == before
    assert numbers(drained(reading, log.events[-5:])) == [FILE + at]


def test_a_file_beyond_4_gib():
    """Offsets in events wrap; places do not."""
    log = Log()
    log.pass_by(1 << 30)
    ats = []
    for number in range(1, 7):
        ats.append(log.transaction(number, (number, "a")))
        log.pass_by(1 << 30)
    reading = reader(log)
    found = drained(reading, sent(log))

    assert numbers(found) == [FILE + at for at in ats]
    assert ats[2] < FILE < ats[3] < reading.spot.offset
    again = reader(log, spot=reading.spot)
    assert drained(again, sent(log)) == []


def test_a_place_beyond_4_gib_is_read_from_the_start():
    """What lies before the place is passed over; what begins there counts from its first event on, its GTID."""
    log = Log()
    log.transaction(1, (1, "a"))
    middle = log.end
    second = log.transaction(2, (2, "b"))
    reading = reader(log, spot=Spot(log.file, middle, gtid=f"{UUID_A}:1"))
    found = drained(reading, sent(log))

    assert [one["id"] for one in told(found)] == [2]
    assert numbers(found) == [FILE + second]
    assert reading.spot.gtid == f"{UUID_A}:1-2"


def test_numbers_are_carried_where_the_log_gives_less():
    """A compressed transaction may hold more images than it has bytes: each is one more than the one before."""
    log = Log()
    log.gtid(1)
    inner = Log()
    inner.query("BEGIN")
    inner.map()
    inner.insert(*[(1, "x")] * 400)
    inner.xid()
    at = log.add(events.TRANSACTION_PAYLOAD, payload(*unsummed(inner.events[1:])))
    behind = log.transaction(2, (1000, "y"))
    reading = reader(log)
    found = drained(reading, sent(log))

    expected = [FILE + at + place for place in range(400)]
    assert behind < at + 400
    assert numbers(found) == [*expected, expected[-1] + 1]
    assert reading.carried
    assert numbers(drained(reader(log, previous=FILE + at + 7), sent(log)))[0] == FILE + at + 8


def test_a_plain_payload():
    """A transaction that was not worth compressing."""
    log = Log()
    log.gtid(1)
    inner = Log()
    inner.query("BEGIN")
    inner.map()
    inner.insert((1, "a"))
    inner.xid()
    at = log.add(events.TRANSACTION_PAYLOAD, payload(*unsummed(inner.events[1:]), kind=255))

    assert told(drained(reader(log), sent(log))) == [{"id": 1, "v": "a", "index": FILE + at}]


@pytest.mark.fault("F12")
def test_mariadbs_compressed_events():
    """Rows and statements, zlib behind a byte and a length."""
    log = Log(version="10.11.6-MariaDB-log")
    log.add(events.MARIADB_GTID_LIST, struct.pack("<IIIQ", 1, 3, 1, 9))
    log.mariadb_gtid(1)
    log.map()
    head = (7).to_bytes(6, "little") + b"\x01\0\x02\x03"
    plain = image(1, "a")
    at = log.add(events.WRITE_ROWS_COMPRESSED_V1, head + b"\x81" + bytes([len(plain)]) + zlib.compress(plain))
    log.xid()
    reading = reader(log)

    assert told(drained(reading, sent(log))) == [{"id": 1, "v": "a", "index": FILE + at}]
    assert reading.spot.gtid == "0-1-1,3-1-9"
    assert reading.carried


def test_numbers_end_at_2_53():
    """There is no number beyond; the sync halts with that sentence."""
    log = Log("binlog.2097153")
    log.transaction(1, (1, "a"))
    with pytest.raises(HaltSyncError, match="come to their end"):
        drained(reader(log), sent(log))


# ------------------------------------------------------------ ends


@pytest.mark.parametrize("bound", ["rotated", "artificial"])
def test_until_the_head_of_an_empty_file(bound):
    """The log ends at the start of a file that holds nothing: reading ends there too."""
    log = Log()
    log.transaction(1, (1, "a"))
    if bound == "rotated":
        log.rotate("binlog.000002")
    empty = Log("binlog.000002")
    reading = reader(log, until=(2, empty.end))
    found = drained(reading, [*sent(log), artificial("binlog.000002"), *empty.events])

    assert len(told(found)) == 1
    assert reading.finished
    assert reading.spot == Spot("binlog.000002", empty.end, created=BEGUN, gtid=f"{UUID_A}:1")


def test_until_the_place_itself():
    """There is nothing to read."""
    log = Log()
    assert reader(log, until=(1, 4)).finished
    assert not reader(log, until=(1, 5)).finished


def test_until_ends_in_the_middle_of_what_arrived():
    """Nothing behind it is given."""
    log = Log()
    log.transaction(1, (1, "a"))
    until = (1, log.end)
    log.transaction(2, (2, "b"))
    reading = reader(log, until=until)

    assert [one["id"] for one in told(drained(reading, sent(log)))] == [1]
    assert reading.finished
    assert reading.spot.order == until


def test_the_place_moves_where_others_write():
    """A megabyte of the log without rows for this sync, or a new file, is worth a word."""
    log = Log()
    reading = reader(log)
    log.gtid(1)
    log.query("BEGIN")
    log.map("other")
    log.insert((1, "a"))
    log.xid()
    assert drained(reading, sent(log)) == []
    for _ in range(6000):
        log.add(events.ROWS_QUERY, bytes(200))
    [word] = drained(reading, log.events[6:])
    assert (word.rows, word.boundary, word.at_end) == ((), True, False)
    assert places.read(word.end.position).offset == log.end

    log.rotate("binlog.000002")
    [word] = drained(reading, log.events[-1:])
    assert places.read(word.end.position).order == (2, 4)


@pytest.mark.fault("F05")
def test_rows_of_a_transaction_under_way():
    """They are read again from where it began."""
    log = Log()
    begins = log.gtid(1)
    log.query("BEGIN")
    log.map()
    at = log.insert((1, "a"))
    reading = reader(log)
    [found] = drained(reading, sent(log))

    assert not found.boundary
    assert places.read(found.start.position).offset == begins
    assert found.end.resume_after == FILE + at
    assert reading.spot.order == (1, 4)  # the last boundary that was met


# ------------------------------------------------------------ what makes no sense


@pytest.mark.fault("F15")
@pytest.mark.parametrize("kind", [43, 99, 173, 255])
def test_unknown_types(kind):
    """They end the reading, except where their flag says that they may be passed over."""
    log = Log()
    log.add(kind, b"whatever", flags=events.IGNORABLE_F)
    log.transaction(1, (1, "a"))
    reading = reader(log)
    assert len(told(drained(reading, sent(log)))) == 1
    log.add(kind, b"whatever")
    with pytest.raises(DecodeError, match=f"of type {kind}, which"):
        drained(reading, log.events[-1:])


@pytest.mark.parametrize("kind", sorted(events.IGNORABLE))
def test_remarks_are_passed_over(kind):
    """Known types that tell nothing of rows."""
    log = Log()
    log.add(kind, b"whatever")
    log.transaction(1, (1, "a"))

    assert len(told(drained(reader(log), sent(log)))) == 1


@pytest.mark.fault("F15")
@pytest.mark.parametrize("kind", [events.START_ENCRYPTION, events.PARTIAL_ROW_DATA, events.LOAD, events.SLAVE])
def test_known_types_that_cannot_be_read(kind):
    """Encryption and rows in pieces are never passed over, whatever their flag says."""
    log = Log()
    log.add(kind, b"\x01" + bytes(16), flags=events.IGNORABLE_F)
    with pytest.raises(DecodeError, match=f"type {kind}"):
        drained(reader(log), sent(log))


@pytest.mark.parametrize("made_up", [False, True])
def test_an_incident_loses_the_place(made_up):
    """The server says that changes are missing; behind it the sync can go on."""
    log = Log()
    log.transaction(1, (1, "a"))
    body = b"\x01\0\x05burnt"
    if made_up:
        log.events.append(event(events.INCIDENT, body, flags=events.ARTIFICIAL_F))
    else:
        log.add(events.INCIDENT, body)
    end = log.end
    with pytest.raises(LostPlaceError, match=r"lacks changes \(incident: burnt\)") as raised:
        drained(reader(log), sent(log), found=(found := []))
    assert [one["id"] for one in told(found)] == [1]
    assert places.read(raised.value.place.position) == Spot(log.file, end, created=BEGUN, gtid=f"{UUID_A}:1")


@pytest.mark.parametrize(
    ("arrived", "message"),
    [
        ([b"short"], "shorter than its header"),
        ([event(events.QUERY, b"x", end=90)], "without a format description"),
        ([event(events.TABLE_MAP, b"x" * 20, end=90)], "ends within its names"),
        ([event(events.TABLE_MAP, bytes(24), end=90)], "without a format description"),
    ],
)
def test_bytes_that_are_no_log(arrived, message):
    """One kind of error for whatever arrives."""
    with pytest.raises(DecodeError, match=message):
        drained(reader(Log()), [artificial("binlog.000001"), *arrived])


def test_an_event_before_the_last_one():
    """Positions only rise."""
    log = Log()
    log.transaction(1, (1, "a"))
    log.end = 4
    log.xid()
    with pytest.raises(DecodeError, match="stands before the one"):
        drained(reader(log), sent(log))


def test_a_checksum_that_does_not_fit():
    """A flipped bit is noticed."""
    log = Log()
    log.transaction(1, (1, "a"))
    broken = sent(log)
    broken[-2] = broken[-2][:-6] + bytes([broken[-2][-6] ^ 1]) + broken[-2][-5:]
    with pytest.raises(DecodeError, match="checksum"):
        drained(reader(log), broken)


def test_rows_of_a_table_that_no_map_describes():
    """Only an empty event that ends a statement may stand alone."""
    log = Log()
    log.gtid(1)
    log.query("BEGIN")
    log.rows(events.WRITE_ROWS_V2, number=0xFFFFFF, width=0)
    log.insert((1, "a"))
    with pytest.raises(DecodeError, match="no table map before them describes"):
        drained(reader(log), sent(log))


@pytest.mark.fault("F04")
def test_another_file_of_the_same_name():
    """A file begun at another time is another file: the logs were reset."""
    log = Log(created=BEGUN + 9)
    with pytest.raises(LostPlaceError, match="the logs were reset"):
        drained(reader(log, spot=Spot(log.file, 4, created=BEGUN)), sent(log))


# ------------------------------------------------------------ transactions


def test_rows_that_were_rolled_back():
    """A transaction that ends so after rows of the sync may have left some: the place is lost. They are not given."""
    log = Log()
    log.transaction(1, (1, "a"))
    log.gtid(2)
    log.query("BEGIN")
    log.map()
    log.insert((2, "b"))
    log.query("ROLLBACK")
    found = []
    with pytest.raises(LostPlaceError, match="rolled back") as raised:
        drained(reader(log), sent(log), found=found)
    assert [one["id"] for one in told(found)] == [1]
    assert places.read(raised.value.place.position).gtid == f"{UUID_A}:1-2"

    alone = sent(log)[:2] + sent(log)[-5:]
    with pytest.raises(LostPlaceError, match="rolled back"):
        drained(reader(log), alone, found=(nothing := []))
    assert nothing == []


@pytest.mark.parametrize("table", ["t", "other"])
@pytest.mark.parametrize("statement", ["ROLLBACK", "ROLLBACK TO SAVEPOINT a"])
def test_rolled_back_without_rows_of_the_sync(table, statement):
    """What others did is none of ours; a savepoint before any row is nothing."""
    log = Log()
    log.gtid(1)
    log.query("BEGIN")
    log.query("SAVEPOINT a")
    if table == "other":
        log.map("other")
        log.insert((1, "a"))
    log.query(statement)
    if "TO" in statement:
        log.map()
        log.insert((2, "b"))
        log.xid()
    reading = reader(log)

    assert len(told(drained(reading, sent(log)))) == (1 if "TO" in statement else 0)
    assert reading.spot.order == (1, log.end)


@pytest.mark.fault("F22")
def test_committed_by_a_statement():
    """Tables without transactions end with COMMIT as text."""
    log = Log()
    log.query("BEGIN")
    log.map()
    log.insert((1, "a"))
    log.query("COMMIT")
    reading = reader(log)

    assert len(told(drained(reading, sent(log)))) == 1
    assert reading.idle


def test_rows_without_any_beginning():
    """Old servers write rows outside of any transaction."""
    log = Log()
    log.map()
    log.insert((1, "a"))
    log.xid()

    assert len(told(drained(reader(log), sent(log)))) == 1


def test_a_statement_alone_is_a_transaction():
    """DDL commits by itself, and its GTID counts."""
    log = Log()
    log.gtid(1)
    log.query("CREATE TABLE other (id INT)")
    reading = reader(log)
    drained(reading, sent(log))

    assert reading.idle
    assert reading.spot.gtid == f"{UUID_A}:1"


def test_create_table_as_a_transaction():
    """MySQL 8 writes CREATE … SELECT as DDL that opens a transaction; the rows that follow belong to it."""
    log = Log()
    log.gtid(1)
    log.query("CREATE TABLE `other` (id INT) START TRANSACTION")
    log.map("other")
    log.insert((1, "a"))
    reading = reader(log)
    drained(reading, sent(log))
    assert not reading.idle
    log.xid()
    drained(reading, log.events[-1:])
    assert reading.idle


def test_altered_tables_are_looked_up_again():
    """A note for the operator, and a new version."""
    log = Log()
    log.transaction(1, (1, "a"))
    log.gtid(2)
    log.query("ALTER TABLE t ADD COLUMN w VARCHAR(50)")
    log.gtid(3)
    log.query("BEGIN")
    log.map(names=(b"id", b"v", b"w"))
    log.insert((2, "b", "c"), width=3)
    log.xid()
    reading = reader(log)
    found = drained(reading, sent(log))

    assert [sorted(one) for one in told(found)] == [["id", "index", "v"], ["id", "index", "v", "w"]]
    assert found[0].version < found[1].version
    assert len(reading.left) == 1
    assert "table t was altered" in reading.left[0]


def test_a_dropped_table():
    """Lost, and behind it the log goes on."""
    log = Log()
    log.transaction(1, (1, "a"))
    log.gtid(2)
    log.query("DROP TABLE `t`")
    reading = reader(log)
    found = []
    with pytest.raises(LostPlaceError, match="table t was dropped") as raised:
        drained(reading, sent(log), found=found)

    assert len(told(found)) == 1  # what came before is delivered
    assert places.read(raised.value.place.position).order == (1, log.end)


def test_facts_of_the_transaction():
    """Time and name of each transaction: they come one by one."""
    fields = (Field("id", "id"), Field("at", fact=Fact.COMMIT_TIME), Field("of", fact=Fact.TRANSACTION))
    log = Log()
    log.gtid(1, committed=1_700_000_000_500_000)
    log.query("BEGIN")
    log.map()
    log.insert((1, "a"))
    log.xid()
    log.transaction(2, (2, "b"))
    log.query("BEGIN")
    log.map()
    log.insert((3, "c"))
    log.xid()
    found = drained(reader(log, versions(fields=fields)), sent(log))

    assert [(one["at"], one["of"]) for one in told(found)] == [
        ("2023-11-14T22:13:20.500000Z", f"{UUID_A}:1"),
        ("2023-11-14T22:13:20Z", f"{UUID_A}:2"),
        (None, None),
    ]


def test_chunks():
    """As many changes at a time as were asked for, also inside of a transaction."""
    log = Log()
    log.gtid(1)
    log.query("BEGIN")
    log.map()
    for number in range(5):
        log.insert((number, "a"))
    log.xid()
    found = drained(reader(log, chunk=2), sent(log))

    assert [len(one.rows) for one in found] == [2, 2, 1]
    assert [one.boundary for one in found] == [False, False, True]


# ------------------------------------------------------------ prepared transactions


def xa(log, *, one_phase=False):
    """A transaction that is prepared; gives the offsets it begins at and of its rows."""
    begins = log.gtid(1)
    log.query(f"XA START {XID}")
    log.map()
    at = log.insert((1, "a"))
    log.query(f"XA END {XID}")
    log.add(events.XA_PREPARE, xa_prepare(one_phase=one_phase))
    return begins, at


def test_prepared_and_committed():
    """The changes come with the commit, and are numbered by it."""
    log = Log()
    begins, _ = xa(log)
    prepared = log.end
    earlier = sent(log)
    between = log.transaction(2, (2, "b"))
    log.gtid(3)
    commit = log.query(f"XA COMMIT {XID}")
    reading = reader(log)
    found = drained(reading, sent(log), earlier=earlier)

    assert [(one["id"], one["index"]) for one in told(found)] == [(2, FILE + between), (1, FILE + commit)]
    assert reading.spot.prepared == {}
    assert reading.previous == FILE + commit

    halfway = reader(log)
    drained(halfway, earlier)
    assert halfway.spot.prepared == {XID: (log.file, begins)}
    assert halfway.spot.order == (1, prepared)
    # From there the same comes, since the place knows where the changes are.
    again = reader(log, spot=halfway.spot, previous=halfway.previous)
    assert told(drained(again, sent(log), earlier=earlier)) == told(found)


def test_the_question_for_what_was_prepared():
    """It names where to read, and its reader is a part of the transaction under way."""
    log = Log()
    begins, _ = xa(log)
    log.gtid(2)
    log.query(f"XA COMMIT {XID}")
    asked = []
    for given in reader(log).feed(sent(log)):
        if isinstance(given, Prepared):
            asked.append(given)
            drained(given.inner, sent(log)[:-2])

    assert [one.start.order for one in asked] == [(1, begins)]


def test_prepared_and_rolled_back():
    """Nothing was ever given of it, and nothing is lost."""
    log = Log()
    xa(log)
    log.gtid(2)
    log.query(f"XA ROLLBACK {XID}")
    reading = reader(log)

    assert told(drained(reading, sent(log))) == []
    assert reading.spot.prepared == {}


def test_committed_in_one_phase():
    """Prepared and committed at once: read from its own beginning."""
    log = Log()
    _, _ = xa(log, one_phase=True)
    reading = reader(log)
    found = drained(reading, sent(log), earlier=sent(log))

    assert [one["id"] for one in told(found)] == [1]
    assert reading.idle
    assert reading.spot.prepared == {}


def test_committed_but_prepared_before_the_place():
    """Where the changes lie is not known: lost."""
    log = Log()
    log.gtid(2)
    log.query(f"XA COMMIT {XID}")
    with pytest.raises(LostPlaceError, match="before the place read from"):
        drained(reader(log), sent(log))


# ------------------------------------------------------------ images in part

ID, V, BOTH = b"\x01", b"\x02", b"\x03"


def minimal(before, after, masks):
    log = Log()
    log.gtid(1)
    log.query("BEGIN")
    log.map()
    log.rows(events.UPDATE_ROWS_V2, image(*before), image(*after), present=masks)
    log.xid()
    return log


@pytest.mark.fault("F08")
def test_minimal_images():
    """What the image after lacks stands in the one before, or is asked for by its key."""
    log = minimal((1,), ("b",), [ID, V])
    assert [one["v"] for one in told(drained(reader(log), sent(log)))] == ["b"]

    log = minimal((1, "a"), (2,), [BOTH, ID])
    assert [(one["id"], one["v"]) for one in told(drained(reader(log), sent(log)))] == [(1, "a"), (2, "a")]

    log = minimal((1,), (1,), [ID, ID])
    found = told(drained(reader(log), sent(log), rows={(1,): (1, b"now")}))
    assert [one["v"] for one in found] == ["now"]


def test_minimal_images_of_a_row_that_is_gone():
    """Nothing is sent of it; its delete follows."""
    log = minimal((1,), (1,), [ID, ID])
    found = drained(reader(log), sent(log))

    assert told(found) == []
    assert sum(one.left_out for one in found) == 1


def test_minimal_images_without_a_key():
    """There is no way to the rest."""
    log = Log()
    log.gtid(1)
    log.query("BEGIN")
    log.map(key=False)
    log.rows(events.UPDATE_ROWS_V2, image(1), image(1), present=[ID, ID])
    reading = reader(log, versions(Table("t", COLUMNS)))
    with pytest.raises(HaltSyncError, match="no key to be read again by"):
        drained(reading, sent(log), keyed=False)


def test_questions_are_asked_once():
    """All rows of an event in one question."""
    log = Log()
    log.gtid(1)
    log.query("BEGIN")
    log.map()
    log.rows(events.WRITE_ROWS_V2, image(1), image(2), present=[ID])
    log.xid()
    asked = []
    for given in reader(log).feed(sent(log)):
        if isinstance(given, Unknown):
            given.layout = layout()
        if isinstance(given, Reread):
            asked.append(given.keys)
            given.rows = [(1, b"x"), None]

    assert asked == [[(1,), (2,)]]


@pytest.mark.fault("F05")
def test_an_update_cut_between_its_two_numbers():
    """The old key was delivered, the new row was not: it alone comes."""
    log = Log()
    log.gtid(1)
    log.query("BEGIN")
    log.map()
    at = FILE + log.update((1, "a"), (2, "a"))
    log.xid()
    for deletes in (Deletes.ROW, Deletes.MARK):
        known = versions(deletes=deletes)
        assert numbers(drained(reader(log, known), sent(log))) == [at, at + 1]
        assert numbers(drained(reader(log, known, resume_after=at), sent(log))) == [at + 1]
        assert numbers(drained(reader(log, known, resume_after=at + 1), sent(log))) == []


# ------------------------------------------------------------ a number that is sought


@pytest.mark.parametrize("off", [0, 1, 2])
def test_a_number_that_is_met(off):
    """Each image's own number is one; what lies between two events is none."""
    log = Log()
    at = FILE + log.transaction(1, (1, "a"), (2, "b"))
    log.transaction(2, (3, "c"))
    reading = reader(log, until=(1, log.end))
    reading.sought = at + off
    assert drained(reading, sent(log)) == []

    assert (reading.met is None) == (off == 2)
    assert reading.finished
    if reading.met is not None:
        found = drained(reader(log, resume_after=reading.met.resume_after), sent(log))
        assert [one["id"] for one in told(found)] == [1, 2, 3][off + 1 :]


def test_the_number_of_a_boundary():
    """A snapshot's own number is that of the place it shows."""
    log = Log()
    log.transaction(1, (1, "a"))
    spot = Spot(log.file, log.end)
    log.transaction(2, (2, "b"))
    reading = reader(log, until=(1, log.end))
    reading.sought = spot.number
    drained(reading, sent(log))

    assert reading.met is not None
    assert places.read(reading.met.position).order == spot.order
