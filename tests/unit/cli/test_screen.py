"""What people see: figures in words, the board, status, findings."""

import asyncio
import io
import json
import time
from dataclasses import asdict

import pytest
from rich.console import Console

from fuagent import screen
from fuagent.engine.lifecycle import State
from fuagent.engine.progress import Progress
from fuagent.model import Finding, Level


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


NOW = 1_000_000.0


def board(syncs, rates=None, width=120, height=40, **options):
    """The picture as lines of text."""
    console = Console(file=io.StringIO(), width=width, height=height, legacy_windows=False, **options)
    console.print(screen._board(syncs, rates or {}, 75, console, NOW))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def status(*syncs, running=True, now=1000.0, **changes):
    """What ``status`` prints away from a terminal."""
    told = [{**asdict(one), "state": str(one.shown) if running else "not running"} for one in syncs]
    report = {"version": "9", "running": running, "agent_id": "agent-1", "journal_bytes": 2048, "time": now}
    out = io.StringIO()
    screen.show_status({**report, "syncs": told, **changes}, as_json=False, out=out)
    return out.getvalue()


# ---------------------------------------------------------------- figures


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-3, "0 s"), (0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3661, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_seconds(value, expected):
    """A duration is told in its two largest units."""
    assert screen.seconds(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(12, "12 bytes"), (45_056, "45 kB"), (7.2e6, "7 MB"), (1.5e9, "1.5 GB"), (2e12, "2000.0 GB")],
)
def test_size(value, expected):
    """Bytes are told in a unit that leaves a short number."""
    assert screen.size(value) == expected


def test_rate_is_growth_over_time():
    """A rate is rows divided by seconds, over the last few seconds alone."""
    rates = screen.Rates()
    progress = Progress("a")
    told = []
    for second in range(20):
        progress.rows += 100 if second < 10 else 10
        told.append(rates.take(float(second), [progress])["a"])

    assert told[0] == 0
    assert told[5] == 100
    assert told[19] == 10


def test_rate_forgets_what_it_does_not_need():
    """However long the agent runs, only the window's points are kept."""
    rates = screen.Rates()
    for tick in range(1000):
        rates.take(tick * screen.REFRESH, [Progress("a", rows=tick)])

    assert len(rates.seen["a"]) <= screen.WINDOW / screen.REFRESH + 2


def test_rate_of_a_counter_that_starts_over():
    """A counter that went back is no negative rate."""
    rates = screen.Rates()
    rates.take(0.0, [Progress("a", rows=100)])

    assert rates.take(1.0, [Progress("a", rows=0)]) == {"a": 0.0}


# ---------------------------------------------------------------- the board


def test_board_of_a_snapshot():
    """A snapshot shows a bar, the percentage, time left, rate, and rows of how many."""
    sync = Progress("orders", State.SNAPSHOT, rows=500, snapshot_rows=500, snapshot_total=1000, snapshot_cause="why")
    head, line, cause = board([sync], {"orders": 50.0})

    assert head.startswith("fuagent ")
    assert "1 sync ·" in head
    assert "running for 1 min 15 s" in head
    assert line == f"orders  snapshot      {'━' * 12}{'─' * 12}  50% · 10 s left · 50/s · 500 of 1,000 rows"
    assert cause == "    snapshot: taken because: why"


def test_board_fits_a_narrow_terminal():
    """The bar gives way before any figure does, and no line is longer than the screen."""
    sync = Progress("orders", State.SNAPSHOT, rows=500, snapshot_rows=500, snapshot_total=1000)
    for width in (79, 70, 40, 20):
        assert max(map(len, board([sync], {"orders": 50.0}, width=width))) <= width
    assert "━" not in board([sync], {"orders": 50.0}, width=70)[1]
    assert "50% · 10 s left · 50/s · 500 of 1,000 rows" in board([sync], {"orders": 50.0}, width=70)[1]


def test_board_without_a_total_or_rate():
    """What is not known is left out instead of guessed."""
    unknown = Progress("a", State.SNAPSHOT, snapshot_rows=500)
    standing = Progress("b", State.SNAPSHOT, snapshot_rows=500, snapshot_total=400)
    _, first, second = board([unknown, standing])

    assert first.endswith("500 rows · 0/s")
    assert "100%" in second
    assert "left" not in second


