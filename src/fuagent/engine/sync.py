"""What the parts of one sync's pipeline share: its drivers, records, and what people ask of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fuagent.contract import payload
from fuagent.engine.again import Wish
from fuagent.engine.batcher import Batcher, Parcel, SizeLimit
from fuagent.engine.checking import Check
from fuagent.engine.delivery import Delivery
from fuagent.engine.ledger import Ledger
from fuagent.engine.reporter import Reporter
from fuagent.engine.settings import SyncSettings
from fuagent.errors import HaltSyncError
from fuagent.interfaces import Clock, Pusher, Source
from fuagent.journal import SnapshotRecord, SyncJournal
from fuagent.model import Deletes, Table, TableSpec

PAUSE_FIRST = 60.0
PAUSE_MOST = 3600.0
"""Seconds of streaming between two requested snapshots: from one minute, doubling to an hour."""


class StartAgain(Exception):  # noqa: N818 - not an error: the session ends and the next one begins
    """The session is to begin anew: the service's checkpoint has moved back."""


@dataclass(slots=True)
class Wishes:
    """What others ask of a running sync; ``wake`` is set with each."""

    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    once: bool = False
    ask_checkpoint: bool = False
    again: deque[Wish] = field(default_factory=deque)
    """Rows set aside that are to be sent once more."""


class Sync:
    """One sync: drivers, record, delivery, and the questions its phases ask."""

    def __init__(
        self,
        settings: SyncSettings,
        source: Source,
        pusher: Pusher,
        journal: SyncJournal,
        clock: Clock,
        chance: Callable[[], float],
        reporter: Reporter,
        started: str,
    ) -> None:
        self.settings = settings
        self.source = source
        self.pusher = pusher
        self.journal = journal
        self.clock = clock
        self.chance = chance
        self.reporter = reporter
        self.progress = reporter.progress
        self.wishes = Wishes()
        self.reading = asyncio.Lock()
        """Held by whoever has the source open: a session, or a look at the source of a sync that is at rest."""
        self.looked_at_rest: float | None = None
        self.reached = True
        """False where the last session could not open the source: a server that refuses us is not asked beside it."""
        self.ledger = Ledger(settings, journal, source, self.progress, clock)
        self.limit = SizeLimit(settings.batch_bytes)
        self.delivery = Delivery(
            settings, pusher, journal, clock, chance, self.limit, reporter, started, self.wishes.stopping
        )
        self.tables: tuple[Table, ...] = ()
        self.checks: dict[str, Check] = {}
        """What every event is held against, by table; empty where that is not wished."""
        self._versions: dict[str, int] = {}
        self.unproven = False
        self.in_snapshot = False
        self.snapshot_first = True
        """Whether a snapshot found due is taken at once: true until this agent has streamed or taken one."""
        self.streamed_since = clock.monotonic()

    def batcher(self) -> Batcher:
        """An empty batcher for the next phase."""
        overhead = payload.overhead(self.settings.agent_id, self.settings.name)
        whole = self.settings.whole_transactions
        return Batcher(self.settings.batch_size, self.limit, overhead, self.pusher.route, whole_transactions=whole)

    def heed_schema(self, parcel: Parcel) -> None:
        """``on_schema_change: halt``: stop before rows of a definition that changed while the agent runs."""
        if self.settings.on_schema_change != "halt":
            return
        for rows in (piece.rows for piece in parcel.pieces if piece.rows.rows):
            if self._versions.setdefault(rows.table, rows.version) != rows.version:
                raise HaltSyncError(
                    f"table {rows.table} has a new definition, and on_schema_change is halt.",
                    fix="See that the service takes rows of the new form.",
                )

    def routes(self) -> tuple[str, ...]:
        """One table for each different route, in the order of tables."""
        by_route = {self.pusher.route(table.label): table.label for table in reversed(self.tables)}
        return tuple(reversed(by_route.values()))

    def specs(self) -> list[TableSpec]:
        """How each table's rows are written: the configuration, and what the document wishes."""
        return [spec_for(self.settings, table, self.pusher) for table in self.tables]

    def update_flag(self) -> None:
        """Bring the suggestion on batches in line with the record."""
        self.delivery.suggest = bool(self.ledger.record.gap) or self.unproven
        self.progress.unproven = self.unproven

    def next_run(self) -> None:
        """Begin a new snapshot or stream as far as idempotency keys go; on disk first."""
        self.ledger.save(run=self.ledger.record.run + 1)
        self.delivery.run = self.ledger.record.run

    def lose(self, reason: str) -> None:
        """Record that the place is lost; on disk before anything follows from it."""
        record = self.ledger.record
        # Where nothing was delivered since the last loss, this one follows from it: the first tells why.
        gap = record.gap if record.lost_at == record.acknowledged else ""
        changes: dict[str, object] = {"gap": gap or reason, "lost_at": record.acknowledged}
        if self.settings.on_lost_place == "snapshot" and record.snapshot is None:
            changes["snapshot"] = SnapshotRecord(cause=BY_LOSS)
        self.ledger.save(**changes)
        self.update_flag()
        self.reporter.notice(f"Lost place: {reason}", on_lost_place=self.settings.on_lost_place)

    def wanted(self) -> SnapshotRecord:
        """The snapshot to record when the service asks for one: the one already due, if it is whole.

        One that the agent itself suggests is not made to wait for its turn, nor is one that waited already when it
        was suggested. To be asked before the answer is told to anybody: an accepted suggestion is taken back.
        """
        cause = ACCEPTED if self.delivery.suggest else BY_SERVICE
        due = self.ledger.record.snapshot
        if due is None or due.tables:
            return SnapshotRecord(cause=cause)
        return replace(due, cause=cause) if due.cause == BY_SERVICE else due

    def asked_again(self) -> None:
        """A reply asks for a snapshot while one runs: remembered once, on disk, for when it is done."""
        due = self.ledger.record.snapshot
        assert due is not None
        if not due.again or self.ledger.record.gap:
            self.ledger.save(snapshot=replace(due, again=True), gap="")

    def snapshot_due(self) -> bool:
        """Whether a snapshot is to be taken now; a service's own wish waits for its turn."""
        record = self.ledger.record
        if record.snapshot is None:
            self.progress.snapshot_allowed_in = None
            return False
        owed = self._owed(record.snapshot, record.snapshots, record.snapshot_pause)
        self.progress.snapshot_allowed_in = owed or None
        return owed <= 0

    def _owed(self, snapshot: SnapshotRecord, taken: int, pause: float) -> float:
        """Seconds of streaming that come before this snapshot.

        One that repairs a gap waits only where gaps come as often as snapshots.
        """
        if self.snapshot_first or snapshot.stage != "pending" or not taken or snapshot.cause not in COOLED:
            return 0.0
        if snapshot.cause != BY_SERVICE and pause <= PAUSE_FIRST:
            return 0.0
        return max(0.0, pause - (self.clock.monotonic() - self.streamed_since))


