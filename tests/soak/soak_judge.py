"""Judges every batch of a soak as it comes, in memory that does not grow with the number of commits.

It keeps a row for each key, a place for each writer, and the content of the newest `WINDOW` indexes. What is seen: a change
that is missing, doubled or out of order leaves a hole or a step back in the versions of its key or in the numbers
of its writer's transactions; an index must rise and always mean the same content; what is new must lie above the
checkpoint; a row must be whole.
"""

from __future__ import annotations

import zlib
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import orjson
from soak_table import FIXED, check

WINDOW = 100_000
"""Indexes whose content is remembered. Nothing older may come again: it was acknowledged long before."""
SHOWN = 5
"""Faults of one kind that are told in words; the others are counted."""
GROWTH = 1.1
"""Each bucket of the delays reaches so many times further than the one before."""


@dataclass
class Delays:
    """How long commits took from being written to being applied, in buckets."""

    buckets: Counter[int] = field(default_factory=Counter)
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        ceiling, bucket = 0.001, 0
        while ceiling < seconds:
            ceiling, bucket = ceiling * GROWTH, bucket + 1
        self.buckets[bucket] += 1
        self.longest = max(self.longest, seconds)

    def quantile(self, share: float) -> float:
        """Seconds that so large a share of them did not exceed, within `GROWTH`; 0 when there were none."""
        left = share * self.buckets.total()
        for bucket, count in sorted(self.buckets.items()):
            left -= count
            if left <= 0:
                return min(0.001 * GROWTH**bucket, self.longest)
        return 0.0


@dataclass(slots=True)
class Key:
    """What is known of one key: the last version used up, and whether the row is there."""

    version: int
    there: bool


class Judge:
    """Sees each batch when it arrives, and once more when it is applied."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.keys: dict[int, Key] = {}
        self.places: dict[int, tuple[int, int]] = {}
        """For each writer its last transaction and the last statement of it."""
        self.checkpoint = 0
        self.ends = 0
        self.counts: Counter[str] = Counter()
        self.delays = Delays()
        self.faults: Counter[str] = Counter()
        self.told: list[str] = []
        self._contents: dict[int, int] = {}
        self._order: deque[int] = deque()
        self._forgotten = 0
        self._highest = 0
        self._writer = 0
        self._last_key = ""
        self._last_body = 0
        self._applied_key = ""

    def fault(self, kind: str, text: str) -> None:
        """Something that may not be."""
        self.faults[kind] += 1
        if self.faults[kind] <= SHOWN:
            self.told.append(f"{kind}: {text}")

    def look(self, body: bytes, key: str) -> dict[str, Any]:
        """See a batch that arrives, whatever becomes of it; gives it decoded.

        Args:
            key: Its Idempotency-Key: another attempt of one batch must bring the same bytes.
        """
        batch: dict[str, Any] = orjson.loads(body)
        sum_ = zlib.crc32(body)
        if key == self._last_key:
            self.counts["attempts again"] += 1
            if sum_ != self._last_body:
                self.fault("retry", f"batch {key} had other bytes when it was tried again")
        self._last_key, self._last_body = key, sum_
        self.counts["requests"] += 1
        self.counts["events"] += len(batch["events"])
        if batch["snapshot_sync_suggested"]:
            self.fault("lost place", "a batch suggests a snapshot")
        for event in batch["events"]:
            if "index" in event:
                self._index(event)
        return batch

    def _index(self, event: dict[str, Any]) -> None:
        index, content = event["index"], zlib.crc32(orjson.dumps(event))
        known = self._contents.get(index)
        if known is not None:
            if known != content:
                self.fault("index", f"{index} had two contents; the later is {event}")
        elif index <= self._forgotten:
            self.fault("replay", f"index {index} came again although it was acknowledged long before")
        elif index <= self._highest:
            self.fault("index", f"{index} was new after {self._highest}")
        else:
            self._highest = index
            self._contents[index] = content
            self._order.append(index)
            if len(self._order) > WINDOW:
                self._forgotten = self._order.popleft()
                del self._contents[self._forgotten]

    def apply(self, batch: dict[str, Any], key: str, now: float) -> None:
        """Take the rows in, and the checkpoint with them.

        Args:
            now: Unix time, seconds.
        """
        if batch["is_snapshot_end"]:
            self.ends += 1
            if self.ends > 1:
                self.fault("snapshot", "there was another one")
        doubled = 0
        for event in batch["events"]:
            index = event.get("index")
            if index is None or self.ends == 0:
                self._snapshot(event)
            elif index <= self.checkpoint:
                doubled += 1
            else:
                self._change(event, now)
        if doubled:
            reason = "its reply was lost" if key == self._applied_key else "read again after a restart"
            self.counts[f"duplicates, {reason}"] += doubled
        self._applied_key = key
        self.checkpoint = max([self.checkpoint, *(event["index"] for event in batch["events"] if "index" in event)])

    def _snapshot(self, event: dict[str, Any]) -> None:
        if self.ends:
            self.fault("snapshot", f"row {event['id']} came without an index after the snapshot had ended")
        key = event["id"]
        self.keys[key] = Key(event["ver"], there=True)
        self._hold(event)

    def _hold(self, event: dict[str, Any]) -> None:
        if event["chk"] != check(event):
            self.fault("row", f"row {event['id']} is not what was written: {event}")
        self.rows[event["id"]] = {name: event[name] for name in FIXED}

    def _change(self, event: dict[str, Any], now: float) -> None:
        self.counts["changes"] += 1
        key = event["id"]
        if event.get("_deleted"):
            known = self.keys.get(key)
            if known is None or not known.there:
                self.fault("delete", f"row {key} was deleted and is not there")
                return
            self.keys[key] = Key(known.version + 1, there=False)
            del self.rows[key]
            return
        self._version(key, event["ver"])
        self._transaction(event, now)
        self._hold(event)

    def _version(self, key: int, version: int) -> None:
        known = self.keys.get(key)
        due = known.version + 1 if known else 1
        if version != due:
            kind = "lost" if version > due else "back"
            self.fault(kind, f"row {key} came in version {version} where {due} was due")
        self.keys[key] = Key(version, there=True)

    def _transaction(self, event: dict[str, Any], now: float) -> None:
        writer, tx, seq = event["writer"], event["tx"], event["seq"]
        last_tx, last_seq = self.places.get(writer, (tx - 1, 0))
        if tx == last_tx:
            if writer != self._writer:
                self.fault("torn", f"writer {writer}'s transaction {tx} went on after another writer's")
            fits = seq in {last_seq, last_seq + 1}
        else:
            if tx != last_tx + 1:
                self.fault("transaction", f"writer {writer}'s {tx} came after its {last_tx}")
            fits = seq >= 1
            self.counts["commits"] += 1
            self.delays.add(max(0.0, now - event["born"] / 1000))
        if not fits:
            self.fault("statement", f"{seq} of writer {writer}'s transaction {tx} came after {last_seq}")
        self._writer = writer
        self.places[writer] = (tx, seq)

    def report(self) -> dict[str, Any]:
        """What there is to tell, as JSON."""
        return {
            "tx": {str(writer): tx for writer, (tx, _) in self.places.items() if writer},
            "checkpoint": self.checkpoint,
            "ends": self.ends,
            "counts": dict(self.counts),
            "delay": {share: self.delays.quantile(float(share)) for share in ("0.5", "0.99")}
            | {"max": self.delays.longest},
            "faults": dict(self.faults),
            "told": self.told,
            "keys": len(self.keys),
        }
