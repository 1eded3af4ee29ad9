"""Frames of inserts, updates and deletes become rows: runs of them, wherever they are cut, and never beyond their end."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from postgres_bytes import delete, framed, insert, keepalive, row_tuple, update, xlog_data

from fuagent.errors import DecodeError
from fuagent.model import ABSENT
from fuagent.wire.postgres import rows

TABLE = 16389
VALUES = st.none() | st.binary(max_size=20)
SAME = VALUES | st.just(ABSENT)
AROUND = st.binary(max_size=6)


def table_of(values=VALUES, most=8):
    """Rows of one width, zero columns included."""
    return st.integers(0, 6).flatmap(
        lambda width: st.tuples(st.just(width), st.lists(st.tuples(*[values] * width), max_size=most))
    )


def keyed(row, key):
    """A row as an old key holds it: the server writes NULL for all other columns."""
    return tuple(value if held else None for value, held in zip(row, key, strict=True))


def seen(row, key):
    """What an old key says of a row."""
    return tuple(value if held else ABSENT for value, held in zip(row, key, strict=True))


# ------------------------------------------------------------------ as a server of version 15 wrote them


def recorded(*messages):
    """Messages taken from pg_logical_slot_peek_binary_changes, in frames."""
    return b"".join(map(xlog_data, messages))


BIG = b"x" * 3000
KEPT = [True, False, False, False, False]
"""kept (id int primary key, mood mood, name varchar(20), big text, flag boolean)."""


def test_recorded_inserts_are_read():
    """Text of several bytes for a letter, an empty one that is not NULL, and one of more than 255 bytes."""
    data = recorded(
        b"I\0\0@\5N\0\5t\0\0\0\0011t\0\0\0\2okt\0\0\0\3Annt\0\0\x0b\xb8" + BIG + b"t\0\0\0\1t",
        b"I\0\0@\5N\0\5t\0\0\0\0012nt\0\0\0\0t\0\0\0\2\xc3\xa9t\0\0\0\1f",
    )

    assert rows.compile_inserts(TABLE, 5)(data, 0, len(data)) == (
        [(b"1", b"ok", b"Ann", BIG, b"t"), (b"2", None, b"", "é".encode(), b"f")],
        len(data),
    )


def test_recorded_updates_are_read():
    """Without an old row; with an old key, since it has changed; a large value that was left alone is ABSENT."""
    data = recorded(
        b"U\0\0@\5N\0\5t\0\0\0\0011t\0\0\0\2okt\0\0\0\3Annut\0\0\0\1f",
        b"U\0\0@\5K\0\5t\0\0\0\0011nnnnN\0\5t\0\0\0\0013t\0\0\0\2okt\0\0\0\3Annut\0\0\0\1f",
        b"U\0\0@\5N\0\5t\0\0\0\0012nt\0\0\0\2Bot\0\0\0\2\xc3\xa9t\0\0\0\1f",
    )

    assert rows.compile_updates(TABLE, 5, KEPT)(data, 0, len(data)) == (
        [None, (b"1", ABSENT, ABSENT, ABSENT, ABSENT), None],
        [
            (b"1", b"ok", b"Ann", ABSENT, b"f"),
            (b"3", b"ok", b"Ann", ABSENT, b"f"),
            (b"2", None, b"Bo", "é".encode(), b"f"),
        ],
        len(data),
    )


def test_recorded_deletes_are_read():
    """An old key of which the server writes NULL for every other column."""
    data = recorded(b"D\0\0@\5K\0\5t\0\0\0\0012nnnn")

    assert rows.compile_deletes(TABLE, 5, KEPT)(data, 0, len(data)) == (
        [(b"2", ABSENT, ABSENT, ABSENT, ABSENT)],
        len(data),
    )


def test_recorded_changes_of_whole_rows_are_read():
    """Under REPLICA IDENTITY FULL a large value that was left alone stands in the old row."""
    changed = recorded(
        b"U\0\0@\x0cO\0\3t\0\0\0\0011t\0\0\x0b\xb8" + BIG + b"t\0\0\0\0041.50N\0\3t\0\0\0\0011un",
    )
    gone = recorded(b"D\0\0@\x0cO\0\3t\0\0\0\0011t\0\0\x0b\xb8" + BIG + b"n")
    key = [True, True, True]

    assert rows.compile_updates(16396, 3, key)(changed, 0, len(changed)) == (
        [(b"1", BIG, b"1.50")],
        [(b"1", BIG, None)],
        len(changed),
    )
    assert rows.compile_deletes(16396, 3, key)(gone, 0, len(gone)) == ([(b"1", BIG, None)], len(gone))


def test_an_old_row_of_a_partition_fills_nothing():
    """It may say NULL for what its own identity leaves out."""
    changed = recorded(b"U\0\0@\x0cO\0\2t\0\0\0\0011nN\0\2t\0\0\0\0011u")

    assert rows.compile_updates(16396, 2, [True, True], whole=False)(changed, 0, len(changed)) == (
        [(b"1", None)],
        [(b"1", ABSENT)],
        len(changed),
    )


def test_recorded_rows_without_columns_are_read():
    """A table may have no column at all; its rows come and go all the same."""
    data = recorded(b"I\0\0@\x13N\0\0")

    assert rows.compile_inserts(16403, 0)(data, 0, len(data)) == ([()], len(data))


# ------------------------------------------------------------------ any rows


@given(table_of(SAME), AROUND, AROUND)
def test_inserts_come_back(table, before, behind):
    """Any rows, wherever they stand in the data."""
    width, expected = table
    body = b"".join(xlog_data(insert(TABLE, row)) for row in expected)
    end = len(before) + len(body)

    assert rows.compile_inserts(TABLE, width)(before + body + behind, len(before), end) == (expected, end)


@given(table_of(st.tuples(VALUES, SAME)), st.data())
def test_updates_come_back(table, data):
    """Old rows, old keys or neither, in any order; what was left alone comes from an old row alone."""
    width, drawn = table
    key = data.draw(st.lists(st.booleans(), min_size=width, max_size=width))
    body, befores, afters = b"", [], []
    for pairs in drawn:
        old, new = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
        letter = data.draw(st.sampled_from([b"O", b"K", None]))
        filled = tuple(was if now is ABSENT else now for was, now in zip(old, new, strict=True))
        sent = {b"O": old, b"K": keyed(old, key), None: None}[letter]
        body += xlog_data(update(TABLE, sent, new, letter))
        befores.append({b"O": old, b"K": seen(old, key), None: None}[letter])
        afters.append(filled if letter == b"O" else new)

    assert rows.compile_updates(TABLE, width, key)(body, 0, len(body)) == (befores, afters, len(body))


@given(table_of(), st.data())
def test_deletes_come_back(table, data):
    """Old rows and old keys, in any order."""
    width, drawn = table
    key = data.draw(st.lists(st.booleans(), min_size=width, max_size=width))
    letters = [data.draw(st.sampled_from([b"O", b"K"])) for _ in drawn]
    body = b"".join(
        xlog_data(delete(TABLE, row if letter == b"O" else keyed(row, key), letter))
        for row, letter in zip(drawn, letters, strict=True)
    )
    expected = [row if letter == b"O" else seen(row, key) for row, letter in zip(drawn, letters, strict=True)]

    assert rows.compile_deletes(TABLE, width, key)(body, 0, len(body)) == (expected, len(body))


def kinds(width):
    """Each reader, and a message of its kind."""
    key = [place % 2 == 0 for place in range(width)]
    return [
        (rows.compile_inserts(TABLE, width), lambda row: insert(TABLE, row)),
        (rows.compile_updates(TABLE, width, key), lambda row: update(TABLE, row, row)),
        (rows.compile_updates(TABLE, width, key), lambda row: update(TABLE, row, row, b"K")),
        (rows.compile_updates(TABLE, width, key), lambda row: update(TABLE, None, row)),
        (rows.compile_deletes(TABLE, width, key), lambda row: delete(TABLE, row)),
        (rows.compile_deletes(TABLE, width, key), lambda row: delete(TABLE, row, b"K")),
    ]


KINDS = st.integers(0, len(kinds(0)) - 1)


@given(table_of(), KINDS, AROUND, st.booleans(), st.data())
def test_a_reader_stops_before_what_is_cut_off(table, number, before, rest, data):
    """Whether the rest of the frame stands behind the end or nothing does, the whole frames are read and no more."""
    width, drawn = table
    read, write = kinds(width)[number]
    parts = [xlog_data(write(row)) for row in drawn]
    body = b"".join(parts)
    cut = data.draw(st.integers(0, len(body)))
    stream = before + (body if rest else body[:cut])

    *found, place = read(stream, len(before), len(before) + cut)

    borders = [len(b"".join(parts[:count])) for count in range(len(parts) + 1)]
    last = max(count for count, border in enumerate(borders) if border <= cut)
    assert place == len(before) + borders[last]
    assert [len(one) for one in found] == [last] * len(found)


@given(table_of(), KINDS, st.data())
def test_a_stream_in_two_pieces_reads_as_one(table, number, data):
    """A border of frames is a border of the data as good as any."""
    width, drawn = table
    read, write = kinds(width)[number]
    parts = [xlog_data(write(row)) for row in drawn]
    count = data.draw(st.integers(0, len(parts)))
    body, first, second = b"".join(parts), b"".join(parts[:count]), b"".join(parts[count:])

    *whole, _ = read(body, 0, len(body))
    *before, _ = read(first, 0, len(first))
    *behind, _ = read(second, 0, len(second))

    assert whole == [one + other for one, other in zip(before, behind, strict=True)]


OTHERS = {
    "another table": xlog_data(insert(TABLE + 1, (b"1", None))),
    "a commit": xlog_data(b"C\0" + bytes(24)),
    "an update": xlog_data(update(TABLE, None, (b"1", None))),
    "a keepalive": keepalive(),
    "a notice": framed(b"N", xlog_data(insert(TABLE, (b"1", None)))[5:]),
    "other data": framed(b"d", b"x" + xlog_data(insert(TABLE, (b"1", None)))[6:]),
    "a lone kind": xlog_data(b"I"),
    "the beginning of a length": b"d\0\0",
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("behind", [b"", xlog_data(insert(TABLE, (b"3", b"4")))], ids=["last", "followed"])
def test_a_reader_stops_before_what_is_another(other, behind):
    """Whatever it is, and whatever follows; the data may end there."""
    first = xlog_data(insert(TABLE, (b"1", None)))
    data = first + other + (behind if len(other) > 5 else b"")
    read = rows.compile_inserts(TABLE, 2)

    assert read(data, 0, len(data)) == ([(b"1", None)], len(first))
    assert read(data, len(first), len(data)) == ([], len(first))


# ------------------------------------------------------------------ what makes no sense


def whole(message):
    """A frame, and another behind it, so that a wrong length has something to reach into."""
    return xlog_data(message) + xlog_data(insert(TABLE, (b"3", b"4")))


WRONG = {
    "binary": b"I\0\0@\5N\0\2b\0\0\0\1xn",
    "letter of value": b"I\0\0@\5N\0\2nx",
    "letter of tuple": b"I\0\0@\5O\0\2nn",
    "width": b"I\0\0@\5N\0\3nnn",
    "too long": b"I\0\0@\5N\0\2nnn",
    "too short": b"I\0\0@\5N\0\2n",
    "length of value": b"I\0\0@\5N\0\2nt\0\0\0\2x",
    "huge length": b"I\0\0@\5N\0\2nt\xff\xff\xff\xffx",
    "no width": b"I\0\0@\5N\0",
    "no tuple": b"I\0\0@\5",
}


@pytest.mark.parametrize("message", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("behind", [True, False], ids=["followed", "last"])
def test_an_insert_that_makes_no_sense_is_an_error(message, behind):
    """A frame of the reader's own kind and table is read or refused, never left where it stands."""
    data = whole(message) if behind else xlog_data(message)

    with pytest.raises(DecodeError):
        rows.compile_inserts(TABLE, 2)(data, 0, len(data))


