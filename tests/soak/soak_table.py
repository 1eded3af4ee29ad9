"""The table a soak writes, and what its rows prove about themselves.

Table ``w`` is captured; ``w_log`` is not, and holds for each writer the number of the last transaction it committed.
A row of ``w`` says which version of its key it is and which writer's transaction wrote it, as which statement. Each
change of a key takes the next version, a delete too, so that whoever sees the versions of a key pass by
sees a gap where a change was lost; the numbers of a writer's transactions have no holes either.
"""

from __future__ import annotations

import zlib
from typing import Any

FIXED = ("id", "ver", "writer", "tx", "seq", "born", "chk", "val")
"""Columns no DDL touches: ``seq`` counts a transaction's statements from 1, ``born`` is when it was written, ms of Unix time."""
NUMBERS = ", ".join(f"{name} INT NOT NULL" for name in FIXED[1:5]) + ", born BIGINT NOT NULL, chk BIGINT NOT NULL"
"""How the numbers among them are declared, but for the key."""
LOG = "CREATE TABLE w_log (writer INT PRIMARY KEY, tx INT NOT NULL)"
OWN = 1_000_000
"""Writer n owns the keys from n · OWN to below the next one's; every writer updates those of `SHARED`."""
SHARED = range(1, 21)


def mixed(values: str) -> int:
    """What of a row's checksum does not follow from key and version: of ``writer:tx:seq:born:val``."""
    return zlib.crc32(values.encode())


def check(row: dict[str, Any]) -> int:
    """The checksum a row must carry."""
    text = f"{row['writer']}:{row['tx']}:{row['seq']}:{row['born']}:{row['val']}"
    return int(row["id"]) * 31 + int(row["ver"]) * 17 + mixed(text)


def shared_rows() -> list[str]:
    """The rows that every writer updates, as SQL; nobody's transaction wrote them."""
    found = []
    for key in SHARED:
        row = {"id": key, "ver": 1, "writer": 0, "tx": 0, "seq": 0, "born": 0, "val": "shared"}
        found.append(f"({key}, 1, 0, 0, 0, 0, {check(row)}, 'shared')")
    return found
