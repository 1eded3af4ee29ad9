"""How the pieces of one column stand under one property: bare, in quotes, escaped, or through a function.

A piece is ``bytes``, ``int`` or None, nearly JSON already. Most need a pair of quotes at
most. Texts are the user's own, so RFC 8259 section 7 asks for escapes in them; digits, ISO 8601 and base64
never do. What is left goes through a function: labels, JSON that nobody has proven yet, masks, and a
few forms that a service's document may ask for.

Floats stand bare, so one that no JSON number can say is a piece in quotes already: ``"NaN"``. A decimal never is.
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
    found = [None if slot.column is None else _cell(slot, columns[slot.column]) for slot in made.slots]
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


_QUOTE = b'"'
_NAN = "NaN"
_QUOTED_NAN = b'"NaN"'


def value(piece: Any, kind: Kind) -> object:
    """The Python value that a condition compares; NaN is a text, since no number is above or below it."""
    if kind is Kind.DECIMAL:
        text = _text(piece)
        return text if text == _NAN else Decimal(text)
    return _NAN if kind is Kind.FLOAT and piece == _QUOTED_NAN else _plain(piece, kind)


def _plain(piece: Any, kind: Kind) -> object:
    if kind is Kind.INTEGER:
        return int(piece)
    if kind is Kind.BOOLEAN:
        return piece == b"true"
    return _real(piece) if kind is Kind.FLOAT else _text(piece)


def _real(piece: bytes) -> float:
    try:
        return float(piece)
    except ValueError:  # it stands in quotes
        return float(piece.strip(_QUOTE))


_FINITE = "decimal("
"""How MySQL spells a type that holds digits and nothing else; PostgreSQL's ``numeric`` has NaN and infinity too."""
_LITERALS = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT, Kind.BOOLEAN})
_LITERAL = frozenset({Form.INTEGER, Form.NUMBER, Form.BOOLEAN})
_SAFE = frozenset({Form.DATE, Form.TIME, Form.DATETIME, Form.TIMESTAMP, Form.DURATION, Form.BASE64})


def _cell(slot: Slot, column: Column) -> Cell:
    kind = column.kind
    if slot.mask is not None:
        cover = masked(slot.mask, None)
        return Cell(write=lambda piece: orjson.dumps(cover(_plain(piece, kind))))
    if write := _WRITES.get((kind, slot.form)):
        return Cell(write=write)
    if slot.form in _LITERAL:
        return Cell(write=_figure) if kind is Kind.DECIMAL and not column.type.startswith(_FINITE) else BARE
    return QUOTED if slot.form in _SAFE or kind in _LITERALS else ESCAPED


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


def _bit(piece: bytes) -> bytes:
    return b"1" if piece == b"true" else b"0"


def _figure(piece: bytes) -> bytes:
    """A decimal as a number, if there is one for it."""
    return piece if piece[-1:].isdigit() else b'"%b"' % piece


def _real_in_quotes(piece: bytes) -> bytes:
    return piece if piece[:1] == _QUOTE else b'"%b"' % piece


def _odd(piece: bytes) -> bool:
    """Whether it is the server's own text for a date that ISO 8601 cannot say."""
    return piece[4:5] != b"-" or b" " in piece or piece[5:7] == b"00" or piece[8:10] == b"00"


def _midnight(piece: bytes) -> bytes:
    return (b'"%b"' if _odd(piece) else b'"%bT00:00:00Z"') % piece


def _moment(piece: bytes) -> bytes:
    return (b'"%b"' if _odd(piece) else b'"%bZ"') % piece


_WRITES: dict[tuple[Kind, Form], Callable[[Any], bytes]] = {
    (Kind.INTEGER, Form.BOOLEAN): _boolean,
    (Kind.BOOLEAN, Form.INTEGER): _bit,
    (Kind.FLOAT, Form.STRING): _real_in_quotes,
    (Kind.DATE, Form.TIMESTAMP): _midnight,
    (Kind.DATETIME, Form.TIMESTAMP): _moment,
    (Kind.SET, Form.LABELS): _labels,
    (Kind.JSON, Form.JSON): _json,
}
