"""The messages around rows: as a server of version 15 sent them, as they may be, cut off, and none at all."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from postgres_bytes import text

from fuagent.errors import DecodeError
from fuagent.wire.postgres import messages
from fuagent.wire.postgres.messages import (
    Begin,
    Commit,
    Message,
    Origin,
    Relation,
    RelationColumn,
    Truncate,
    Type,
)

TIME = 1_795_744_595.941964
"""When it was committed, 849 059 795 941 964 microseconds after the beginning of 2000: 01:56:35 on 27 November 2026."""

RECORDED = [
    (b"B\0\0\0\0\1S8\x08\0\3\x047#\x87\xbaL\0\0\2\xdc", Begin(0x01533808, TIME, 732)),
    (b"C\0\0\0\0\0\1S8\x08\0\0\0\0\1S88\0\3\x047#\x87\xbaL", Commit(0x01533808, 0x01533838, TIME)),
    (b"Y\0\0@\1public\0mood\0", Type(16385, "public", "mood")),
    (
        (
            b"R\0\0@\5public\0kept\0d\0\3\1id\0\0\0\0\x17\xff\xff\xff\xff"
            b"\0mood\0\0\0@\1\xff\xff\xff\xff\0name\0\0\0\4\x13\0\0\0\x18"
        ),
        Relation(
            16389,
            "public",
            "kept",
            "d",
            (
                RelationColumn("id", key=True, type=23, modifier=-1),
                RelationColumn("mood", key=False, type=16385, modifier=-1),
                RelationColumn("name", key=False, type=1043, modifier=24),
            ),
        ),
    ),
    (b"R\0\0@\x13public\0bare\0f\0\0", Relation(16403, "public", "bare", "f", ())),
    (b"T\0\0\0\2\3\0\0@\5\0\0@\x0c", Truncate((16389, 16396), cascade=True, restart_identity=True)),
    (b"M\1\0\0\0\0\1Sbppre\0\0\0\0\4text", Message(transactional=True, lsn=0x01536270, prefix="pre", content=b"text")),
    (b"O\0\0\0\0\0\0\0\xabother\0", Origin(0xAB, "other")),
]
"""Taken from pg_logical_slot_peek_binary_changes (version 15), and what the tables and transactions there were."""

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
OIDS = st.integers(0, 2**32 - 1)
POSITIONS = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize(("data", "expected"), RECORDED, ids=[type(one).__name__ for _, one in RECORDED])
def test_recorded_messages_are_read(data, expected):
    """Each message of a real server says what was done there."""
    assert messages.read(data) == expected


@given(
    OIDS,
    NAMES,
    NAMES,
    st.sampled_from("dnfi"),
    st.lists(st.builds(RelationColumn, NAMES, st.booleans(), OIDS, st.integers(-1, 2**31 - 1))),
)
def test_relations_come_back(number, schema, name, identity, columns):
    """Any names in any script, any number of columns."""
    described = b"".join(
        bytes([column.key]) + text(column.name) + struct.pack(">Ii", column.type, column.modifier) for column in columns
    )
    data = b"R" + struct.pack(">I", number) + text(schema) + text(name) + identity.encode()
    data += struct.pack(">H", len(columns)) + described

    assert messages.read(data) == Relation(number, schema, name, identity, tuple(columns))


@given(st.lists(OIDS, max_size=9), st.booleans(), st.booleans())
def test_truncations_come_back(relations, cascade, restart):
    """The two options are bits of one number."""
    data = b"T" + struct.pack(f">IB{len(relations)}I", len(relations), cascade | restart << 1, *relations)

    assert messages.read(data) == Truncate(tuple(relations), cascade, restart)


@given(st.booleans(), POSITIONS, NAMES, st.binary(max_size=40))
def test_emitted_messages_come_back(transactional, position, prefix, content):
    """The content is bytes, zeros among them."""
    data = b"M" + struct.pack(">BQ", transactional, position) + text(prefix) + struct.pack(">I", len(content)) + content

    assert messages.read(data) == Message(transactional, position, prefix, content)


def test_no_schema_is_the_catalogue():
    """An empty name stands for pg_catalog."""
    assert messages.read(b"R\0\0\0\1\0pg_x\0n\0\0") == Relation(1, "pg_catalog", "pg_x", "n", ())
    assert messages.read(b"Y\0\0\0\1\0box\0") == Type(1, "pg_catalog", "box")


@pytest.mark.parametrize("data", [data for data, _ in RECORDED], ids=[type(one).__name__ for _, one in RECORDED])
def test_a_message_cut_off_or_too_long_is_an_error(data):
    """Wherever it ends early, and where something stands behind it."""
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            messages.read(data[:cut])
    with pytest.raises(DecodeError, match="longer"):
        messages.read(data + b"\0")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"S\0\0\0\1",
        b"i\0",
        b"R\0\0\0\1a\0b\0x\0\0",
        b"R\0\0\0\1a\0b\0\xff\0\0",
        b"R\0\0\0\1\xff\0b\0d\0\0",
        b"T\xff\xff\xff\xff\0",
        b"M\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff",
    ],
    ids=["empty", "type", "lower", "identity", "identity bytes", "name", "many tables", "large content"],
)
def test_what_makes_no_sense_is_an_error(data):
    """Unknown types and letters, names that are not UTF-8, numbers that nothing follows."""
    with pytest.raises(DecodeError):
        messages.read(data)


@given(st.sampled_from(list(b"BCOMRYTIUDX")), st.binary(max_size=60))
@pytest.mark.fault("S23")
def test_any_bytes_are_a_message_or_an_error(kind, rest):
    """Garbage never raises anything else."""
    try:
        found = messages.read(bytes([kind]) + rest)
    except DecodeError:
        return

    assert isinstance(found, messages.Told)
