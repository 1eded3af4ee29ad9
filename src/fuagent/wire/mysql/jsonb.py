"""MySQL's binary JSON, as row images carry it, to JSON text as the server prints it.

A document is one byte of type and the value. Values are little-endian; lengths of strings
have seven bits per byte, the lowest first, the high bit meaning that more follow.

::

    object  count, size, count * (key offset, u16 key length), count * entry, keys, values
    array   count, size, count * entry, values
    entry   u8 type, then the value's offset, or the value itself where it fits in there
    string  length, UTF-8
    opaque  u8 column type, length, bytes

Counts, sizes and offsets take two bytes in the small forms of object and array, four in the
large ones; offsets count from the byte behind the container's type. Source: the comment that
opens ``sql/json_binary.h`` of MySQL, and ``wrapper_to_string`` in ``sql/json_dom.cc`` for the text.

A server never writes two values in the same place, so the bytes of all values together are
no more than the document. Whatever exceeds that is refused, which bounds the text: no byte of
a document becomes more than six of text.

With ``binlog_row_value_options=PARTIAL_JSON`` an update carries a list of changes instead of
the new document (``sql/json_diff.cc``)::

    change  u8 operation (0 replace, 1 insert, 2 remove), length, path, unless remove: length, document

Here lengths are the protocol's packed integers. A path is ``$`` and its legs: ``.name``,
``."quoted name"``, ``[3]``, ``[last]``, ``[last-1]``.
"""

from __future__ import annotations

import binascii
import json
import re
import struct
from collections.abc import Iterator
from typing import TypeAlias

from fuagent.errors import DecodeError
from fuagent.wire.mysql import decimals
from fuagent.wire.mysql.numbers import double

Node: TypeAlias = bytes | list["Node"] | dict[bytes, "Node"]
"""A value with its scalars written already: JSON text, a list, or an object with raw keys."""

DEPTH = 100
"""How deep the server lets documents be."""

_LITERAL, _INT16, _UINT16, _INT32, _UINT32 = range(4, 9)
_DOUBLE, _STRING, _OPAQUE = 11, 12, 15

_LITERALS = {0: b"null", 1: b"true", 2: b"false"}
_INTEGERS = {
    _INT16: struct.Struct("<h"),
    _UINT16: struct.Struct("<H"),
    _INT32: struct.Struct("<i"),
    _UINT32: struct.Struct("<I"),
    9: struct.Struct("<q"),
    10: struct.Struct("<Q"),
}
_REAL = struct.Struct("<d")


class _Form:
    """How wide the numbers of a container are, and which values stand in their entries."""

    def __init__(self, number: str, *inlined: int) -> None:
        self.head = struct.Struct(f"<{number}{number}")
        self.key = struct.Struct(f"<{number}H")
        self.entry = struct.Struct(f"<B{number}")
        self.inlined = frozenset(inlined)


_SMALL = _Form("H", _LITERAL, _INT16, _UINT16)
_LARGE = _Form("I", _LITERAL, _INT16, _UINT16, _INT32, _UINT32)
_FORMS = {0: (_SMALL, True), 1: (_LARGE, True), 2: (_SMALL, False), 3: (_LARGE, False)}
"""Type → form, and whether it is an object."""


def text(data: bytes, *, depth: int = DEPTH) -> bytes:
    """A document as JSON text, ``{"a": 1, "b": [1, 2.0, null]}``; no bytes at all are ``null``.

    Args:
        data: The document, from its type on.
        depth: How many containers may lie within each other.

    Raises:
        DecodeError: The bytes are no document, or deeper than ``depth``.
    """
    return _written(_parsed(data, depth))


