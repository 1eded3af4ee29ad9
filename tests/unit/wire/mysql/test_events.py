"""Frames, checksums and the bodies of events: values come back, and anything else is an error with its sentence."""

import struct

import pytest
from event_bytes import POST_HEADERS, crc, description, event, format_body, lenenc, signed, varlen
from hypothesis import given
from hypothesis import strategies as st

from fuagent.errors import DecodeError
from fuagent.wire.mysql import events, gtid_events, rows
from fuagent.wire.mysql.cursor import Cursor
from fuagent.wire.mysql.events import Header, XaId

MYSQL = description()
MARIADB = description("10.11.6-MariaDB-log", lengths=bytes(171))
UUID = "55778904-0299-11f1-b1b8-4ef0c4956feb"
RAW_UUID = bytes.fromhex(UUID.replace("-", ""))


def header(kind=events.HEARTBEAT, position=0, server=7):
    return Header(0, kind, server, 0, position, 0)


def refused(read, *arguments):
    """The sentence with which bytes are refused."""
    with pytest.raises(DecodeError) as caught:
        read(*arguments)
    return caught.value.what


@given(st.integers(0, 2**64 - 1))
def test_integers_of_any_length_come_back(number):
    """Both encodings of variable length give the number that was put in, and stop where it ends."""
    for read, data in ((Cursor.lenenc, lenenc(number)), (Cursor.varlen, varlen(number))):
        cursor = Cursor(data + b"\xff", "It")
        assert (read(cursor), cursor.left) == (number, 1)


@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_integers_come_back(number):
    """The sign survives, down to the smallest."""
    assert Cursor(signed(number), "It").signed() == number


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xfb\xff\x07", 65535),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff", 2**64 - 1),
        (b"\x7f\x01\x00\x00\x00\x00\x00\x00", 1),
        (b"\x02", 1),
    ],
)
def test_integers_of_the_serialization_library(data, expected):
    """Examples from its own description."""
    assert Cursor(data, "It").varlen() == expected


def test_a_length_of_three_bytes_comes_back():
    """The encoding between two and eight bytes."""
    assert Cursor(b"\xfd\x01\x02\x03", "It").lenenc() == 0x030201


def test_a_malformed_length_is_refused():
    """0xfb and 0xff begin no length."""
    assert refused(Cursor(b"\xff", "It").lenenc) == "It holds a malformed length."
    assert refused(Cursor(b"\xfb", "It").lenenc) == "It holds a malformed length."


@pytest.mark.parametrize(
    ("version", "algorithm", "checksum", "mariadb"),
    [
        ("5.5.62-log", None, False, False),
        ("5.6.0", None, False, False),
        ("5.6.1", 1, True, False),
        ("8.0.40", 1, True, False),
        ("9.6.0", 0, False, False),
        ("9.6.0", 255, False, False),
        ("5.2.14-MariaDB", None, False, True),
        ("5.3.0-MariaDB", 1, True, True),
        ("10.11.6-MariaDB-log", 1, True, True),
        ("5.5.5-10.0.15-MariaDB", 1, True, True),
    ],
)
def test_a_format_description_tells_server_and_checksums(version, algorithm, checksum, mariadb):
    """Whether checksums follow depends on the server's age first, and then on what it says."""
    data = event(15, format_body(version, algorithm=algorithm), checksum=algorithm is not None)

    found = events.read_format_description(data)

    assert (found.server_version, found.checksum, found.mariadb) == (version, checksum, mariadb)
    assert (found.version, found.created, found.header_length) == (4, 1_600_000_000, 19)
    assert found.post_headers == POST_HEADERS
    assert found.post_header(events.QUERY, 1) == 13
    assert found.post_header(events.XID, 5) == found.post_header(events.GTID_TAGGED, 5) == 5
    assert events.body(data, None) == format_body(version, algorithm=algorithm)


def test_a_server_without_a_name_is_known_by_its_events():
    """A build that does not say MariaDB still lists MariaDB's types."""
    assert description("10.6.1", lengths=bytes(171)).mariadb


