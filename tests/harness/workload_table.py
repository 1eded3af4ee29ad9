"""The table a `Workload` writes: its columns, and values that follow from key and version."""

from __future__ import annotations

import random
import zlib
from typing import Any

Values = dict[str, Any]

FIXED = {
    "id": "BIGINT NOT NULL PRIMARY KEY",
    "ver": "INT NOT NULL",
    "tx": "INT NOT NULL",
    "val": "TEXT CHARACTER SET utf8mb4 NOT NULL",
    "chk": "INT UNSIGNED NOT NULL",
    "z_big": "BIGINT UNSIGNED",
    "z_dec": "DECIMAL(20,4)",
    "z_dbl": "DOUBLE",
    "z_latin": "VARCHAR(40) CHARACTER SET latin1",
    "z_bin": "VARBINARY(300)",
    "z_date": "DATE",
    "z_dt": "DATETIME(6)",
    "z_ts": "TIMESTAMP(3) NULL",
    "z_enum": "ENUM('one','two','three')",
    "z_set": "SET('a','b','c')",
}
"""Columns that no DDL of ours touches, and how they are declared."""
EXTRA = {"INT DEFAULT 7": lambda chance: chance.randrange(1000), "VARCHAR(30) DEFAULT 'new'": lambda chance: "x" * 9}
"""Columns that come and go: how they are declared and what is written."""


def check(key: int, ver: int, tx: int, val: str) -> int:
    """The checksum a row carries."""
    return zlib.crc32(f"{key}:{ver}:{tx}:{val}".encode())


def values(key: int, ver: int, tx: int) -> Values:
    """A row's values; those of the zoo are NULL now and then."""
    chance = random.Random(f"{key}:{ver}")
    val = f"{key}·{ver}·" + chance.choice(("", "plain", 'quo"te\\\n', "Zoë 🦉", "\x01")) * chance.choice((1, 1, 1, 30))
    moment = f"20{chance.randrange(10, 38)}-0{chance.randrange(1, 10)}-1{chance.randrange(10)}"
    clock = f"{chance.randrange(10, 24)}:{chance.randrange(10, 60)}:{chance.randrange(10, 60)}"
    zoo = {
        "z_big": chance.choice((0, 1, 2**63, 2**64 - 1)),
        "z_dec": f"{chance.randrange(-(10**15), 10**15)}.{chance.randrange(10**4):04}",
        "z_dbl": chance.choice((0.0, -1.5, 1e300, chance.random())),
        "z_latin": chance.choice(("", "café", "£§")),
        "z_bin": chance.randbytes(chance.choice((0, 1, 40, 300))),
        "z_date": moment,
        "z_dt": f"{moment} {clock}.{chance.randrange(10**6):06}",
        "z_ts": f"{moment} {clock}.{chance.randrange(10**3):03}",
        "z_enum": chance.choice(("one", "two", "three")),
        "z_set": chance.choice(("", "a", "a,c", "a,b,c")),
    }
    zoo = {name: None if chance.random() < 0.1 else value for name, value in zoo.items()}
    return {"id": key, "ver": ver, "tx": tx, "val": val, "chk": check(key, ver, tx, val), **zoo}
