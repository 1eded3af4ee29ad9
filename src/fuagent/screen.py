"""What people see on a terminal: the live board of ``run``, ``status``, findings, tables.

Everything is built from plain values and as :class:`rich.text.Text`, never as
markup, so that nothing in a name or a message can change how it looks.
Away from a terminal the same words are written plainly, one fact per line, unwrapped.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TextIO

import orjson
import structlog
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fuagent.contract.text import clean
from fuagent.engine.agent import Agent
from fuagent.engine.lifecycle import MEANING, State
from fuagent.engine.progress import Progress
from fuagent.errors import FuagentError
from fuagent.model import Finding, Level
from fuagent.version import __version__

REFRESH = 0.25
"""Seconds between two pictures."""
ASK_EVERY = 2.0
"""Seconds between two looks at how far each sync is behind."""
LOOK_EVERY = 1.0
"""Seconds between two pictures of ``status --watch``."""
WINDOW = 5.0
"""Seconds a rate is taken over."""
LONGEST = 1000
"""Characters of one message that are shown."""
_BAR, _SHORTEST_BAR = 24, 5
_UNWRAPPED = 100_000
_STATE_WIDTH = 2 + len(State.UNAUTHORISED) + 2

_STYLES = {
    State.STARTING: "blue",
    State.SNAPSHOT: "bold cyan",
    State.STREAMING: "green",
    State.CAUGHT_UP: "bold green",
    State.RETRYING: "bold yellow",
    State.WRONG_ANSWER: "bold yellow",
    State.UNAUTHORISED: "bold yellow",
    State.PAUSED: "magenta",
    State.HALTED: "bold white on red",
    State.LOST_PLACE: "bold black on yellow",
    State.DRAINING: "blue",
    State.STOPPED: "dim",
}
KEPT = 1_000_000_000
"""Bytes of a database's log that are worth a word: so much kept, or so little left."""
_LOUD = (State.HALTED, State.LOST_PLACE)
_LEVELS = {Level.ERROR: "bold red", Level.WARNING: "bold yellow", Level.INFO: "blue"}


# ---------------------------------------------------------------- figures


@dataclass(slots=True)
class Rates:
    """Rows a second of each sync, from how its counter grew over the last few seconds."""

    seen: dict[str, deque[tuple[float, int]]] = field(default_factory=dict)

    def take(self, now: float, progress: Iterable[Progress]) -> dict[str, float]:
        """Note the counters as they are at ``now``; gives the rates."""
        return {one.name: self._one(now, one) for one in progress}

    def _one(self, now: float, progress: Progress) -> float:
        seen = self.seen.setdefault(progress.name, deque())
        seen.append((now, progress.rows))
        while len(seen) > 2 and now - seen[1][0] >= WINDOW:  # one point at or before the window's edge stays
            seen.popleft()
        (then, before), elapsed = seen[0], now - seen[0][0]
        return max(0.0, (progress.rows - before) / elapsed) if then < now else 0.0


def number(value: float) -> str:
    """A count as people read it."""
    return f"{round(value):,}"


def seconds(value: float) -> str:
    """A duration in its two largest units."""
    whole = max(0, round(value))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def size(value: float) -> str:
    """Bytes in the largest unit that leaves a number before the point."""
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


# ---------------------------------------------------------------- one sync in words


def _state(state: str) -> Text:
    """The state as a word that cannot be overlooked where it matters, colours or not."""
    try:
        known = State(state)
    except ValueError:  # "not running", or a word of a newer agent
        return Text.assemble((clean(state), "dim"))
    return Text.assemble((f" {known.upper()} " if known in _LOUD else str(known), _STYLES[known]))


def _doing(progress: Progress, rate: float, room: int, *, plain: bool) -> Text:
    """What the sync is doing, in figures, on one line of ``room`` characters."""
    if progress.state is State.STARTING:
        return Text(MEANING[State.STARTING], style="dim")
    if progress.state is State.SNAPSHOT:
        return _snapshot(progress, rate, room, plain=plain)
    parts = [f"{number(progress.rows)} rows sent"]
    if progress.state in (State.STREAMING, State.CAUGHT_UP):
        parts.append(f"{number(rate)}/s")
    behind = _behind(progress)
    return Text(" · ".join([*parts, f"{behind} behind"] if behind else parts))


