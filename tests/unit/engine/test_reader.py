"""Who reads ahead and who sends take turns: the service has its next request before more is read."""

import asyncio

from fuagent.engine.batcher import Batcher, SizeLimit
from fuagent.engine.reader import Reader
from fuagent.model import Place, Rows

PLACE = Place(position="1", previous=1)


async def rows(seen):
    """Rows without end, each seen when it is read."""
    while True:
        seen.append("read")
        yield Rows(table="t", rows=[b"{}"], indexes=[1], start=PLACE, end=PLACE, boundary=True)


async def test_what_was_taken_goes_out_before_more_is_read():
    """Reading a chunk takes a while, and the service would wait for it with nothing to do."""
    seen = []
    batcher = Batcher(1, SizeLimit(1000), 0, str)

    async def send():
        seen.append("sent")

    async with asyncio.timeout(10), Reader(rows(seen), batcher) as reader:
        await reader.news()
        assert batcher.full
        seen.clear()
        batcher.take()
        reader.taken()
        await asyncio.create_task(send())
        await reader.news()

    assert seen[:2] == ["sent", "read"]
