"""``validate: rows``: every event against the whole event schema of the service's document, before it is sent.

At start only names and types are compared. What else a schema says (lengths, patterns, enums, which objects
go together) depends on the values, so it is asked of each event exactly as it would be sent, and an
event that does not fit goes the way of ``on_reject`` without bothering the service.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import orjson

from fuagent.contract.text import clean
from fuagent.engine.reader import close
from fuagent.engine.settings import SyncSettings
from fuagent.errors import HaltSyncError
from fuagent.model import Rows, TableSpec

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError

_TOLD = ("limit", "types", "format", "pattern", "options", "expected_value", "multiple_of")
"""What a complaint may tell beside its keyword: each of these comes from the document, and none from the event."""
_LONGEST = 120


@dataclass(frozen=True, slots=True)
class Check:
    """The events of one table against what the document says of them. ``complaint`` gives an empty text for one that fits."""

    complaint: Callable[[bytes], str]
    where: str


def checks(settings: SyncSettings, specs: Sequence[TableSpec]) -> dict[str, Check]:
    """A check for each table of a sync; none where its events are not to be checked.

    Raises:
        HaltSyncError: the document says nothing that could be checked, or nothing that can be read.
    """
    return {spec.table.label: check(spec) for spec in specs} if settings.validate_rows else {}


def check(spec: TableSpec) -> Check:
    """The check of one table.

    Raises:
        HaltSyncError: as for :func:`checks`.
    """
    label, schema = spec.table.label, spec.schema
    if schema is None or schema.whole is None:
        raise HaltSyncError(
            f"validate is rows, but nothing says how an event of table {label} must look",
            fix="Describe events.items in the service's document, or take validate: rows out of the sync.",
        )
    try:
        from jsonschema_rs import Draft202012Validator  # optional: validate: rows alone needs it
    except ImportError as error:
        raise HaltSyncError(
            "validate: rows needs jsonschema-rs, which is not installed.", fix="pip install 'fuagent[validate]'"
        ) from error
    try:
        validator = Draft202012Validator(schema.whole(), validate_formats=True, offline=True)
    except ValueError as error:
        raise HaltSyncError(
            f"the event schema is none that a validator can read: {clean(str(error).partition(chr(10))[0])}",
            where=schema.where,
            fix="Mend the service's document, or take validate: rows out of the sync.",
        ) from error
    key = f"key: {', '.join(spec.table.key)}" if spec.table.key else "no key"

    def complaint(text: bytes) -> str:
        event = orjson.loads(text)
        if validator.is_valid(event):
            return ""
        return f"it does not fit the event schema: {_said(next(validator.iter_errors(event)))} ({clean(key)})"

    return Check(complaint, schema.where)


def _said(error: ValidationError) -> str:
    """A complaint in the document's own words: what the validator says of it may quote the event."""
    steps = iter(error.evaluation_path)
    # The names that lead there, out of the schema: in the event they may be values, as the keys of a JSON column.
    names = [str(next(steps, "")) for step in steps if step == "properties"]
    place = f'property "{clean(".".join(names), _LONGEST)}"' if names else "the event"
    told = error.kind.as_dict()
    if "property" in told:
        return f'{place} lacks "{clean(told["property"], _LONGEST)}", which is required'
    if error.kind.name == "falseSchema":
        return f"{place} holds what is not allowed"
    bounds = [json.dumps(told[name], ensure_ascii=False, default=str) for name in _TOLD if name in told]
    return clean(" ".join([f"{place} does not meet", error.kind.name, *bounds]))


async def checked(rows: AsyncIterator[Rows], by_table: Mapping[str, Check]) -> AsyncIterator[Rows]:
    """The same rows, each that does not fit apart from the others."""
    try:
        async for one in rows:
            found = by_table.get(one.table)
            for part in [one] if found is None or one.refused else _apart(one, found):
                yield part
    finally:
        await close(rows)


def _apart(rows: Rows, check: Check) -> list[Rows]:
    complaints = [check.complaint(text) for text in rows.rows]
    bad = [at for at, complaint in enumerate(complaints) if complaint]
    if not bad:
        return [rows]
    among = len(bad) < len(complaints)
    parts: list[Rows] = []

    def cut(low: int, high: int, refused: str = "") -> None:
        part = replace(rows, rows=rows.rows[low:high], indexes=rows.indexes[low:high], boundary=False, at_end=False)
        left_out = 0 if parts else rows.left_out
        against = check.where if refused else ""
        if high > low:
            parts.append(replace(part, left_out=left_out, refused=refused, against=against, among=among))

    low = 0
    for at in bad:
        cut(low, at)
        cut(at, at + 1, complaints[at])
        low = at + 1
    cut(low, len(complaints))
    parts[-1] = replace(parts[-1], boundary=rows.boundary, at_end=rows.at_end)
    return parts
