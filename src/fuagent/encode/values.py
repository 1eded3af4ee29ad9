"""Single values on their way into JSON, where plain serialisation is not the whole answer.

Values arrive as a driver gives them: ``int``, ``float``, ``str``, ``bytes``, ``bool``, None.
What a column's form asks for beyond that is one function here, chosen once per
column when the encoder is compiled; a column in its natural form has none and costs nothing.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from math import isfinite, isnan

import orjson

from fuagent.contract.payload import Form

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# RFC 8259 section 6; anything looser could change the digits on the way.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)")
_MOMENT = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[ T](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?P<fraction>\.[0-9]+)?"
    r"\s*(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)


class UnmetError(Exception):
    """This value cannot be written in the form asked for. Carries nothing of the value."""


def not_json(value: object) -> object:
    """What JSON has no literal for: bytes become base64 (RFC 4648 section 4)."""
    if isinstance(value, bytes):
        return b2a_base64(value, newline=False).decode("ascii")
    raise TypeError


def not_finite(value: float) -> str:
    """The word for a float that no JSON number can say."""
    if isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def converter(form: Form) -> Callable[[object], object] | None:
    """The function that writes one column's values in ``form``; None where they are fine as they are.

    A value that has no such form is written as stored: types are the values' own in
    SQLite, and a single odd row is for the service to take or to refuse (``on_reject``).
    """
    convert = _CONVERTERS.get(form)
    if convert is None:
        return None

    def write(value: object) -> object:
        if value is None:
            return None
        try:
            return convert(value)
        except (UnmetError, OverflowError, ValueError):
            return value

    return write


def _string(value: object) -> object:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not isfinite(value):
        return not_finite(value)
    if isinstance(value, bytes):
        return not_json(value)
    return orjson.dumps(value).decode()


def _integer(value: object) -> object:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return orjson.Fragment(str(int(value)))
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return orjson.Fragment(value)
    raise UnmetError


def _number(value: object) -> object:
    if isinstance(value, float) and not isfinite(value):
        return not_finite(value)
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return orjson.Fragment(value)
    raise UnmetError


def _boolean(value: object) -> object:
    if isinstance(value, int):
        return value != 0
    raise UnmetError


def _timestamp(value: object) -> object:
    if isinstance(value, int):
        return f"{(_EPOCH + timedelta(seconds=value)).replace(tzinfo=None).isoformat()}Z"
    match = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise UnmetError
    moment = datetime.fromisoformat(f"{match['date']}T{match['time'] or '00:00'}").replace(tzinfo=_zone(match["zone"]))
    # The fraction is carried over as text: any number of digits stays exact.
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat()}{match['fraction'] or ''}Z"


def _zone(text: str | None) -> timezone:
    if text in {None, "Z"}:
        return UTC
    assert text is not None
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-offset if text[0] == "-" else offset)


def _json(value: object) -> object:
    if isinstance(value, str) and isinstance(orjson.loads(value), dict | list):
        return orjson.Fragment(value)
    raise UnmetError


_CONVERTERS: dict[Form, Callable[[object], object]] = {
    Form.STRING: _string,
    Form.INTEGER: _integer,
    Form.NUMBER: _number,
    Form.BOOLEAN: _boolean,
    Form.TIMESTAMP: _timestamp,
    Form.JSON: _json,
}
