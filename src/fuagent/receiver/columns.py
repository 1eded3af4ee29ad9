"""Values of events as a column of a database takes them.

JSON has no moments, decimals or bytes; the agent writes them as text. Some drivers take that text,
some refuse it and some store it as it stands, so it is read here, by the column's own type.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from math import isfinite
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import JSON, Column, DateTime, Time
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

from fuagent.errors import PayloadError

Reader = Callable[[Any], Any]

_TOO_FINE = re.compile(r"[.,][0-9]{6,}[1-9]")

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

    return checked


def schema(column: Column[Any]) -> dict[str, Any]:
    """What :func:`reader` takes, as JSON Schema; nothing where it takes all."""
    if isinstance(column.type, JSON):
        return {}
    try:
        python = column.type.python_type
    except NotImplementedError:
        return {}
    told = _SCHEMAS.get(python)
    if told is None:
        return {}
    types, more = told
    return {"type": [*types, "null"] if column.nullable else list(types), **more}


def _reader(type_: TypeEngine[Any], dialect: str) -> Reader:
    if isinstance(type_, JSON):
        return lambda value: value
    if isinstance(type_, DateTime):
        return partial(_cut, _aware if type_.timezone else _naive, _fraction_digits(type_, dialect))
    if isinstance(type_, Time):
        return partial(_cut, _time, _fraction_digits(type_, dialect))
    if isinstance(type_, mysql.SET):
        return lambda value: value if isinstance(value, str) else ",".join(value)
    try:
        python = type_.python_type
    except NotImplementedError:  # before SQLAlchemy 2.1, of a type of one database alone, which reads its own text
        return lambda value: value
    if python is Decimal:
        return partial(_decimal, scale=getattr(type_, "scale", None), is_float=dialect == "sqlite")
    if python is float:
        return partial(_float, finite=dialect not in {"", "postgresql"})
    return _READERS.get(python, lambda value: value)


def _decimal(value: Any, *, scale: int | None, is_float: bool) -> Decimal:
    """SQLite keeps a decimal as a float; the others round to the column's digits."""
    made = Decimal(str(value))
    if is_float and Decimal(repr(float(made))) != made:
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


def _cut(read: Callable[[Any], Any], digits: int, value: Any) -> Any:
    """A moment or time, unless the database would round it; Python itself cuts what is finer than a microsecond."""
    made = read(value)
    if made.microsecond % 10 ** (6 - digits) or (isinstance(value, str) and _TOO_FINE.search(value)):
        raise ValueError(value)
    return made


def _moment(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _aware(value: Any) -> datetime:
    moment = _moment(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _naive(value: Any) -> datetime:
    """A moment with a zone becomes UTC, since the column cannot say which zone it is in."""
    moment = _moment(value)
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
    """A JSON value as text, with all digits of numbers that came as a Decimal."""
    return orjson.dumps(value, default=_json_piece).decode()


def _json_piece(value: Any) -> Any:
    return orjson.Fragment(str(value)) if isinstance(value, Decimal) and value.is_finite() else str(value)


_READERS: dict[type, Reader] = {
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
