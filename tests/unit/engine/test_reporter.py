"""What a sync says: every line names sync, batch and index; the same trouble is counted, not repeated."""

from __future__ import annotations

from collections import Counter

import pytest
import structlog

from fuagent.engine.lifecycle import Event
from fuagent.engine.progress import Progress
from fuagent.engine.repeats import KEPT, QUIET, Repeats
from fuagent.engine.reporter import GO_ON, Reporter
from fuagent.errors import HaltSyncError, JournalWriteError
from fuagent.testing.clock import ManualClock


class Said:
    """A reporter on a clock of its own, and the lines it wrote."""

    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []
        self.clock = ManualClock()
        log = structlog.wrap_logger(
            None,
            processors=[structlog.processors.add_log_level, self._keep],
            wrapper_class=structlog.stdlib.BoundLogger,
        )
        self.reporter = Reporter(Progress("orders"), log, self.clock)

    def _keep(self, _logger, _name, event):
        about = event.pop("about")
        self.lines.append({**about(), **event})
        raise structlog.DropEvent

    def fail(self, problem: str, times: int = 1, every: float = 1.0) -> None:
        for _ in range(times):
            self.reporter.trouble(Event.RETRY, problem, "mend it", 1.0, "timeout")
            self.clock.advance(every)

    def told(self, text: str, level: str | None = None) -> list[dict[str, object]]:
        return [one for one in self.lines if one["event"] == text and level in (None, one["level"])]


@pytest.fixture
def said():
    return Said()


def test_every_line_names_sync_batch_and_index(said):
    """Whatever is said carries all three as they are at that moment; before the first batch there is none."""
    reporter = said.reporter
    reporter.meet(Event.STREAM)
    reporter.sending("s1.1.7", rows=True)
    reporter.progress.index = 42
    said.fail("down")
    reporter.recovered(2)
    reporter.notice("look here", table="orders")
    reporter.unclear("no checkpoint just now", "down")
    reporter.info("snapshot done")
    reporter.defect(ValueError())
    reporter.halt(HaltSyncError("enough."))

    assert len(said.lines) == 8
    assert {one["sync"] for one in said.lines} == {"orders"}
    assert [(one["batch"], one["index"]) for one in said.lines] == [(None, 0)] + [("s1.1.7", 42)] * 7


@pytest.mark.fault("F74")
def test_the_same_trouble_is_a_line_at_once_and_then_one_in_thirty_seconds(said):
    """An hour of one failure a second is a hundred and twenty lines, and their counts add up to all of them."""
    said.fail("down", times=3600)
    lines = said.told("trying again")

    assert len(lines) == 120
    assert [line["more"] for line in lines[:3]] == [0, 29, 29]
    assert said.reporter.progress.retries == 3600


def test_troubles_that_take_turns_are_each_counted(said):
    """A, B, A, B for a minute: neither makes the other news again."""
    for _ in range(60):
        said.fail("A", every=0.5)
        said.fail("B", every=0.5)

    assert Counter(line["problem"] for line in said.told("trying again")) == {"A": 2, "B": 2}


@pytest.mark.fault("F74")
def test_trouble_that_comes_and_goes_is_counted_too(said):
    """A service that fails and recovers every second says so once in thirty seconds, both ends of it."""
    said.reporter.meet(Event.STREAM)
    for _ in range(60):
        said.fail("down", every=0.5)
        said.reporter.recovered(2)
        said.clock.advance(0.5)

    assert len(said.told("trying again")) == 2
    assert len(said.told("recovered", "info")) == 2


def test_states_that_flap_in_trouble_are_counted(said):
    """A source that breaks as soon as it streams does not fill the log with starts."""
    for _ in range(60):
        said.reporter.meet(Event.START)
        said.reporter.meet(Event.STREAM)
        said.fail("the source broke off")

    assert len(said.told("state", "info")) <= 3


def test_states_without_trouble_are_each_said(said):
    """A snapshot and back to the stream is news every time."""
    for _ in range(3):
        said.reporter.meet(Event.SNAPSHOT)
        said.reporter.meet(Event.STREAM)

    assert len(said.told("state", "info")) == 6


def test_a_notice_is_counted_and_kept_once(said):
    """A thousand rows set aside are a line in thirty seconds, and one line for the operator."""
    for _ in range(100):
        said.reporter.notice("A row was set aside.")

    assert len(said.told("notice")) == 1
    assert said.reporter.progress.notices == ["A row was set aside."]


def test_a_checkpoint_that_stays_unclear_is_counted(said):
    """Asked for again and again in an outage, it is said once in thirty seconds."""
    for _ in range(31):
        said.reporter.unclear("no checkpoint just now", "503")
        said.clock.advance(1)

    assert [line["more"] for line in said.told("no checkpoint just now")] == [0, 29]


def test_a_journal_that_takes_no_writes_is_counted_and_its_end_is_said(said):
    """A full disk halts and starts again every few seconds: counted; that it is over is a line."""
    for _ in range(12):
        said.reporter.halt(JournalWriteError("no space.", where="journal"))
        said.clock.advance(5)
        said.reporter.meet(Event.START)
    said.reporter.recovered(0)

    assert len(said.told("halted")) == 2
    assert len(said.told("recovered", "info")) == 1


def test_a_halt_that_waits_for_a_person_is_always_said(said):
    """Resumed and halted again within seconds: both are news."""
    for _ in range(2):
        said.reporter.halt(HaltSyncError("one row is refused."))
        said.reporter.meet(Event.START)

    assert len(said.told("halted")) == 2


@pytest.mark.parametrize(
    ("fix", "told"),
    [
        ("mend the row", "mend the row. "),
        ("Mend the row.", "Mend the row. "),
        ("SELECT 1;", "SELECT 1; "),
        ("did you mean a?", "did you mean a? "),
        ("", "Mend it. "),
    ],
)
def test_a_halt_that_waits_for_a_person_says_how_it_ends(said, fix, told):
    """Mending alone ends it not, and the person on call may not know that; in the state and in the log."""
    said.reporter.halt(HaltSyncError("one row is refused.", fix=fix))

    assert said.reporter.progress.fix == told + GO_ON
    assert [line["fix"] for line in said.told("halted")] == [told + GO_ON]


def test_a_halt_that_ends_by_itself_asks_for_nothing_more(said):
    """The journal takes writes again, and the sync goes on."""
    said.reporter.halt(JournalWriteError("the disk is full.", fix="Free disk space."))

    assert said.reporter.progress.fix == "Free disk space."


def test_only_so_many_problems_are_told_apart():
    """Problems that are never the same take no memory without end."""
    repeats = Repeats(ManualClock())
    for number in range(3 * KEPT):
        repeats.met(f"problem {number}")

    assert repeats.met(f"problem {3 * KEPT - 1}") is None
    assert repeats.met("problem 0") == 0


def test_a_problem_is_said_again_when_it_was_quiet_for_long_enough():
    """At the very end of thirty seconds it is news again, with its count."""
    clock = ManualClock()
    repeats = Repeats(clock)
    told = [repeats.met("down"), repeats.met("down")]
    clock.advance(QUIET)

    assert [*told, repeats.met("down")] == [0, None, 1]
