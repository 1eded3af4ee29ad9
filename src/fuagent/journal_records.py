"""What the journal remembers, as values, and how they are read back from its records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

from fuagent.model import Anchor, Place


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """A snapshot that is due, running, or delivered but for its end marker.

    ``stage`` is ``pending``, ``running`` or ``rows_done``. ``origin`` is where the
    changes under a repeated first snapshot are read from. ``place`` and ``index``
    are S of the running attempt; ``index`` is 0 until its rows begin, so that a
    checkpoint that equals it proves that they arrived. ``tables`` is empty for all
    of them. ``again``: another one was asked for while its rows were on their way.
    """

    stage: str = "pending"
    cause: str = ""
    origin: Place | None = None
    place: Place | None = None
    index: int = 0
    tables: tuple[str, ...] = ()
    again: bool = False


@dataclass(frozen=True, slots=True)
class SyncRecord:
    """What is remembered of one sync."""

    acknowledged: int = 0
    """The last index in a batch that the service itself took."""
    answered: int = 0
    """The last checkpoint the service named."""
    snapshot: SnapshotRecord | None = None
    snapshots: int = 0
    """Snapshots finished."""
    snapshot_pause: float = 60.0
    """Seconds of streaming owed before the service may ask for the next one."""
    gap: str = ""
    """Why the place was lost, until it is accepted."""
    lost_at: int = 0
    """The last acknowledged index when it was lost last."""
    tables: tuple[str, ...] = ()
    """Tables whose rows are all at the service."""
    paused: bool = False
    rows: int = 0
    batches: int = 0
    left_out: int = 0
    run: int = 0
    """Rises with every snapshot or stream begun: the middle part of the idempotency key."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """One row that the service refused and that was set aside."""

    id: int
    at: float
    table: str
    index: int
    status: int | None
    reason: str
    event: bytes


def checksum(*values: object) -> int:
    """Checksum over values of any kind: a damaged file may hold a number where text was."""
    return crc32(repr(values).encode(errors="surrogatepass"))


def _place(value: dict[str, Any] | None) -> Place | None:
    return None if value is None else Place(**value)


def anchor_of(value: dict[str, Any]) -> Anchor:
    """An anchor as it was."""
    return Anchor(**{**value, "place": Place(**value["place"])})


def record_of(value: dict[str, Any]) -> SyncRecord:
    """A record as it was; keys of a later minor version are passed over."""
    known = {key: value[key] for key in SyncRecord.__dataclass_fields__ if key in value}
    record = SyncRecord(**known)
    snapshot = known.get("snapshot")
    if isinstance(snapshot, dict):
        rest = {**snapshot, "tables": tuple(snapshot["tables"])}
        rest |= {"origin": _place(snapshot["origin"]), "place": _place(snapshot["place"])}
        record = replace(record, snapshot=SnapshotRecord(**rest))
    return replace(record, tables=tuple(record.tables))
