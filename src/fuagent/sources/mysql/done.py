"""What was committed before a place in the log, as its server says it: GTIDs, and what stands prepared."""

from __future__ import annotations

from collections.abc import Mapping

from fuagent.wire.mysql.gtids import GtidSet, MariadbPosition


class Done:
    """Grows transaction by transaction; its texts are what a :class:`~fuagent.sources.mysql.places.Spot` keeps."""

    def __init__(
        self, gtids: GtidSet | MariadbPosition, prepared: Mapping[str, tuple[str, int]], *, known: bool
    ) -> None:
        self._gtids = gtids
        self._known = known
        self._text = str(gtids)
        self.prepared = prepared

    @classmethod
    def parse(cls, text: str, prepared: Mapping[str, tuple[str, int]], *, mariadb: bool) -> Done:
        """What a spot keeps."""
        gtids = MariadbPosition.parse(text) if mariadb else GtidSet.parse(text)
        return cls(gtids, dict(prepared), known=bool(text))

    def start(self, gtids: GtidSet | MariadbPosition) -> None:
        """What the beginning of a file says; it counts where nothing was known."""
        if not self._known:
            self._gtids, self._known, self._text = gtids, True, ""

    @property
    def text(self) -> str:
        """All that was committed."""
        if not self._text:
            self._text = str(self._gtids)
        return self._text

    def add(self, gtid: str) -> None:
        """One transaction more, by its text."""
        if isinstance(self._gtids, MariadbPosition):
            domain, server, sequence = map(int, gtid.split("-"))
            self._gtids.add(domain, server, sequence)
        else:
            uuid, *tag, number = gtid.split(":")
            self._gtids.add(uuid, tag[0] if tag else "", int(number))
        self._text = ""

    def with_(self, gtid: str) -> str:
        """The text with one transaction more, which is not added."""
        other = Done(self._gtids.copy(), {}, known=True)
        if gtid:
            other.add(gtid)
        return other.text

    def prepare(self, xid: str, file: str, offset: int) -> None:
        """A transaction is prepared whose changes begin there."""
        self.prepared = {**self.prepared, xid: (file, offset)}

    def ended(self, xid: str) -> tuple[str, int] | None:
        """A prepared transaction has ended; where its changes begin, None where that is not known."""
        found = self.prepared.get(xid)
        self.prepared = {name: place for name, place in self.prepared.items() if name != xid}
        return found
