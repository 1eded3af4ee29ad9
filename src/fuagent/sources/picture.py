"""A snapshot as the engine reads it: a picture of a server's tables, its rows written as events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from fuagent.encode.compile import Encoder, Values
from fuagent.encode.events import stored
from fuagent.encode.pieces import compile_pieces
from fuagent.encode.templates import Convert
from fuagent.model import Place, Rows, Table, TableSpec
from fuagent.sources.selection import Name


class Declared(Protocol):
    """One column as a table declares it."""

    @property
    def convert(self) -> Convert | None:
        """Makes a piece of its value; None where the value is the piece."""


class Layout(Protocol):
    """One table as it stands on a server."""

    @property
    def name(self) -> Name: ...

    @property
    def table(self) -> Table: ...

    @property
    def columns(self) -> Sequence[Declared]: ...

    @property
    def estimate(self) -> int | None:
        """About how many rows there are; None where unknown."""


class Picture(Protocol):
    """A picture under way. It holds a transaction, and locks if it has to, until :meth:`close`."""

    def rows(self, chunk: int) -> AsyncGenerator[tuple[Layout, Sequence[Values]], None]:
        """All rows as the server sends them, table by table, at most ``chunk`` at a time.

        Raises:
            TryAgainError: a table was changed under the picture; the rows so far are worth nothing.
        """

    async def close(self) -> None:
        """Release what holds the picture."""


def encoder(spec: TableSpec, layout: Layout) -> Encoder:
    """What writes rows as a SELECT of the layout's columns gives them."""
    return compile_pieces(spec, [one.convert for one in layout.columns])


def total(layouts: Sequence[Layout]) -> int | None:
    """About how many rows there are; None where unknown."""
    known = [one.estimate for one in layouts if one.estimate is not None]
    return sum(known) if len(known) == len(layouts) else None


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
                        among=part.among,
                    )
