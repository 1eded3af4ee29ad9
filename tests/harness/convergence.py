"""Judges what a service got from a `Workload`: the same rows in the end, in order, with nothing missing."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from harness.service import Service
from harness.workload import Change, Workload
from harness.workload_table import check, lump

SHOWN = 5
"""Faults of one kind that are named; the others are counted."""


def rows(workload: Workload) -> dict[int, dict[str, Any]]:
    """What the table holds, as a service gets it, by key."""
    dialect = workload.dialect
    names = [*dialect.fixed, *workload.extra]
    forms = [dialect.as_json.get(name, ("{}", lambda value: value)) for name in names]
    wanted = ", ".join(form.format(name) for name, (form, _) in zip(names, forms, strict=True))
    with dialect.connect(workload.database) as session, session.cursor() as cursor:
        cursor.execute(f"SELECT {wanted} FROM {workload.table}")
        found = cursor.fetchall()
    turned = ([v if v is None else f(v) for v, (_, f) in zip(row, forms, strict=True)] for row in found)
    return {row["id"]: row for row in (dict(zip(names, values, strict=True)) for values in turned)}


def differences(service: Service, *workloads: Workload) -> list[str]:
    """Where service and tables differ.

    A row is compared in all columns if it was written since the table's last DDL; a DDL writes
    no rows, so others are compared in the fixed columns.
    """
    # A copy, made in one step: the service may go on taking rows in another thread.
    theirs, ours = dict(service.rows), {key: row for workload in workloads for key, row in rows(workload).items()}
    found = [f"row {key} is missing" for key in sorted(ours.keys() - theirs.keys())]
    found += [f"row {key} should be gone" for key in sorted(theirs.keys() - ours.keys())]
    owed = {key: columns for workload in workloads for key, columns in _owed(workload)}
    for key in sorted(ours.keys() & theirs.keys()):
        wanted, got = ours[key], theirs[key]
        names = owed[key] or wanted.keys() | got.keys()
        found += [
            f"row {key}: {name} is {got.get(name, 'absent')!r}, not {wanted.get(name, 'absent')!r}"
            for name in sorted(names)
            if name not in wanted or name not in got or wanted[name] != got[name]
        ]
    return found


def _owed(workload: Workload) -> Iterator[tuple[int, frozenset[str]]]:
    """The columns each row is compared in; none stands for all."""
    fixed = frozenset(workload.dialect.fixed)
    for key, schema in workload.state.schema.items():
        yield key, frozenset() if schema == workload.schemas else fixed


def disorder(service: Service, *workloads: Workload) -> list[str]:
    """Where an index has two contents or does not rise, a key's versions go back, or a row is not whole.

    An event that was completed by a later version of its row is exempt: that is not the same at every reading.
    """
    early: dict[int, int] = {}
    for change in (change for workload in workloads for one in workload.ledger for change in one.changes):
        if change.partial and change.version is not None:
            early.setdefault(change.key, change.version)
    return [*_indexes(service, early), *_versions(service, early)]


def _indexes(service: Service, early: dict[int, int]) -> list[str]:
    """``early``: the lowest version of each key that may have come in a later one's place."""
    seen: dict[int, str] = {}
    highest, found = 0, []
    for event in (event for post in service.posts for event in post.json["events"]):
        index, text = event.get("index"), json.dumps(event)
        if index is None:
            continue
        exempt = event.get("ver", 0) >= early.get(event["id"], event.get("ver", 0) + 1)
        if index in seen:
            if seen[index] != text and not exempt:
                found.append(f"index {index} had two contents")
        elif index <= highest and not exempt:
            found.append(f"index {index} was new after {highest}")
        seen[index], highest = text, max(highest, index)
    return found


