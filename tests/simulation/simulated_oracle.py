"""What must hold of every step, kept by one who sees both ends.

The oracle knows each change that was committed, in order, and sees each request as it
leaves, as the service applies it and as its answer comes back. It never asks the agent.
Where something may be missing, the agent must have said so: a silent gap is the one
thing that nothing excuses.

The names O1 to O17 are those of docs/explanation/testing.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from zlib import crc32

import orjson
from simulated_service import MARK, STATUS, Event, Identity, Request, Store, identity

from fuagent.contract import payload
from fuagent.contract.payload import Payload
from fuagent.model import INDEX_MAX
from fuagent.pushers.client import Reply


@dataclass(slots=True)
class Owed:
    """One change in commit order; ``undone`` where a failover lost it."""

    seq: int
    what: Identity
    undone: bool = False


class BrokenPromiseError(AssertionError):
    """The promise that does not hold, by its name."""


def hold(holds: object, promise: str, told: Callable[[], str]) -> None:
    if not holds:
        raise BrokenPromiseError(f"{promise}: {told()}")


@dataclass(slots=True)
class Memory:
    """What was seen of indexes since numbering last began anew."""

    rows: dict[int, bytes] = field(default_factory=dict)
    highest: int = 0


def check_sum(key: int, version: int, tx: int) -> int:
    """What the column ``chk`` of a row holds: no row may arrive that mixes two."""
    return crc32(b"%d %d %d" % (key, version, tx))


class Oracle:
    """Judges one run."""

    def __init__(self, world) -> None:
        self._world = world
        self.history: list[Owed] = []
        self.place: dict[Identity, int] = {}
        self.gone: set[object] = set()
        """Keys that the source had and has no more."""
        self.memory = Memory()
        self.bodies: dict[str, bytes] = {}
        self.flying = 0
        self.lives = 0
        self.marker_in_life = -1
        self.markers: set[str] = set()
        self.licences: set[str] = {"the first start"}
        self.suspects: set[str] = set()
        """What happened that may cost the place; while empty, nobody may suggest a snapshot."""
        self.accepted = False
        """The agent has read a reply that accepts its suggestion, and nothing happened since."""
        self.newest: dict[object, tuple[int, bool]] = {}
        self.seen: set[Identity] = set()
        self.last_tx = 0
        self.resumed_behind: int | None = None
        self.duplicates = 0
        self.reached: Counter[str] = Counter()

    # ------------------------------------------------------------ the source

    def committed(self, seq: int, changes: Iterable[Identity]) -> None:
        """A transaction was committed, with these events owed in this order."""
        for what in changes:
            self.place[what] = len(self.history)
            self.history.append(Owed(seq, what))

    def lost_behind(self, seq: int) -> None:
        """Whatever was committed behind transaction ``seq`` is undone."""
        for owed in self.history:
            owed.undone |= owed.seq > seq

    def up_to(self, seq: int) -> int:
        """The last change of the first ``seq`` transactions."""
        return max((at for at, owed in enumerate(self.history) if owed.seq <= seq and not owed.undone), default=-1)

    def acknowledged(self, seq: int) -> None:
        """The source was told that it may let go of its first ``seq`` transactions."""
        missing = self._missing(self._world.service.store.cursor + 1, self.up_to(seq) + 1)
        hold(not missing or self.suspects, "O6", lambda: f"{seq} confirmed, but {missing} has not arrived")

    def snapshot_begins(self, seq: int, labels: frozenset[str], rows: set[Identity], *, whole: bool) -> None:
        """The rows of a snapshot that shows the first ``seq`` transactions are on their way."""
        hold(self.licences, "O11", lambda: "a snapshot that nobody asked for")
        store = self._world.service.store
        if whole:
            store.owed, store.picture = set(rows) - self.excused, self.up_to(seq)
            self.licences = {"it was cut off"}
            self.markers = set()
        else:
            store.covered |= labels

    # ------------------------------------------------------------ the wire

    def leaves(self, request: Request) -> None:
        """A request is about to be sent."""
        hold(self.flying == 0, "O9", lambda: "two requests at once")
        self.flying += 1
        self._shape(request)
        if request.method != "POST":
            return
        before = self.bodies.setdefault(request.header("idempotency-key"), request.body)
        hold(before == request.body, "O9", lambda: "a retry with other bytes")
        batch = payload.read(request.body)
        hold(
            self.suspects or not batch.snapshot_sync_suggested, "a suggestion has a cause", lambda: f"{request.body!r}"
        )
        hold(
            not (self.accepted and batch.snapshot_sync_suggested),
            "an accepted suggestion ends",
            lambda: "the suggestion goes on although it was accepted",
        )

    def is_back(self, request: Request) -> None:
        """The request is over, one way or the other."""
        self.flying -= 1

    def answered(self, request: Request, answer: object) -> None:
        """The agent has this answer."""
        if not isinstance(answer, Reply):
            return
        if request.method == "GET" and answer.status == 404:
            self.licences.add("404")
        if request.method != "POST" or answer.status != 200 or not answer.body.startswith(b"{"):
            return
        if orjson.loads(answer.body).get("snapshot_needed") is True:
            self.licences.add("the service asked")
            self.accepted = payload.read(request.body).snapshot_sync_suggested or self.accepted

    def _shape(self, request: Request) -> None:
        """O14: the request is what the contract says, to the letter."""
        world = self._world
        hold(request.header("x-api-key") == world.key, "O14", lambda: "x-api-key")
        hold(request.header("authorization") == f"Bearer {world.key}", "O14", lambda: "Authorization")
        if request.method == "GET":
            ids = {"task_id": world.settings.name, "agent_id": world.settings.agent_id}
            hold((request.path, request.query) == (STATUS, ids), "O14", lambda: request.url)
            return
        body = orjson.loads(request.body)
        keys = ["agent_id", "task_id", "is_snapshot_end", "snapshot_sync_suggested", "events"]
        hold(list(body) == keys, "O14", lambda: f"{list(body)}")
        hold((body["agent_id"], body["task_id"]) == (world.settings.agent_id, world.settings.name), "O14", str)
        hold(request.header("content-type") == "application/json", "O14", lambda: "Content-Type")
        hold(request.header("task-id") == world.settings.name, "O14", lambda: "task-id")
        hold(request.path in world.paths(), "O14", lambda: request.path)
        hold(not (body["is_snapshot_end"] and body["events"]), "O10", lambda: "an end marker with events")

    # ------------------------------------------------------------ the service

    def applied(self, request: Request, batch: Payload) -> None:
        """The service is about to keep this batch."""
        hold(
            batch.events or batch.is_snapshot_end or batch.snapshot_sync_suggested,
            "no batch says nothing",
            lambda: "an empty batch",
        )
        excused = batch.snapshot_sync_suggested or self._snapshot_follows
        for event in batch.events:
            self._event(event, request, excused=excused)
        if batch.is_snapshot_end:
            self._marker(request)

    @property
    def _snapshot_follows(self) -> bool:
        """Whether a snapshot was asked for, so that whatever is missing comes with it."""
        return bool(self.licences)

    def _event(self, event: Event, request: Request, *, excused: bool) -> None:
        what = identity(event)
        name, key, version, deleted = what
        hold(what in self.place, "O7", lambda: f"nobody committed {event}")
        hold(event["chk"] == check_sum(key, version, event["tx"]), "O7", lambda: f"mixed columns: {event}")
        if "index" in event:
            self._index(event)
            self._arrives(what, event, request, excused=excused)
        owed = self._world.service.store.owed
        if owed is not None and not deleted:
            # A newer version that came meanwhile is as good: it was read again, or it is the row's next change.
            owed.discard(what)
        if what not in self.seen:
            self.seen.add(what)
            newest = self.newest.get((name, key), (0, False))
            hold((version, deleted) >= newest or self.suspects, "O3", lambda: f"{what} came first after {newest}")
            self.newest[name, key] = max(newest, (version, deleted))

    def _index(self, event: Event) -> None:
        """O5: an integer that rises, and always means the same bytes."""
        index, text = event["index"], orjson.dumps(event)
        hold(type(index) is int and 0 < index <= INDEX_MAX, "O5", lambda: f"{index!r}")
        memory = self.memory
        before = memory.rows.setdefault(index, text)
        # What was taken, then undone by a failover, and written down by nobody, leaves its number to another row.
        undone = "a failover that loses transactions" in self.suspects and not self._world.service.remembers
        hold(before == text or undone, "O5", lambda: f"{before!r} came back as {text!r}")
        if before is text:
            risen = index > memory.highest or undone or identity(event) in self.excused
            hold(risen, "O5", lambda: f"{index} came first after {memory.highest}")
            memory.highest = max(memory.highest, index)

    def _arrives(self, what: Identity, event: Event, request: Request, *, excused: bool) -> None:
        """O2, O4: nothing that is owed lies between this change and what the service has."""
        store = self._world.service.store
        if store.owed is not None and (what in store.owed or not store.covered):
            return  # the snapshot's last row, which carries the snapshot's own index
        at = self.place[what]
        if what not in self.seen and not what[3] and not self.suspects:
            hold(event["tx"] >= self.last_tx, "O3", lambda: f"{event} came first after transaction {self.last_tx}")
            self.last_tx = event["tx"]
        if at <= store.cursor:
            self._again(at, request)
            return
        missing = self._missing(store.cursor + 1, at)
        if missing and excused:
            self.reached["a gap that was said"] += 1
        hold(not missing or excused, "O2", lambda: f"{what} arrives, but {missing} did not, and nobody said so")
        store.cursor = at

    def _again(self, at: int, request: Request) -> None:
        """O8, O15: a change that arrives twice was under way when something broke, and no older than that."""
        world = self._world
        self.duplicates += 1
        hold(world.profile != "calm", "O15", lambda: f"{self.history[at]} twice")
        if self.suspects or not world.service.remembers or world.reshaped or self._snapshot_follows:
            return
        again = self.bodies[request.header("idempotency-key")]
        start = self.resumed_behind
        hold(
            start is None or at > start or again in world.taken,
            "O8",
            lambda: f"{self.history[at]} again, although the service had answered {start}",
        )

    def _missing(self, low: int, high: int) -> list[Owed]:
        store, refused = self._world.service.store, self.excused
        return [
            owed
            for owed in self.history[low:high]
            if not owed.undone and owed.what not in refused and owed.what[0] in store.covered
        ]

    def _marker(self, request: Request) -> None:
        """O10: one end marker for each snapshot, and none before all its rows are there."""
        store = self._world.service.store
        self.markers.add(request.header("idempotency-key"))
        if store.owed is None:
            again = len(self.markers) <= len(self._world.paths()) or self.marker_in_life < self.lives
            hold(again or self._world.unsure, "O10", lambda: "an end marker without a snapshot")
            return
        missing = {what for what in store.owed - self.excused if not self._newer(what)}
        hold(not missing or self.suspects, "O10", lambda: f"the end marker comes before {sorted(missing)[:3]}")
        store.owed = None
        store.cursor = max(store.cursor, store.picture)
        store.covered = frozenset(self._world.names)
        self.marker_in_life = self.lives
        self.licences.discard("it was cut off")
        self.reached["a snapshot is done"] += 1

    def _newer(self, what: Identity) -> bool:
        held = self._world.service.store.rows.get((what[0], what[1]))
        return held is not None and identity(held) >= what

    @property
    def excused(self) -> set[Identity]:
        """Rows the service refused, where that sets them aside; where it halts the sync they are owed as ever."""
        world = self._world
        return world.service.refused if world.settings.on_reject == "set_aside" else set()

    # ------------------------------------------------------------ lives

    def begins(self) -> None:
        """A process of the agent starts."""
        self.lives += 1
        self.flying = 0
        self.accepted = False
        store = self._world.service.store
        self.resumed_behind = store.cursor
        here = self.history[store.cursor] if 0 <= store.cursor < len(self.history) else None
        behind = self.history[store.cursor + 1] if store.cursor + 1 < len(self.history) else None
        if here and behind and here.seq == behind.seq and store.owed is None:
            self.reached["a restart in the middle of a transaction"] += 1

    def suspect(self, what: str) -> None:
        """Something happened after which the place may be lost."""
        self.suspects.add(what)
        self.licences.add(what)
        self.accepted = False
        self.reached[what] += 1

    def forgets(self) -> None:
        """What happens now cannot be written down, and so is done again."""
        self.lives += 1
        self.accepted = False

    def put_back(self, store: Store) -> None:
        """The service is as it was when ``store`` was copied; what it took since comes once more, in order."""
        self.resumed_behind = None
        self.memory.highest = store.checkpoint
        self.last_tx = 0
        self.newest = {}

    def numbering_begins_anew(self) -> None:
        """Both memories of the numbers are gone, or the service begins with nothing."""
        self.memory = Memory()

    # ------------------------------------------------------------ the end

    def halted(self, problem: str, fix: str) -> None:
        """O17: who stops says why, in one line, and what to do."""
        hold(problem and fix and "\n" not in problem + fix, "O17", lambda: f"{problem!r} {fix!r}")

    def converged(self) -> None:
        """O1: the service holds what the source holds; what it holds beyond that was there once."""
        world = self._world
        held, truth = world.service.rows(), world.truth()
        refused = {(name, key) for name, key, _, _ in self.excused}
        wrong = {key: held.get(key) for key, row in truth.items() if held.get(key) != row and key not in refused}
        hold(not wrong, "O1", lambda: f"{ {key: (truth[key], wrong[key]) for key in wrong} }")
        extra = set(held) - set(truth) - refused
        hold(extra <= self.gone, "O1", lambda: f"never there: {extra - self.gone}")
        if not self.suspects and world.marks:
            hold(not extra, "O1", lambda: f"deleted, and still there: {extra}")
        if not self.suspects:
            missing = self._missing(world.service.store.cursor + 1, len(self.history))
            hold(not missing, "O2", lambda: f"never arrived: {missing}")
            aside = {identity(orjson.loads(row.event)) for row in world.sync.journal.rejected()}
            now = {self.event(row, deleted=False) for row in truth.values()}
            forgotten = {what for what in (self.excused & now) - self.seen if what not in aside}
            hold(not forgotten, "what is refused is kept", lambda: f"refused, and kept nowhere: {forgotten}")

    @staticmethod
    def event(row: Event, *, deleted: bool) -> Identity:
        """The identity of a row's event."""
        return identity({**row, MARK: deleted})