def apply(before: bytes, diffs: bytes) -> bytes:
    """The JSON text of a document after a partial update.

    Args:
        before: The document in binary form, as the row held it.
        diffs: The changes, without the four bytes of length in front of them.

    Raises:
        DecodeError: The bytes are no document or no changes, or a path leads nowhere: the
            server refuses such a change too, as the document is not the one it was made for.
    """
    root = _parsed(before, DEPTH)
    grown: dict[int, dict[bytes, Node]] = {}
    for operation, legs, value in _changes(diffs):
        parent = _found(root, legs[:-1])
        if isinstance(parent, dict) and isinstance(legs[-1], bytes):
            _change_object(parent, operation, legs[-1], value)
            grown[id(parent)] = parent
        elif isinstance(parent, list) and not isinstance(legs[-1], bytes):
            _change_array(parent, operation, legs[-1], value)
        else:
            raise _lost()
    for item in grown.values():
        # The server orders keys by length, then by their bytes.
        ordered = sorted(item.items(), key=lambda pair: (len(pair[0]), pair[0]))
        item.clear()
        item.update(ordered)
    return _written(root)


def _wrong(what: str) -> DecodeError:
    return DecodeError(f"A JSON value of the source is malformed: {what}.")


def _lost() -> DecodeError:
    return DecodeError("A partial update of a JSON value does not fit the value it changes.")


def _written(node: Node) -> bytes:
    if isinstance(node, bytes):
        return node
    if isinstance(node, list):
        return b"[" + b", ".join([_written(item) for item in node]) + b"]"
    return b"{" + b", ".join([_quoted(key) + b": " + _written(item) for key, item in node.items()]) + b"}"


def _parsed(data: bytes, depth: int) -> Node:
    return _Document(data).value(data[0], 1, len(data), depth) if data else b"null"


class _Document:
    """One document, and how many of its bytes no value has claimed yet."""

    __slots__ = ("_data", "_left")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = len(data)

    def value(self, kind: int, at: int, end: int, depth: int) -> Node:
        """The value of a type that begins at ``at`` and must not reach beyond ``end``."""
        if kind in _FORMS:
            if depth <= 0:
                raise _wrong("it is too deep")
            return self._container(kind, at, end, depth - 1)
        if kind in _INTEGERS:
            layout = _INTEGERS[kind]
            (number,) = layout.unpack(self._taken(at, layout.size, end))
            return b"%d" % number
        if kind == _STRING:
            return _quoted(self._counted(at, end))
        if kind == _DOUBLE:
            return _real(*_REAL.unpack(self._taken(at, 8, end)))
        if kind == _LITERAL:
            return _literal(self._taken(at, 1, end)[0])
        if kind == _OPAQUE:
            return _opaque(self._taken(at, 1, end)[0], self._counted(at + 1, end))
        raise _wrong("there is no such type")

    def _taken(self, at: int, size: int, end: int) -> bytes:
        """Bytes that belong to one value alone."""
        if at + size > end:
            raise _wrong("it ends early")
        self._left -= size
        if self._left < 0:
            raise _wrong("its values overlap")
        return self._data[at : at + size]

    def _counted(self, at: int, end: int) -> bytes:
        """Bytes behind their length, which has five bytes at most."""
        length = 0
        for place in range(5):
            (byte,) = self._taken(at + place, 1, end)
            length |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return self._taken(at + place + 1, length, end)
        raise _wrong("a length has too many bytes")

    def _container(self, kind: int, at: int, end: int, depth: int) -> Node:
        form, keyed = _FORMS[kind]
        count, size = form.head.unpack(self._taken(at, form.head.size, end))
        if at + size > end:
            raise _wrong("it ends early")
        end = at + size
        first = at + form.head.size
        keys = self._taken(first, count * form.key.size, end) if keyed else b""
        entries = self._taken(first + len(keys), count * form.entry.size, end)
        head = form.head.size + len(keys) + len(entries)
        values: list[Node] = []
        for type_, place in form.entry.iter_unpack(entries):
            if type_ in form.inlined:
                values.append(_inlined(type_, place))
            elif place < head:
                raise _wrong("an offset points before the values")
            else:
                values.append(self.value(type_, at + place, end, depth))
        if not keyed:
            return values
        names = [self._key(at, place, length, head, end) for place, length in form.key.iter_unpack(keys)]
        members = dict(zip(names, values, strict=True))
        if len(members) < count:
            raise _wrong("a key stands in it twice")
        return members

    def _key(self, at: int, place: int, length: int, head: int, end: int) -> bytes:
        if place < head:
            raise _wrong("an offset points before the keys")
        return self._taken(at + place, length, end)


