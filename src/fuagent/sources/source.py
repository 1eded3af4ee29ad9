"""What the sources of all servers share: a connection to ask by, and the tables as they were seen last."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, Self, TypeVar

from fuagent.encode.pieces import compile_pieces
from fuagent.encode.shown import shown
from fuagent.errors import HaltSyncError, TryAgainError
from fuagent.interfaces import SourceContext
from fuagent.model import Finding, Level, Table, TableSpec
from fuagent.sources.address import Address, Dialect, address_of
from fuagent.sources.options import ServerOptions
from fuagent.sources.picture import Layout
from fuagent.sources.selection import Listing, Name, select


class Link(Protocol):
    """A connection to a server; ``where`` is how messages name that."""

    @property
    def where(self) -> str: ...

    @classmethod
    async def open(cls, address: Address) -> Self: ...

    async def close(self) -> None: ...


OptionsT = TypeVar("OptionsT", bound=ServerOptions)
LinkT = TypeVar("LinkT", bound=Link)
ServerT = TypeVar("ServerT")
LayoutT = TypeVar("LayoutT", bound=Layout)
VersionsT = TypeVar("VersionsT")
One = TypeVar("One")


class ServerSource(ABC, Generic[OptionsT, LinkT, ServerT, LayoutT, VersionsT]):
    """One sync's tables on one server: its options, a link to it, what it said of itself, and what the tables are."""

    Options: type[OptionsT]
    _Link: type[LinkT]
    _dialect: Dialect

    def __init__(self, context: SourceContext) -> None:
        self._context = context
        self._options = context.options if isinstance(context.options, self.Options) else self.Options()
        self._address: Address | None = None
        self._link: LinkT | None = None
        self._server: ServerT | None = None
        self._specs: dict[Name, TableSpec] = {}
        self._layouts: dict[str, LayoutT] = {}
        self._versions: VersionsT | None = None
        self._asking = asyncio.Lock()
        """Held while the link is asked."""

    # ------------------------------------------------------------ opening

    async def open(self) -> None:
        """Connect."""
        if self._link is not None:
            return
        address = self._found_address()
        link = await self._Link.open(address)
        try:
            server = await self._ask(link)
        except BaseException:
            await link.close()
            raise
        self._address, self._link, self._server = address, link, server

    @abstractmethod
    async def _ask(self, link: LinkT) -> ServerT:
        """What the server says of itself."""

    def _found_address(self) -> Address:
        context = self._context
        return address_of(self._dialect, context.endpoint, context.credential(), self._options, context.base_dir)

    async def close(self) -> None:
        """Let go of the connection."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def _there(self, one: One | None, otherwise: str = "the database is not connected") -> One:
        if one is None:
            raise TryAgainError(otherwise, where=self._context.endpoint)
        return one

    @property
    def _opened(self) -> LinkT:
        return self._there(self._link)

    @property
    def _known(self) -> ServerT:
        return self._there(self._server)

    @property
    def _reached(self) -> Address:
        return self._there(self._address)

    @property
    def _prepared(self) -> VersionsT:
        return self._there(self._versions, "the source is not prepared")

    # ------------------------------------------------------------ tables

    @abstractmethod
    async def _listed(self) -> Listing:
        """What tables there are; the link is the caller's to hold."""

    @abstractmethod
    async def _laid_out(self, names: Sequence[Name]) -> list[LayoutT]:
        """The layouts of those of these tables that are there; the link is the caller's to hold."""

    async def discover(self) -> list[Table]:
        """The tables that names and patterns select."""
        _, layouts = await self._selected()
        return [layout.table for layout in layouts]

    async def _selected(self) -> tuple[Listing, list[LayoutT]]:
        async with self._asking:
            found = await self._listed()
            layouts = await self._laid_out(select(found, self._context.tables, self._context.exclude))
        self._layouts = {layout.table.label: layout for layout in layouts}
        return found, layouts

    async def _look(self, labels: Sequence[str]) -> list[LayoutT]:
        """The layouts of these tables; all are looked at again if one was not seen before."""
        if not self._layouts.keys() >= set(labels):
            await self._selected()
            gone = set(labels) - self._layouts.keys()
            if gone:
                raise HaltSyncError(f"table {shown(min(gone))} is not there", where=self._opened.where)
        return [self._layouts[label] for label in labels]

    async def _compile(self, specs: Sequence[TableSpec]) -> list[LayoutT]:
        """Take these tables for those of the sync; gives their layouts."""
        chosen = await self._look([spec.table.label for spec in specs])
        for spec in specs:
            compile_pieces(spec)
        self._specs = {layout.name: spec for layout, spec in zip(chosen, specs, strict=True)}
        return chosen

    def _say(self, news: list[str]) -> None:
        """Tell the operator what a reader of the log met, and forget it."""
        for said in news:
            fix = f"fuagent snapshot {self._context.sync}, if the service needs it."
            self._context.warn(Finding(Level.WARNING, self._opened.where, said, fix))
        news.clear()
