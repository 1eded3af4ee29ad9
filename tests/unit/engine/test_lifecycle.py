"""The states of a sync: every pair of the table, and no other."""

from __future__ import annotations

import pytest

from fuagent.engine.lifecycle import ADVICE, MEANING, TABLE, Event, ImpossibleError, State, step

PAIRS = [(state, event) for state in State for event in Event]


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair(state, event):
    """A pair leads where the table says, and one that is not there raises and names both."""
    if event in TABLE[state]:
        assert TABLE[state][event] is step(state, event)
    else:
        with pytest.raises(ImpossibleError, match=f"{state} cannot meet {event}"):
            step(state, event)


def test_whole():
    """Every state has a row, a sentence for people, and what they do about it."""
    assert set(State) == set(TABLE)
    assert set(State) == set(MEANING)
    assert all(MEANING.values())
    assert set(State) == set(ADVICE)
    assert all(advice.by_itself and advice.to_do for advice in ADVICE.values())


def _reachable(start: State) -> set[State]:
    found, waiting = {start}, [start]
    while waiting:
        new = set(TABLE[waiting.pop()].values()) - found
        found |= new
        waiting += new
    return found


def test_every_state_is_reached():
    """From the start every state can come about."""
    assert set(State) == _reachable(State.STARTING)


@pytest.mark.parametrize("state", State)
def test_every_state_can_end(state):
    """From everywhere there is a way to the end."""
    assert State.STOPPED in _reachable(state)


@pytest.mark.parametrize("state", [state for state in State if state not in (State.DRAINING, State.STOPPED)])
def test_anytime(state):
    """A sync can halt, be paused, drain, stop and start anew whatever it is doing."""
    assert {
        Event.HALT: State.HALTED,
        Event.PAUSE: State.PAUSED,
        Event.DRAIN: State.DRAINING,
        Event.STOP: State.STOPPED,
        Event.START: State.STARTING,
    }.items() <= TABLE[state].items()


def test_draining_shows_nothing_else():
    """While it drains, trouble and progress no longer show; only the end does."""
    assert {State.DRAINING, State.STOPPED, State.HALTED} == set(TABLE[State.DRAINING].values())


def test_caught_up_only_while_streaming():
    """Only a stream catches up, and a row sent means it streams again."""
    meets = {state for state in State if Event.CAUGHT_UP in TABLE[state] and state is not State.DRAINING}

    assert {State.STREAMING, State.CAUGHT_UP} == meets
    assert State.STREAMING is step(State.CAUGHT_UP, Event.SENT)
