"""Measures the agent against the limits of what it stands on, side by side in one run.

Every figure is a ratio or a median taken on this machine in this run; a missed
target is printed as missed. ``ROWS``, ``LARGE`` and ``ROUNDS`` in the environment change the
sizes, and ``PEERS=1`` sets other programs beside the agent where they are installed.
On the command line: the names of sources (``mysql``, ``postgres``, ``receiver``) or of parts (``snapshot``, ``mysql-snapshot``).
"""

from __future__ import annotations

import sys
from functools import partial

import console
import mysql
import peers
import postgres
import receiver
import sqlite
from measure import ROWS, report

BESIDE = {name: {f"{name}-peers": partial(peers.peers, name)} for name in peers.SERVERS}
SOURCES = {
    "sqlite": (f"SQLite, {ROWS:,} rows of {len(sqlite.COLUMNS)} columns", sqlite.PARTS),
    "mysql": (f"MariaDB, {ROWS:,} rows of {len(mysql.COLUMNS)} columns", {**mysql.PARTS, **BESIDE["mysql"]}),
    "postgres": (
        f"PostgreSQL, {ROWS:,} rows of {len(postgres.COLUMNS)} columns",
        {**postgres.PARTS, **BESIDE["postgres"]},
    ),
    "console": (f"Metrics and console, {console.SYNCS} syncs", console.PARTS),
    "receiver": (f"Receiver kit, {ROWS:,} rows of {len(receiver.NAMES)} columns", receiver.PARTS),
}


def main() -> None:
    """Run everything, or what is named on the command line, and print a table for each source."""
    known = {*SOURCES, *(part for _title, parts in SOURCES.values() for part in parts)}
    if unknown := set(sys.argv[1:]) - known:
        sys.exit(f"not known: {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
    chosen = set(sys.argv[1:]) or known
    for source, (title, parts) in SOURCES.items():
        lines = [line for part, measure in parts.items() if chosen & {source, part} for line in measure()]
        if lines:
            report(title, lines)


if __name__ == "__main__":
    main()
