"""The table a `Workload` writes: what it is on every server, and the `Dialect` that says the rest."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

Values = dict[str, Any]
Chance = random.Random


class Dialect(Protocol):
    """What a workload, and whoever judges it, must know of one kind of server.

    Cursors are those of PEP 249 with ``%s`` for a value; sessions commit by themselves outside of BEGIN and COMMIT.
    """

    fixed: Mapping[str, str]
    """Columns that no DDL of ours touches, and how they are declared: those of `check`, of `lump`, and a zoo of types."""
    extra: Mapping[str, Callable[[Chance], Any]]
    """Columns that come and go: how they are declared, and what is written."""
    as_json: Mapping[str, tuple[str, Callable[[Any], Any]]]
    """What is selected of a column, and how a service gets it when its document asks for nothing else."""
    errors: tuple[type[Exception], ...]
    """What its library raises."""
    once: str
    """An INSERT of a number and a note into the table named by ``{}``, which does nothing where the number is there.

    It waits for whoever has entered that number and is not done yet.
    """
    leaves_out: bool
    """Whether the log lacks large values that an update did not touch, so that a newer row may come early."""

    def create(self, database: Any, table: str) -> None:
        """Make the table."""

    def connect(self, database: Any) -> Any:
        """A session in UTC."""

    def is_lost(self, error: Exception) -> bool:
        """Whether it means that a connection is no more."""

    def forget(self, session: Any) -> None:
        """Let go of a broken session."""

    def zoo(self, chance: Chance) -> Values:
        """A value for each column of the zoo."""

    def insert(self, cursor: Any, table: str, rows: Sequence[Values]) -> None:
        """Write new rows, in whatever ways there are."""

    def upsert(self, names: Sequence[str]) -> str:
        """How an INSERT ends that overwrites these columns where the key is there."""

    def extras(self, cursor: Any, table: str) -> dict[str, str]:
        """The columns there are besides the fixed ones, and which of `extra` they are."""

    def alteration(self, table: str, extra: Mapping[str, str], count: int, chance: Chance) -> str:
        """A statement that alters the table in its ``extra`` columns; ``count`` of them came before."""


def check(key: int, ver: int, tx: int, val: str) -> int:
    """The checksum a row carries."""
    return zlib.crc32(f"{key}:{ver}:{tx}:{val}".encode())


@lru_cache(1000)
def lump(number: int) -> str:
    """The large value of this number: too large to be kept in the row itself. 0 is none."""
    chance = random.Random(number)
    return chance.randbytes(chance.randrange(1500, 4000)).hex() if number else ""


def values(dialect: Dialect, key: int, ver: int, tx: int) -> Values:
    """A row's values without its lump; those of the zoo are NULL now and then."""
    chance = random.Random(f"{key}:{ver}")
    val = f"{key}·{ver}·" + chance.choice(("", "plain", 'quo"te\\\n', "Zoë 🦉", "\x01")) * chance.choice((1, 1, 1, 30))
    zoo = {name: None if chance.random() < 0.1 else value for name, value in dialect.zoo(chance).items()}
    return {"id": key, "ver": ver, "tx": tx, "val": val, "chk": check(key, ver, tx, val), **zoo}


def moment(chance: Chance, digits: int) -> str:
    """A day and time with so many digits of a second."""
    clock = f"{chance.randrange(10, 24)}:{chance.randrange(10, 60)}:{chance.randrange(10, 60)}"
    return f"{day(chance)} {clock}.{chance.randrange(10**digits):0{digits}}"


def day(chance: Chance) -> str:
    """A day."""
    return f"20{chance.randrange(10, 38)}-0{chance.randrange(1, 10)}-1{chance.randrange(10)}"
