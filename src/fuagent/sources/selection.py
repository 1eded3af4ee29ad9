"""Which tables of a server a sync means: names and patterns against what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import NamedTuple

from fuagent.encode.shown import shown
from fuagent.errors import HaltSyncError
from fuagent.model import Finding, Level

_WILD = frozenset("*?[")
VIEW = "a view"
PARTITION = "a partition of"
"""How it begins what a part of another table is."""


class Name(NamedTuple):
    """A table by the schema (on MySQL the database) it stands in and its own name, as the server spells them."""

    schema: str
    table: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What there is: tables that can be synced, and why the others cannot, by name."""

    home: str
    """The one the endpoint names: its tables are called without it."""
    tables: tuple[Name, ...]
    others: dict[Name, str]

    def label(self, name: Name) -> str:
        """The name as people write it."""
        return name.table if name.schema == self.home else f"{name.schema}.{name.table}"


def within(schema: str, entry: str) -> bool:
    """Whether an entry with dots can name a table of this schema: names may hold dots themselves."""
    cuts = [place for place, character in enumerate(entry) if character == "."]
    return any(fnmatchcase(schema.lower(), entry[:cut]) for cut in cuts)


def select(found: Listing, wanted: Sequence[str], exclude: Iterable[str]) -> list[Name]:
    """The tables that names and patterns select, in the order they are asked for.

    An entry is ``table`` or ``schema.table``, either with ``*``, ``?`` and ``[…]``. One without a dot
    means tables of the endpoint's own schema. The exact spelling goes before other letter cases.

    Raises:
        HaltSyncError: a name or pattern selects nothing.
    """
    out = _matcher(found, exclude)
    chosen: dict[Name, None] = {}
    for entry in wanted:
        names = _meant(found, entry)
        if not names:
            raise _nothing(found, entry)
        chosen.update(dict.fromkeys(name for name in names if not out(name)))
    if not chosen:
        raise HaltSyncError("exclude takes away every table that tables selects", where="exclude")
    return list(chosen)


def passed_over(found: Listing, wanted: Sequence[str], where: str) -> list[Finding]:
    """What a pattern matches by name but cannot be synced; partitions are not, for their table stands for them."""
    patterns = [entry.lower() for entry in wanted]
    return [
        Finding(
            Level.INFO,
            where,
            f"{shown(found.label(name))} is {kind}, whose changes cannot be followed: it is left out.",
        )
        for name, kind in found.others.items()
        if not kind.startswith(PARTITION)
        and any(fnmatchcase(found.label(name).lower(), pattern) for pattern in patterns)
    ]


def _spellings(found: Listing, name: Name) -> tuple[str, ...]:
    """The ways an entry may name a table."""
    full = f"{name.schema}.{name.table}"
    return (name.table, full) if name.schema == found.home else (full,)


def _meant(found: Listing, entry: str) -> list[Name]:
    exact = [name for name in found.tables if entry in _spellings(found, name)]
    if exact:
        return exact
    low = entry.lower()
    alike = [name for name in found.tables if low in map(str.lower, _spellings(found, name))]
    if alike or not _WILD & set(entry):
        return alike
    return [name for name in found.tables if _fits(found, name, low)]


def _fits(found: Listing, name: Name, pattern: str) -> bool:
    """A pattern without a dot is for the endpoint's own schema; a star in it crosses no border between the two."""
    if name.schema == found.home and fnmatchcase(name.table.lower(), pattern):
        return True
    schema, table = name.schema.lower(), name.table.lower()
    cuts = [place for place, character in enumerate(pattern) if character == "."]
    return any(fnmatchcase(schema, pattern[:cut]) and fnmatchcase(table, pattern[cut + 1 :]) for cut in cuts)


def _matcher(found: Listing, entries: Iterable[str]) -> Callable[[Name], bool]:
    meant = [set(_meant(found, entry)) for entry in entries]
    return lambda name: any(name in names for names in meant)


def _nothing(found: Listing, entry: str) -> HaltSyncError:
    labels = {found.label(name).lower(): found.label(name) for name in found.tables}
    there = f"there are: {shown(', '.join(labels.values())) or 'none'}"
    kind = next(
        (kind for name, kind in found.others.items() if entry.lower() in map(str.lower, _spellings(found, name))), ""
    )
    if kind:
        what = f"{shown(entry)} is {kind}, whose changes cannot be followed"
        return HaltSyncError(what, where="tables", fix="name the tables behind it" if kind == VIEW else "take it out")
    if _WILD & set(entry):
        return HaltSyncError(f'no table matches "{shown(entry)}"', where="tables", fix=there)
    close = [labels[low] for low in get_close_matches(entry.lower(), labels, 3, 0.5)]
    fix = f"did you mean {' or '.join(map(shown, close))}?" if close else there
    return HaltSyncError(f'there is no table "{shown(entry)}" that the account may read', where="tables", fix=fix)
