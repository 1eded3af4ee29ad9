"""The ``Retry-After`` header, in both of its forms.

RFC 9110 section 10.2.3 allows a number of seconds or an HTTP-date; section
5.6.7 lists the three spellings a date may have, two of them obsolete but owed
by every reader. The library's parsers follow the process's locale or accept
far more than that, so the three are spelled out here.
https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

CAP = 900.0
"""Longest wait that is honoured, in seconds: a typing error must not stop a sync for a year."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_CLOCK = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATES = tuple(
    re.compile(form)
    for form in (
        rf"[A-Z][a-z]{{2}}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_CLOCK} GMT",
        rf"[A-Z][a-z]{{5,8}}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_CLOCK} GMT",
        rf"[A-Z][a-z]{{2}} {_MONTH} (?P<day>[ 0-9][0-9]) {_CLOCK} (?P<year>[0-9]{{4}})",
    )
)
_SECONDS = re.compile(r"[0-9]+")
_FIFTY_YEARS = 50
_ENOUGH_DIGITS = 6
"""More digits than this mean more than the cap; such text is never turned into a number."""


def seconds(value: str | None, now: float) -> float | None:
    """How long to wait from ``now`` (Unix time) on; None where the header says nothing usable.

    A date that is past gives 0: the service asks for no wait of its own.
    """
    text = (value or "").strip(" \t")
    if _SECONDS.fullmatch(text):
        digits = text.lstrip("0")
        return CAP if len(digits) > _ENOUGH_DIGITS else min(CAP, float(digits or "0"))
    moment = _date(text, now)
    return None if moment is None else min(CAP, max(0.0, moment - now))


def _date(text: str, now: float) -> float | None:
    for form in _DATES:
        if match := form.fullmatch(text):
            try:
                return _moment(match, now)
            except ValueError:
                return None
    return None


def _moment(match: re.Match[str], now: float) -> float:
    year = int(match["year"])
    if len(match["year"]) == 2:
        year = _century(year, now)
    second = 59 if match["second"] == "60" else int(match["second"])
    month = _MONTHS.index(match["month"]) + 1
    clock = (int(match["hour"]), int(match["minute"]), second)
    return datetime(year, month, int(match["day"]), *clock, tzinfo=UTC).timestamp()


def _century(year: int, now: float) -> int:
    """A two-digit year is the latest such year that is not more than 50 years ahead."""
    today = datetime.fromtimestamp(now, UTC).year
    full = today - today % 100 + year
    return full - 100 if full > today + _FIFTY_YEARS else full
