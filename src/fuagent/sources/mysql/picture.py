"""A snapshot as the engine reads it: a picture of tables, its rows written as events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from fuagent.encode.compile import Encoder
from fuagent.encode.events import stored
from fuagent.model import Place, Rows
from fuagent.sources.mysql.snapshot import Picture
from fuagent.sources.selection import Name


@dataclass(slots=True)
class Run:
    """See :class:`fuagent.interfaces.SnapshotRun`."""

    picture: Picture
    place: Place
    index: int
    total: int | None
    encoders: Mapping[Name, Encoder]
    chunk: int

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.picture.close()

    async def rows(self) -> AsyncGenerator[Rows, None]:
        """All rows, table by table."""
        place = self.place
        async with aclosing(self.picture.rows(self.chunk)) as found:
            async for layout, rows in found:
                for part in stored(self.encoders[layout.name], rows):
                    yield Rows(
                        table=layout.table.label,
                        rows=part.texts,
                        indexes=(),
                        start=place,
                        end=place,
                        boundary=False,
                        left_out=part.left_out,
                        refused=part.refused,
                    )
