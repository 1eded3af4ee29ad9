"""What the contract asks of a service, and what the guide promises beyond it, asked of both example services."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from http.client import HTTPException

import pytest


def customer(number, name="Ada", **more):
    return {"id": number, "name": name, "email": None, "city": "Lisboa", **more}


def test_rows_are_stored_and_the_highest_index_is_the_checkpoint(service):
    """A batch is stored whole, and the status endpoint answers with its highest index."""
    answer = service.push("customers", customer(1, index=7), customer(2, "Béla", index=9))

    assert answer == (200, {"snapshot_needed": False})
    assert service.rows("customers") == [(1, "Ada", None, "Lisboa"), (2, "Béla", None, "Lisboa")]
    assert service.checkpoint() == (200, {"index": 9})


def test_no_checkpoint_is_404(service):
    """A pair of task and agent that never sent an index has no checkpoint, which is 404 and not 0."""
    service.push("customers", customer(1))

    assert service.checkpoint() == (404, None)


def test_checkpoints_are_kept_per_task_and_agent(service):
    """One task's checkpoint is never another's, nor another agent's."""
    service.push("customers", customer(1, index=5), task="one")
    service.push("customers", customer(2, index=8), task="two")
    service.push("customers", customer(3, index=2), task="one", agent="agent-2")

    assert service.checkpoint("one") == (200, {"index": 5})
    assert service.checkpoint("two") == (200, {"index": 8})
    assert service.checkpoint("one", "agent-2") == (200, {"index": 2})
    assert service.checkpoint("two", "agent-2") == (404, None)


def test_a_replay_changes_nothing(service):
    """Rows at or below the checkpoint were applied before; a late copy takes no row back."""
    service.push("customers", customer(1, "old", index=3))
    service.push("customers", customer(1, "new", index=5))

    answer = service.push("customers", customer(1, "old", index=3), customer(2, index=5))

    assert answer == (200, {"snapshot_needed": False})
    assert service.rows("customers") == [(1, "new", None, "Lisboa")]
    assert service.checkpoint() == (200, {"index": 5})


def test_a_batch_half_known_is_applied_from_where_it_is_new(service):
    """Of a batch that overlaps the checkpoint only the rows above it are applied."""
    service.push("customers", customer(1, "kept", index=4))

    service.push("customers", customer(1, "stale", index=3), customer(2, "fresh", index=6))

    assert [row[1] for row in service.rows("customers")] == ["kept", "fresh"]
    assert service.checkpoint() == (200, {"index": 6})


def test_snapshot_rows_are_always_stored(service):
    """Rows without an index belong to a snapshot: they are stored and leave the checkpoint alone."""
    service.push("customers", customer(1, "streamed", index=4))

    service.push("customers", customer(1, "from the snapshot"), customer(2))

    assert [row[1] for row in service.rows("customers")] == ["from the snapshot", "Ada"]
    assert service.checkpoint() == (200, {"index": 4})


def test_one_row_twice_in_a_batch_ends_as_its_last_version(service):
    """The order within a batch counts."""
    service.push("customers", customer(1, "first", index=1), customer(1, "second", index=2))

    assert [row[1] for row in service.rows("customers")] == ["second"]


def test_a_delete_mark_deletes(service):
    """An event whose delete field is true removes the row of that key; false means an ordinary row."""
    service.push("customers", customer(1, index=2, _deleted=False), customer(2, index=4, _deleted=False))

    service.push("customers", customer(1, index=6, _deleted=True))

    assert [row[0] for row in service.rows("customers")] == [2]
    assert service.checkpoint() == (200, {"index": 6})


def test_a_key_change_leaves_no_old_row(service):
    """The old key comes marked as deleted, then the row under its new key."""
    service.push("customers", customer(1, index=2))

    service.push("customers", customer(1, index=3, _deleted=True), customer(50, index=4, _deleted=False))

    assert [row[0] for row in service.rows("customers")] == [50]


def test_the_end_marker_is_accepted(service):
    """The end of a snapshot has no events, and is answered like any batch."""
    service.push("customers", customer(1, index=3))

    assert service.push("customers", is_snapshot_end=True) == (200, {"snapshot_needed": False})
    assert service.checkpoint() == (200, {"index": 3})


def test_a_suggested_snapshot_is_accepted(service):
    """Where the agent lost its place the service asks for a snapshot, with or without events."""
    assert service.push("customers", snapshot_sync_suggested=True) == (200, {"snapshot_needed": True})
    answer = service.push("orders", snapshot_sync_suggested=True)
    assert answer == (200, {"snapshot_needed": True})
    assert service.push("customers", customer(1)) == (200, {"snapshot_needed": False})


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong"}, {"x-api-key": "\xff"}], ids=["none", "wrong", "latin"])
def test_a_wrong_key_is_401_at_both_endpoints(service, headers):
    """Neither endpoint says anything, nor stores anything, without the key."""
    body = json.dumps(
        {"agent_id": "a", "task_id": "t", "is_snapshot_end": False, "snapshot_sync_suggested": False}
        | {"events": [customer(1)]}
    ).encode()

    status_answer = service.request("GET", "/fuagent-sync-status?task_id=t&agent_id=a", headers=headers)
    ingest_answer = service.request("POST", "/ingest/customers", body, headers | {"Content-Type": "application/json"})

    assert (status_answer[0], ingest_answer[0]) == (401, 401)
    assert service.rows("customers") == []


