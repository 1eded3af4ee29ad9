"""What the console is told of a sync's progress."""

from __future__ import annotations

from fuagent import app_console
from fuagent.engine.lifecycle import State
from fuagent.engine.progress import Progress

NOW = 1_700_000_000.0


def test_the_age_of_what_waits_is_told():
    """For how long log is kept, how much of that is left, and whether it is near; nothing of it where it is not known."""
    old = Progress("a", State.RETRYING, kept_seconds=7200.0, last_change=NOW - 4000)
    told, unknown = app_console.overview(old, NOW), app_console.overview(Progress("b"), NOW)

    assert (told.kept_seconds, told.room_seconds, told.loss_is_near) == (7200.0, 3200.0, True)
    assert (unknown.kept_seconds, unknown.room_seconds, unknown.loss_is_near) == (None, None, False)
