"""What a snapshot owes: one picture, its place, and the stream's own values. Part of the source suite."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import groupby
from typing import Self

from fuagent.testing.running import needs, with_kit
from fuagent.testing.source_kit import (
    Event,
    SourceKit,
    added,
    changed,
    close,
    events,
    gather,
    numbers,
    pictured,
    plain,
    removed,
    row,
    standing,
    texts,
)


class _Writer:
    """Another program: raises a counter in both tables at once, while rows come and go beside it."""

    def __init__(self, kit: SourceKit) -> None:
        self._kit = kit
        self.count = 0
        self._task: asyncio.Task[None] | None = None

    async def once(self) -> None:
        """One transaction."""
        a, b = self._kit.tables
        old, new = row(1, f"{self.count:06}"), row(1, f"{self.count + 1:06}")
        gone = removed(a, row(997 + self.count)) if self.count >= 3 else []
        await self._kit.commit(changed(a, old, new), *added(a, row(1000 + self.count)), *gone, changed(b, old, new))
        self.count += 1

    async def __aenter__(self) -> Self:
        """Write in the background, as often as the event loop gives leave."""
        self._stopping = False
        self._task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        while not self._stopping:
            await self.once()
            await asyncio.sleep(0)

    async def __aexit__(self, *_error: object) -> None:
        self._stopping = True
        assert self._task is not None
        await self._task


class _OnPurposeError(Exception):
    """What happens in the middle of a snapshot."""


class SnapshotSuite:
    """Tests of ``Source.snapshot``."""

    no_write_beside = ""

    @with_kit
    async def test_changes_beside_it_are_neither_lost_nor_doubled(self, kit: SourceKit) -> None:
        """The picture is one moment of all tables, and the stream from its place begins at that moment."""
        needs(self, "write_beside")
        a, b = kit.tables
        source = await kit.ready()
        await kit.commit(*added(a, row(1, "000000")), *added(b, row(1, "000000")))
        await kit.commit(*(change for key in range(100, 140) for change in added(b, row(key))))
        writer = _Writer(kit)
        for _ in range(3):
            async with writer:
                run = await source.snapshot(kit.tables)
            tables: dict[str, dict[object, Event]] = {a: {}, b: {}}
            async with run:
                async for rows in run.rows():
                    tables[rows.table] |= {event["id"]: event for event in events([rows])}
                    await writer.once()
            await writer.once()
            stream = plain(await gather(source, run.place))

            assert tables[a][1] == tables[b][1], "the picture shows two moments"
            shown = int(tables[a][1]["v"])
            expected = [f"{number:06}" for number in range(shown + 1, writer.count + 1) for _ in (a, b)]
            assert [event["v"] for event in stream if event["id"] == 1] == expected
            assert tables[a].keys() - {1} == {1000 + number for number in range(max(0, shown - 3), shown)}
            assert tables[b].keys() - {1} == set(range(100, 140))

    @with_kit
    async def test_its_rows_carry_no_number_and_stand_at_its_place(self, kit: SourceKit) -> None:
        """Without index, from S to S, one table after the other."""
        a, b = kit.tables
        source = await kit.ready()
        await kit.commit(*(change for key in range(1, 31) for change in added((a, b)[key % 2], row(key))))
        picture = await pictured(source, b, a)

        assert sorted(event["id"] for event in events(picture.rows)) == list(range(1, 31))
        assert not any("index" in event for event in events(picture.rows))
        assert numbers(picture.rows) == []
        assert {(rows.start, rows.end) for rows in picture.rows} == {(picture.place, picture.place)}
        assert [table for table, _ in groupby(picture.rows, lambda rows: rows.table)] == [b, a]
        assert picture.total is None or picture.total >= 0

    @with_kit
    async def test_a_value_is_written_as_in_the_stream(self, kit: SourceKit) -> None:
        """Byte for byte, for every value the kit knows."""
        a = kit.tables[0]
        source = await kit.ready()
        place = await standing(source)
        await kit.commit(*added(a, *(row(key, value) for key, value in enumerate(kit.values, 1))))
        streamed = await gather(source, place, numbered=False)
        picture = await pictured(source, a)

        assert len(texts(streamed)) == len(kit.values)
        assert sorted(texts(picture.rows)) == sorted(texts(streamed))

    @with_kit
    async def test_its_number_lies_between_before_and_after(self, kit: SourceKit) -> None:
        """S is above every image before it and below every image behind it."""
        a = kit.tables[0]
        source = await kit.ready()
        place = await standing(source)
        await kit.commit(*added(a, row(1)))
        picture = await pictured(source)
        await kit.commit(changed(a, row(1), row(1, "y")))

        [before] = numbers(await gather(source, place, until=picture.place.position))
        [after] = numbers(await gather(source, picture.place))
        assert before < picture.index < after

    @with_kit
    async def test_it_can_be_left_in_the_middle(self, kit: SourceKit) -> None:
        """By leaving, or by an error; the next one is whole, and others can write."""
        a = kit.tables[0]
        source = await kit.ready()
        await kit.commit(*(change for key in range(1, 61) for change in added(a, row(key))))
        for fails in (False, True):
            with suppress(_OnPurposeError):
                async with await source.snapshot(kit.tables) as run:
                    rows = run.rows()
                    await anext(rows)
                    await close(rows)
                    if fails:
                        raise _OnPurposeError
        async with await source.snapshot(kit.tables):
            pass
        await kit.commit(*added(a, row(61)))

        assert sorted(event["id"] for event in events((await pictured(source)).rows)) == list(range(1, 62))

    @with_kit
    async def test_an_empty_table_has_no_rows(self, kit: SourceKit) -> None:
        """A picture of nothing ends like any other, with a place to go on from."""
        source = await kit.ready()
        picture = await pictured(source)
        await kit.commit(*added(kit.tables[0], row(1)))

        assert texts(picture.rows) == []
        assert plain(await gather(source, picture.place)) == [row(1)]

    @with_kit
    async def test_it_shows_the_tables_asked_for(self, kit: SourceKit) -> None:
        """Some of the prepared ones alone, where a table joins a sync."""
        a, b = kit.tables
        source = await kit.ready()
        await kit.commit(*added(a, row(1)), *added(b, row(2)))

        assert plain((await pictured(source, b)).rows) == [row(2)]
