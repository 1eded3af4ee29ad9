"""Words, names and literals of a statement, one after the other.

Only as much of the lexical structure as is needed to find keywords and names
(https://dev.mysql.com/doc/refman/8.4/en/language-structure.html). Two modes of the server change it:
ANSI_QUOTES makes names of what stands in double quotes, NO_BACKSLASH_ESCAPES takes its meaning from the
backslash. Where they are not known and matter, :class:`Unclear` is raised instead of a guess.
Text is read as it is asked for, so that of a long statement only the beginning costs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fuagent.wire.mysql.events import XaId

Name = tuple[str | None, str]
"""A table: its schema, None where the statement leaves that to the default, and its name."""

ANSI_QUOTES = 1 << 2
NO_BACKSLASH_ESCAPES = 1 << 20
"""Bits of the mode (``sql_mode`` in the servers' ``sql/log_event.h`` and ``sql/query_options.h``)."""


class Unclear(Exception):  # noqa: N818  # an answer, not an error: it never leaves the room
    """The text is not what is asked for, or could be read in more than one way."""


_TOKEN = rb"""
      (?P<open>   /\*M?!(?:\d{5,6})? )
    | (?P<close>  \*/ )
    | (?P<blank>  [\s\x00-\x1f]++ | --(?=[\s\x00-\x1f]|\Z)[^\n]*+ | \#[^\n]*+ | /\*.*?\*/ )
    | (?P<word>   [0-9A-Za-z$_\x80-\xff]++ )
    | (?P<quoted> `(?:[^`]++|``)++` )
    | (?P<double> "(?:[^"\\]++|""|\\.)*+" )
    | (?P<single> '(?:[^'\\]++|''|\\.)*+' )
    | (?P<broken> /\* | ["'`\\] )
    | (?P<sign>   . )
"""
# "open" and "close" are the ends of a comment that servers run: what stands between them is SQL.

_ESCAPED = re.compile(_TOKEN, re.VERBOSE | re.DOTALL)
_PLAIN = re.compile(_TOKEN.replace(rb"\\]++", rb"]++").replace(rb"|\\.)", rb")"), re.VERBOSE | re.DOTALL)
"""The same where the backslash means nothing within a literal."""

_KEYWORD = re.compile(r"[A-Z_]+", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,10}", re.ASCII)

_LEADING = 4
"""How many words of a statement are kept for messages."""

_MOST = 250_000
"""Tokens read of one statement: more than any table's definition needs, and the bound of what one may cost."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text: of kind word, quoted (a name), double (a name or a text), single (a text), sign or end."""

    kind: str
    text: bytes

    @property
    def keyword(self) -> str:
        """A word or sign in upper case; "" for what is no keyword."""
        return self.text.decode("latin-1").upper() if self.kind in {"word", "sign"} else ""


_END = Token("end", b"")
_BROKEN = Token("broken", b"")


def _tokens(text: bytes, mode: int | None) -> Iterator[Token]:
    """The tokens, without end: at last ``_END`` again and again, or what could not be read."""
    at = depth = 0
    last = _END
    while at < len(text) and last is _END:
        kind, found = _token(text, at, mode)
        at += len(found)
        depth += (kind == "open") - (kind == "close")
        if kind == "broken" or depth < 0:
            last = _BROKEN
        elif kind not in {"open", "close", "blank"}:
            yield Token(kind, found)
    while True:
        yield last if depth == 0 else _BROKEN


def _token(text: bytes, at: int, mode: int | None) -> tuple[str, bytes]:
    """Kind and text of a token, broken where the mode is not known and makes a difference."""
    pattern = _PLAIN if mode is not None and mode & NO_BACKSLASH_ESCAPES else _ESCAPED
    match = pattern.match(text, at)
    assert match is not None  # the last alternative takes any byte
    kind, found = match.lastgroup or "", match[0]
    if mode is None and kind in {"double", "single"}:
        plain = _PLAIN.match(text, at)
        assert plain is not None  # likewise
        kind = kind if plain[0] == found else "broken"
    return kind, found


class Scanner:
    """Reads a statement from its first token on. Every method raises :class:`Unclear` where it finds something else."""

    def __init__(self, text: bytes, mode: int | None) -> None:
        self._source = _tokens(text, mode)
        self._mode = mode
        self._ahead: list[Token] = []
        self._count = 0

    def _peek(self, place: int = 0) -> Token:
        while len(self._ahead) <= place:
            self._ahead.append(next(self._source))
        return self._ahead[place]

    def _next(self) -> Token:
        token = self._peek()
        self._count += 1
        if token.kind in {"broken", "end"} or self._count > _MOST:
            raise Unclear
        del self._ahead[0]
        return token

    def leading(self) -> tuple[str, ...]:
        """The first keywords, at most four, without moving on."""
        words: list[str] = []
        while len(words) < _LEADING and _KEYWORD.fullmatch(word := self._peek(len(words)).keyword):
            words.append(word)
        return tuple(words)

    @property
    def ended(self) -> bool:
        """Whether nothing follows but semicolons."""
        while self._peek().keyword == ";":
            self._next()
        return self._peek() is _END

    def end(self) -> None:
        """Nothing may follow."""
        if not self.ended:
            raise Unclear

    def stop(self) -> None:
        """Leave the rest unread."""
        self._ahead = []
        self._source = _tokens(b"", None)

    def word(self) -> str:
        """The next word or sign in upper case."""
        return self._next().keyword

    def skip(self, *words: str) -> bool:
        """Pass over these words or signs, all of them or none; whether they were there."""
        if any(self._peek(place).keyword != word for place, word in enumerate(words)):
            return False
        for _ in words:
            self._next()
        return True

    def skip_any(self, *words: str) -> bool:
        """Pass over one of these words, if one is there."""
        return any(self.skip(word) for word in words)

    def expect(self, *words: str) -> None:
        """One of these words must come."""
        if not self.skip_any(*words):
            raise Unclear

    def skip_wait(self) -> None:
        """How long MariaDB may wait for a lock."""
        if self.skip("WAIT"):
            self._number()
        else:
            self.skip("NOWAIT")

    def skip_piece(self) -> None:
        """Pass over one token, with all that stands in parentheses behind an opening one."""
        depth = 0
        while True:
            word = self._next().keyword
            depth += (word == "(") - (word == ")")
            if depth < 0 or (depth and self._peek() is _END):
                raise Unclear
            if not depth:
                return

    def rest(self) -> Iterator[str]:
        """All words and signs to come, in upper case; "" for names and literals."""
        while not self.ended:
            yield self.word()

    def identifier(self) -> str:
        """A name, in quotes or not."""
        token = self._next()
        text = _utf8(token.text)
        if token.kind == "word":
            return text
        quote, inside = text[:1], text[1:-1]
        names = token.kind == "quoted" or (token.kind == "double" and self._names_in_double_quotes(inside))
        if not names or not inside:
            raise Unclear
        return inside.replace(quote * 2, quote)

    def _names_in_double_quotes(self, inside: str) -> bool:
        return "\\" not in inside if self._mode is None else self._mode & ANSI_QUOTES != 0

    def table(self) -> Name:
        """A table's name, perhaps with its schema."""
        name = self.identifier()
        return (name, self.identifier()) if self.skip(".") else (None, name)

    def xid(self) -> str:
        """The name of an XA transaction, as :class:`XaId` writes it: up to two texts and a number."""
        gtrid, bqual, number = self._bytes(), b"", 1
        if self.skip(","):
            bqual = self._bytes()
            if self.skip(","):
                number = self._number()
        return XaId(number, gtrid, bqual).text

    def _number(self) -> int:
        text = self.word()
        if not _DIGITS.fullmatch(text):
            raise Unclear
        return int(text)

    def _bytes(self) -> bytes:
        """A text: ``'…'``, ``X'…'`` or ``0x…``."""
        token = self._next()
        if token.keyword == "X" and self._peek().kind == "single":
            return _hex(self._next().text[1:-1])
        if token.kind == "word" and token.text[:2] == b"0x":
            return _hex(token.text[2:])
        quote, inside = token.text[:1], token.text[1:-1]
        if token.kind not in {"single", "double"} or b"\\" in inside:
            raise Unclear
        return inside.replace(quote * 2, quote)


def _hex(text: bytes) -> bytes:
    digits = _utf8(text)
    if not _HEX.fullmatch(digits):
        raise Unclear
    return bytes.fromhex(digits)


def _utf8(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise Unclear from error
