"""What reading rows again owes: the row an event told of, or a clear word. Part of the source suite."""

from __future__ import annotations

import json

import pytest

from fuagent.model import Deletes, Mapping, TableSpec, Written
from fuagent.testing.running import with_kit
from fuagent.testing.source_kit import (
    Event,
    SourceKit,
    added,
    changed,
    gather,
    pictured,
    removed,
    row,
    standing,
    texts,
)


async def spec_of(kit: SourceKit, deletes: Deletes = Deletes.ROW) -> TableSpec:
    """The first table with all that decides how its rows are written."""
    source = kit.made(kit.tables[0])
    await source.open()
    [table] = await source.discover()
    return TableSpec(table, Mapping(deletes=deletes))


class AgainSuite:
    """Tests of ``Source.reread`` and ``Source.sample``."""

    @pytest.mark.parametrize("deletes", list(Deletes))
    @with_kit
    async def test_events_lead_back_to_their_rows(self, kit: SourceKit, deletes: Deletes) -> None:
        """Each to its row as it is now, in their order; a row that is gone has no event, its mark stays a mark."""
        a = kit.tables[0]
        source = await kit.ready(deletes=deletes)
        place = await standing(source)
        await kit.commit(*added(a, row(1, "old"), row(2), row(3)))
        await kit.commit(changed(a, row(1, "old"), row(1, "new")), *removed(a, row(2)))
        told = texts(await gather(source, place))
        now = {_read(text)["id"]: text for text in texts((await pictured(source, a)).rows)}
        again = kit.made(a)
        await again.open()
        found = await again.reread(await spec_of(kit, deletes), told)

        assert len(found) == len(told)
        for text, written in zip(told, found, strict=True):
            event = _read(text)
            assert not written.refused
            if event["id"] in now:
                assert written == Written(now[event["id"]])
            elif event.get("_deleted"):
                assert written.event is not None
                assert _read(written.event) == {"id": event["id"], "_deleted": True}
            else:
                assert written == Written()

    @with_kit
    async def test_an_event_without_its_key_is_refused(self, kit: SourceKit) -> None:
        """In words, and never as another row; what stands beside it is answered all the same."""
        a = kit.tables[0]
        await kit.commit(*added(a, row(1)))
        source = kit.made(a)
        await source.open()
        first, second = await source.reread(await spec_of(kit), [b'{"v":"x"}', b'{"id":1,"v":"x","index":9}'])

        assert first.event is None
        assert first.refused
        assert second.event is not None
        assert _read(second.event) == row(1)

    @pytest.mark.parametrize("most", [1, 5, 100])
    @with_kit
    async def test_a_sample_is_the_beginning_of_a_snapshot(self, kit: SourceKit, most: int) -> None:
        """Rows of the table as a snapshot writes them, no more than asked for."""
        a, b = kit.tables
        await kit.commit(*(change for key in range(1, 31) for change in added((a, b)[key % 2], row(key))))
        source = kit.made(a)
        await source.open()
        found = await source.sample(await spec_of(kit), most)
        whole = texts((await pictured(await kit.ready(), a)).rows)

        assert len(found) == min(most, len(whole))
        assert len({written.event for written in found}) == len(found)
        assert {written.event for written in found} <= set(whole)
        assert not any(written.refused for written in found)


def _read(text: bytes) -> Event:
    event: Event = json.loads(text)
    return event