def _snapshot(progress: Progress, rate: float, room: int, *, plain: bool) -> Text:
    done, total = progress.snapshot_rows, progress.snapshot_total
    speed = f" · {number(rate)}/s"
    if not total:
        return Text(f"{number(done)} rows{speed}")
    part = min(1.0, done / total)  # the total is an estimate
    left = f" · {seconds((total - done) / rate)} left" if rate and done < total else ""
    text = f"{part:4.0%}{left}{speed} · {number(done)} of {number(total)} rows"
    long = min(_BAR, room - len(text) - 1)
    if long < _SHORTEST_BAR:
        return Text(text.strip())
    full = round(part * long)
    filled, empty = ("#", ".") if plain else ("━", "─")
    return Text.assemble((filled * full, "cyan"), (empty * (long - full), "dim"), " ", text)


def _behind(progress: Progress) -> str:
    if progress.behind_rows is not None:
        return number(progress.behind_rows)
    return size(progress.behind_bytes) if progress.behind_bytes is not None else ""


def _remarks(progress: Progress, now: float) -> Iterator[tuple[str, str]]:
    """What a person should know of this sync beside its figures at Unix time ``now``: (what it is, text)."""
    if progress.problem:
        yield "problem", progress.problem
    if progress.fix:
        yield "fix", progress.fix
    if progress.gap:
        yield "gap", f"changes may be missing at the service: {progress.gap}"
        if progress.state is not State.SNAPSHOT:
            yield "fix", f"fuagent snapshot {progress.name} puts it right, if the service asks for none itself."
    if (progress.kept_bytes or 0) >= KEPT or (progress.room_bytes is not None and progress.room_bytes < KEPT):
        room = "" if progress.room_bytes is None else f", and lets go of it after {size(progress.room_bytes)} more"
        yield "notice", f"the database keeps {size(progress.kept_bytes or 0)} of its log for this sync{room}"
    if progress.loss_is_near(now):
        kept, room = seconds(progress.kept_seconds or 0), seconds(progress.room_seconds(now) or 0)
        yield "notice", f"the database keeps changes for {kept}: at the earliest in {room} it lets go of some not read"
    if progress.unproven:
        yield "notice", "the place was found by its number alone, without the journal"
    if progress.snapshot_cause and progress.state is State.SNAPSHOT:
        yield "snapshot", f"taken because: {progress.snapshot_cause}"
    if progress.snapshot_allowed_in:
        yield "snapshot", f"asked for; it begins in {seconds(progress.snapshot_allowed_in)}"
    if progress.rejected:
        rows = f"{number(progress.rejected)} {'row' if progress.rejected == 1 else 'rows'}"
        yield (
            "rejected",
            f"{rows} that the service refused, set aside; fuagent rejected list {progress.name} names them",
        )
    for text in progress.notices[-3:]:
        if not (progress.gap and progress.gap in text):
            yield "notice", text


_REMARKS = {"problem": "bold red", "gap": "bold yellow", "fix": "cyan", "rejected": "yellow", "notice": "yellow"}


def _remark(kind: str, text: str) -> Text:
    return Text.assemble((f"{kind}: ", _REMARKS.get(kind, "dim")), clean(text, LONGEST))


# ---------------------------------------------------------------- the live board


def can_be_live(*, rows_on_stdout: bool = False) -> bool:
    """Whether standard error can show a picture that changes, and no rows would run through it."""
    console = Console(stderr=True)
    return console.is_terminal and not console.is_dumb_terminal and not (rows_on_stdout and sys.stdout.isatty())


async def watch(agent: Agent) -> None:
    """Show the board until cancelled; the log's lines run above it."""
    console = Console(stderr=True)
    measuring = asyncio.ensure_future(_measure(agent))
    rates, began = Rates(), time.monotonic()

    def board() -> RenderableType:
        now = time.monotonic()
        return _board(agent.progress, rates.take(now, agent.progress), now - began, console, time.time())

    try:
        with Live(board(), console=console, auto_refresh=False) as live:
            try:
                while True:
                    await asyncio.sleep(REFRESH)
                    live.update(board(), refresh=True)
            finally:
                live.update(board(), refresh=True)
    except Exception as error:  # a terminal that went away must not end the agent
        structlog.get_logger().warning("the display ended", exc_info=error)
    finally:
        measuring.cancel()


