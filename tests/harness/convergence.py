"""Judges what a service got from a `Workload`: the same rows in the end, in order, with nothing missing."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from harness.service import Service
from harness.workload import Workload
from harness.workload_table import FIXED, check

SHOWN = 5
"""Faults of one kind that are named; the others are counted."""

AS_JSON: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "z_dec": ("CAST({} AS CHAR)", str),
    "z_bin": ("{}", lambda value: base64.b64encode(value).decode()),
    "z_date": ("CAST({} AS CHAR)", str),
    "z_dt": ("CAST({} AS CHAR)", lambda value: value.replace(" ", "T")),
    "z_ts": ("CAST({} AS CHAR)", lambda value: value.replace(" ", "T") + "Z"),
    "z_set": ("{}", lambda value: [label for label in value.split(",") if label]),
}
"""What is selected of a column, and how a service gets it when its document asks for nothing else."""


def rows(workload: Workload) -> dict[int, dict[str, Any]]:
    """What the table holds, as a service gets it, by key."""
    names = [*FIXED, *workload.extra]
    wanted = ", ".join(AS_JSON.get(name, ("{}", str))[0].format(name) for name in names)
    with workload.database.connect() as session, session.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute(f"SELECT {wanted} FROM w")
        made = (dict(zip(names, row, strict=True)) for row in cursor.fetchall())
        return {row["id"]: {name: _as_json(name, value) for name, value in row.items()} for row in made}


def _as_json(name: str, value: Any) -> Any:
    return value if value is None or name not in AS_JSON else AS_JSON[name][1](value)


def differences(service: Service, workload: Workload) -> list[str]:
    """Where service and table differ.

    A row is compared in all columns if it was written since the last DDL; a DDL writes
    no rows, so others are compared in the fixed columns.
    """
    theirs, ours = service.rows, rows(workload)
    found = [f"row {key} is missing" for key in sorted(ours.keys() - theirs.keys())]
    found += [f"row {key} should be gone" for key in sorted(theirs.keys() - ours.keys())]
    for key in sorted(ours.keys() & theirs.keys()):
        wanted, got = ours[key], theirs[key]
        if workload.state.schema[key] != workload.schemas:
            wanted, got = _fixed(wanted), _fixed(got)
        found += [
            f"row {key}: {name} is {got.get(name, 'absent')!r}, not {wanted.get(name, 'absent')!r}"
            for name in sorted(wanted.keys() | got.keys())
            if name not in wanted or name not in got or wanted[name] != got[name]
        ]
    return found


def _fixed(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name in FIXED}


def disorder(service: Service) -> list[str]:
    """Where an index has two contents or does not rise, a key's versions go back, or a row is not whole."""
    return [*_indexes(service), *_versions(service)]


def _indexes(service: Service) -> list[str]:
    seen: dict[int, str] = {}
    highest, found = 0, []
    for event in (event for post in service.posts for event in post.json["events"]):
        index, text = event.get("index"), json.dumps(event)
        if index is None:
            continue
        if index in seen:
            if seen[index] != text:
                found.append(f"index {index} had two contents")
        elif index <= highest:
            found.append(f"index {index} was new after {highest}")
        seen[index], highest = text, max(highest, index)
    return found


def _versions(service: Service) -> list[str]:
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
        if version < newest.get(key, 0):
            found.append(f"row {key} went back from version {newest[key]} to {version}")
        newest[key] = max(version, newest.get(key, 0))
        if not event.get("_deleted") and event["chk"] != check(key, version, event["tx"], event["val"]):
            found.append(f"row {key} version {version} is not what was written")
    return found


def missing(service: Service, workload: Workload, after: int) -> list[str]:
    """Committed versions of transactions above ``after`` that the service never got.

    It owes each of them if it read the log all the time since ``after`` was written,
    without another snapshot.
    """
    got = {(event["id"], event["ver"]) for _, event in service.versions if "ver" in event and not event.get("_deleted")}
    return [
        f"transaction {committed.tx}: row {key} version {version} never came"
        for committed in workload.ledger
        if committed.tx > after
        for key, version in committed.changes
        if version is not None and (key, version) not in got
    ]


def has_converged(service: Service, workload: Workload) -> bool:
    """Whether service and table hold the same now: to be waited for once the writer has stopped."""
    return service.rows.keys() == workload.state.rows.keys() and not differences(service, workload)


def assert_converged(service: Service, workload: Workload, *, after: int | None = None) -> None:
    """Fail, with what was found, unless all is as it should be; with ``after`` nothing may be `missing` either."""
    kinds = [differences(service, workload), disorder(service)]
    kinds += [missing(service, workload, after)] if after is not None else []
    told = [line for kind in kinds for line in (*kind[:SHOWN], *([f"… {len(kind)} of them"] if kind else []))]
    assert not told, "\n".join(told)
