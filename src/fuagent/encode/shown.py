"""Names out of a database made fit for a message: a table may be called anything."""

from __future__ import annotations

_MOST = 120


def shown(name: str) -> str:
    """The name on one line, without characters that could move a cursor, at most 120 characters long."""
    text = "".join(character if character.isprintable() else " " for character in name[: _MOST + 1])
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"
