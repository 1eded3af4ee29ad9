"""Sets of GTIDs behave like sets of their numbers, in text and in bytes; positions know what lies behind them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.errors import DecodeError
from fuagent.wire.mysql.gtids import NUMBER_MAX, GtidSet, MariadbPosition

A = "11111111-1111-1111-1111-111111111111"
B = "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb"

members = st.sets(
    st.tuples(st.sampled_from([A, B]), st.sampled_from(["", "tag", "_x9"]), st.integers(1, 12)), max_size=25
)


def made(model):
    """The set of these transactions, put in one by one."""
    found = GtidSet()
    for member in model:
        found.add(*member)
    return found


@given(members)
def test_text_and_bytes_lead_back(model):
    """A set comes back from its own text and its own bytes, and both are one per set."""
    one = made(model)
    other = made(sorted(model, reverse=True))

    assert one == other == GtidSet.parse(str(one)) == GtidSet.decode(one.encode())
    assert (str(one), one.encode()) == (str(other), other.encode())
    assert bool(one) is bool(model)


@given(members, members)
def test_sets_are_sets(first, second):
    """Every operation agrees with the one on the numbers themselves, and changes neither side."""
    one, other = made(first), made(second)

    assert one.union(other) == made(first | second)
    assert one.difference(other) == made(first - second)
    assert one.issubset(other) is (first <= second)
    assert (one == other) is (first == second)
    assert (one, other) == (made(first), made(second))


@given(members, st.sampled_from([A, B]), st.sampled_from(["", "tag"]), st.integers(1, 13))
def test_a_member_is_in(model, server, tag, number):
    """Exactly what was put in is in."""
    assert made(model).contains(server, tag, number) is ((server, tag, number) in model)


def test_a_copy_goes_its_own_way():
    """What is put into one is not in the other."""
    one = GtidSet.parse(f"{A}:1")
    other = one.copy()
    other.add(A, "", 2)

    assert (str(one), str(other)) == (f"{A}:1", f"{A}:1-2")
    assert repr(one) == f"GtidSet.parse('{A}:1')"
    assert one != f"{A}:1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        (" , ", ""),
        (A, ""),
        (f"{A}:1-3:4:7", f"{A}:1-4:7"),
        (f"{B}:5:1,\n{A}:2 - 3", f"{A}:2-3,{B}:1:5"),
        (f"{A}:TAG:2:1:3:b:1", f"{A}:b:1:tag:1-3"),
        (f"{A}:tag:1,{A}:9", f"{A}:9:tag:1"),
        (f"{A}:1-5,{A}:4-9", f"{A}:1-9"),
        (f"{A.replace('-', '')}:1", f"{A}:1"),
        (f"{B.upper()}:{NUMBER_MAX}", f"{B}:{NUMBER_MAX}"),
    ],
)
def test_the_text_of_a_set_is_read_however_it_is_written(text, expected):
    """And written in one way only."""
    assert str(GtidSet.parse(text)) == expected


@pytest.mark.parametrize(
    "text",
    ["x", "1111:1", f"{A}:0", f"{A}:3-2", f"{A}:{NUMBER_MAX + 1}", f"{A}:1-", f"{A}:", f"{A}:9x", ":1", f"{A}:-1"],
)
def test_what_is_no_set_is_refused(text):
    """Never half of it is taken."""
    with pytest.raises(DecodeError):
        GtidSet.parse(text)


def test_the_bytes_of_a_set_without_tags():
    """As COM_BINLOG_DUMP_GTID wants them: ends stand behind the last number."""
    expected = struct.pack("<Q16sQQQ", 1, bytes.fromhex("11" * 16), 1, 1, 6)

    assert GtidSet.parse(f"{A}:1-5").encode() == expected


def test_the_bytes_of_a_set_with_tags():
    """The format stands in the first and the last byte of the count; every server has a tag, if an empty one."""
    uuid = bytes.fromhex("11" * 16)
    expected = b"\x01\x02\x00\x00\x00\x00\x00\x01"
    expected += uuid + b"\x00" + struct.pack("<QQQ", 1, 1, 2) + uuid + b"\x02t" + struct.pack("<QQQ", 1, 3, 5)

    assert GtidSet.parse(f"{A}:1:t:3-4").encode() == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(7) + b"\x02",
        struct.pack("<Q", 1),
        struct.pack("<Q16sQ", 1, bytes(16), 1),
        struct.pack("<Q16sQQQ", 1, bytes(16), 1, 0, 1),
        struct.pack("<Q16sQQQ", 1, bytes(16), 1, 5, 5),
        struct.pack("<Q16sQQQ", 1, bytes(16), 1, 5, 2**63),
        struct.pack("<Q16sQQQQQ", 1, bytes(16), 2, 5, 7, 7, 9),
        bytes(8) + b"x",
        b"\x01\x01\x00\x00\x00\x00\x00\x01" + bytes(16) + b"\x02T" + struct.pack("<QQQ", 1, 1, 2),
        b"\x01\x01\x00\x00\x00\x00\x00\x01" + bytes(16) + b"\x02\xff" + struct.pack("<QQQ", 1, 1, 2),
    ],
)
def test_bytes_that_are_no_set_are_refused(data):
    """Wherever they end or go astray."""
    with pytest.raises(DecodeError):
        GtidSet.decode(data)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_set_or_refused(data):
    """What is read can be written again."""
    try:
        found = GtidSet.decode(data)
    except DecodeError:
        return
    assert GtidSet.decode(found.encode()) == found


@given(st.dictionaries(st.integers(0, 2**32 - 1), st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))))
def test_the_text_of_a_position_leads_back(domains):
    """A position comes back from its own text, which orders the domains."""
    one = MariadbPosition((domain, server, sequence) for domain, (server, sequence) in domains.items())

    assert MariadbPosition.parse(str(one)) == one
    assert one.domains == domains
    assert repr(one) == f"MariadbPosition.parse({str(one)!r})"


def test_a_position_moves():
    """The last transaction of a domain counts, whichever server it came from, and a copy stays."""
    one = MariadbPosition.parse(" 1-2-5, 0-1-100 ")
    before = one.copy()
    one.add(0, 3, 101)

    assert (str(before), str(one)) == ("0-1-100,1-2-5", "0-3-101,1-2-5")
    assert one != str(one)


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ("", "", True),
        ("0-1-5", "", True),
        ("", "0-1-1", False),
        ("0-1-5", "0-2-5", True),
        ("0-1-5", "0-1-6", False),
        ("0-1-5,1-1-1", "0-1-4,1-1-2", False),
        ("0-1-5,1-1-1", "0-1-4", True),
    ],
)
def test_a_position_reaches_another_in_each_of_its_domains(here, there, expected):
    """One domain behind is behind."""
    assert MariadbPosition.parse(here).reaches(MariadbPosition.parse(there)) is expected


def test_a_transaction_lies_behind_a_position_in_its_own_domain():
    """By its sequence alone."""
    position = MariadbPosition.parse("0-1-5")

    assert [position.contains(*pair) for pair in ((0, 5), (0, 6), (1, 1))] == [True, False, False]


@pytest.mark.parametrize("text", ["0-1", "x", "0-1-2,", "0-1-2,0-2-3", "4294967296-1-1", "0-1-18446744073709551616"])
def test_what_is_no_position_is_refused(text):
    """A domain has one place."""
    with pytest.raises(DecodeError):
        MariadbPosition.parse(text)
