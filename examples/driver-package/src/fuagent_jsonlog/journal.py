"""Reading a journal: an append-only file of JSON lines that some application writes.

Every function opens the file, reads a bounded part of it and closes it: there is nothing to
clean up, and each may run on any thread. What is not followed by a commit is not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

from fuagent import HaltSyncError, LostPlaceError, TryAgainError

Row = dict[str, Any]
_PROOF = 512
"""Bytes before a place that have to be what they were."""
_FIX = "take a snapshot; it brings the service in step again"


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a transaction ends: bytes and row images before it, and a digest of the last of these bytes.

    The digest tells this journal from another one, and from a copy that went another way.
    """

    offset: int
    images: int
    digest: str

    def text(self) -> str:
        """As a position: what fuagent keeps, and later versions of this driver still have to read."""
        return json.dumps([self.offset, self.images, self.digest])

    @classmethod
    def read(cls, text: str) -> Mark:
        """The mark behind a position; a LostPlaceError where it is none of this driver."""
        try:
            offset, images, digest = json.loads(text)
            return cls(int(offset), int(images), str(digest))
        except (ValueError, TypeError):
            raise LostPlaceError("this is no place in a journal of JSON lines.", fix=_FIX) from None


@dataclass(frozen=True, slots=True)
class Change:
    """One line: ``old`` is None for an insert, ``new`` for a delete. An update has two images."""

    table: str
    old: Row | None
    new: Row | None

    @property
    def images(self) -> int:
        """How many numbers it takes."""
        return (self.old is not None) + (self.new is not None)


@dataclass(frozen=True, slots=True)
class Transaction:
    """What lies between two marks; its changes end at byte ``stop``, where the commit stands."""

    begin: Mark
    stop: int
    end: Mark


@dataclass(frozen=True, slots=True)
class Journal:
    """One file."""

    path: Path

    def tables(self) -> dict[str, Any]:
        """What the first line declares: columns and key of each table."""
        with self._file() as file:
            try:
                found = json.loads(file.readline())["tables"]
            except (ValueError, KeyError, TypeError):
                raise HaltSyncError("this is no journal.", where=str(self.path), fix="Correct endpoint.") from None
        return dict(found)

    def beginning(self) -> Mark:
        """The place before the first change."""
        with self._file() as file:
            return self._mark(file, len(file.readline()), 0)

    def following(self, mark: Mark) -> Transaction | None:
        """The first transaction behind a mark that was committed; None if there is none yet.

        Raises:
            LostPlaceError: the mark is not one of this journal.
        """
        with self._file() as file:
            if self._mark(file, mark.offset, mark.images) != mark:
                raise LostPlaceError("the journal is not the one that was read before.", where=str(self.path), fix=_FIX)
            begin, images = mark, mark.images
            for stop, offset, entry in self._entries(file, mark.offset):
                if "commit" in entry:
                    return Transaction(begin, stop, self._mark(file, offset, images))
                if "rollback" in entry:
                    begin, images = Mark(offset, mark.images, self._mark(file, offset, 0).digest), mark.images
                    file.seek(offset)
                else:
                    images += _change(entry).images
        return None

    def changes(self, offset: int, stop: int, most: int) -> tuple[list[Change], int]:
        """Up to ``most`` changes from ``offset`` on, and where the next one begins."""
        found: list[Change] = []
        with self._file() as file:
            for begin, end, entry in self._entries(file, offset):
                if begin >= stop or len(found) == most:
                    break
                found.append(_change(entry))
                offset = end
        return found, offset

    def end(self, mark: Mark) -> Mark:
        """The last mark there is, looked for from ``mark`` on."""
        while transaction := self.following(mark):
            mark = transaction.end
        return mark

    def _file(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except FileNotFoundError:
            raise HaltSyncError("there is no such journal.", where=str(self.path), fix="Correct endpoint.") from None
        except OSError as error:
            raise TryAgainError(f"the journal cannot be read: {error.strerror}", where=str(self.path)) from error

    @staticmethod
    def _mark(file: BinaryIO, offset: int, images: int) -> Mark:
        start = max(0, offset - _PROOF)
        file.seek(start)
        proof = file.read(offset - start)
        return Mark(offset if len(proof) == offset - start else -1, images, blake2b(proof, digest_size=8).hexdigest())

    @staticmethod
    def _entries(file: BinaryIO, offset: int) -> Iterator[tuple[int, int, Any]]:
        """Where each whole line begins and ends, and what it says."""
        file.seek(offset)
        while (line := file.readline()).endswith(b"\n"):
            yield offset, offset + len(line), json.loads(line)
            offset += len(line)
            file.seek(offset)


def _change(entry: Row) -> Change:
    return Change(entry["table"], entry.get("old"), entry.get("new"))
