"""The log: one event per line on standard error, for a person or for a machine.

Every text passes through one gate that takes out control characters, so that
nothing a server says can move the cursor or start a line of its own. A
traceback becomes one line too, and without the exception's own text, which may
hold a row's values or a secret: only errors raised here on purpose are known to hold none.

What a line is about may be bound as a question, ``about``: it is asked as the line is
written, and its answers stand before the line's own facts. A sync binds which batch is
under way and the like, for itself and (through the context) for libraries in its tasks.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import Processor, WrappedLogger

from fuagent.contract.text import clean
from fuagent.errors import FuagentError

FORMS = ("auto", "console", "json")
LEVELS = ("debug", "info", "warning", "error")
LONGEST = 4000
"""Characters of one text that are worth writing down."""
_WIDEST = 2**63


def configure(form: str = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Set up the log for this process.

    Args:
        form: ``auto`` writes for people on a terminal and JSON elsewhere.
        level: The least severe level that is written.
        stream: Where to; standard error as it is at each line, if left out.
    """
    target = stream or _StandardError()
    people = form == "console" or (form == "auto" and target.isatty())
    least = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _about,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%SZ" if people else "iso", utc=True),
            _traceback,
            _cleaned,
            _for_people(colours=target.isatty() and not os.environ.get("NO_COLOR")) if people else _json(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.PrintLoggerFactory(target),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    _take_over(max(least, logging.WARNING))


class _StandardError:
    """Standard error as it is at the moment: a live display puts its own in place while it runs."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


def _about(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Ask what the line is about; what the line itself says counts more."""
    about = event.pop("about", None)
    return {**about(), **event} if callable(about) else event


def _traceback(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An exception as one line: its type and the way it came."""
    told = event.pop("exc_info", None)
    error = sys.exc_info()[1] if told is True else told[1] if isinstance(told, tuple) else told
    if isinstance(error, BaseException):
        event["exception"] = type(error).__name__ + (f": {error}" if isinstance(error, FuagentError) else "")
        event["trace"] = " < ".join(
            f"{frame.filename}:{frame.lineno} {frame.name}"
            for frame in reversed(traceback.extract_tb(error.__traceback__))
        )
    return event


def _cleaned(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """What happened when comes first; nothing in it can leave its line."""
    first = ("timestamp", "level", "event")
    names = (*first, *(name for name in event if name not in first))
    return {name: _clean(event[name]) for name in names if name in event}


def _clean(value: object) -> object:
    if isinstance(value, str):
        return clean(value, LONGEST)
    if isinstance(value, Mapping):
        return {_clean(str(key)): _clean(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(one) for one in value]
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < _WIDEST):
        return value
    return _clean(str(value))


def _json() -> Processor:
    return structlog.processors.JSONRenderer(serializer=_dumps)


def _dumps(value: object, **_options: object) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode()


def _for_people(*, colours: bool) -> Processor:
    render = structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False)

    def spare(logger: WrappedLogger, method: str, event: MutableMapping[str, Any]) -> str:
        return render(logger, method, {name: value for name, value in event.items() if value not in ("", None)})

    return spare


def _take_over(least: int) -> None:
    """What libraries log through the standard library takes the same way out."""
    root = logging.getLogger()
    root.handlers[:] = [_Passing()]
    root.setLevel(least)


class _Passing(logging.Handler):
    """Hands a standard-library record on as one event."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # a library's own mistake in its format must not stop the agent
            text = str(record.msg)
        structlog.get_logger().log(
            record.levelno, text, logger=record.name, **({"exc_info": record.exc_info} if record.exc_info else {})
        )