def test_board_without_unicode():
    """A terminal that knows no line drawing gets plain signs."""

    class Old(io.StringIO):
        encoding = "ascii"

    console = Console(file=Old(), width=120)
    sync = Progress("a", State.SNAPSHOT, snapshot_rows=1, snapshot_total=2)
    console.print(screen._board([sync], {}, 0, console, NOW))

    assert "############............" in console.file.getvalue()


def test_board_of_a_stream():
    """A stream shows rows sent, the rate, and how far behind it is, in rows or bytes."""
    rows = Progress("a", State.STREAMING, rows=1234, behind_rows=5)
    volume = Progress("b", State.CAUGHT_UP, rows=1, behind_bytes=5000)
    _, first, second = board([rows, volume], {"a": 77.4})

    assert first.endswith("streaming     1,234 rows sent · 77/s · 5 behind")
    assert second.endswith("caught up     1 rows sent · 0/s · 5 kB behind")


@pytest.mark.fault("F37")
@pytest.mark.parametrize(
    ("kept", "room", "said"),
    [
        (None, None, []),
        (5_000_000, None, []),
        (5_000_000, 60_000_000_000, []),
        (2_500_000_000, None, ["    notice: the database keeps 2.5 GB of its log for this sync"]),
        (
            5_000_000,
            900_000_000,
            ["    notice: the database keeps 5 MB of its log for this sync, and lets go of it after 900 MB more"],
        ),
    ],
)
@pytest.mark.fault("F91")
def test_board_tells_of_a_log_that_grows(kept, room, said):
    """Where the database keeps much, or soon keeps no more."""
    assert board([Progress("a", State.RETRYING, kept_bytes=kept, room_bytes=room)])[2:] == said


@pytest.mark.parametrize(
    ("kept", "since", "said"),
    [
        (None, 900_000.0, []),
        (604_800.0, 900_000.0, []),
        (7200.0, 997_000.0, []),
        (
            7200.0,
            996_000.0,
            [
                "    notice: the database keeps changes for 2 h 0 min: at the earliest in 53 min 20 s it lets go of some not read"
            ],
        ),
        (
            86_400.0,
            900_000.0,
            ["    notice: the database keeps changes for 1 d 0 h: at the earliest in 0 s it lets go of some not read"],
        ),
    ],
)
def test_board_tells_of_changes_that_grow_old(kept, since, said):
    """Where the database soon lets go of them by age, in the board and in status; a short time alone is no news."""
    old = Progress("a", State.RETRYING, kept_seconds=kept, unread_since=since)
    told = status(old, now=NOW).splitlines()

    assert board([old])[2:] == said
    assert [f"  {line}" for line in told if "notice" in line] == said


@pytest.mark.parametrize("state", list(State))
def test_board_names_every_state(state):
    """Every state is there in words; the two that need a person are in capitals, so colours are not needed."""
    loud = state in (State.HALTED, State.LOST_PLACE)
    _, line, *_ = board([Progress("a", state)], no_color=True)

    assert (f" {state.upper()} " if loud else f" {state} ") in f"{line} "


def test_board_tells_trouble():
    """The last problem, its fix, and notices stand below their sync."""
    sync = Progress("a", State.HALTED, problem="row refused", fix="look at it", notices=["one", "two", "three", "four"])

    assert board([sync])[2:] == [
        "    problem: row refused",
        "    fix: look at it",
        "    notice: two",
        "    notice: three",
        "    notice: four",
    ]


def test_board_tells_a_gap():
    """A gap stays visible while rows go on, said once, with what puts it right."""
    sync = Progress("a", State.STREAMING, gap="the log was cut", notices=["Lost place: the log was cut"])
    _, line, *told = board([sync])

    assert " LOST PLACE " in line
    assert told == [
        "    gap: changes may be missing at the service: the log was cut",
        "    fix: fuagent snapshot a puts it right, if the service asks for none itself.",
    ]


def test_board_tells_what_waits():
    """Rows set aside, a snapshot that has to wait, and an unproven place are told."""
    sync = Progress("a", State.STREAMING, rejected=3, snapshot_allowed_in=61.0, unproven=True)

    assert board([sync])[2:] == [
        "    notice: the place was found by its number alone, without the journal",
        "    snapshot: asked for; it begins in 1 min 1 s",
        "    rejected: 3 rows that the service refused, set aside; fuagent rejected list a names them",
    ]


