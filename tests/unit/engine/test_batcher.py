"""Rows in, parcels out: order, sizes, places, and what never stands in one parcel."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from fuagent.contract import payload
from fuagent.engine.batcher import Batcher, Parcel, Piece, SizeLimit
from fuagent.model import Batch, Place, Rows
from fuagent.model_rows import Texts


def rows(*lines: bytes, table="a", version=0, boundary=True, at=1, numbered=True, left_out=0) -> Rows:
    """Rows of one transaction; ``at`` numbers it."""
    start = Place(f"p{at}", at * 1000)
    indexes = tuple(at * 1000 + number for number in range(1, len(lines) + 1)) if numbered else ()
    end = Place(f"p{at + 1}", at * 1000 + len(lines))
    return Rows(table, lines, indexes, start, end, boundary, version=version, left_out=left_out)


def batcher(most=3, limit=10_000, overhead=0, route=lambda table: table) -> Batcher:
    return Batcher(most, SizeLimit(limit), overhead, route)


def drained(subject: Batcher) -> list[Parcel]:
    parcels = []
    while (parcel := subject.take()) is not None:
        parcels.append(parcel)
    return parcels


@some.composite
def sequences(draw) -> list[Rows]:
    """What a source may give: tables and versions change, transactions are cut, progress comes without rows."""
    found: list[Rows] = []
    versions = {"a": 0, "b": 0, "c": 0}
    for at in range(1, draw(some.integers(1, 12)) + 1):
        table = draw(some.sampled_from("abc"))
        versions[table] += draw(some.sampled_from((0, 0, 0, 1)))
        lines = draw(some.lists(some.binary(min_size=2, max_size=40), max_size=8))
        left_out = draw(some.integers(0, 3))
        boundary, numbered = draw(some.booleans()), draw(some.booleans())
        found.append(
            rows(
                *lines,
                table=table,
                version=versions[table],
                boundary=boundary,
                at=at,
                numbered=numbered,
                left_out=left_out,
            )
        )
    return found


ROUTES = {"a": "one", "b": "one", "c": "two"}


@given(sequences(), some.integers(1, 6), some.integers(1, 200), some.integers(0, 60), some.data())
def test_nothing_lost_nothing_mixed(given_rows, most, limit, overhead, data):
    """Whatever is given and however it is taken: the same rows in order, cut to size, never mixed."""
    subject = batcher(most, limit, overhead, ROUTES.__getitem__)
    parcels: list[Parcel] = []
    for each in given_rows:
        subject.add(each)
        if data.draw(some.booleans()):
            parcels += drained(subject)
    parcels += drained(subject)

    assert subject.empty
    assert not subject.full
    assert [line for each in given_rows for line in each.rows] == [
        line for parcel in parcels for line in parcel.events()
    ]
    assert sum(each.left_out for each in given_rows) == sum(parcel.left_out for parcel in parcels)
    for parcel in parcels:
        _is_sound(parcel, most, limit, overhead)
    _goes_forward(parcels, given_rows)


def _is_sound(parcel: Parcel, most: int, limit: int, overhead: int) -> None:
    filled = [piece for piece in parcel.pieces if piece.high > piece.low]
    assert parcel.count == len(parcel.events())
    assert parcel.size == sum(map(len, parcel.events()))
    assert parcel.count <= most
    assert parcel.count <= 1 or overhead + parcel.size + parcel.count - 1 <= limit
    assert len({ROUTES[piece.rows.table] for piece in filled}) <= 1
    for table in "abc":
        assert len({piece.rows.version for piece in filled if piece.rows.table == table}) <= 1
    assert parcel.table == (filled[0].rows.table if filled else "")


def _goes_forward(parcels: list[Parcel], given_rows: list[Rows]) -> None:
    """Behind every parcel: its place re-reads nothing delivered and skips nothing owed."""
    delivered = 0
    for parcel in parcels:
        delivered += parcel.count
        last = parcel.pieces[-1]
        if parcel.boundary:
            assert parcel.place == last.rows.end
        else:
            assert parcel.place.position == last.rows.start.position
            assert parcel.place.resume_after == parcel.pieces[-1].index
    assert delivered == sum(len(each.rows) for each in given_rows)


@given(sequences(), some.integers(1, 30))
def test_cut(given_rows, count):
    """Cutting a parcel anywhere loses nothing, keeps the order, and the tail ends where the whole did."""
    subject = batcher(1000, 10**9, 0, lambda _table: "one")
    for each in given_rows:
        subject.add(replace(each, version=0))
    for parcel in drained(subject):
        head, tail = parcel.cut(count)
        assert list(parcel.events()) == [*head.events(), *tail.events()]
        assert min(count, parcel.count) == head.count
        assert parcel.left_out == head.left_out + tail.left_out
        if tail.pieces:
            assert (parcel.place, parcel.boundary) == (tail.place, tail.boundary)
        if tail.count and head.count:
            assert head.index <= parcel.index


@given(
    some.lists(some.lists(some.integers(0, 10**6), min_size=1, max_size=6), min_size=1, max_size=8),
    some.integers(1, 10),
    some.integers(60, 300),
)
def test_joined(runs, most, limit):
    """Rows that come as one text give the same parcels, sizes and bodies as rows that come one by one."""
    single, joined = batcher(most, limit), batcher(most, limit)
    for at, numbers in enumerate(runs, 1):
        one = rows(*(b'{"n":%d}' % number for number in numbers), at=at)
        single.add(one)
        joined.add(replace(one, rows=Texts(b",".join(one.rows), len(one.rows))))

    for one, other in zip(drained(single), drained(joined), strict=True):
        batches = [Batch("t", "a", "k", parcel.events()) for parcel in (one, other)]

        assert (one.count, one.size, one.index) == (other.count, other.size, other.index)
        assert payload.body(batches[0]) == payload.body(batches[1])
        assert payload.overhead("a", "t") + one.size + one.count - 1 == len(payload.body(batches[1]))


def test_rows_are_cut_only_where_they_must_be():
    """One text that fits a parcel stays one; several become one."""
    subject = batcher(most=10)
    first, second = Texts(b'{"a":1},{"a":2}', 2), Texts(b'{"a":3}', 1)
    subject.add(replace(rows(b"", b""), rows=first))
    alone = subject.take()
    subject.add(replace(rows(b"", b""), rows=first))
    subject.add(replace(rows(b"", at=2), rows=second))
    both = subject.take()

    assert alone.events() is first
    assert isinstance(both.events(), Texts)
    assert both.events() == [b'{"a":1}', b'{"a":2}', b'{"a":3}']
    assert both.events() != [b'{"a":1}', b'{"a":2}']
    assert hash(both.events()) == hash((b'{"a":1}', b'{"a":2}', b'{"a":3}'))


def test_rows_behind_a_full_parcel_stay_one_text():
    """Nobody asks for one of them to see that none fits."""

    class Whole(Texts):
        def __getitem__(self, place):
            raise AssertionError(place)

    subject = batcher(most=2)
    for at in (1, 2):
        subject.add(replace(rows(b"", b"", at=at), rows=Whole(b'{"a":1},{"a":2}', 2)))

    assert [parcel.count for parcel in drained(subject)] == [2, 2]


def test_cuts_do_not_go_on():
    """A few rows in front of Rows as large as parcels: one parcel is filled up, those behind it are cut nowhere."""
    subject = batcher(most=4)
    subject.add(rows(b"0", at=1))
    for at in range(2, 5):
        subject.add(rows(*[b"%d" % at] * 4, at=at))

    assert [parcel.count for parcel in drained(subject)] == [4, 1, 4, 4]


@pytest.mark.parametrize(("most", "limit"), [(4, 1000), (100, 41)])
def test_half_full(most, limit):
    """A parcel that is half full, by rows or by bytes, is not filled up with a part of what comes together."""
    subject = batcher(most, limit)
    for at in range(1, 4):
        subject.add(rows(*[b"0123456789"] * (3 if at > 1 else 2), at=at))

    assert [parcel.count for parcel in drained(subject)] == [2, 3, 3]


def test_a_large_row_behind_a_small_one():
    """It goes alone where it does not fit what is left, though the parcel is not half full."""
    subject = batcher(most=10, limit=100)
    subject.add(rows(b"x" * 10, at=1))
    subject.add(rows(b"y" * 95, at=2))

    assert [parcel.size for parcel in drained(subject)] == [10, 95]


class TestSize:
    def test_rows(self):
        """A parcel ends where its rows are many enough."""
        subject = batcher(most=3)
        subject.add(rows(b"1", b"2", b"3", b"4"))

        assert [list(parcel.events()) for parcel in drained(subject)] == [[b"1", b"2", b"3"], [b"4"]]

    def test_across_transactions(self):
        """Small transactions share a parcel."""
        subject = batcher(most=3)
        for at in range(1, 5):
            subject.add(rows(b"%d" % at, at=at))

        assert [list(parcel.events()) for parcel in drained(subject)] == [[b"1", b"2", b"3"], [b"4"]]

    def test_single_row_too_large(self):
        """A row larger than a batch goes alone, rather than never."""
        subject = batcher(most=10, limit=10)
        subject.add(rows(b"x" * 5, b"y" * 50, b"z" * 5))

        assert [parcel.size for parcel in drained(subject)] == [5, 50, 5]

    def test_far_too_large(self):
        """Rows many times the limit are cut close to it."""
        subject = batcher(most=10_000, limit=100)
        subject.add(rows(*[b"123456789"] * 1000))
        sizes = [parcel.count for parcel in drained(subject)]

        assert sum(sizes) == 1000
        assert max(sizes) <= 10
        assert min(sizes[:-1]) >= 5

    def test_limit_smaller_than_what_surrounds_rows(self):
        """A limit below the size of an empty body means one row at a time."""
        subject = batcher(most=10, limit=1, overhead=100)
        subject.add(rows(b"1", b"2"))

        assert [parcel.count for parcel in drained(subject)] == [1, 1]

    @pytest.mark.parametrize(("most", "limit"), [(2, 10_000), (1000, 20)], ids=["rows", "bytes"])
    @pytest.mark.fault("F91")
    def test_full(self, most, limit):
        """A few parcels' worth of rows, or of bytes, is enough to stop reading; taking them makes room."""
        subject = batcher(most, limit)
        added = 0
        while not subject.full:
            added += 1
            subject.add(rows(b"1234567890", at=added))
        assert 4 <= added <= 16

        drained(subject)

        assert not subject.full


