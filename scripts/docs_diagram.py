"""Draws the states of a sync from the table that decides them.

Where the boxes stand is said here; every arrow and every word comes from
``lifecycle.TABLE``. States are gathered into boxes, so that what all states of a
box have in shared is one arrow instead of eight; an arrow that only some of them
have names them.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import product

from fuagent.engine.lifecycle import TABLE, Event, State

WORK = (
    (State.STARTING, State.SNAPSHOT, State.STREAMING, State.CAUGHT_UP),
    (State.RETRYING, State.WRONG_ANSWER, State.UNAUTHORISED, State.LOST_PLACE),
)
BOXES: dict[str, tuple[State, ...]] = {
    "at work": (*WORK[0], *WORK[1]),
    "at rest": (State.PAUSED, State.HALTED),
    "ending": (State.DRAINING, State.STOPPED),
}
WIDTH, HEIGHT = 1010, 520
NODE = (170, 56)

_STYLE = """
  .card { fill: #ffffff; stroke: #d0d7de; }
  .box { fill: #f6f8fa; stroke: #8c959f; stroke-dasharray: 5 4; }
  .node { fill: #ddf4ff; stroke: #0969da; }
  .rest { fill: #fff8c5; stroke: #9a6700; }
  .end { fill: #eaeef2; stroke: #57606a; }
  text { font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px; fill: #1f2328; }
  .name { font-weight: 600; font-size: 14px; }
  .small { font-size: 11.5px; fill: #424a53; }
  .arrow { stroke: #57606a; stroke-width: 1.6; fill: none; marker-end: url(#head); }
"""
_HEAD = (
    '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0 10 5 0 10z" fill="#57606a"/></marker>'
)


def states() -> str:
    """The whole picture as SVG."""
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
            ' role="img">'
        ),
        "<title>The states of a sync</title>",
        "<!-- Made from the code by scripts/docs.py; `make docs` writes it anew. -->",
        f"<style>{_STYLE}</style>",
        f"<defs>{_HEAD}</defs>",
        f'<rect class="card" x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="10"/>',
        *_work(),
        *_rest_and_end(),
        *_arrows(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def between(origin: tuple[State, ...], target: tuple[State, ...]) -> list[str]:
    """The events that lead from one box into another; with names where not every state has them."""
    found: list[str] = []
    for event in Event:
        having = [state for state in origin if TABLE[state].get(event) in target]
        if len(having) == len(origin):
            found.append(str(event))
        elif having:
            found.append(f"{event} ({', '.join(having)})")
    return found


def in_all(box: tuple[State, ...]) -> dict[Event, State]:
    """The steps every state of a box has alike."""
    first, *others = (TABLE[state] for state in box)
    return {event: to for event, to in first.items() if all(other.get(event) is to for other in others)}


def _entered(state: State, box: tuple[State, ...]) -> str:
    """By which events any state of the box gets here."""
    return ", ".join(event for event, to in in_all(box).items() if to is state)


def inside(box: tuple[State, ...]) -> Iterator[tuple[State, State, Event]]:
    """The steps within a box that only one of its states has."""
    everywhere = in_all(box)
    for origin, event in product(box, Event):
        to = TABLE[origin].get(event)
        if to in box and to is not origin and event not in everywhere:
            yield origin, to, event


def _work() -> Iterator[str]:
    box = BOXES["at work"]
    yield '<rect class="box" x="25" y="45" width="960" height="230" rx="10"/>'
    yield _text(
        40, 33, "at work: every state in this box gets to another one of it by the event below its name", "small"
    )
    for row, line in enumerate(WORK):
        for column, state in enumerate(line):
            yield from _node(state, 45 + column * 250, 65 + row * 125, "node", _entered(state, box))
    for number, (origin, to, event) in enumerate(inside(box)):
        assert {origin, to} == {State.STREAMING, State.CAUGHT_UP}, "the drawing has no place for this arrow"
        y = 80 + 26 * number
        ends = (715, 795) if origin is State.STREAMING else (795, 715)
        yield _arrow(f"M{ends[0]} {y}H{ends[1]}")
        yield _text(755, 60 if number == 0 else 135, event, "small", anchor="middle")


def _rest_and_end() -> Iterator[str]:
    for name, x, style in (("at rest", 25, "rest"), ("ending", 555, "end")):
        yield f'<rect class="box" x="{x}" y="390" width="430" height="105" rx="10"/>'
        yield _text(x + 15, 412, name, "small")
        for column, state in enumerate(BOXES[name]):
            yield from _node(state, x + 15 + 230 * column, 422, style, "")
    for origin, to, event in inside(BOXES["ending"]):
        assert (origin, to) == (State.DRAINING, State.STOPPED), "the drawing has no place for this arrow"
        yield _arrow("M740 450H800")
        yield _text(770, 443, event, "small", anchor="middle")


def _arrows() -> Iterator[str]:
    work, rest, ending = BOXES.values()
    yield _arrow("M150 275V390") + _lines(160, 325, between(work, rest))
    yield _arrow("M330 390V275") + _lines(340, 325, between(rest, work))
    yield _arrow("M660 275V390") + _lines(670, 325, between(work, ending))
    yield _arrow("M840 390V275") + _lines(850, 325, between(ending, work))
    yield _arrow("M455 425H555") + _lines(505, 400, between(rest, ending), anchor="middle")
    yield _arrow("M555 465H455") + _lines(505, 482, between(ending, rest), anchor="middle")


def _lines(x: int, y: int, events: list[str], anchor: str = "start") -> str:
    return "".join(_text(x, y + 16 * number, event, "small", anchor=anchor) for number, event in enumerate(events))


def _node(state: State, x: int, y: int, style: str, below: str) -> Iterator[str]:
    yield f'<rect class="{style}" x="{x}" y="{y}" width="{NODE[0]}" height="{NODE[1]}" rx="8"/>'
    yield _text(x + NODE[0] // 2, y + (34 if not below else 26), state, "name", anchor="middle")
    if below:
        yield _text(x + NODE[0] // 2, y + 44, below, "small", anchor="middle")


def _arrow(path: str) -> str:
    return f'<path class="arrow" d="{path}"/>'


def _text(x: int, y: int, text: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