def test_the_flag_of_an_open_file_is_no_damage():
    """The server sets the flag after it computed the checksum."""
    data = event(15, format_body(), flags=0)
    opened = data[:17] + b"\x01" + data[18:]

    assert events.read_format_description(opened).checksum
    assert events.body(opened, None) == format_body()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "within its header"),
        (event(15, format_body())[:-1], "says that it has"),
        (event(events.START_V3, bytes(60)), "does not begin with a format description"),
        (event(15, b"", checksum=False), "ends too early"),
        (event(15, format_body(number=3)), "version 3"),
        (event(15, format_body(header=27)), "not supported"),
        (event(15, format_body("none")), "names no version"),
        (event(15, format_body(algorithm=2)), "not known"),
        (event(15, format_body(lengths=b"", algorithm=None), checksum=False), "not known"),
        (event(15, format_body())[:-4] + bytes(4), "checksum"),
    ],
)
def test_what_is_no_format_description_is_refused(data, expected):
    """Each fault has its sentence."""
    assert expected in refused(events.read_format_description, data)


def test_a_description_without_checksums_is_not_held_to_its_own():
    """Servers change the event for a replica and compute nothing anew where checksums are off."""
    data = event(15, format_body(algorithm=0))[:-4] + bytes(4)

    assert not events.read_format_description(data).checksum


@given(st.binary(max_size=60), st.booleans())
def test_a_body_comes_out_as_it_went_in(data, checksum):
    """With checksums and without."""
    kind = events.XID

    assert events.body(event(kind, data, checksum=checksum), description(checksum=checksum)) == data
    assert events.body(event(kind, data), None) == data


def test_before_any_description_a_checksum_is_recognised():
    """The rotation at the start of a stream may come without one, however short it is."""
    for data in (b"", b"123", b"12345678binlog.1"):
        assert events.body(event(events.ROTATE, data, checksum=False), None) == data


@given(st.integers(0, 30), st.integers(1, 255))
def test_a_changed_byte_is_found(place, change):
    """Whichever byte it is, size, body or checksum."""
    data = bytearray(event(events.XID, bytes(8)))
    data[place] ^= change

    if data[4] != events.FORMAT_DESCRIPTION:
        what = refused(events.body, bytes(data), MYSQL)
        assert "checksum" in what or "says that it has" in what


def test_too_short_for_its_checksum():
    """An event without room for one is damaged."""
    assert "checksum" in refused(events.body, event(events.STOP, b"", checksum=False), MYSQL)


def test_a_file_is_walked_with_the_description_that_holds_at_each_place():
    """A relay log has one of its own and one of the server it copies."""
    parts = [
        event(15, format_body("5.5.1", algorithm=None), checksum=False),
        event(events.ROTATE, b"old", checksum=False),
        event(15, format_body()),
        event(events.XID, b"new"),
    ]

    found = list(events.events(events.MAGIC + b"".join(parts)))

    assert [(header.kind, data) for _, header, data in found][1::2] == [(4, b"old"), (16, b"new")]
    assert [offset for offset, _, _ in found] == [4, *(4 + sum(map(len, parts[:n])) for n in (1, 2, 3))]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "no binary log"),
        (b"\xfdbin", "encrypted"),
        (b"\xfebin\x00", "cut off"),
        (b"\xfebin" + bytes(19), "within its header"),
        (b"\xfebin" + event(events.XID, bytes(8)), "does not begin"),
        (b"\xfebin" + event(15, format_body()) + event(events.XID, bytes(8))[:-1], "says that it has"),
    ],
)
def test_what_is_no_log_file_is_refused(data, expected):
    """Each fault has its sentence."""
    assert expected in refused(list, events.events(data))


@given(st.binary(max_size=200))
def test_any_bytes_behind_a_description_end_in_order(data):
    """Garbage is an error and nothing else."""
    start = events.MAGIC + event(15, format_body())
    walk = events.events(start + data)
    assert next(walk)[1].kind == events.FORMAT_DESCRIPTION
    try:
        list(walk)
    except DecodeError:
        assert data


