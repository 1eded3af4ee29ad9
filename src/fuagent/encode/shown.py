"""Names out of a database made fit for a message: a table may be called anything."""

from __future__ import annotations

_MOST = 120


def shown(name: str, most: int = _MOST) -> str:
    """The name on one line, without characters that could move a cursor, at most so many characters long."""
    text = "".join(character if character.isprintable() else " " for character in name[: most + 1])
    return text if len(text) <= most else f"{text[: most - 1]}…"