class TestBorders:
    def test_routes(self):
        """Rows for another route begin a parcel of their own, and order is kept."""
        subject = batcher(most=10, route=ROUTES.__getitem__)
        for at, table in enumerate("abcab", 1):
            subject.add(rows(b"%d" % at, table=table, at=at))

        assert [list(parcel.events()) for parcel in drained(subject)] == [[b"1", b"2"], [b"3"], [b"4", b"5"]]

    def test_versions(self):
        """Rows behind a change of the table's definition begin a parcel of their own."""
        subject = batcher(most=10)
        subject.add(rows(b"1"))
        subject.add(rows(b"2", version=1, at=2))

        assert len(drained(subject)) == 2

    def test_versions_with_another_table_between(self):
        """A table between two versions of another does not bring them together."""
        subject = batcher(most=10, route=lambda _table: "one")
        subject.add(rows(b"1", table="a"))
        subject.add(rows(b"2", table="b", at=2))
        subject.add(rows(b"3", table="a", version=1, at=3))

        assert [list(parcel.events()) for parcel in drained(subject)] == [[b"1", b"2"], [b"3"]]

    def test_empty(self):
        """Nothing waiting gives nothing."""
        subject = batcher()

        assert subject.empty
        assert subject.take() is None


class TestProgress:
    def test_alone(self):
        """The log moving on without rows is a parcel without rows, at the place reached."""
        subject = batcher()
        subject.add(rows(at=7))
        parcel = subject.take()

        assert (0, 0, "", Place("p8", 7000)) == (parcel.count, parcel.index, parcel.table, parcel.place)
        assert parcel.boundary

    def test_many_are_one(self):
        """Progress behind progress is one, with what both left out."""
        subject = batcher()
        for at in range(1, 100):
            subject.add(rows(at=at, left_out=2))
        [parcel] = drained(subject)

        assert len(parcel.pieces) == 1
        assert parcel.left_out == 198
        assert Place("p100", 99_000) == parcel.place

    def test_behind_rows(self):
        """Progress behind rows moves their place on."""
        subject = batcher(most=1)
        subject.add(rows(b"1", at=1))
        subject.add(rows(at=2))
        [parcel] = drained(subject)

        assert (1, 1001, Place("p3", 2000)) == (parcel.count, parcel.index, parcel.place)

    def test_inside_a_transaction(self):
        """A place inside a transaction is its start and the last row delivered."""
        subject = batcher(most=2)
        subject.add(rows(b"1", b"2", b"3", at=4))
        parcel = subject.take()

        assert Place("p4", 4000, resume_after=4002) == parcel.place
        assert not parcel.boundary

    def test_resumed_inside_and_without_index(self):
        """A transaction resumed in its middle keeps what was delivered before, also where rows carry no index."""
        given_rows = rows(b"1", b"2", numbered=False, at=4)
        given_rows = replace(given_rows, start=replace(given_rows.start, resume_after=4005))
        subject = batcher(most=1)
        subject.add(given_rows)

        assert subject.take().place.resume_after == 4005

    def test_cut_between_rows_and_progress(self):
        """Cut where only progress follows, the tail holds the progress."""
        parcel = Parcel((Piece.of(rows(b"1", at=1), 0, 1), Piece.of(rows(at=2, left_out=3), 0, 0)))
        head, tail = parcel.cut(1)

        assert (head.count, tail.count) == (1, 0)
        assert (head.left_out, tail.left_out) == (0, 3)