def test_types_are_known_or_may_be_passed_over():
    """What is unknown is only passed over where its flag allows it; what matters never is."""
    assert all(map(events.known, (1, 42, 160, 172)))
    assert not any(map(events.known, (0, 43, 159, 173, 255)))
    assert events.ignorable(events.ROWS_QUERY, 0)
    assert events.ignorable(43, events.IGNORABLE_F)
    assert not events.ignorable(43, 0)
    for kind in (events.PREVIOUS_GTIDS, events.INCIDENT, events.START_ENCRYPTION, events.PARTIAL_ROW_DATA, 17, 20):
        assert not events.ignorable(kind, events.IGNORABLE_F)


def test_a_rotation():
    """Position and file."""
    assert events.read_rotate(struct.pack("<Q", 4) + b"binlog.2", None) == events.Rotate(4, "binlog.2")
    assert "not UTF-8" in refused(events.read_rotate, bytes(8) + b"\xff", MYSQL)
    assert "too early" in refused(events.read_rotate, bytes(7), MYSQL)


def query(text=b"BEGIN", schema=b"shop", status=b"", end=b"\0"):
    return struct.pack("<IIBHH", 3, 9, len(schema), 1062, len(status)) + status + schema + end + text


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (b"", None),
        (b"\x00abcd", None),
        (b"\x00abcd\x01\x04\x00\x10\x00\x00\x00\x00\x00\x06", 0x100004),
        (b"\x01\x04\x00\x00\x00\x00\x00\x00\x00", 4),
        (b"\x06\x03std", None),
    ],
)
def test_a_query_with_its_mode(status, expected):
    """The mode is found wherever it may stand."""
    assert events.read_query(query(status=status), MYSQL) == events.Query(3, "shop", b"BEGIN", 1062, expected)


def test_a_query_of_a_server_without_status_variables():
    """Its fixed part is two bytes shorter."""
    old = description(lengths=bytes([56, 11]))
    data = struct.pack("<IIBH", 3, 9, 1, 0) + b"a\0COMMIT"

    assert events.read_query(data, old) == events.Query(3, "a", b"COMMIT", 0, None)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (query(end=b"x"), "no end of its schema"),
        (query(schema=b"\xff"), "not UTF-8"),
        (query()[:14], "too early"),
        (query()[:12], "too early"),
    ],
)
def test_a_damaged_query_is_refused(data, expected):
    """Each fault has its sentence."""
    assert expected in refused(events.read_query, data, MYSQL)


def test_an_xid():
    """Eight bytes, no more and no less."""
    assert events.read_xid(struct.pack("<Q", 2**63 + 5), MYSQL) == 2**63 + 5
    assert refused(events.read_xid, bytes(9), MYSQL) == "An XID event has 9 bytes where it needs 8."


def test_heartbeats():
    """Of either version, and of MariaDB beyond 4 GiB."""
    expected = events.Heartbeat(2**40, "binlog.1")
    fields = b"\x09\x02ab" + b"\x01\x08binlog.1" + b"\x02\x09" + lenenc(2**40)
    second = header(events.HEARTBEAT_V2)

    assert events.read_heartbeat(header(position=77), b"b.1", MYSQL) == events.Heartbeat(77, "b.1")
    assert events.read_heartbeat(header(), b"b.1", MYSQL) == events.Heartbeat(0, "b.1")
    assert events.read_heartbeat(header(), struct.pack("<Q", 2**40) + b"binlog.1", MARIADB) == expected
    assert events.read_heartbeat(second, fields + b"\0junk", MYSQL) == expected
    assert events.read_heartbeat(second, fields, MYSQL) == expected
    assert "too early" in refused(events.read_heartbeat, second, b"\x01\x08binlog", MYSQL)


def test_an_incident():
    """Number and message, readable whatever is in it."""
    assert events.read_incident(b"\x01\x00\x04lost", MYSQL) == events.Incident(1, "lost")
    assert events.read_incident(b"\x01\x00\x01\xff", MYSQL) == events.Incident(1, "\ufffd")
    assert "too early" in refused(events.read_incident, b"\x01\x00\x05lost", MYSQL)