def test_board_with_more_syncs_than_lines():
    """With many syncs those in trouble come first, and the others are counted."""
    syncs = [Progress(f"quiet{number}", State.CAUGHT_UP) for number in range(30)]
    syncs += [Progress("slow", State.RETRYING), Progress("bad", State.HALTED)]
    lines = board(syncs, height=14)

    assert lines[1].startswith("bad ")
    assert lines[2].startswith("slow ")
    assert lines[-1] == "and 22 more"


@pytest.mark.fault("S20")
def test_board_is_not_led_astray_by_texts():
    """Markup and control characters in a message are shown or dropped, never obeyed."""
    sync = Progress("[red]a[/red]", State.RETRYING, problem="[bold]x[/]\x1b[2J\ny")
    _, line, problem = board([sync])

    assert line.startswith("[red]a[/red]")
    assert problem == "    problem: [bold]x[/] [2J y"


# ---------------------------------------------------------------- watching an agent


class Watched:
    """As much of an agent as the display looks at."""

    def __init__(self, fails=False):
        self.progress = [Progress("orders", State.CAUGHT_UP)]
        self.asked = 0
        self._fails = fails

    async def status(self):
        self.asked += 1
        if self._fails:
            raise OSError
        self.progress[0].behind_rows = 42
        return self.progress


async def watched(agent, monkeypatch, out, condition):
    monkeypatch.setattr("sys.stderr", out)
    monkeypatch.setattr(screen, "REFRESH", 0.01)
    monkeypatch.setattr(screen, "ASK_EVERY", 0.01)
    task = asyncio.ensure_future(screen.watch(agent))
    async with asyncio.timeout(10):
        while not condition() and not task.done():
            await asyncio.sleep(0.01)
    return task


async def test_watch_shows_and_asks(monkeypatch):
    """The board is drawn again and again, with what the agent measured, until it is cancelled."""
    out, agent = Terminal(), Watched()
    monkeypatch.setenv("TERM", "xterm")
    task = await watched(agent, monkeypatch, out, lambda: "42 behind" in out.getvalue())
    agent.progress[0].rows = 777
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert "777 rows sent" in out.getvalue()
    assert agent.asked >= 1


async def test_watch_outlives_a_figure_that_cannot_be_had(monkeypatch):
    """An agent that cannot say how far behind it is is shown without that."""
    out, agent = Terminal(), Watched(fails=True)
    monkeypatch.setenv("TERM", "xterm")
    task = await watched(agent, monkeypatch, out, lambda: agent.asked > 2)

    assert not task.done()
    task.cancel()
    assert "orders" in out.getvalue()


async def test_watch_never_ends_the_agent(monkeypatch):
    """A display that cannot go on ends by itself and raises nothing."""
    out, agent = Terminal(), Watched()
    monkeypatch.setenv("TERM", "xterm")

    def broken(*_args):
        raise ValueError

    task = await watched(agent, monkeypatch, out, lambda: "orders" in out.getvalue())
    monkeypatch.setattr(screen, "_board", broken)
    async with asyncio.timeout(10):
        await asyncio.wait([task])

    assert task.exception() is None


@pytest.mark.parametrize(
    ("term", "rows", "expected"), [("xterm", False, True), ("dumb", False, False), ("xterm", True, False)]
)
def test_live_only_where_it_can_be(monkeypatch, term, rows, expected):
    """No live board on a dumb terminal, nor where printed rows would run through it."""
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", term)

    assert screen.can_be_live(rows_on_stdout=rows) is expected


def test_not_live_away_from_a_terminal():
    """Where standard error is a file there is nothing to draw on."""
    assert screen.can_be_live() is False


# ---------------------------------------------------------------- status


def test_status_is_a_table():
    """One line for each sync, aligned, never wrapped away from a terminal."""
    long = Progress("x" * 150, State.CAUGHT_UP, since=990, rows=5, behind_rows=0, index=10, answered=10)
    lines = status(long, Progress("new")).splitlines()

    assert lines[0] == "agent-1, running · fuagent 9 · journal 2 kB"
    assert lines[2].split() == ["sync", "state", "for", "rows", "sent", "behind", "index", "service", "has"]
    assert lines[3].split() == ["x" * 150, "caught", "up", "10", "s", "5", "0", "10", "10"]
    assert lines[4].split() == ["new", "starting", "-", "0", "-", "-", "-"]
    assert len(lines) == 5


