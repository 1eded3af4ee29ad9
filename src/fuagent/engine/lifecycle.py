"""The states of one sync, as one table.

Two rules: all of a sync's state that people see lives here, and nothing here
knows how a state is reached. A pair that is not in the table is a defect and
raises. The diagram in the documentation is drawn from :data:`TABLE`.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What a sync is doing, in the words people see."""

    STARTING = "starting"
    SNAPSHOT = "snapshot"
    STREAMING = "streaming"
    CAUGHT_UP = "caught up"
    RETRYING = "retrying"
    WRONG_ANSWER = "wrong answer"
    UNAUTHORISED = "unauthorised"
    PAUSED = "paused"
    HALTED = "halted"
    LOST_PLACE = "lost place"
    DRAINING = "draining"
    STOPPED = "stopped"


MEANING: dict[State, str] = {
    State.STARTING: "connecting, reading the service's document, asking for the checkpoint",
    State.SNAPSHOT: "sending every row",
    State.STREAMING: "sending changes",
    State.CAUGHT_UP: "every change is delivered; waiting for the next",
    State.RETRYING: "the source or the service does not answer; the same work is tried again",
    State.WRONG_ANSWER: "something answers that is not the service; tried again slowly",
    State.UNAUTHORISED: "credentials are refused; they are read again and tried slowly",
    State.PAUSED: "stopped by an operator until resumed",
    State.HALTED: "stopped; a person has to act",
    State.LOST_PLACE: "changes may be missing; waiting for the service to ask for a snapshot",
    State.DRAINING: "finishing what is in flight before the end",
    State.STOPPED: "ended",
}


class Event(StrEnum):
    """What happens to a sync."""

    START = "start"
    SNAPSHOT = "snapshot begins"
    STREAM = "stream begins"
    SENT = "rows acknowledged"
    CAUGHT_UP = "nothing more to read"
    RETRY = "attempt failed"
    WRONG_ANSWER = "wrong answer"
    UNAUTHORISED = "credentials refused"
    LOSE = "place lost"
    PAUSE = "pause"
    HALT = "halt"
    DRAIN = "drain"
    STOP = "stop"


_TROUBLE = {
    Event.RETRY: State.RETRYING,
    Event.WRONG_ANSWER: State.WRONG_ANSWER,
    Event.UNAUTHORISED: State.UNAUTHORISED,
}
_ANYTIME = {
    Event.HALT: State.HALTED,
    Event.PAUSE: State.PAUSED,
    Event.DRAIN: State.DRAINING,
    Event.STOP: State.STOPPED,
    Event.START: State.STARTING,
}
_WORK = _ANYTIME | _TROUBLE | {Event.LOSE: State.LOST_PLACE}
_BEGIN = {Event.SNAPSHOT: State.SNAPSHOT, Event.STREAM: State.STREAMING}
# Trouble ends with a begin event: the engine says again what it was doing.
_BUSY = _WORK | _BEGIN

# While draining only the end counts; how the last attempts go is not shown any more.
_DRAIN = dict.fromkeys(Event, State.DRAINING) | {Event.STOP: State.STOPPED, Event.HALT: State.HALTED}

TABLE: dict[State, dict[Event, State]] = {
    State.STARTING: _BUSY,
    State.SNAPSHOT: _BUSY | {Event.SENT: State.SNAPSHOT},
    State.STREAMING: _BUSY | {Event.SENT: State.STREAMING, Event.CAUGHT_UP: State.CAUGHT_UP},
    State.CAUGHT_UP: _BUSY | {Event.SENT: State.STREAMING, Event.CAUGHT_UP: State.CAUGHT_UP},
    State.RETRYING: _BUSY,
    State.WRONG_ANSWER: _BUSY,
    State.UNAUTHORISED: _BUSY,
    State.LOST_PLACE: _BUSY | {Event.SENT: State.LOST_PLACE},
    State.PAUSED: _ANYTIME,
    State.HALTED: _ANYTIME,
    State.DRAINING: _DRAIN,
    State.STOPPED: {Event.START: State.STARTING},
}


class ImpossibleError(Exception):
    """An event that the state does not know: a defect of the engine."""


def step(state: State, event: Event) -> State:
    """The state after ``event``.

    Raises:
        ImpossibleError: the table has no such pair.
    """
    after = TABLE[state].get(event)
    if after is None:
        message = f"a sync that is {state} cannot meet {event!s}"
        raise ImpossibleError(message)
    return after