class TestSizeLimit:
    def test_as_configured(self):
        """Without a refusal the size stays as configured."""
        limit = SizeLimit(1000)
        for _ in range(1000):
            limit.accepted()

        assert limit.value == 1000

    @pytest.mark.parametrize(("sizes", "left"), [((1000,), 500), ((400,), 200), ((1000, 500), 250), ((1, 1), 1)])
    def test_refused(self, sizes, left):
        """A refusal halves what was refused, and never to nothing."""
        limit = SizeLimit(1000)
        for size in sizes:
            limit.refused(size)

        assert left == limit.value

    def test_probes_upwards(self):
        """After enough accepted batches a larger one is tried, step by step, up to what is configured."""
        limit = SizeLimit(1000, probe_after=3)
        limit.refused(1000)
        seen = []
        for _ in range(12):
            limit.accepted()
            seen.append(limit.value)

        assert seen == [500, 500, 751, 751, 751, 1000, 1000, 1000, 1000, 1000, 1000, 1000]

    def test_refused_while_probing(self):
        """A refusal starts the count over."""
        limit = SizeLimit(1000, probe_after=2)
        limit.refused(1000)
        limit.accepted()
        limit.refused(500)
        limit.accepted()

        assert limit.value == 250


class TestRefused:
    def test_alone(self):
        """A row that cannot be sent is a parcel of its own, in its place."""
        subject = batcher(most=10)
        for at, reason in enumerate(["", "transform x failed", "", "transform y failed"], 1):
            subject.add(replace(rows(b"{}", at=at), refused=reason))

        assert [(parcel.count, parcel.refused) for parcel in drained(subject)] == [
            (1, ""),
            (1, "transform x failed"),
            (1, ""),
            (1, "transform y failed"),
        ]


