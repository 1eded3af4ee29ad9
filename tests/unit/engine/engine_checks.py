"""What must hold of everything a service was sent, whatever happened meanwhile."""

from __future__ import annotations

import orjson
from engine_world import World


def converged(world: World) -> None:
    """The service holds exactly what the database holds."""
    assert world.service.rows() == world.truth()


def covered(world: World) -> None:
    """The service holds every row of the database as it is; rows deleted in a gap may remain."""
    rows = world.service.rows()
    assert {key: rows.get(key) for key in world.truth()} == world.truth()


def numbered(world: World) -> None:
    """An index always has the same bytes, and new ones only ever rise."""
    seen: dict[int, bytes] = {}
    highest = 0
    for event in (event for request in world.service.taken for event in request.events):
        index = event.get("index")
        if index is None:
            continue
        text = orjson.dumps(event)
        assert seen.setdefault(index, text) == text, f"{seen[index]!r} came back as {text!r}"
        if index > highest:
            highest = index
        else:
            assert index in seen


def rising(world: World) -> None:
    """An index that was not seen before lies above all that were, as far as the service remembers."""
    seen: set[int] = set()
    highest = 0
    for at, request in enumerate(world.service.taken):
        highest = world.restored.get(at, highest)
        for index in request.indexes:
            if index not in seen:
                assert index > highest, f"{index} came first after {highest}"
                seen.add(index)
                highest = index


def forward(world: World) -> None:
    """No older version of a row arrives for the first time behind a newer one."""
    newest: dict[object, tuple[int, bool]] = {}
    seen: set[tuple[object, object]] = set()
    for event in (event for request in world.service.taken for event in request.events):
        key, version = (event["t"], event["id"]), (event["v"], event["_deleted"])
        if (key, version) in seen:
            continue
        seen.add((key, version))
        assert version >= newest.get(key, (0, False)), f"{key}: {version} came first after {newest[key]}"
        newest[key] = version


def complete(world: World) -> None:
    """Every change committed behind the first snapshot that had rows arrived.

    Behind one without rows nothing is acknowledged, and a new start begins with another.
    """
    first: dict[str, int] = {}
    for at, labels, rows in world.database.snapshots:
        for label in labels if rows else ():
            first.setdefault(label, at)
    arrived = {(event["t"], event["id"], event["v"], event["_deleted"]) for event in world.service.events}
    owed = [
        (row["t"], row["id"], row["v"], deleted) for at, row, deleted in world.history if at > first.get(row["t"], at)
    ]
    assert [change for change in owed if change not in arrived] == []


def one_at_a_time(world: World) -> None:
    """Numbers in idempotency keys rise, and one key always means the same bytes."""
    bytes_of: dict[str, bytes] = {}
    last: dict[str, int] = {}
    for request in world.service.requests:
        key = request.batch.key
        assert bytes_of.setdefault(key, request.body) == request.body
        start, _, number = key.split(".")
        assert int(number) >= last.get(start, 0)
        last[start] = int(number)