def test_a_prepared_transaction():
    """Its name reads like the one in the statements around it."""
    data = b"\x00" + struct.pack("<III", 7, 4, 1) + b"xid1b"

    found = events.read_xa_prepare(data, MYSQL)

    assert found == events.XaPrepare(one_phase=False, xid=XaId(7, b"xid1", b"b"))
    assert found.xid.text == "X'78696431',X'62',7"
    assert events.read_xa_prepare(b"\x01" + bytes(12), MYSQL).one_phase
    assert "too early" in refused(events.read_xa_prepare, data[:-1], MYSQL)


def rows_body(version, width=9, bitmaps=2, extra=b"", table=5):
    start = table.to_bytes(6, "little") + b"\x01\x00"
    if version == 2:
        start += struct.pack("<H", 2 + len(extra)) + extra
    return start + lenenc(width) + bytes(range(1, 1 + 2 * bitmaps)) + b"images"


@pytest.mark.parametrize(
    ("kind", "version", "operation"),
    [
        (events.WRITE_ROWS_V1, 1, "insert"),
        (events.UPDATE_ROWS_V1, 1, "update"),
        (events.DELETE_ROWS_V1, 1, "delete"),
        (events.WRITE_ROWS_V2, 2, "insert"),
        (events.UPDATE_ROWS_V2, 2, "update"),
        (events.DELETE_ROWS_V2, 2, "delete"),
        (events.PARTIAL_UPDATE_ROWS, 2, "update"),
        (events.UPDATE_ROWS_COMPRESSED_V1, 1, "update"),
        (events.DELETE_ROWS_COMPRESSED_V2, 2, "delete"),
    ],
)
def test_the_beginning_of_rows(kind, version, operation):
    """Operation, columns and where the images begin, with what partitions add passed over."""
    updates = operation == "update"
    data = rows_body(version, bitmaps=2 if updates else 1, extra=b"\x01\x07\x00")

    found = rows.read_rows_header(kind, data, MYSQL)

    assert (found.table_id, found.version, found.operation, found.width) == (5, version, operation, 9)
    assert (found.present, found.present_after) == (b"\x01\x02", b"\x03\x04" if updates else b"")
    assert data[found.start :] == b"images"
    assert found.partial is (kind == events.PARTIAL_UPDATE_ROWS)
    assert found.statement_ends
    assert rows.table_id(kind, data, MYSQL) == 5
    assert kind in rows.ROWS


def test_a_statement_may_go_on():
    """Without its flag, more rows of the statement follow."""
    data = rows_body(1)[:6] + b"\x00\x00" + rows_body(1)[8:]

    assert not rows.read_rows_header(events.WRITE_ROWS_V1, data, MYSQL).statement_ends


def test_a_table_id_of_four_bytes():
    """Logs of early 5.1 have a shorter fixed part."""
    early = description(lengths=bytes([*POST_HEADERS[:18], 6, 0, 0, 0, 6]))
    data = b"\x05\x00\x00\x00\x01\x00\x01\x01"

    assert rows.read_rows_header(events.WRITE_ROWS_V1, data, early).table_id == 5
    assert rows.table_id(events.TABLE_MAP, data, early) == 5
    assert "number of its table" in refused(rows.table_id, events.TABLE_MAP, data[:3], early)


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (events.WRITE_ROWS_V0, rows_body(1), "type 20"),
        (events.WRITE_ROWS_V2, bytes(8) + b"\x01\x00", "malformed length"),
        (events.WRITE_ROWS_V2, rows_body(2)[:11], "too early"),
        (events.WRITE_ROWS_V1, bytes(8) + lenenc(2**60), "too early"),
    ],
)
def test_what_begins_no_rows_is_refused(kind, data, expected):
    """Each fault has its sentence."""
    assert expected in refused(rows.read_rows_header, kind, data, MYSQL)