class TestWholeTransactions:
    def whole(self, most=4, limit=10_000) -> Batcher:
        return Batcher(most, SizeLimit(limit), 0, str, whole_transactions=True)

    def test_ends_where_a_transaction_does(self):
        """Three rows and two do not fit into four: the second transaction goes as a whole with the next."""
        subject = self.whole()
        subject.add(rows(*[b"{}"] * 3, at=1))
        subject.add(rows(*[b"{}"] * 2, at=2))
        subject.add(rows(*[b"{}"] * 2, at=3))

        assert [(parcel.count, parcel.boundary) for parcel in drained(subject)] == [(3, True), (4, True)]

    def test_waits_for_the_end(self):
        """Nothing is taken of a transaction whose end is not read yet."""
        subject = self.whole()
        subject.add(rows(b"{}", at=1, boundary=False))
        before = subject.take()
        subject.add(rows(b"{}", at=2))

        assert before is None
        assert [parcel.count for parcel in drained(subject)] == [2]

    def test_too_large_to_stay_whole(self):
        """A transaction larger than four batches is cut as ever: memory does not grow with it."""
        subject = self.whole(most=2)
        for at in range(1, 5):
            subject.add(rows(*[b"{}"] * 2, at=at, boundary=at == 4))

        assert subject.full
        assert [parcel.count for parcel in drained(subject)] == [2, 2, 2, 2]

    def test_larger_than_a_batch(self):
        """One that is larger than a batch is cut, and what follows begins a batch of its own."""
        subject = self.whole(most=4)
        subject.add(rows(*[b"{}"] * 6, at=1))
        subject.add(rows(*[b"{}"] * 3, at=2))

        assert [(parcel.count, parcel.boundary) for parcel in drained(subject)] == [(4, False), (2, True), (3, True)]

    def test_what_was_begun_is_given_back_whole(self):
        """A piece of a larger transaction that still fitted behind the last end goes back to the rest of it."""
        subject = self.whole(most=10)
        subject.add(rows(*[b"{}"] * 3, at=1))
        subject.add(rows(*[b'{"n":%d}' % number for number in range(30)], at=2))
        parcels = drained(subject)

        assert [(parcel.count, parcel.boundary) for parcel in parcels] == [
            (3, True),
            (10, False),
            (10, False),
            (10, True),
        ]
        assert [line for parcel in parcels[1:] for line in parcel.events()] == [b'{"n":%d}' % n for n in range(30)]

    @given(sequences(), some.integers(1, 6), some.integers(1, 200))
    def test_nothing_lost(self, given_rows, most, limit):
        """The same rows in the same order as without it, and no batch but the last part of a large one is cut."""
        ended = [*given_rows[:-1], replace(given_rows[-1], boundary=True)]
        subject = self.whole(most, limit)
        parcels: list[Parcel] = []
        for each in ended:
            subject.add(each)
            while subject.full:
                parcels.append(subject.take())
        parcels += drained(subject)

        found = [line for parcel in parcels for line in parcel.events()]
        assert found == [line for each in ended for line in each.rows]
        assert subject.empty
        assert parcels[-1].boundary
