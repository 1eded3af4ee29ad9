"""What a stream owes: order, commit boundaries, numbers, repetition, deletes, schema. Part of the source suite."""

from __future__ import annotations

import asyncio
from itertools import accumulate, chain, pairwise

import pytest

from fuagent.interfaces import Source
from fuagent.model import INDEX_MAX, Deletes, Place, Rows
from fuagent.testing.database import Change
from fuagent.testing.running import needs, with_kit
from fuagent.testing.source_kit import (
    SourceKit,
    added,
    behind,
    changed,
    close,
    events,
    gather,
    numbers,
    plain,
    prepare,
    removed,
    row,
    standing,
    texts,
)


def mixed(kit: SourceKit, first: int, count: int) -> list[Change]:
    """Rows for both tables by turns, three and three."""
    return list(chain.from_iterable(added(kit.tables[key // 3 % 2], row(key)) for key in range(first, first + count)))


async def written(kit: SourceKit, place: Place | None = None, **more: Deletes) -> tuple[Source, Place, list[Rows]]:
    """Three transactions of inserts, updates and deletes, and what the stream makes of them."""
    source = await kit.ready(**more)
    place = place or await standing(source)
    a, b = kit.tables
    await kit.commit(*mixed(kit, 1, 20))
    await kit.commit(changed(a, row(1), row(1, "y")), *added(b, row(100)), *removed(a, row(2)))
    await kit.commit(*(changed(b, row(key), row(key, "z")) for key in (3, 4, 5)), *added(a, row(101)))
    return source, place, await gather(source, place)


class OrderSuite:
    """Tests of ``Source.stream``."""

    no_roll_back = ""
    no_alter = ""
    no_previous = ""
    """Why numbers do not start behind a raised ``Place.previous``: the log alone gives them, and never lower."""

    @with_kit
    async def test_changes_come_in_the_order_of_their_commits(self, kit: SourceKit) -> None:
        """Across tables and transactions, each row with the label of its table."""
        source = await kit.ready()
        place = await standing(source)
        a, b = kit.tables
        for key in range(1, 10):
            await kit.commit(*added((a, b)[key % 2], row(key)), *added((b, a)[key % 2], row(key + 100)))
        found = await gather(source, place)

        order = [((a, b)[(key + turn) % 2], key + 100 * turn) for key in range(1, 10) for turn in (0, 1)]
        assert [(rows.table, event["id"]) for rows in found for event in events([rows])] == order

    @with_kit
    async def test_a_boundary_stands_only_where_a_transaction_ends(self, kit: SourceKit) -> None:
        """However large a transaction is, and behind the last one stands a boundary."""
        source = await kit.ready()
        place = await standing(source)
        sizes = (40, 1, 25)
        for number, size in enumerate(sizes):
            await kit.commit(*mixed(kit, 1000 * number + 1, size))
        found = await gather(source, place)

        reached = accumulate(len(rows.rows) for rows in found)
        borders = {count for count, rows in zip(reached, found, strict=True) if rows.boundary}
        assert borders <= {0, *accumulate(sizes)}, "a boundary stands inside a transaction"
        assert sum(sizes) in borders, "the last transaction has no end"

    @with_kit
    async def test_what_is_rolled_back_never_comes(self, kit: SourceKit) -> None:
        """Only what was committed is a change."""
        needs(self, "roll_back")
        source = await kit.ready()
        place = await standing(source)
        await kit.commit(*added(kit.tables[0], row(1)))
        await kit.roll_back(*added(kit.tables[0], row(2)), changed(kit.tables[0], row(1), row(1, "no")))
        await kit.commit(*added(kit.tables[0], row(3)))

        assert plain(await gather(source, place)) == [row(1), row(3)]

    @with_kit
    async def test_numbers_rise_and_stand_in_the_events(self, kit: SourceKit) -> None:
        """Strictly, between 1 and the largest integer JSON keeps, beside each event and as its last property."""
        _, place, found = await written(kit)
        given = numbers(found)

        assert given
        assert all(low < high for low, high in pairwise((place.previous, *given))), given
        assert 1 <= given[0] <= given[-1] <= INDEX_MAX
        assert [list(event.items())[-1] for event in events(found)] == [("index", number) for number in given]

    @with_kit
    async def test_an_update_takes_two_numbers(self, kit: SourceKit) -> None:
        """One for the old row, though it is not sent, and one for the new."""
        source = await kit.ready()
        place = await standing(source)
        await kit.commit(*added(kit.tables[0], row(1)))
        await kit.commit(changed(kit.tables[0], row(1), row(1, "y")))
        await kit.commit(changed(kit.tables[0], row(1, "y"), row(1, "z")))
        first, second, third = numbers(await gather(source, place))

        assert second - first >= 2
        assert third - second >= 2

    @with_kit
    async def test_numbers_go_on_behind_a_raised_previous(self, kit: SourceKit) -> None:
        """A place whose ``previous`` lies above what the log gives numbers everything above it."""
        needs(self, "previous")
        source, place, found = await written(kit)
        above = numbers(found)[-1] + 1000
        raised = await gather(source, Place(place.position, above))

        given = numbers(raised)
        assert given[0] > above
        assert all(low < high for low, high in pairwise(given))
        assert plain(raised) == plain(found)

    @with_kit
    async def test_reading_again_gives_the_same(self, kit: SourceKit) -> None:
        """The same bytes and numbers from the same place: at once, after closing, and in another life."""
        source, place, found = await written(kit)
        again = await gather(source, place)
        await source.close()
        await source.open()
        await prepare(source)
        reopened = await gather(source, place)
        await source.close()
        restarted = await gather(await kit.ready(), place)

        for other in (again, reopened, restarted):
            assert texts(other) == texts(found)
            assert numbers(other) == numbers(found)

    @with_kit
    async def test_reading_on_from_every_row_gives_the_rest(self, kit: SourceKit) -> None:
        """Behind any number, in the middle of a transaction too, comes exactly what came behind it before."""
        source, _, found = await written(kit)
        whole = texts(found)
        places = [behind(rows, number) for rows in found for number in rows.indexes]

        for done, place in enumerate(places, 1):
            assert texts(await gather(source, place)) == whole[done:], f"behind {place}"

    @with_kit
    async def test_until_ends_the_stream(self, kit: SourceKit) -> None:
        """Everything up to that position and nothing behind it, also where it lies behind the place."""
        source = await kit.ready()
        place = await standing(source)
        await kit.commit(*added(kit.tables[0], row(1), row(2)))
        until = (await source.head(place)).position
        await kit.commit(*added(kit.tables[0], row(3)))
        further = (await gather(source, place))[-1].end

        assert plain(await gather(source, place, until=until)) == [row(1), row(2)]
        assert plain(await gather(source, further, until=until)) == []
        assert plain(await gather(source, place, until=place.position)) == []

    @with_kit
    async def test_the_end_is_told_once_and_then_it_waits(self, kit: SourceKit) -> None:
        """The first word at the end of the log is ``at_end``, the next one is the next change."""
        source = await kit.ready()
        rows = source.stream(await standing(source))
        try:
            first = await anext(rows)
            waiting = asyncio.ensure_future(anext(rows))
            await asyncio.sleep(0)
            await kit.commit(*added(kit.tables[0], row(1)))
            second = await waiting
        finally:
            await close(rows)

        assert first.at_end
        assert not first.rows
        assert plain([second]) == [row(1)]

    @with_kit
    async def test_changes_are_seen_while_it_waits(self, kit: SourceKit) -> None:
        """A stream without an end gives change after change, and says each time that it is at the end again."""
        source = await kit.ready()
        rows = source.stream(await standing(source))
        found: list[Rows] = []
        try:
            for key in range(1, 6):
                await kit.commit(*added(kit.tables[0], row(key)))
                while not found or len(plain(found)) < key or not found[-1].at_end:
                    found.append(await anext(rows))
        finally:
            await close(rows)

        assert plain(found) == [row(key) for key in range(1, 6)]

    @with_kit
    async def test_numbers_can_be_left_out_of_the_text(self, kit: SourceKit) -> None:
        """``numbered=False``: the same events without ``index``, and the same numbers beside them."""
        source, place, found = await written(kit)
        bare = await gather(source, place, numbered=False)

        assert events(bare) == plain(found)
        assert numbers(bare) == numbers(found)

    @with_kit
    async def test_settings_change_no_number(self, kit: SourceKit) -> None:
        """Whatever is sent for deleted rows, a number means the same row."""
        _, place, found = await written(kit)
        row_of = {event["index"]: event["id"] for event in events(found)}
        for deletes in (Deletes.SKIP, Deletes.MARK):
            other = events(await gather(await kit.ready(deletes=deletes), place))

            assert len(other) >= len(row_of) - 1
            assert {event["index"]: event["id"] for event in other}.items() <= row_of.items()

    @with_kit
    async def test_a_table_outside_the_sync_sends_nothing(self, kit: SourceKit) -> None:
        """Its changes move the place and are no rows."""
        a, b = kit.tables
        source = await kit.ready(a)
        place = await standing(source)
        await kit.commit(*added(b, row(1)), *added(a, row(2)), *added(b, row(3)))
        found = await gather(source, place)

        assert plain(found) == [row(2)]
        assert plain(await gather(source, found[-1].end)) == []

    @pytest.mark.parametrize("deletes", list(Deletes))
    @with_kit
    async def test_deleted_rows_are_sent_as_the_mapping_says(self, kit: SourceKit, deletes: Deletes) -> None:
        """The old row, the old row or key with a mark, or nothing; what is kept back is counted."""
        source = await kit.ready(deletes=deletes)
        place = await standing(source)
        a = kit.tables[0]
        await kit.commit(*added(a, row(1), row(2)))
        await kit.commit(*removed(a, row(1)))
        found = await gather(source, place)

        first, second, *gone = plain(found)
        mark = {"_deleted": False} if deletes is Deletes.MARK else {}
        assert [first, second] == [row(1) | mark, row(2) | mark]
        if deletes is Deletes.SKIP:
            assert gone == []
        else:
            self._expect_gone(gone, 1, deletes)
        assert len(gone) + sum(rows.left_out for rows in found) == 1

    @pytest.mark.parametrize("deletes", list(Deletes))
    @with_kit
    async def test_a_changed_key_is_a_delete_and_a_row(self, kit: SourceKit, deletes: Deletes) -> None:
        """First the old key as the mapping says, or counted; then the row; resuming between them is exact."""
        source = await kit.ready(deletes=deletes)
        place = await standing(source)
        a = kit.tables[0]
        await kit.commit(*added(a, row(1)))
        await kit.commit(changed(a, row(1), row(5)))
        found = await gather(source, place)

        _, *gone, new = plain(found)
        assert new["id"] == 5
        assert not new.get("_deleted")
        if gone or deletes is Deletes.MARK:
            self._expect_gone(gone, 1, deletes)
        assert len(gone) + sum(rows.left_out for rows in found) == 1
        middle = [behind(rows, number) for rows in found for number in rows.indexes][-2]
        assert texts(await gather(source, middle)) == texts(found)[-1:]

    @with_kit
    async def test_a_changed_table_is_another_version(self, kit: SourceKit) -> None:
        """Rows of the old and the new definition never share a Rows, the version rises, and nothing is lost."""
        needs(self, "alter")
        source = await kit.ready()
        place = await standing(source)
        a, b = kit.tables
        await kit.commit(*added(a, row(1)), *added(b, row(1)))
        before = await gather(source, place)
        await kit.alter(a)
        await kit.commit(*added(a, row(2) | {"extra": "e"}), *added(b, row(2)))
        after = await gather(source, before[-1].end)
        whole = await gather(await kit.ready(), place)

        version = {rows.table: rows.version for rows in before if rows.rows}
        later = {rows.table: rows.version for rows in after if rows.rows}
        assert later[a] > version[a]
        assert later[b] == version[b]
        assert [(rows.table, event["id"]) for rows in whole for event in events([rows])] == [
            (a, 1),
            (b, 1),
            (a, 2),
            (b, 2),
        ]
        assert [event.get("extra") for rows in after if rows.table == a for event in events([rows])] == ["e"]

    @staticmethod
    def _expect_gone(gone: list[dict[str, object]], key: int, deletes: Deletes) -> None:
        """One event of the deleted row: whole without a mark, at least its key with one."""
        [event] = gone
        if deletes is Deletes.MARK:
            assert event.pop("_deleted") is True
            assert event.items() <= row(key).items()
            assert event["id"] == key
        else:
            assert event == row(key)
