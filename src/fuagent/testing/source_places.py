"""What places owe: found exactly or lost, never guessed; kept until acknowledged. Part of the source suite."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from fuagent.errors import LostPlaceError
from fuagent.interfaces import Source
from fuagent.model import INDEX_MAX, Anchor, Place, Rows
from fuagent.testing.running import needs, with_kit
from fuagent.testing.source_kit import (
    SourceKit,
    added,
    behind,
    changed,
    close,
    gather,
    numbers,
    pictured,
    plain,
    prepare,
    row,
    standing,
    texts,
)
from fuagent.testing.source_order import written


def anchors_of(place: Place, found: Sequence[Rows]) -> list[Anchor]:
    """What the journal would hold, newest first: where it began, and the end of each transaction."""
    ends = [Anchor(rows.indexes[-1], rows.end) for rows in found if rows.boundary and rows.indexes]
    return [*reversed(ends), Anchor(place.previous, place)]


async def found_or_lost(source: Source, anchors: Sequence[Anchor], index: int) -> list[bytes] | None:
    """What follows the place behind ``index``; None if the driver says that it cannot prove one."""
    try:
        return texts(await gather(source, await source.locate(anchors, index)))
    except LostPlaceError:
        return None


class PlacesSuite:
    """Tests of ``locate``, ``oldest``, ``acknowledge``, ``head`` and ``prepare``."""

    no_purge = ""
    no_replace = ""
    no_miss = ""

    @with_kit
    async def test_every_number_is_found_by_the_anchors(self, kit: SourceKit) -> None:
        """Behind each number that was sent stands exactly what followed it, in this life and the next."""
        source, place, found = await written(kit)
        anchors, whole = anchors_of(place, found), texts(found)
        await source.close()
        source = await kit.ready()

        for done, number in enumerate(numbers(found), 1):
            assert await found_or_lost(source, anchors, number) == whole[done:], f"number {number}"

    @with_kit
    async def test_an_anchor_in_the_middle_of_rows_is_found(self, kit: SourceKit) -> None:
        """What the engine writes down when a batch ended inside a transaction leads back there."""
        source, _, found = await written(kit)
        whole = texts(found)
        places = [(number, behind(rows, number)) for rows in found for number in rows.indexes]

        for done, (number, place) in enumerate(places, 1):
            anchor = Anchor(number, place, boundary=not place.resume_after)
            assert await found_or_lost(source, [anchor], number) == whole[done:], f"number {number}"

    @with_kit
    async def test_a_number_alone_is_exact_or_lost(self, kit: SourceKit) -> None:
        """Without a journal a driver proves the place or says that it cannot."""
        source, _, found = await written(kit)
        whole = texts(found)

        for done, number in enumerate(numbers(found), 1):
            assert await found_or_lost(source, [], number) in (None, whole[done:]), f"number {number}"

    @pytest.mark.parametrize("journal", [True, False])
    @with_kit
    async def test_a_number_that_nothing_has_is_lost(self, kit: SourceKit, journal: bool) -> None:
        """Between two numbers, beyond the end, and the largest there is: never the next best place."""
        source = await kit.ready()
        place = await standing(source)
        for key in range(1, 5):
            await kit.commit(*added(kit.tables[0], row(key), row(key + 100)))
        found = await gather(source, place)
        given = numbers(found)
        anchors = anchors_of(place, found) if journal else []
        missing = {number + step for number in given for step in (1, 2)} - set(given)

        for number in sorted({*missing, given[-1] + 1000, INDEX_MAX}):
            with pytest.raises(LostPlaceError):
                await source.locate(anchors, number)

    @with_kit
    async def test_a_snapshots_number_is_found(self, kit: SourceKit) -> None:
        """S is met exactly; by its number alone it is met or lost."""
        source = await kit.ready()
        a = kit.tables[0]
        await kit.commit(*added(a, row(1)))
        picture = await pictured(source)
        await kit.commit(*added(a, row(2)))
        place = Place(picture.place.position, max(picture.place.previous, picture.index))
        rest = texts(await gather(source, place))

        assert len(rest) == 1
        assert await found_or_lost(source, [Anchor(picture.index, place)], picture.index) == rest
        assert await found_or_lost(source, [], picture.index) in (None, rest)

    @pytest.mark.parametrize("distance", [-1, 0, 1, 10_000])
    @with_kit
    async def test_the_oldest_place_numbers_everything_above(self, kit: SourceKit, distance: int) -> None:
        """All that follows lies above the number given, ends as the log does, and keeps its numbers."""
        source, _, found = await written(kit)
        above = numbers(found)[-1] + distance
        place = await source.oldest(above)
        rest = await gather(source, place)
        again = await gather(await kit.ready(), place)

        given = numbers(rest)
        assert all(low < high for low, high in pairwise((above, *given)))
        assert plain(rest)[-len(plain(found)) :] == plain(found)
        assert texts(again) == texts(rest)

    @with_kit
    async def test_acknowledging_beside_a_stream_disturbs_nothing(self, kit: SourceKit) -> None:
        """Every row comes, while each is acknowledged and the end of the log is asked for."""
        _, place, found = await written(kit)
        source = await kit.ready()
        until = (await source.head(None)).position
        seen: list[Rows] = []
        rows = source.stream(place, until)
        async for part in rows:
            seen.append(part)
            await source.head(part.end)
            if part.boundary:
                await source.acknowledge(part.end)
                await source.acknowledge(part.end)

        assert texts(seen) == texts(found)

    @with_kit
    async def test_what_is_not_acknowledged_stays(self, kit: SourceKit) -> None:
        """The log keeps what lies behind the last acknowledged place, and the place itself is found."""
        needs(self, "purge")
        source, place, found = await written(kit)
        whole = texts(found)
        await source.acknowledge(place)
        await kit.purge()
        assert texts(await gather(source, place)) == whole
        done = next(count for count, rows in enumerate(found, 1) if rows.boundary and rows.rows)
        reached = found[done - 1]
        await source.acknowledge(reached.end)
        await kit.purge()
        rest = whole[len(texts(found[:done])) :]
        again = await kit.ready()

        assert await found_or_lost(again, [Anchor(reached.indexes[-1], reached.end)], reached.indexes[-1]) == rest

    @with_kit
    async def test_what_is_purged_is_lost_or_still_whole(self, kit: SourceKit) -> None:
        """A place that was let go is refused, by ``locate`` and ``stream`` alike, unless all of it is there."""
        needs(self, "purge")
        source, place, found = await written(kit)
        whole = texts(found)
        await source.acknowledge(found[-1].end)
        await kit.purge()
        again = await kit.ready()
        try:
            streamed = texts(await gather(again, place))
        except LostPlaceError:
            streamed = None

        assert streamed in (None, whole)
        assert await found_or_lost(again, [Anchor(place.previous, place)], place.previous) in (None, whole)
        oldest = await gather(again, await again.oldest(numbers(found)[-1]))
        assert plain(oldest) == plain(found)[len(plain(found)) - len(plain(oldest)) :]

    @with_kit
    async def test_another_database_is_noticed(self, kit: SourceKit) -> None:
        """Places of the one that was there before are not in it, even where its numbers are the same."""
        needs(self, "replace")
        source, place, found = await written(kit)
        await source.close()
        await kit.replace()
        again = await kit.ready()
        await kit.commit(*(change for key in range(1, 31) for change in added(kit.tables[0], row(key, "other"))))

        assert await found_or_lost(again, anchors_of(place, found), numbers(found)[-1]) is None
        with pytest.raises(LostPlaceError):
            await gather(again, found[-1].end, until=(await again.head(None)).position)

    @with_kit
    async def test_changes_the_log_does_not_hold_are_noticed(self, kit: SourceKit) -> None:
        """Preparing says so each time until it is told to mend; then changes are kept again."""
        needs(self, "miss")
        source, _, _ = await written(kit)
        await source.close()
        await kit.miss(*added(kit.tables[0], row(500)))
        again = kit.made()
        await again.open()
        for _ in range(2):
            with pytest.raises(LostPlaceError):
                await prepare(again)
        await prepare(again, mend=True)
        place = await standing(again)
        await kit.commit(changed(kit.tables[0], row(500), row(500, "kept")))

        assert plain(await gather(again, place)) == [row(500, "kept")]

    @with_kit
    async def test_the_head_is_the_end_of_the_log(self, kit: SourceKit) -> None:
        """It moves with every commit, is told beside a stream, and counts what lies behind a place."""
        source = await kit.ready()
        place = await standing(source)
        await kit.commit(*added(kit.tables[0], row(1)))
        rows = source.stream(place)
        try:
            first = await anext(rows)
            before = await source.head(first.end)
            await kit.commit(*added(kit.tables[0], row(2)))
            after = await source.head(first.end)
        finally:
            await close(rows)

        assert plain([first]) == [row(1)]
        assert before.position != after.position
        assert before.rows_behind in (None, 0)
        assert after.rows_behind is None or after.rows_behind > 0

    @with_kit
    async def test_the_head_is_told_right_behind_opening(self, kit: SourceKit) -> None:
        """Nobody reads for a sync at rest, and what it has not read grows all the same."""
        source = await kit.ready()
        place = await standing(source)
        await source.close()
        await kit.commit(*added(kit.tables[0], row(1)))
        await source.open()
        head = await source.head(place)

        assert head.position != place.position
        assert head.rows_behind is None or head.rows_behind > 0
        assert head.bytes_behind is None or head.bytes_behind > 0