@pytest.mark.parametrize(
    "message",
    [
        b"U\0\0@\5X\0\1nN\0\1n",
        b"U\0\0@\5O\0\1nO\0\1n",
        b"U\0\0@\5O\0\1nN\0\2nn",
        b"U\0\0@\5K\0\1n",
        b"U\0\0@\5K\0\1bN\0\1n",
        b"U\0\0@\5N\0\1nN\0\1n",
        b"U\0\0@\5",
    ],
)
def test_an_update_that_makes_no_sense_is_an_error(message):
    """Tuples of an unknown kind, of another width, too few or too many."""
    data = xlog_data(message)

    with pytest.raises(DecodeError):
        rows.compile_updates(TABLE, 1, [True])(data, 0, len(data))


@pytest.mark.parametrize(
    "message", [b"D\0\0@\5N\0\1n", b"D\0\0@\5K\0\2nn", b"D\0\0@\5O\0\1nn", b"D\0\0@\5K\0\1b", b"D\0\0@\5O"]
)
def test_a_delete_that_makes_no_sense_is_an_error(message):
    """A tuple of an unknown kind, of another width, too long or too short."""
    data = xlog_data(message)

    with pytest.raises(DecodeError):
        rows.compile_deletes(TABLE, 1, [True])(data, 0, len(data))