def _inlined(kind: int, number: int) -> bytes:
    """A value that stands in its entry, where it may have more bytes than it needs."""
    if kind == _LITERAL:
        return _literal(number & 0xFF)
    if kind in {_INT16, _UINT16}:
        number &= 0xFFFF
    if kind == _INT16:
        number -= (number & 0x8000) << 1
    elif kind == _INT32:
        number -= (number & 0x80000000) << 1
    return b"%d" % number


def _literal(number: int) -> bytes:
    if number not in _LITERALS:
        raise _wrong("there is no such literal")
    return _LITERALS[number]


def _real(number: float) -> bytes:
    """A double, told apart from an integer by a point or an exponent."""
    written = double(number)
    return written if b"." in written or b"e" in written else written + b".0"


_SPECIAL = re.compile(rb'[\x00-\x1f"\\]')
_ESCAPES = {bytes([code]): b"\\u%04x" % code for code in range(0x20)}
_ESCAPES |= {b"\b": b"\\b", b"\t": b"\\t", b"\n": b"\\n", b"\f": b"\\f", b"\r": b"\\r", b'"': b'\\"', b"\\": b"\\\\"}


def _quoted(raw: bytes) -> bytes:
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            raise _wrong("a string is not UTF-8") from error
    if _SPECIAL.search(raw):
        raw = _SPECIAL.sub(lambda match: _ESCAPES[match[0]], raw)
    return b'"' + raw + b'"'


_NEW_DECIMAL, _DATE, _TIME, _DATETIME, _TIMESTAMP = 246, 10, 11, 12, 7
_LINE = 57
"""Bytes in a line of base64: the server breaks lines after 76 characters, as MIME does."""


def _opaque(kind: int, raw: bytes) -> bytes:
    """A value of an SQL type that JSON does not have."""
    if kind == _NEW_DECIMAL:
        return _decimal(raw)
    if kind in {_DATE, _TIME, _DATETIME, _TIMESTAMP}:
        return _moment(kind, raw)
    lines = [binascii.b2a_base64(raw[at : at + _LINE], newline=False) for at in range(0, len(raw), _LINE)]
    return b'"base64:type%d:%b"' % (kind, b"\\n".join(lines))


def _moment(kind: int, raw: bytes) -> bytes:
    """A date or time: 24 bits of microseconds, below six of seconds, six of minutes, hours, day, month."""
    if len(raw) != 8:
        raise _wrong("a date or time has the wrong length")
    packed = int.from_bytes(raw, "little", signed=True)
    sign = b"-" if packed < 0 else b""
    seconds, micro = divmod(abs(packed), 1 << 24)
    if micro > 999_999 or (sign and kind != _TIME):
        raise _wrong("a date or time is out of range")
    days, clock = (0, seconds) if kind == _TIME else divmod(seconds, 1 << 17)
    hour, minute, second = clock >> 12, clock >> 6 & 63, clock & 63
    time = b"%b%02d:%02d:%02d.%06d" % (sign, hour, minute, second, micro)
    if kind == _TIME:
        return b'"%b"' % time
    year, month = divmod(days >> 5, 13)
    date = b"%04d-%02d-%02d" % (year, month, days & 31)
    return b'"%b"' % (date if kind == _DATE else date + b" " + time)


