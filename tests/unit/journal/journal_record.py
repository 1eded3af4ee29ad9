"""A record with something in each of its fields."""

from fuagent.journal import SnapshotRecord, SyncRecord
from fuagent.model import Place

RECORD = SyncRecord(
    acknowledged=12,
    answered=11,
    snapshot=SnapshotRecord("running", "a reason", Place("1:2", 3, 4), Place("5:6", 7), 8, ("a", "b"), again=True),
    snapshots=2,
    snapshot_pause=120.0,
    gap="the log is gone",
    tables=("a", "b", "ü"),
    paused=True,
    rows=100,
    batches=10,
    left_out=3,
    run=5,
)
