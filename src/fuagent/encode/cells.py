"""How the pieces of one column stand under one property: bare, in quotes, escaped, or through a function.

A piece is ``bytes``, ``int`` or None, nearly JSON already. Most need a pair of quotes at
most. Texts are the user's own, so RFC 8259 section 7 asks for escapes in them; digits, ISO 8601 and base64
never do. What is left goes through a function: labels, JSON that nobody has proven yet, masks, and a
few forms that a service's document may ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

import orjson

from fuagent.contract.payload import Form
from fuagent.encode.masks import masked
from fuagent.encode.plan import Plan, Slot
from fuagent.model import Column, Kind

Piece = bytes | int


@dataclass(frozen=True, slots=True)
class Cell:
    """One way to write a piece; ``write``, where there is one, gives the JSON text of a piece that is not None."""

    quoted: bool = False
    escaped: bool = False
    write: Callable[[Any], bytes] | None = None


BARE = Cell()
QUOTED = Cell(quoted=True)
ESCAPED = Cell(quoted=True, escaped=True)


def cells(made: Plan, columns: Sequence[Column]) -> list[Cell | None]:
    """One cell for each slot, None for what no column feeds.

    A column that is escaped under one property and not under another is escaped value by value, so
    that its pieces stay as they are.
    """
    found = [None if slot.column is None else _cell(slot, columns[slot.column].kind) for slot in made.slots]
    verbatim = {slot.column for slot, cell in zip(made.slots, found, strict=True) if cell and not cell.escaped}
    return [
        Cell(write=_string) if cell and cell.escaped and slot.column in verbatim else cell
        for slot, cell in zip(made.slots, found, strict=True)
    ]


def escaped(text: bytes) -> bytes:
    """A text as it stands between the quotes of a JSON string; what is not UTF-8 becomes U+FFFD."""
    return _string(text)[1:-1]


def digits(piece: Piece) -> bytes:
    """An integer's digits, whichever of the two an integer's piece is."""
    return piece if isinstance(piece, bytes) else b"%d" % piece


def value(piece: Any, kind: Kind) -> object:
    """The Python value that a condition compares."""
    return Decimal(_text(piece)) if kind is Kind.DECIMAL else _plain(piece, kind)


def _plain(piece: Any, kind: Kind) -> object:
    if kind is Kind.INTEGER:
        return int(piece)
    return float(piece) if kind is Kind.FLOAT else _text(piece)


_FIGURES = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT})
_SAFE = frozenset({Form.DATE, Form.TIME, Form.DATETIME, Form.TIMESTAMP, Form.BASE64})


def _cell(slot: Slot, kind: Kind) -> Cell:
    if slot.mask is not None:
        cover = masked(slot.mask, None)
        return Cell(write=lambda piece: orjson.dumps(cover(_plain(piece, kind))))
    if write := _WRITES.get((kind, slot.form)):
        return Cell(write=write)
    if slot.form in (Form.INTEGER, Form.NUMBER):
        return BARE
    return QUOTED if slot.form in _SAFE or kind in _FIGURES else ESCAPED


def _text(piece: bytes) -> str:
    return piece.decode(errors="replace")


def _string(piece: bytes) -> bytes:
    return orjson.dumps(_text(piece))


def _json(piece: bytes) -> bytes:
    """JSON as it is, once it is proven to be some; else its text as a string.

    MariaDB promises a JSON column's text by a constraint only, which can be dropped. One such text would
    break the whole body, or add properties of its own; so would a number or a nesting that readers refuse.
    """
    try:
        orjson.loads(piece)
    except orjson.JSONDecodeError:
        return _string(piece)
    return piece


@lru_cache(maxsize=1024)
def _labels(piece: bytes) -> bytes:
    return orjson.dumps(_text(piece).split(",")) if piece else b"[]"


_ZERO = frozenset({0, b"0"})


def _boolean(piece: Piece) -> bytes:
    return b"false" if piece in _ZERO else b"true"


def _odd(piece: bytes) -> bool:
    """Whether it is the server's own text for a date that ISO 8601 cannot say."""
    return b" " in piece or piece[5:7] == b"00" or piece[8:10] == b"00"


def _midnight(piece: bytes) -> bytes:
    return (b'"%b"' if _odd(piece) else b'"%bT00:00:00Z"') % piece


def _moment(piece: bytes) -> bytes:
    return (b'"%b"' if _odd(piece) else b'"%bZ"') % piece


_WRITES: dict[tuple[Kind, Form], Callable[[Any], bytes]] = {
    (Kind.INTEGER, Form.BOOLEAN): _boolean,
    (Kind.DATE, Form.TIMESTAMP): _midnight,
    (Kind.DATETIME, Form.TIMESTAMP): _moment,
    (Kind.SET, Form.LABELS): _labels,
    (Kind.JSON, Form.JSON): _json,
}
