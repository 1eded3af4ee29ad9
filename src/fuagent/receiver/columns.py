"""Values of events as a column of a database takes them.

JSON has no moments, decimals or bytes; the agent writes them as text. Some drivers take that text,
some refuse it and some store it as it stands, so it is read here, by the column's own type.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from math import isfinite
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import JSON, Column, DateTime, Float, Time
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

from fuagent.errors import PayloadError

_NONE = type(None)


@dataclass(frozen=True, slots=True)
class Reader:
    """What turns JSON values into those of one column, one by one or all of a column's at once."""

    one: Callable[[Any], Any]
    stay: Callable[[Sequence[Any]], bool] = lambda _values: False
    """Whether ``one`` would give back each of these values as it is."""

    def __call__(self, value: Any) -> Any:
        """One value."""
        return self.one(value)

    def column(self, values: Sequence[Any]) -> Sequence[Any]:
        """Many; most columns have only values that stay what they are, which is seen without a call for each."""
        return values if self.stay(values) else [self.one(value) for value in values]


def of(*types: type) -> Callable[[Sequence[Any]], bool]:
    """Whether all values are of these types, or null."""
    passing = frozenset({*types, _NONE})
    return lambda values: passing.issuperset(map(type, values))


_TOO_FINE = re.compile(r"[.,][0-9]{6,}[1-9]")
_MOMENT, _TIME = len("20260131T120000.000000"), len("120000.000000")
"""Characters of the shortest texts with microseconds (ISO 8601 may leave its marks out)."""

_DURATION = re.compile(
    r"(?P<sign>-)?P(?:(?P<days>-?\d+)D)?"
    r"(?:T(?:(?P<hours>-?\d+)H)?(?:(?P<minutes>-?\d+)M)?(?:(?P<seconds>-?\d+(?:\.\d+)?)S)?)?"
)


def reader(column: Column[Any], dialect: str = "") -> Reader:
    """What turns a JSON value into one for this column.

    It raises PayloadError, with the column's name and never the value, where that cannot be done or where the
    database (by SQLAlchemy's name for it) would round without a word.
    """
    read = _reader(column.type, dialect)

    def checked(value: Any) -> Any:
        if value is None:
            return None
        try:
            return read(value)
        except (ValueError, TypeError, ArithmeticError, binascii.Error):
            raise PayloadError(f"column {column.name} does not take the value of a row") from None

    return Reader(checked, _stay(column.type, dialect))


def _stay(type_: TypeEngine[Any], dialect: str) -> Callable[[Sequence[Any]], bool]:
    """What sees at once that all values of a column stay what they are, in nearly all batches."""
    python = _python_type(type_)
    if python in {bool, int, str}:
        return of(python)
    if python is float and dialect == "postgresql":
        return of(float)
    if python is Decimal and dialect == "postgresql":
        return partial(_all_texts, _plain(getattr(type_, "scale", None)).fullmatch)
    if isinstance(type_, DateTime) and dialect == "postgresql":
        plain = _moment_text(_fraction_digits(type_, dialect), is_aware=type_.timezone)
        return lambda values: _all_texts(plain.fullmatch, values) and _all_texts(datetime.fromisoformat, values)
    return lambda _values: False


def _all_texts(holds: Callable[[str], object], values: Sequence[Any]) -> bool:
    """Whether all that are not null are texts of which something is true; what is raised says that one is not."""
    texts = [value for value in values if value is not None]
    try:
        return all(map(holds, texts))
    except (TypeError, ValueError):
        return False


def _python_type(type_: TypeEngine[Any]) -> type | None:
    """What values of a type are in Python, where that is known."""
    if isinstance(type_, Float):  # MySQL's own call themselves decimal, and it cuts a literal of more than 65 digits
        return float
    try:
        return None if isinstance(type_, JSON) else type_.python_type
    except NotImplementedError:  # before SQLAlchemy 2.1, of a type of one database alone, which reads its own text
        return None


def schema(column: Column[Any]) -> dict[str, Any]:
    """What :func:`reader` takes, as JSON Schema; nothing where it takes all."""
    told = _SCHEMAS.get(_python_type(column.type) or _NONE)
    if told is None:
        return {}
    types, more = told
    return {"type": [*types, "null"] if column.nullable else list(types), **more}


def _reader(type_: TypeEngine[Any], dialect: str) -> Callable[[Any], Any]:
    if isinstance(type_, DateTime):
        is_aware = type_.timezone and dialect in {"", "postgresql"}  # the others keep no zone with a moment
        digits = _fraction_digits(type_, dialect)
        cut = partial(_cut, _aware if is_aware else _naive, digits, _MOMENT)
        # A text that PostgreSQL reads alike need not become an object and then a text again.
        return partial(_told_moment, _moment_text(digits, is_aware=is_aware), cut) if dialect == "postgresql" else cut
    if isinstance(type_, Time):
        return partial(_cut, _time, _fraction_digits(type_, dialect), _TIME)
    if isinstance(type_, mysql.SET):
        return lambda value: value if isinstance(value, str) else ",".join(value)
    python = _python_type(type_) or _NONE
    if python is Decimal:
        scale: int | None = getattr(type_, "scale", None)
        return partial(_decimal, _plain(scale), scale=scale, dialect=dialect)
    if python is float:
        return partial(_float, finite=dialect not in {"", "postgresql"})
    return _READERS.get(python, lambda value: value)