@pytest.mark.parametrize("module", ["service_fastapi", "service_plain"])
def test_an_empty_key_opens_to_nobody(module):
    """Or else whoever sends none would be let in."""
    command = [sys.executable, "-m", f"fuagent.demo.{module}", "--port", "0"]
    done = subprocess.run(command, env=os.environ | {"SERVICE_KEY": ""}, capture_output=True, text=True, timeout=30)

    assert (done.returncode, done.stderr.strip()) == (1, "SERVICE_KEY is empty: whoever asks would be let in")


def test_a_row_that_does_not_fit_is_422_and_nothing_of_its_batch_is_stored(service):
    """One bad row refuses its batch, so that the agent can find it by halving."""
    answer = service.push("customers", customer(1, index=1), {"id": "x", "index": 2})

    assert answer[0] == 422
    assert service.rows("customers") == []
    assert service.checkpoint() == (404, None)


def test_what_fails_in_the_middle_leaves_rows_and_checkpoint_as_they_were(service):
    """A database that refuses the last row of a batch keeps none of it, and the same batch passes later."""
    with closing(sqlite3.connect(service.database)) as database, database:
        database.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON customers WHEN new.id = 3 "
            "BEGIN SELECT raise(ABORT, 'not this one'); END"
        )
    batch = [customer(number, index=number) for number in (1, 2, 3)]

    refused = service.push("customers", *batch)

    assert refused[0] == 500
    assert service.rows("customers") == []
    assert service.checkpoint() == (404, None)
    with closing(sqlite3.connect(service.database)) as database, database:
        database.execute("DROP TRIGGER refuse")
    assert service.push("customers", *batch) == (200, {"snapshot_needed": False})
    assert service.checkpoint() == (200, {"index": 3})


def test_a_kill_never_parts_rows_from_their_checkpoint(service):
    """Killed in the middle of a batch, the service comes back with exactly the rows its checkpoint speaks of."""
    service.push("customers", customer(1, index=1))
    for looks in (1, 10, 40, 200):
        seen_writing = 0
        while not seen_writing:  # a batch may be through before anybody looks
            reached = service.checkpoint()[1]["index"]
            batch = [customer(number, index=number) for number in range(reached + 1, reached + 20_001)]
            pushing = threading.Thread(target=push_and_lose_the_answer, args=(service, batch))
            pushing.start()
            while seen_writing < looks and pushing.is_alive():
                seen_writing += service.is_writing()

        service.stop(signal.SIGKILL)
        pushing.join(20)
        service.start()

        index = service.checkpoint()[1]["index"]
        assert index in {reached, reached + 20_000}
        assert [row[0] for row in service.rows("customers")] == list(range(1, index + 1))


def push_and_lose_the_answer(service, batch):
    with contextlib.suppress(OSError, HTTPException):
        service.push("customers", *batch)


def test_the_document_says_where_and_what(service):
    """The OpenAPI document carries the server, the status path, the key and a schema per table with its delete field."""
    status, document = service.request("GET", "/openapi.json", headers={})

    assert status == 200
    assert document["servers"] == [{"url": "/", "x-fuagent-status-endpoint": "/fuagent-sync-status"}]
    [scheme] = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "x-api-key")
    for table, columns in {
        "customers": {"id", "name", "email", "city"},
        "orders": {"id", "customer_id", "status", "total_cents", "placed_at", "note"},
        "order_items": {"id", "order_id", "product", "quantity", "price"},
    }.items():
        body = document["paths"][f"/ingest/{table}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        event = resolved(document, resolved(document, body)["properties"]["events"]["items"])
        assert event["x-fuagent-delete-field"] == "_deleted"
        assert set(event["properties"]) == columns | {"index", "_deleted"}
        assert event["required"] == ["id"]


def resolved(document, schema):
    """Follow one reference inside the document."""
    found = document
    for step in schema.get("$ref", "#").split("/")[1:]:
        found = found[step]
    return schema if found is document else found


def test_only_a_mark_may_carry_the_key_alone(service):
    """A row that is gone is known by its key; a row that is there has all its columns, or is refused whole."""
    service.push("customers", customer(1, index=1), customer(2, index=2))

    assert service.push("customers", {"id": 1, "_deleted": True, "index": 3})[0] == 200
    assert service.push("customers", {"id": 2, "_deleted": False, "index": 4})[0] == 422
    assert service.push("customers", {"id": 2, "index": 4})[0] == 422
    assert [row[0] for row in service.rows("customers")] == [2]
    assert service.checkpoint() == (200, {"index": 3})


def test_other_paths_and_unreadable_bodies_are_refused(service):
    """What is not part of the service is 404; what is not JSON is a 4xx and never a 5xx."""
    headers = {"x-api-key": "correct horse battery staple", "Content-Type": "application/json"}

    assert service.request("GET", "/elsewhere")[0] == 404
    assert service.request("POST", "/ingest/secrets", b"{}", headers)[0] == 404
    assert service.request("POST", "/ingest/customers", b"{", headers)[0] in {400, 422}
    assert service.request("POST", "/ingest/customers", b"[]", headers)[0] == 422
    assert service.rows("customers") == []