BY_SERVICE = "the service asked for it"
ACCEPTED = "the service accepted the suggestion"
BY_LOSS = "the place was lost"
COOLED = (BY_SERVICE, ACCEPTED, BY_LOSS)
"""Causes that may come back for ever; a snapshot for one of them may have to wait."""


def spec_for(settings: SyncSettings, table: Table, pusher: Pusher) -> TableSpec:
    """How one table's rows are written: where the configuration is silent on deletes, the document chooses."""
    schema, mapping = pusher.event_schema(table), settings.mapping
    if schema is not None and schema.delete_field and not settings.deletes_given:
        mapping = replace(mapping, deletes=Deletes.MARK, delete_field=schema.delete_field)
    return TableSpec(table, mapping, schema)


def refuse_mix(tables: Sequence[Table], pusher: Pusher) -> None:
    """Refuse two tables on one route: an event does not say which table it comes from.

    Raises:
        HaltSyncError: naming two such tables.
    """
    taken: dict[str, str] = {}
    for table in tables:
        route = pusher.route(table.label)
        other = taken.setdefault(route, table.label)
        if other != table.label:
            raise HaltSyncError(
                f"rows of {other} and of {table.label} would arrive mixed, and an event does not name its table.",
                where=route,
                fix="Give each table a sync of its own, or a route of its own with batch_endpoint: /ingest/{table}.",
            )