async def _measure(agent: Agent) -> None:
    while True:
        with suppress(Exception):  # what is behind is a figure on the board, no more
            await agent.status()
        await asyncio.sleep(ASK_EVERY)


def _board(
    syncs: Sequence[Progress], rates: Mapping[str, float], running: float, console: Console, now: float
) -> RenderableType:
    """The whole picture: a headline, a line for each sync, and below it what a person should know."""
    return Group(_headline(syncs, running), *_lines(syncs, rates, console, now))


def _lines(
    syncs: Sequence[Progress], rates: Mapping[str, float], console: Console, now: float, resting: str = ""
) -> Iterator[RenderableType]:
    """A line for each sync, and below it what a person should know; ``resting`` is what to call all of them."""
    plain = not console.encoding.startswith("utf")
    wide = max((len(one.name) for one in syncs), default=0)
    fitting = _fitting(syncs, console.height)
    for one in fitting:
        head = Text.assemble((one.name.ljust(wide), "bold"), "  ", _state(resting or one.shown))
        head.pad_right(max(0, wide + _STATE_WIDTH - len(head)))
        room = console.width - len(head)
        what = (
            Text(f"{number(one.rows)} rows sent")
            if resting
            else _doing(one, rates.get(one.name, 0.0), room, plain=plain)
        )
        head.append_text(what)
        head.truncate(console.width, overflow="ellipsis")
        yield head
        yield from (Padding(_remark(kind, text), (0, 0, 0, 4)) for kind, text in _remarks(one, now))
    if len(syncs) > len(fitting):
        yield Text(f"and {len(syncs) - len(fitting)} more", style="dim")


def _headline(syncs: Sequence[Progress], running: float) -> Text:
    name = f"fuagent {__version__}"
    many = f"{len(syncs)} sync{'' if len(syncs) == 1 else 's'}"
    return Text(f"{name} · {many} · running for {seconds(running)} · Ctrl-C ends it", style="dim")


def _fitting(syncs: Sequence[Progress], height: int) -> Sequence[Progress]:
    """With more syncs than lines, those in trouble come first."""
    room = max(1, height - 4)
    if len(syncs) <= room:
        return syncs
    quiet = (State.CAUGHT_UP, State.STREAMING, State.STOPPED)
    return sorted(syncs, key=lambda one: (one.shown not in _LOUD, one.shown in quiet))[:room]


# ---------------------------------------------------------------- status


async def watch_status(ask: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
    """Show what ``ask`` tells, again and again, until Ctrl-C or SIGTERM; whether an agent runs or not."""
    console, rates, loop = Console(), Rates(), asyncio.get_running_loop()
    ended = asyncio.Event()
    for signal_ in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_, ended.set)
    with Live(console=console, auto_refresh=False) as live:
        while not ended.is_set():
            live.update(await _picture(ask, rates, console), refresh=True)
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), LOOK_EVERY)


async def _picture(ask: Callable[[], Awaitable[Mapping[str, Any]]], rates: Rates, console: Console) -> RenderableType:
    """The board as the agent tells it, or why it cannot be told just now."""
    end = Text("Ctrl-C ends this view, and nothing else", style="dim")
    try:
        report = await ask()
    except FuagentError as error:  # an agent that is just starting or ending gives no answer
        return Group(Text(clean(str(error), LONGEST), style="yellow"), end)
    syncs = [_progress(told) for told in report["syncs"]]
    taken = rates.take(time.monotonic(), syncs)
    resting = "" if report["running"] else "not running"
    return Group(_about(report), *_lines(syncs, taken, console, _now(report), resting), end)


def show_status(report: Mapping[str, Any], *, as_json: bool, out: TextIO | None = None) -> None:
    """Print what :func:`fuagent.app.status` gave."""
    if as_json:
        show_json(report, out=out)
        return
    console = _console(out)
    syncs = [_progress(told) for told in report["syncs"]]
    words = [str(told["state"]) for told in report["syncs"]]
    _print(console, _about(report))
    _print(console, Text())
    now = _now(report)
    rows = [_status_row(word, one, now) for word, one in zip(words, syncs, strict=True)]
    _print(console, _table(("sync", "state", "for", "rows sent", "behind", "index", "service has"), rows, right=4))
    for one in syncs:
        remarks = list(_remarks(one, now))
        if one.left_out:
            remarks.append(("left out", f"{number(one.left_out)} row images that the settings keep back"))
        if one.snapshot_cause and not report["running"]:
            remarks.append(("snapshot", f"waiting for the agent to start: {one.snapshot_cause}"))
        if remarks:
            _print(console, Text.assemble("\n", (one.name, "bold")))
        for kind, text in remarks:
            _print(console, Padding(_remark(kind, text), (0, 0, 0, 2)))