def _plain(scale: int | None) -> re.Pattern[str]:
    """Texts of so few digits that neither a column of this scale nor a float rounds them: nearly all that come."""
    digits = 6 if scale is None else min(scale, 6)
    return re.compile(r"-?[0-9]{1,9}" + (rf"(?:\.[0-9]{{1,{digits}}})?" if digits > 0 else ""))


def _decimal(plain: re.Pattern[str], value: Any, *, scale: int | None, dialect: str) -> Decimal | str:
    """SQLite keeps a decimal as a float; the others round to the column's digits, and only PostgreSQL has NaN."""
    text = str(value)
    if plain.fullmatch(text):
        return text if dialect == "postgresql" else Decimal(text)
    made = Decimal(text)
    if not made.is_finite() and dialect not in {"", "postgresql"}:
        raise ValueError(value)
    if dialect == "sqlite" and Decimal(repr(float(made))) != made:
        raise ValueError(value)
    if scale is not None and made.is_finite() and made != round(made, scale):
        raise ValueError(value)
    return made


def _float(value: Any, *, finite: bool) -> float:
    """No integer that a float does not hold, and where only PostgreSQL has words for them no NaN and infinity."""
    made = float(value)
    if (isinstance(value, int) and made != value) or (finite and not isfinite(made)):
        raise ValueError(value)
    return made


def _fraction_digits(type_: TypeEngine[Any], dialect: str) -> int:
    """Digits of a second that a column keeps; on MySQL none unless it says so."""
    told = getattr(type_, "fsp", None) or getattr(type_, "precision", None)
    return told if told is not None else 0 if dialect in {"mysql", "mariadb"} else 6


def _cut(read: Callable[[Any], Any], digits: int, safe: int, value: Any) -> Any:
    """A moment or time, unless the database would round it; Python itself cuts what is finer than a microsecond.

    A text of up to ``safe`` characters cannot be that fine.
    """
    made = read(value)
    is_fine = isinstance(value, str) and len(value) > safe and _TOO_FINE.search(value)
    if is_fine or made.microsecond % 10 ** (6 - digits):
        raise ValueError(value)
    return made


def _moment_text(digits: int, *, is_aware: bool) -> re.Pattern[str]:
    """Texts of moments that mean the same to PostgreSQL, whatever its settings: a zone counts only where there is one."""
    fraction = rf"(?:\.[0-9]{{1,{digits}}})?" if digits else ""
    return re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}" + fraction + ("Z" if is_aware else "Z?"))


def _told_moment(plain: re.Pattern[str], otherwise: Callable[[Any], Any], value: Any) -> Any:
    if type(value) is str and plain.fullmatch(value):
        datetime.fromisoformat(value)  # a day that is none is refused
        return value
    return otherwise(value)


def _moment(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _aware(value: Any) -> datetime:
    moment = _moment(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _naive(value: Any) -> datetime:
    """A moment with a zone becomes UTC, since the column cannot say which zone it is in."""
    is_utc = isinstance(value, str) and value.endswith("Z")
    moment = _moment(value[:-1] if is_utc else value)  # in half the time
    if moment.tzinfo and is_utc:
        raise ValueError(value)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _date(value: Any) -> date:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else date.fromisoformat(value)


def _time(value: Any) -> time:
    return value if isinstance(value, time) else time.fromisoformat(value)


def _duration(value: Any) -> timedelta:
    """An ISO 8601 duration; one of months or years is no fixed time."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value)
    if match is None or value.endswith(("P", "T")):
        raise ValueError(value)
    parts = {unit: float(number) for unit, number in match.groupdict().items() if number and unit != "sign"}
    made = timedelta(**parts)
    return -made if match["sign"] else made


def _integer(value: Any) -> int:
    number = int(value)
    if number != value and not isinstance(value, str):
        raise ValueError(value)
    return number


def _boolean(value: Any) -> bool:
    if value in {0, 1}:
        return bool(value)
    raise ValueError(value)


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b64decode(value, validate=True)


def text(value: Any) -> str:
    """Text as it is, and the JSON text of anything else: a number's digits, say."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else json_text(value)


def json_text(value: Any) -> str:
    """A JSON value as text, with all digits of numbers that came as a Decimal.

    Raises:
        PayloadError: it is nested deeper than orjson writes, which is less than it reads.
    """
    try:
        return orjson.dumps(value, default=_json_piece).decode()
    except orjson.JSONEncodeError:
        raise PayloadError("a value of a row is nested too deep") from None


def _json_piece(value: Any) -> Any:
    return orjson.Fragment(str(value)) if isinstance(value, Decimal) and value.is_finite() else str(value)


_READERS: dict[type, Callable[[Any], Any]] = {
    bool: _boolean,
    int: _integer,
    str: text,
    bytes: _bytes,
    date: _date,
    timedelta: _duration,
    UUID: lambda value: value if isinstance(value, UUID) else UUID(str(value)),
}

_SCHEMAS: dict[type, tuple[tuple[str, ...], dict[str, str]]] = {
    bool: (("boolean", "integer"), {}),
    int: (("integer", "string"), {}),
    float: (("number", "string"), {}),
    Decimal: (("string", "number"), {}),
    bytes: (("string",), {"contentEncoding": "base64"}),
    date: (("string",), {"format": "date"}),
    time: (("string",), {"format": "time"}),
    datetime: (("string",), {}),
    timedelta: (("string",), {"format": "duration"}),
    UUID: (("string",), {}),
}