def _decimal(raw: bytes) -> bytes:
    """An exact number: u8 digits, u8 of them behind the point, and the number as in a row image."""
    precision, scale = raw[:2] if len(raw) > 2 else (1, 0)
    try:
        if len(raw) - 2 == decimals.width(precision, scale):
            return decimals.decoder(precision, scale)(raw[2:])
    except DecodeError as error:
        raise _wrong("a decimal number has digits that no number has") from error
    raise _wrong("a decimal number has the wrong length")


_REPLACE, _INSERT, _REMOVE = range(3)

Leg: TypeAlias = bytes | tuple[int, bool]
"""A key, or a cell: its number, and whether it counts from the last one."""

_LEG = re.compile(
    rb'\.(?:("(?:[^"\\]|\\.)*")|([^.\[\]"\s*]+))|\[(?:(last)(?:-([0-9]{1,10}))?|([0-9]{1,10}))\]', re.DOTALL
)


def _changes(diffs: bytes) -> Iterator[tuple[int, list[Leg], Node]]:
    at = 0
    while at < len(diffs):
        operation = diffs[at]
        if operation > _REMOVE:
            raise _wrong("a partial update has an operation that does not exist")
        path, at = _packed(diffs, at + 1)
        legs = _legs(path)
        value: Node = b"null"
        if operation != _REMOVE:
            document, at = _packed(diffs, at)
            value = _parsed(document, DEPTH - len(legs))
        yield operation, legs, value


def _packed(diffs: bytes, at: int) -> tuple[bytes, int]:
    """Bytes behind their packed length, and where the next thing begins."""
    first = diffs[at] if at < len(diffs) else 255
    width = {252: 2, 253: 3, 254: 8}.get(first, 0)
    if first in {251, 255}:
        raise _wrong("a partial update ends early")
    length = int.from_bytes(diffs[at + 1 : at + 1 + width], "little") if width else first
    start = at + 1 + width
    if start + length > len(diffs):
        raise _wrong("a partial update ends early")
    return diffs[start : start + length], start + length


def _legs(path: bytes) -> list[Leg]:
    at, legs = 1, list[Leg]()
    while at < len(path):
        match = _LEG.match(path, at)
        if not match:
            break
        quoted, name, last, back, cell = match.groups()
        if quoted or name:
            legs.append(_unquoted(quoted) if quoted else name)
        else:
            legs.append((int(back or cell or 0), bool(last)))
        at = match.end()
    if path[:1] != b"$" or at != len(path) or not legs:
        raise _wrong("a partial update has a path that does not read")
    return legs


def _unquoted(quoted: bytes) -> bytes:
    try:
        return str(json.loads(quoted)).encode()
    except ValueError as error:
        raise _wrong("a partial update has a path that does not read") from error


def _found(node: Node, legs: list[Leg]) -> Node:
    for leg in legs:
        if isinstance(node, dict) and isinstance(leg, bytes) and leg in node:
            node = node[leg]
        elif isinstance(node, list) and not isinstance(leg, bytes):
            node = node[_cell(node, leg)]
        else:
            raise _lost()
    return node


def _cell(array: list[Node], leg: tuple[int, bool]) -> int:
    """The place of a cell that is there."""
    number, backwards = leg
    if number >= len(array):
        raise _lost()
    return len(array) - 1 - number if backwards else number


def _change_object(parent: dict[bytes, Node], operation: int, key: bytes, value: Node) -> None:
    if (key in parent) == (operation == _INSERT):
        raise _lost()
    if operation == _REMOVE:
        del parent[key]
    else:
        parent[key] = value


def _change_array(parent: list[Node], operation: int, leg: tuple[int, bool], value: Node) -> None:
    if operation == _INSERT:
        number, backwards = leg
        # One beyond either end goes to that end.
        parent.insert(max(len(parent) - 1 - number, 0) if backwards else number, value)
    elif operation == _REPLACE:
        parent[_cell(parent, leg)] = value
    else:
        del parent[_cell(parent, leg)]
