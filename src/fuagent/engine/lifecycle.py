"""The states of one sync, as one table.

Two rules: all of a sync's state that people see lives here, and nothing here
knows how a state is reached. A pair that is not in the table is a defect and
raises. The diagram in the documentation is drawn from :data:`TABLE`, and its
handbook is made from :data:`MEANING` and :data:`ADVICE`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


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
    State.UNAUTHORISED: "credentials are refused; those in files are read again, and all are tried slowly",
    State.PAUSED: "stopped by an operator until resumed",
    State.HALTED: "stopped; a person has to act",
    State.LOST_PLACE: "changes may be missing; waiting for the service to ask for a snapshot",
    State.DRAINING: "finishing what is in flight before the end",
    State.STOPPED: "ended",
}


class Advice(NamedTuple):
    """What follows from a state: sentences in Markdown, with commands and settings as code."""

    by_itself: str
    """What the agent does without anybody."""
    to_do: str
    """What the person who looks does."""
    urgent: bool = False
    """Whether it stays so until a person acts."""


ADVICE: dict[State, Advice] = {
    State.STARTING: Advice(
        "It goes on to the rows.",
        "Nothing, for the first minute. If it lasts, the source or the service is slow to answer: "
        "`fuagent check` asks both and says which.",
    ),
    State.SNAPSHOT: Advice(
        "It ends when every row is there, and changes follow. After a restart it begins anew.",
        "Nothing; `fuagent status --watch` shows how far it is. "
        "While it lasts the database cannot clean up behind it: watch its disk if the tables are large.",
    ),
    State.STREAMING: Advice(
        "It catches up as fast as the service takes rows.",
        "Nothing, as long as *behind* in `fuagent status` falls. If it grows, the service is slower than the database "
        "is written to: make it faster, or raise `batch_size`.",
    ),
    State.CAUGHT_UP: Advice("The next change goes out as soon as it is committed.", "Nothing."),
    State.RETRYING: Advice(
        "The same bytes are sent again, after 0.5 to 60 seconds, for as long as it takes. Nothing is lost meanwhile, "
        "while the source keeps its log.",
        "Read the problem in `fuagent status`: it names the source or the service. See that it runs and can be reached. "
        "Then wait: no restart is needed. If it will last, see that the source keeps its log for longer.",
    ),
    State.WRONG_ANSWER: Advice(
        "The same bytes are tried again, after 2.5 to 60 seconds.",
        "See what answers at the URL that `fuagent status` names: a login page, a proxy, a service that has moved, "
        "another version of it. Mend that, or the URL in `config.yaml`, then `fuagent reload`.",
        urgent=True,
    ),
    State.UNAUTHORISED: Advice(
        "Secrets in files are read again and tried, after 2.5 to 60 seconds. One from the environment is what it was "
        "when the agent started.",
        "Put the right key or password where `config.yaml` looks for it. In a file it is found by itself; "
        "after a change of `config.yaml` run `fuagent reload`, after one of the environment start the agent again.",
        urgent=True,
    ),
    State.PAUSED: Advice(
        "Nothing happens, through restarts too. Changes wait in the source's log, which may end.",
        "`fuagent resume SYNC`, before the source lets go of its log.",
    ),
    State.HALTED: Advice(
        "Nothing goes out. Only where the journal could not be written does it go on by itself, once it can be. "
        "The other syncs are not touched.",
        "Mend what the problem in `fuagent status` names; its fix says how. Then start the agent again. If the mending "
        "was in `config.yaml`, `fuagent reload` starts this sync alone.",
        urgent=True,
    ),
    State.LOST_PLACE: Advice(
        "Every batch suggests a snapshot to the service, and `on_lost_place` says whether rows go on meanwhile. "
        "A snapshot ends it, whoever asks for it.",
        "See the reason in `fuagent status`, so that it does not happen again. Then `fuagent snapshot SYNC`; "
        "or `fuagent accept-gap SYNC`, if you know that nothing is missing.",
        urgent=True,
    ),
    State.DRAINING: Advice(
        "Requests under way end, within `drain` seconds; then the sync ends.",
        "Wait. A second signal ends the agent at once, and nothing is lost by that.",
    ),
    State.STOPPED: Advice(
        "Nothing, until the agent starts.",
        "With `run --once` this is the end. Otherwise start the agent.",
    ),
}
"""What happens by itself in each state, and what a person does; the handbook is made from this."""


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
