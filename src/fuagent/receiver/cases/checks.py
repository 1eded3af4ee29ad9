"""What a request of the agent owes: one :class:`Check` per sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson

from fuagent.contract import payload
from fuagent.model import INDEX_MAX
from fuagent.receiver.cases.exchange import Check, Row, Scene, credential_headers

KEYS = frozenset({"agent_id", "task_id", "is_snapshot_end", "snapshot_sync_suggested", "events"})


def _header(name: str, value: str) -> Callable[[Scene], bool]:
    return lambda scene: scene.request.headers.get(name) == value


def _credential(scene: Scene) -> bool:
    """Exactly the headers the credential gives: nothing missing, nothing of another kind."""
    sent = {
        name: scene.request.headers[name] for name in ("x-api-key", "authorization") if name in scene.request.headers
    }
    return sent == credential_headers(scene.setup)


POSTED = Check(
    "it is a POST to the batch path", lambda s: (s.request.method, s.request.path) == ("POST", s.setup.batch_path)
)
JSON = Check("Content-Type is application/json", _header("content-type", payload.CONTENT_TYPE))
TASK = Check("task-id names the sync", lambda s: s.request.headers.get("task-id") == s.setup.task_id)
CREDENTIAL = Check("the credential's headers, and no others, are sent", _credential)
KEY = Check("x-api-key is the key", lambda s: s.request.headers.get("x-api-key") == s.setup.key)
BEARER = Check(
    "Authorization is Bearer and the key", lambda s: s.request.headers.get("authorization") == f"Bearer {s.setup.key}"
)
BASIC = Check(
    "Authorization is Basic and the encoded pair",
    lambda s: s.request.headers.get("authorization") == credential_headers(s.setup)["authorization"],
)
OBJECT = Check(
    "the body is an object of the five keys", lambda s: orjson.loads(s.request.body).keys() == KEYS and bool(s.payload)
)
AGENT_ID = Check("agent_id is the agent's", lambda s: s.payload.agent_id == s.setup.agent_id)
TASK_ID = Check("task_id is the sync's", lambda s: s.payload.task_id == s.setup.task_id)
NOT_END = Check("is_snapshot_end is false", lambda s: not s.payload.is_snapshot_end)
NOT_SUGGESTED = Check("snapshot_sync_suggested is false", lambda s: not s.payload.snapshot_sync_suggested)
SUGGESTED = Check("snapshot_sync_suggested is true", lambda s: s.payload.snapshot_sync_suggested)
END = Check("is_snapshot_end is true and events is empty", lambda s: s.payload.is_snapshot_end and not s.payload.events)

ASKED = Check(
    "it is a GET of the status path", lambda s: (s.request.method, s.request.path) == ("GET", s.setup.status_path)
)
IDS = Check(
    "task_id and agent_id are the query",
    lambda s: sorted(s.request.query) == [("agent_id", s.setup.agent_id), ("task_id", s.setup.task_id)],
)

EVERY_BATCH = (POSTED, JSON, TASK, CREDENTIAL, OBJECT, AGENT_ID, TASK_ID)
EVERY_QUESTION = (ASKED, IDS, CREDENTIAL)


def _indexed(scene: Scene) -> bool:
    """Every event has an index above all that the service has taken and above those before it in the batch."""
    last = scene.checkpoint or 0
    for event in scene.payload.events:
        if "index" not in event or not last < event["index"] <= INDEX_MAX:
            return False
        last = event["index"]
    return True


INDEXED = Check("every event has an index, above every one taken before", _indexed)
SAME_BYTES = Check(
    "it is the refused batch again, byte for byte",
    lambda s: bool(s.batches) and not s.batches[-1].taken and s.batches[-1].request.body == s.request.body,
)
NO_ROWS_YET = Check("no batch came before", lambda s: not s.batches)


def _bare(events: Iterable[Row]) -> list[dict[str, Any]]:
    return [{name: value for name, value in event.items() if name != "index"} for event in events]


def rows_are(*rows: Row) -> Check:
    """The batch is these rows in this order, and an event holds its columns and nothing else but an index."""
    return Check(f"its events are {len(rows)} raw row(s) as expected", lambda s: _bare(s.payload.events) == list(rows))


def _since_last_end(scene: Scene) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for past in scene.batches:
        batch = payload.read(past.request.body)
        rows = [] if batch.is_snapshot_end else rows + _bare(batch.events if past.taken else ())
    return rows


def all_rows_came(*rows: Row) -> Check:
    """Every row of the table was taken before this end marker and after the one before it."""

    def holds(scene: Scene) -> bool:
        came = _since_last_end(scene)
        return all(row in came for row in rows)

    return Check(f"all {len(rows)} rows of the table were taken before", holds)
