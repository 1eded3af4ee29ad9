"""Partitions that come and go while the log is read.

Before version 15 the server does not notice, in a session that reads its log: it goes by what it thought of a
partition when its first change came by. So it keeps back the changes of one that was attached since, and still
sends those of one that was detached. Nothing in the log tells; the catalogue does, to whoever looks.
https://www.postgresql.org/docs/15/release-15.html
"""

from __future__ import annotations

from collections.abc import Iterable

from fuagent.encode.shown import shown
from fuagent.errors import LostPlaceError, TryAgainError
from fuagent.sources.postgres.tables import Layout, Leaf

NOTICED = 150_000
"""The version from which on the server notices by itself."""


class Partitions:
    """The partitions of the tables that are followed, as they were when last looked at."""

    def __init__(self) -> None:
        self._known: dict[int, dict[int, Leaf]] = {}
        """By the table's number, then by their own."""

    def anew(self, where: str, tables: Iterable[Layout]) -> None:
        """Look again, before the log is read in a new session: that one knows what there is now.

        Raises:
            LostPlaceError: a table was attached since the last look. What the session before kept back is lost.
        """
        for one, known in self._looked_at(tables):
            _verify_attached(where, one, known)

    def again(self, where: str, tables: Iterable[Layout]) -> None:
        """Look again while the log is read.

        Raises:
            LostPlaceError: as for :meth:`anew`.
            TryAgainError: one was detached; a new session will know.
        """
        for one, known in self._looked_at(tables):
            _verify_attached(where, one, known)
            if gone := known.keys() - {leaf.oid for leaf in one.leaves}:
                name = shown(known[min(gone)].name.table)
                raise TryAgainError(
                    f"partition {name} of table {shown(one.table.label)} is no longer one: the log is read anew",
                    where=where,
                )

    def _looked_at(self, tables: Iterable[Layout]) -> list[tuple[Layout, dict[int, Leaf]]]:
        """What is known from before, of tables known before. Whatever comes of it is said once."""
        before = [(one, self._known[one.oid]) for one in tables if one.oid in self._known]
        self._known |= {one.oid: {leaf.oid: leaf for leaf in one.leaves} for one in tables}
        return before


def _verify_attached(where: str, one: Layout, known: dict[int, Leaf]) -> None:
    for leaf in one.leaves:
        if leaf.oid not in known and leaf.attached:
            raise LostPlaceError(
                f"table {shown(leaf.name.table)} was attached to {shown(one.table.label)} as a partition, and this "
                "server (before version 15) does not send the changes of one that is attached while its log is read",
                where=where,
            )
