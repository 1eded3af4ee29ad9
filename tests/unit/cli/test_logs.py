"""The log: one event per line, for people or machines, with nothing in it that acts on a terminal."""

import io
import json
import logging
import re
from datetime import datetime, timedelta

import pytest
import structlog

from fuagent import logs
from fuagent.errors import HaltSyncError


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def untouched():
    """What the process had before stands again afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], _ = before
    root.setLevel(before[1])


def written(form="json", level="info", stream=None):
    out = stream or io.StringIO()
    logs.configure(form, level, out)
    return out


def failure():
    """An exception that holds a row's value and has a way it came."""
    try:
        raise ValueError("row value 4711")
    except ValueError as error:
        return error


def test_json_away_from_a_terminal():
    """Each event is one JSON object with time in UTC, level and text first."""
    out = written("auto")
    structlog.get_logger().bind(sync="orders").info("state", state="streaming", index=7, rows=None)

    [line] = out.getvalue().splitlines()
    told = json.loads(line)
    assert list(told) == ["timestamp", "level", "event", "sync", "state", "index", "rows"]
    assert (told["level"], told["event"], told["index"], told["rows"]) == ("info", "state", 7, None)
    assert datetime.fromisoformat(told["timestamp"]).utcoffset() == timedelta(0)


def test_people_on_a_terminal(monkeypatch):
    """On a terminal the line is for reading and coloured."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = written("auto", stream=Terminal())
    structlog.get_logger().warning("trying again", wait=1.5)

    assert "trying again" in out.getvalue()
    assert "\x1b[" in out.getvalue()
    assert out.getvalue().count("\n") == 1


def test_people_are_spared_what_says_nothing():
    """Names without a value are left out where a person reads."""
    out = written("console")
    structlog.get_logger().info("trying again", fix="", index=None, batch=0)

    assert re.search(r"^\S+Z \[info +\] trying again +batch=0$", out.getvalue())


def test_no_colour_where_none_is_wanted(monkeypatch):
    """NO_COLOR leaves the words and takes the colours."""
    monkeypatch.setenv("NO_COLOR", "1")
    out = written("console", stream=Terminal())
    structlog.get_logger().warning("trying again")

    assert "trying again" in out.getvalue()
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.fault("S20")
def test_nothing_leaves_its_line(form):
    """Line ends, escapes and marks that turn text around are gone, wherever they stand."""
    out = written(form)
    evil = 'a\n{"level":"error"}\x1b[2J\u202eb\x00'
    structlog.get_logger().info(evil, text=evil, many=[evil, {evil: evil}])

    assert out.getvalue().count("\n") == 1
    assert not {"\x1b", "\u202e", "\x00"} & set(out.getvalue())


def test_any_value_can_be_written():
    """Values that JSON has no word for are written as text instead of ending the agent."""
    out = written()
    structlog.get_logger().info("odd", path=logging, big=2**70, small=-(2**63), infinite=float("inf"), some={1})

    told = json.loads(out.getvalue())
    assert told["big"] == str(2**70)
    assert told["some"] == [1]
    assert told["infinite"] is None


def test_long_texts_are_cut():
    """A text is written up to a limit."""
    out = written()
    structlog.get_logger().info("x" * 100_000)

    assert len(out.getvalue()) < 5000


@pytest.mark.parametrize(("level", "expected"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_level(level, expected):
    """Less severe events than the level are left out."""
    out = written(level=level)
    log = structlog.get_logger()
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")

    assert out.getvalue().count("\n") == expected


def test_an_exception_is_one_line_without_its_text():
    """The trace says where it came from; the exception's own text may hold a row."""
    out = written()
    structlog.get_logger().error("defect", exc_info=failure())

    [line] = out.getvalue().splitlines()
    told = json.loads(line)
    assert told["exception"] == "ValueError"
    assert "test_logs.py" in told["trace"]
    assert "failure" in told["trace"]
    assert "4711" not in line


@pytest.mark.fault("S06")
def test_debug_keeps_the_text_of_a_foreign_exception_to_itself():
    """What a library or a driver puts into its exceptions nobody knows, so debug shows it as little as any level."""
    out = written(level="debug")
    structlog.get_logger().debug("defect", exc_info=failure())

    told = json.loads(out.getvalue())
    assert told["exception"] == "ValueError"
    assert "4711" not in out.getvalue()


def test_an_error_of_ours_is_shown_with_its_text():
    """Errors raised on purpose hold no secret and no row value, and say what to do."""
    out = written()
    structlog.get_logger().error("halted", exc_info=HaltSyncError("no such table.", where="syncs.a", fix="Name one."))

    assert json.loads(out.getvalue())["exception"] == "HaltSyncError: syncs.a: no such table. Fix: Name one."


def test_what_a_line_is_about_is_asked_as_it_is_written():
    """Facts that change are bound once, as a question; what the line itself says counts more."""
    out = written()
    facts = {"sync": "orders", "index": 1}
    log = structlog.get_logger().bind(about=lambda: facts)
    log.info("a")
    facts["index"] = 2
    log.info("b", sync="other")

    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(one["sync"], one["index"]) for one in told] == [("orders", 1), ("other", 2)]
    assert "about" not in out.getvalue()


def test_a_library_in_a_task_of_a_sync_speaks_about_the_sync():
    """What the context is about stands in lines of the standard library's loggers too."""
    out = written()
    with structlog.contextvars.bound_contextvars(about=lambda: {"sync": "orders"}):
        logging.getLogger("aiohttp").warning("odd")

    assert json.loads(out.getvalue())["sync"] == "orders"


def test_an_exception_on_its_way_is_found():
    """``exc_info=True`` means the one being handled; None means there is none."""
    out = written()
    try:
        raise failure()
    except ValueError:
        structlog.get_logger().error("a", exc_info=True)
    structlog.get_logger().error("b", exc_info=None)

    first, second = map(json.loads, out.getvalue().splitlines())
    assert first["exception"] == "ValueError"
    assert "exception" not in second


def test_libraries_log_the_same_way():
    """What asyncio or the HTTP client log arrives in the same form, from warning on."""
    out = written()
    logging.getLogger("asyncio").info("too much")
    logging.getLogger("asyncio").warning("slow %s\n", "callback")
    logging.getLogger("asyncio").error("failed", exc_info=failure())

    first, second = map(json.loads, out.getvalue().splitlines())
    assert (first["event"], first["logger"], first["level"]) == ("slow callback", "asyncio", "warning")
    assert second["exception"] == "ValueError"


def test_a_library_with_a_wrong_format_is_told_as_it_is():
    """A log call whose arguments do not fit is no reason to fail."""
    out = written()
    logging.getLogger("lib").warning("%d", "text")

    assert json.loads(out.getvalue())["event"] == "%d"


def test_standard_error_is_looked_up_at_each_line(capsys):
    """A live display that takes standard error's place gets the lines."""
    logs.configure("auto")
    structlog.get_logger().info("here")

    assert json.loads(capsys.readouterr().err)["event"] == "here"