def test_a_gtid_of_each_age():
    """MySQL 5.6, 5.7 and 8 each added to the end."""
    old = b"\x00" + RAW_UUID + struct.pack("<Q", 9)
    middle = old + b"\x02" + struct.pack("<QQ", 3, 4)
    same = middle + (1_700_000_000_000_000).to_bytes(7, "little")
    other = middle + (1_700_000_000_000_001 | 1 << 55).to_bytes(7, "little") + (5).to_bytes(7, "little")

    def read(data):
        return gtid_events.read_gtid(events.GTID, data, MYSQL)

    assert read(old) == read(old + bytes(17)) == gtid_events.Gtid(UUID, "", 9, 0, 0, None, None)
    assert read(middle + bytes(6)) == gtid_events.Gtid(UUID, "", 9, 3, 4, None, None)
    assert read(same) == gtid_events.Gtid(UUID, "", 9, 3, 4, 1_700_000_000_000_000, 1_700_000_000_000_000)
    assert read(other + b"more") == gtid_events.Gtid(UUID, "", 9, 3, 4, 1_700_000_000_000_001, 5)
    assert read(old).text == f"{UUID}:9"
    assert "too early" in refused(read, other[:-1])


@pytest.mark.parametrize(("kind", "number"), [(events.GTID, 0), (events.GTID, 2**63 - 1), (events.ANONYMOUS_GTID, 1)])
def test_a_number_out_of_range_is_refused(kind, number):
    """A transaction without an id has no number, any other one that fits."""
    data = b"\x00" + RAW_UUID + struct.pack("<Q", number)

    assert "out of range" in refused(gtid_events.read_gtid, kind, data, MYSQL)


def test_a_transaction_without_an_id():
    """It has no text either."""
    assert gtid_events.read_gtid(events.ANONYMOUS_GTID, bytes(25), MYSQL).text == ""


def tagged(fields, *, version=1, needed=0, size=None):
    """The body of a tagged GTID."""
    content = varlen(needed) + b"".join(varlen(number) + value for number, value in fields)
    start = varlen(version)
    total = len(start) + len(content) + 1
    return start + varlen(total if size is None else size) + content


SERVER = (1, b"".join(map(varlen, RAW_UUID)))
TAG = (3, varlen(5) + b"mytag")


def test_a_tagged_gtid():
    """All fields, the optional ones among them, and one of a later server behind them."""
    times = [(6, varlen(1_700_000_000_000_000)), (7, varlen(5))]
    fields = [(0, varlen(1)), SERVER, (2, signed(3)), TAG, (4, signed(1)), (5, signed(2)), *times, (8, varlen(400))]
    data = tagged([*fields, (12, b"?")])

    found = gtid_events.read_gtid(events.GTID_TAGGED, data, MYSQL)

    assert found == gtid_events.Gtid(UUID, "mytag", 3, 1, 2, 1_700_000_000_000_000, 5)
    assert found.text == f"{UUID}:mytag:3"


def test_a_tagged_gtid_without_optional_fields():
    """The first server's time is this one's where it is left out."""
    found = gtid_events.read_gtid(events.GTID_TAGGED, tagged([SERVER, (2, signed(3)), (6, varlen(8))]), MYSQL)

    assert found == gtid_events.Gtid(UUID, "", 3, 0, 0, 8, 8)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (tagged([SERVER, (2, signed(3))], version=2), "not known"),
        (tagged([SERVER, (2, signed(3))], size=3), "another size"),
        (tagged([SERVER, (2, signed(3))], needed=12), "not known"),
        (tagged([(2, signed(3)), SERVER]), "out of order"),
        (tagged([(2, signed(3))]), "no server"),
        (tagged([SERVER, (2, signed(3)), (3, varlen(2) + b"My")]), "malformed tag"),
        (tagged([(1, varlen(256) * 16)]), "malformed UUID"),
        (tagged([SERVER, (2, signed(-3))]), "out of range"),
        (tagged([SERVER, (2, b"")]), "too early"),
    ],
)
def test_a_damaged_tagged_gtid_is_refused(data, expected):
    """Each fault has its sentence."""
    assert expected in refused(gtid_events.read_gtid, events.GTID_TAGGED, data, MYSQL)