def _versions(service: Service, early: dict[int, int]) -> list[str]:
    newest: dict[int, int] = {}
    before: set[str] = set()
    found = []
    for index, event in service.versions:
        # Rows of a first snapshot carry no index to know a repeat by: their order is that of first deliveries.
        text = json.dumps(event)
        if index is None and text in before:
            continue
        before.add(text)
        if "ver" not in event:
            continue  # a mark may be of the key alone
        key, version = event["id"], event["ver"]
        if version < newest.get(key, 0) and key not in early:
            found.append(f"row {key} went back from version {newest[key]} to {version}")
        newest[key] = max(version, newest.get(key, 0))
        if not event.get("_deleted") and not _is_whole(event):
            found.append(f"row {key} version {version} is not what was written")
    return found


def _is_whole(event: dict[str, Any]) -> bool:
    return bool(
        event["chk"] == check(event["id"], event["ver"], event["tx"], event["val"])
        and event["lump"] == lump(event["lump_no"])
    )


def astray(service: Service, *workloads: Workload) -> list[str]:
    """Rows of which the service did not get every change in order, and no more.

    It owes that of transactions above `Workload.after` if it read the log all the time since,
    without another snapshot.
    """
    owed: dict[int, list[Change]] = defaultdict(list)
    for workload in workloads:
        for one in workload.ledger:
            if workload.after is not None and one.tx > workload.after:
                for change in one.changes:
                    owed[change.key].append(change)
    got: dict[int, list[int | None]] = defaultdict(list)
    base = _base(service, len(workloads))
    for index, event in service.versions:
        if index is not None and index > base:
            got[event["id"]].append(None if event.get("_deleted") else event["ver"])
    return [
        f"row {key}: the service got versions {_told(got[key])} where {_told(c.version for c in owed[key])} were written"
        for key in sorted(owed.keys() | got.keys())
        if not follows(owed[key], got[key])
    ]


def _base(service: Service, tables: int) -> int:
    """The index that the snapshot's last row carried. There is an end marker for each table's path."""
    ends = [place for place, post in enumerate(service.posts) if post.json["is_snapshot_end"]]
    before = service.posts[: ends[tables - 1] + 1]
    return max((event.get("index", 0) for post in before for event in post.json["events"]), default=0)


def _told(versions: Iterable[int | None]) -> str:
    return ", ".join("gone" if version is None else str(version) for version in versions) or "none"


def follows(owed: Sequence[Change], got: Sequence[int | None]) -> bool:
    """Whether these versions of one key tell all its changes in order.

    In place of a partial one there may be a later one, or, where the row is deleted later, nothing.
    """
    places = {0}  # how many of the changes may have been told by now
    for version in got:
        places = {place + 1 for place in _passed(owed, places) if place < len(owed) and _tells(owed[place:], version)}
    return len(owed) in _passed(owed, places)


def _passed(owed: Sequence[Change], places: set[int]) -> set[int]:
    """These places, and those to be reached from them without an event."""
    found = set()
    for start in places:
        place = start
        found.add(place)
        while place < len(owed) and owed[place].partial and any(later.version is None for later in owed[place:]):
            place += 1
            found.add(place)
    return found


def _tells(owed: Sequence[Change], version: int | None) -> bool:
    """Whether an event of this version tells the first of these changes."""
    first, *later = owed
    early = first.partial and version is not None and any(change.version == version for change in later)
    return version == first.version or early


def has_converged(service: Service, *workloads: Workload) -> bool:
    """Whether service and tables hold the same now: to be waited for once the writers have stopped."""
    there = {key for workload in workloads for key in workload.state.rows}
    return service.rows.keys() == there and not differences(service, *workloads)


def assert_converged(service: Service, *workloads: Workload) -> None:
    """Fail, with what was found, unless all is as it should be; what is owed one by one must all have come, too."""
    kinds = [differences(service, *workloads), disorder(service, *workloads)]
    kinds += [astray(service, *workloads)] if any(one.after is not None for one in workloads) else []
    told = [line for kind in kinds for line in (*kind[:SHOWN], *([f"… {len(kind)} of them"] if kind else []))]
    assert not told, "\n".join(told)