def _progress(told: Mapping[str, Any]) -> Progress:
    """The values of one sync as they came over the wire; an older or newer agent may tell fewer or more."""
    known = {one.name for one in fields(Progress)} - {"state", "shown"}
    progress = Progress(**{name: value for name, value in told.items() if name in known})
    with suppress(ValueError):
        progress.state = State(told["state"])
    return progress


def _now(report: Mapping[str, Any]) -> float:
    """Unix time at which the agent told it; an older agent does not say."""
    return float(report.get("time", 0.0))


def _about(report: Mapping[str, Any]) -> Text:
    agent = clean(str(report.get("agent_id") or "an agent without an id yet"))
    journal = f"journal {size(float(report.get('journal_bytes', 0)))}"
    if report["running"]:
        return Text.assemble((agent, "bold"), ", ", ("running", "green"), f" · fuagent {report['version']} · {journal}")
    return Text.assemble(
        (agent, "bold"), ", ", ("not running", "yellow"), f"; this is what its journal holds · {journal}"
    )


def _status_row(word: str, one: Progress, now: float) -> tuple[Text | str, ...]:
    since = one.snapshot_since or one.since  # trouble under a snapshot does not make it a new one
    return (
        Text(one.name, style="bold"),
        _state(word),
        seconds(now - since) if since and now else "-",
        number(one.rows),
        _behind(one) or "-",
        str(one.index or "-"),
        str(one.answered or "-"),
    )


# ---------------------------------------------------------------- findings and tables


def show_findings(findings: Sequence[Finding], *, as_json: bool, out: TextIO | None = None) -> None:
    """Print findings, the worst first."""
    if as_json:
        show_json([asdict(finding) for finding in findings], out=out)
        return
    console = _console(out)
    order = list(Level)
    for finding in sorted(findings, key=lambda finding: order.index(finding.level)):
        _print(console, _finding(finding))
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    told = [f"{counts[level]} {level}{'' if counts[level] == 1 else 's'}" for level in (Level.ERROR, Level.WARNING)]
    _print(console, Text(", ".join(told), style="bold red" if counts[Level.ERROR] else "bold green"))


def _finding(finding: Finding) -> RenderableType:
    where = clean(finding.where, LONGEST)
    head = Text.assemble((str(finding.level), _LEVELS[finding.level]), ": " if where else "", (where, "bold"))
    lines: list[RenderableType] = [head, Padding(Text(clean(finding.what, LONGEST)), (0, 0, 0, 2))]
    if finding.fix:
        lines.append(Padding(_remark("fix", finding.fix), (0, 0, 0, 2)))
    return Group(*lines)


def show_table(names: Sequence[str], rows: Iterable[Sequence[str]], *, out: TextIO | None = None) -> None:
    """Print rows under names."""
    _print(_console(out), _table(names, [[clean(cell, LONGEST) for cell in row] for row in rows]))


def _table(names: Sequence[str], rows: Iterable[Sequence[Text | str]], right: int | None = None) -> Table:
    """Rows under names; from column ``right`` on they are figures."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for place, name in enumerate(names):
        figures = right is not None and place + 1 >= right
        table.add_column(name, justify="right" if figures else "left", no_wrap=figures, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return table


def _console(out: TextIO | None) -> Console:
    file = out or sys.stdout
    return Console(file=file, highlight=False, width=None if file.isatty() else _UNWRAPPED)


def _print(console: Console, what: RenderableType) -> None:
    if console.is_terminal:
        console.print(what)
        return
    with console.capture() as captured:
        console.print(what)
    console.file.write("\n".join(line.rstrip() for line in captured.get().split("\n")))
    console.file.flush()


def show_json(value: object, *, out: TextIO | None = None) -> None:
    """Print a value for programs."""
    file = out or sys.stdout
    file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")
    file.flush()