def test_a_frame_shorter_than_its_message_is_an_error():
    """A length that ends within the head of what follows it."""
    data = b"d" + struct.pack(">I", 4) + xlog_data(insert(TABLE, (None,)))[5:]

    with pytest.raises(DecodeError):
        rows.compile_inserts(TABLE, 1)(data, 0, len(data))


@pytest.mark.parametrize(("start", "end"), [(-1, 0), (2, 1), (0, 99)])
def test_a_run_outside_of_the_data_is_an_error(start, end):
    """Places that cannot be are refused before anything is read."""
    with pytest.raises(DecodeError):
        rows.compile_inserts(TABLE, 1)(keepalive(), start, end)


def test_no_error_holds_a_value():
    """What is said of a row that makes no sense says nothing of what stands in it."""
    data = xlog_data(b"I\0\0@\5N\0\2t\0\0\0\x06secretx")

    with pytest.raises(DecodeError) as raised:
        rows.compile_inserts(TABLE, 2)(data, 0, len(data))

    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None


@given(st.lists(st.sampled_from([0, 1, 5, 100, 116, 117, 110, 98, 119]), max_size=60), KINDS, st.data())
@pytest.mark.fault("S23")
def test_any_bytes_are_rows_or_an_error(tail, number, data):
    """Garbage, in frames and out of them: rows up to some place, or a DecodeError."""
    read, write = kinds(2)[number]
    good = xlog_data(write((b"1", None)))
    place = data.draw(st.integers(0, len(good)))
    stream = data.draw(st.sampled_from([bytes(tail), good[:place] + bytes(tail), good + xlog_data(good[30:place])]))
    try:
        found = read(stream, 0, len(stream))
    except DecodeError:
        return

    assert 0 <= found[-1] <= len(stream)


@given(KINDS, st.data())
def test_a_whole_frame_of_its_own_is_never_left(number, data):
    """With its kind and table right, whatever follows is read or refused: nobody waits for more of it."""
    read, write = kinds(2)[number]
    message = write((b"1", None))[:5] + data.draw(st.binary(max_size=20))
    stream = xlog_data(message) + data.draw(st.sampled_from([b"", keepalive()]))
    try:
        found = read(stream, 0, len(stream))
    except DecodeError:
        return

    assert found[-1] == len(xlog_data(message))


def test_a_table_may_have_many_columns():
    """As many as PostgreSQL allows."""
    row = tuple(b"%d" % place for place in range(1600))
    data = xlog_data(b"I" + struct.pack(">I", TABLE) + b"N" + row_tuple(row))

    assert rows.compile_inserts(TABLE, 1600)(data, 0, len(data)) == ([row], len(data))
