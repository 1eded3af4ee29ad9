"""Where a sync starts: the service's answer and the journal, read as one table.

The rows of :data:`TABLE` are tried from top to bottom; the first that fits holds.
Answers that are no answer (an error, a timeout, a page) never get here: they are
tried again and are never taken for "no checkpoint".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from fuagent.journal import SyncRecord
from fuagent.model import Answer, Checkpoint

PATIENCE = 30.0
"""Seconds a missing checkpoint is asked for again when rows were acknowledged before."""


class Do(Enum):
    """What to do first."""

    BEGIN = "from the beginning: snapshot, then stream"
    ASK_AGAIN = "ask again: the service may be half deployed"
    SNAPSHOT = "the snapshot that is due or was cut off, first"
    END_MARKER = "every row is there: send the end marker, then stream"
    RESUME = "go on right behind the checkpoint"
    RESUME_UNPROVEN = "go on by the number alone; unproven until the first 2xx"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when a sync starts. ``waited`` is how long it was asked again, in seconds."""

    checkpoint: Checkpoint
    record: SyncRecord
    known: bool
    """Whether the journal holds this sync's record and anchors."""
    waited: float = 0.0
    named: bool = False
    """Whether a 2xx may name rows as rejected."""

    @property
    def index(self) -> int:
        """N, or 0 for none; without a status endpoint the journal's own."""
        if self.alone:
            return self.record.acknowledged
        return self.checkpoint.index if self.checkpoint.answer is Answer.INDEX else 0

    @property
    def alone(self) -> bool:
        """Whether there is no status endpoint, so that the journal is the checkpoint."""
        return self.checkpoint.answer is Answer.NO_ENDPOINT

    @property
    def nothing(self) -> bool:
        """Whether there is no checkpoint."""
        return not self.known if self.alone else self.index == 0

    @property
    def stage(self) -> str:
        """Stage of a snapshot that is not finished, or an empty text."""
        return self.record.snapshot.stage if self.record.snapshot else ""

    @property
    def rows_there(self) -> bool:
        """Whether all rows of the cut-off snapshot were taken, so that only its end marker is due."""
        snapshot = self.record.snapshot
        if snapshot is None or snapshot.stage == "pending" or snapshot.tables:
            return False
        met = snapshot.index > 0 and self.index == snapshot.index
        if self.named and self.record.acknowledged != snapshot.index:
            met = False  # the answer to the last rows may have named some, and was not heard
        return met or (snapshot.stage == "rows_done" and self.alone)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the start table."""

    name: str
    service: str
    journal: str
    fits: Callable[[Facts], bool]
    do: Do
    loud: str = ""
    """A sentence for the operator where this is not the ordinary course."""


TABLE: tuple[Row, ...] = (
    Row("marker", "N", "its snapshot's rows are all there", lambda facts: facts.rows_there, Do.END_MARKER),
    Row(
        "nothing acknowledged",
        "404 or 0, or no status endpoint",
        "nothing acknowledged",
        lambda facts: facts.nothing and not facts.record.acknowledged,
        Do.BEGIN,
    ),
    Row(
        "missing",
        "404 or 0",
        "rows acknowledged",
        lambda facts: facts.nothing and not facts.alone and facts.waited < PATIENCE,
        Do.ASK_AGAIN,
        "The service has no checkpoint although it took rows before; asking again for 30 s.",
    ),
    Row(
        "still missing",
        "404 or 0, for 30 s",
        "rows acknowledged",
        lambda facts: facts.nothing,
        Do.BEGIN,
        "The service has no checkpoint although it took rows before: everything is sent again from the beginning.",
    ),
    Row("snapshot due", "N", "a snapshot due or under way", lambda facts: bool(facts.stage), Do.SNAPSHOT),
    Row("known", "N", "holds this sync", lambda facts: facts.known, Do.RESUME),
    Row(
        "journal lost",
        "N",
        "none",
        lambda facts: True,
        Do.RESUME_UNPROVEN,
        "The journal knows nothing of this sync; going on by the service's checkpoint alone.",
    ),
)


def decide(facts: Facts) -> Row:
    """The first row of the table that fits."""
    return next(row for row in TABLE if row.fits(facts))
