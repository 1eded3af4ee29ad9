"""What a life owes: opening, closing, cancellation, finding tables, leaving nothing. Part of the source suite."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from fuagent.errors import HaltSyncError, TryAgainError
from fuagent.interfaces import Source
from fuagent.model import Place
from fuagent.testing.leftovers import cancelled_at, held, left_behind
from fuagent.testing.running import needs, with_kit
from fuagent.testing.source_kit import (
    SourceKit,
    added,
    close,
    gather,
    pictured,
    plain,
    prepare,
    row,
    standing,
    texts,
)

MOST_AWAITS = 500


async def _session(source: Source, place: Place) -> list[bytes]:
    """All that the engine does with a driver between opening and closing it."""
    await source.open()
    await prepare(source)
    await pictured(source)
    found = await gather(source, place)
    await source.acknowledge(place)
    await source.head(place)
    return texts(found)


class LifeSuite:
    """Tests of ``open``, ``close``, ``discover``, ``check``, ``remove``, and of every await."""

    no_interrupt = ""
    no_remains = ""

    @with_kit
    async def test_closing_is_always_allowed(self, kit: SourceKit) -> None:
        """Without opening, twice, and then it opens again."""
        source = kit.made()
        await source.close()
        await source.close()
        await source.open()
        await source.close()
        await source.close()
        await source.open()

        assert [table.label for table in await source.discover()]

    @with_kit
    async def test_opening_twice_is_opening_once(self, kit: SourceKit) -> None:
        """The second time nothing happens, and one close lets go of everything."""
        source = kit.made()
        await source.open()
        await source.close()
        before = held()
        await source.open()
        await source.open()
        await source.close()

        assert await left_behind(before) == []

    @with_kit
    async def test_making_one_opens_nothing(self, kit: SourceKit) -> None:
        """A driver that is not opened holds nothing."""
        before = held()
        kit.made()

        assert held().beyond(before) == []

    @with_kit
    async def test_a_cancelled_await_leaves_nothing_open(self, kit: SourceKit) -> None:
        """Each await of a whole session is cancelled in turn; closed, nothing is left, and the next session is whole."""
        source = await kit.ready()
        place = await standing(source)
        await kit.commit(*(change for key in range(1, 31) for change in added(kit.tables[key % 2], row(key))))
        whole = await _session(source, place)
        await source.close()
        before = held()
        step = 1
        while await cancelled_at(step, lambda: _session(source, place)):
            await source.close()
            assert await left_behind(before) == [], f"cancelled at await {step}"
            step += 1
            assert step < MOST_AWAITS
        await source.close()

        assert len(whole) == 30
        assert await _session(source, place) == whole

    @with_kit
    async def test_a_stream_that_waits_can_be_cancelled(self, kit: SourceKit) -> None:
        """Waiting for news is an await like any other, and closing the iterator ends it as well."""
        source = await kit.ready()
        place = await standing(source)
        await source.close()
        before = held()
        for ways in range(4):
            await source.open()
            await prepare(source)
            rows = source.stream(place)
            assert (await anext(rows)).at_end
            if ways % 2:
                waiting = asyncio.ensure_future(anext(rows))
                for _ in range(5):
                    await asyncio.sleep(0)
                waiting.cancel()
                with suppress(asyncio.CancelledError):
                    await waiting
            if ways < 2:
                await close(rows)
            await source.close()
            await close(rows)

            assert await left_behind(before) == []

    @with_kit
    async def test_tables_come_in_a_stable_order(self, kit: SourceKit) -> None:
        """By name, by pattern, less those excluded, and the same again next time."""
        a, b = kit.tables

        async def labels(*names: str, exclude: tuple[str, ...] = ()) -> list[str]:
            source = kit.made(*names, exclude=exclude)
            await source.open()
            found = [table.label for table in await source.discover()]
            assert found == [table.label for table in await source.discover()]
            return found

        assert sorted(await labels(a, b)) == sorted((a, b))
        assert await labels(b) == [b]
        assert {a, b} <= set(await labels("*"))
        assert b not in await labels("*", exclude=(b,))
        assert await labels("*") == await labels("*")

    @with_kit
    async def test_tables_say_their_columns_and_key(self, kit: SourceKit) -> None:
        """``id`` is the key, and both columns are there in order."""
        source = kit.made(kit.tables[0])
        await source.open()
        [table] = await source.discover()

        assert [column.name for column in table.columns] == ["id", "v"]
        assert table.key == ("id",)

    @pytest.mark.parametrize("good", [True, False])
    @with_kit
    async def test_a_name_without_a_table_needs_a_person(self, kit: SourceKit, good: bool) -> None:
        """Alone or beside one that is there; the text has the name, and the close match."""
        a = kit.tables[0]
        wrong = a + "x"
        source = kit.made(*((a, wrong) if good else (wrong,)))
        await source.open()

        with pytest.raises(HaltSyncError) as caught:
            await source.discover()
        assert wrong in str(caught.value)
        assert a in str(caught.value).replace(wrong, "")

    @with_kit
    async def test_checking_changes_nothing(self, kit: SourceKit) -> None:
        """It gives its findings, and the database holds nothing of ours."""
        source = kit.made()
        await source.open()
        findings = await source.check()

        assert all(finding.where and finding.what for finding in findings)
        if not self.no_remains:
            assert await kit.remains() == []

    @with_kit
    async def test_removing_takes_everything_out(self, kit: SourceKit) -> None:
        """All that following the tables has put there, without preparing first; twice does no harm."""
        needs(self, "remains")
        source = await kit.ready()
        await pictured(source)
        await source.acknowledge(await standing(source))
        await source.close()
        again = kit.made()
        said = await again.remove()
        twice = await again.remove()
        await again.close()

        assert await kit.remains() == []
        assert said
        assert all(isinstance(line, str) for line in (*said, *twice))

    @with_kit
    async def test_a_cut_connection_passes_by_itself(self, kit: SourceKit) -> None:
        """What was being done goes on or says to try again; opened anew, every row comes."""
        needs(self, "interrupt")
        source = await kit.ready()
        place = await standing(source)
        await kit.commit(*added(kit.tables[0], *(row(key) for key in range(1, 31))))
        rows = source.stream(place)
        with suppress(TryAgainError):
            await anext(rows)
            await kit.interrupt()
            async for part in rows:
                if part.at_end:
                    break
        await close(rows)
        await source.close()
        await source.open()
        await prepare(source)

        assert plain(await gather(source, place)) == [row(key) for key in range(1, 31)]