def mariadb_gtid(flags, more=b""):
    return gtid_events.read_mariadb_gtid(header(), struct.pack("<QIB", 9, 2, flags) + more, MARIADB)


def test_a_gtid_of_mariadb():
    """The server's number comes from the header; flags say what follows."""
    found = mariadb_gtid(gtid_events.STANDALONE_F | gtid_events.DDL_F, bytes(6))

    assert found == gtid_events.MariadbGtid(2, 7, 9, 0x21, 0, None)
    assert (found.text, found.standalone, found.ddl, found.prepared, found.completed) == ("2-7-9", 1, 1, 0, 0)


def test_a_gtid_of_mariadb_with_an_xid():
    """Behind a group's number, and with the extra flags behind the name."""
    xid = struct.pack("<IBB", 7, 4, 1) + b"xid1b"
    grouped = gtid_events.GROUP_COMMIT_F

    prepared = mariadb_gtid(gtid_events.PREPARED_XA_F, xid + b"\x01\xff")
    completed = mariadb_gtid(gtid_events.COMPLETED_XA_F | grouped, bytes(8) + xid)

    assert (prepared.xid, prepared.extra, prepared.prepared) == (XaId(7, b"xid1", b"b"), 1, True)
    assert (completed.xid, completed.extra, completed.completed) == (XaId(7, b"xid1", b"b"), 0, True)
    assert "too early" in refused(mariadb_gtid, gtid_events.PREPARED_XA_F, xid[:-1])


def test_a_list_of_gtids():
    """The last one of a domain is where the log ends."""
    triples = ((0, 1, 5), (0, 2, 4), (1, 1, 1))
    data = struct.pack("<I", 3 | 1 << 28) + b"".join(struct.pack("<IIQ", *triple) for triple in triples)

    found = gtid_events.read_mariadb_gtid_list(data, MARIADB)

    assert found.triples == triples
    assert str(found.position) == "0-2-4,1-1-1"
    assert "too early" in refused(gtid_events.read_mariadb_gtid_list, data[:-1], MARIADB)


READERS = [
    events.read_format_description,
    lambda data: events.read_format_description(event(15, data)),
    lambda data: events.read_rotate(data, None),
    lambda data: events.read_query(data, MYSQL),
    lambda data: events.read_query(data, description(lengths=b"\x01\x01")),
    lambda data: events.read_xid(data, MYSQL),
    lambda data: events.read_heartbeat(header(), data, MARIADB),
    lambda data: events.read_heartbeat(header(events.HEARTBEAT_V2), data, MYSQL),
    lambda data: events.read_incident(data, MYSQL),
    lambda data: events.read_xa_prepare(data, MYSQL),
    lambda data: gtid_events.read_gtid(events.GTID, data, MYSQL),
    lambda data: gtid_events.read_gtid(events.GTID_TAGGED, data, MYSQL),
    lambda data: gtid_events.read_gtid(events.GTID_TAGGED, tagged([(1, data)]), MYSQL),
    lambda data: gtid_events.read_previous_gtids(data, MYSQL),
    lambda data: gtid_events.read_mariadb_gtid(header(), data, MARIADB),
    lambda data: gtid_events.read_mariadb_gtid_list(data, MARIADB),
    lambda data: rows.read_rows_header(events.UPDATE_ROWS_V2, data, MYSQL),
    lambda data: rows.read_rows_header(events.WRITE_ROWS_V1, data, MYSQL),
]


@given(st.sampled_from(READERS), st.binary(max_size=120))
@pytest.mark.fault("S23")
def test_any_body_is_a_value_or_an_error(read, data):
    """Garbage never ends in anything else."""
    try:
        found = read(data)
    except DecodeError as error:
        assert error.what.endswith(".")
    else:
        assert found is not None


def test_checksums_are_those_of_the_header_too():
    """The whole event is covered, not its body alone."""
    data = event(events.XID, bytes(8))

    assert data.endswith(crc(data[:-4]))
    assert "checksum" in refused(events.body, data[:5] + b"\x09" + data[6:], MYSQL)