@pytest.mark.fault("F105")
def test_status_tells_how_long_a_snapshot_is_held():
    """Trouble under it does not make it a new one."""
    lines = status(Progress("a", State.SNAPSHOT, since=990, snapshot_since=880)).splitlines()

    assert lines[3].split()[:5] == ["a", "snapshot", "2", "min", "0"]


def test_status_has_a_block_for_each_sync_with_something_to_say():
    """Problem, fix and what is left out stand in a block with the sync's name."""
    text = status(Progress("a", State.RETRYING, problem="no answer", fix="start it", left_out=4), Progress("b"))

    assert text.endswith(
        "\na\n  problem: no answer\n  fix: start it\n  left out: 4 row images that the settings keep back\n"
    )


def test_status_without_an_agent():
    """The journal's figures are told as what they are, and a snapshot that is due is not forgotten."""
    text = status(Progress("a", rows=7, snapshot_cause="an operator asked for it"), running=False)

    assert "agent-1, not running; this is what its journal holds" in text
    assert "not running" in text.splitlines()[3]
    assert "snapshot: waiting for the agent to start: an operator asked for it" in text


def test_status_of_another_version():
    """An agent that tells more or less than this one knows is shown with what is understood."""
    told = {"name": "a", "state": "dancing\x1b", "rows": 3, "mood": "fine"}
    text = status(syncs=[told], agent_id=None)

    assert text.startswith("an agent without an id yet")
    assert text.splitlines()[3].split()[:2] == ["a", "dancing"]


def test_status_on_a_terminal(monkeypatch):
    """On a terminal the same words are coloured, and nothing is wider than it."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    out = Terminal()
    told = {**asdict(Progress("a", State.HALTED, problem="p " * 100)), "state": "halted"}
    report = {
        "version": "9",
        "running": True,
        "agent_id": "x",
        "journal_bytes": 1,
        "time": time.time(),
        "syncs": [told],
    }
    screen.show_status(report, as_json=False, out=out)

    assert "\x1b[" in out.getvalue()
    assert " HALTED " in out.getvalue()


def test_status_as_json():
    """``--json`` prints what the agent told."""
    out = io.StringIO()
    screen.show_status({"running": True, "syncs": []}, as_json=True, out=out)

    assert json.loads(out.getvalue()) == {"running": True, "syncs": []}


# ---------------------------------------------------------------- findings and tables

FINDINGS = [
    Finding(Level.INFO, "", "all fine"),
    Finding(Level.WARNING, "pushers.x", "plain http", "use https"),
    Finding(Level.ERROR, "config.yaml:3 syncs.a", "no table\nx", "name another"),
]


def test_findings_are_listed_worst_first():
    """Level, where, what and fix of each, and a count at the end."""
    out = io.StringIO()
    screen.show_findings(FINDINGS, as_json=False, out=out)

    assert out.getvalue().splitlines() == [
        "error: config.yaml:3 syncs.a",
        "  no table x",
        "  fix: name another",
        "warning: pushers.x",
        "  plain http",
        "  fix: use https",
        "info",
        "  all fine",
        "1 error, 1 warning",
    ]


def test_findings_as_json():
    """``--json`` gives each finding's four parts."""
    out = io.StringIO()
    screen.show_findings(FINDINGS[1:2], as_json=True, out=out)

    assert json.loads(out.getvalue()) == [
        {"level": "warning", "where": "pushers.x", "what": "plain http", "fix": "use https"}
    ]


def test_no_findings():
    """Nothing wrong is said, not left blank."""
    out = io.StringIO()
    screen.show_findings([], as_json=False, out=out)

    assert out.getvalue() == "0 errors, 0 warnings\n"


def test_table():
    """Columns are aligned under their names."""
    out = io.StringIO()
    screen.show_table(("name", "what"), [("a", "one"), ("longer", "two\x07")], out=out)

    assert out.getvalue().splitlines() == ["name    what", "a       one", "longer  two"]
