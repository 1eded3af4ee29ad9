"""What reads bytes that somebody else chose, each as a function of any bytes at all.

A target returns for whatever it is given; it raises where a reader raises what it does not promise to raise, or gives
what cannot be right. `fuzz.py` looks for bytes that do so, and `test_fuzz.py` replays those that were once found.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from fuagent import config, drivers
from fuagent.contract import document, fit, oauth, operation, outcome, payload, retry_after, security, spec, status
from fuagent.encode import where
from fuagent.errors import DecodeError, FuagentError, HaltSyncError, PayloadError
from fuagent.model import Column, Kind, Table
from fuagent.receiver import body
from fuagent.receiver.memory import MemoryStore
from fuagent.receiver.rows import RowType
from fuagent.receiver.service import Route, receive
from fuagent.receiver.store import Target
from fuagent.sources.mysql import dump
from fuagent.wire.mysql import compressed, events, gtid_events, gtids, images, jsonb, statements, tablemap
from fuagent.wire.mysql import rows as log_rows
from fuagent.wire.postgres import copy, frames, messages, types, values
from fuagent.wire.postgres import rows as stream_rows

NOW = 1_800_000_000.0
LARGEST = 1 << 20
"""Bytes up to which something compressed may grow here."""


class Feed:
    """Bytes from which small decisions are taken before the rest is read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        """The next byte; zero behind the end."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def part(self) -> bytes:
        """A part whose length stands before it."""
        length = self.byte() * 256 + self.byte()
        self._at += length
        return self._data[self._at - length : self._at]

    def rest(self) -> bytes:
        """All that is left."""
        return self._data[self._at :]


# ------------------------------------------------------------------ logs


def mysql_packets(data: bytes) -> None:
    """What a connection brings on which the log is sent: however much of it is there, it holds the same events."""
    feed = Feed(data)
    early = feed.byte()
    stream = feed.rest()
    try:
        first, parts = dump.split(stream[:early]), dump.split(stream)
    except FuagentError as error:
        assert error.what
        return
    assert 0 <= parts.taken <= len(stream)
    assert parts.need > 0
    assert parts.events[: len(first.events)] == first.events
    if parts.stop:
        assert dump.ended(parts.stop, "db.example.com").what


def mysql_log(data: bytes) -> None:
    """A file of the binary log, down to its rows."""
    maps: dict[int, tablemap.TableMap] = {}
    try:
        description = None
        for at, header, content in events.events(data):
            if header.kind == events.FORMAT_DESCRIPTION:
                description = events.read_format_description(data[at : at + header.size])
            elif description is not None:
                _other_event(header, content, description)
                for kind, inner in _uncompressed(header.kind, content, description):
                    _log_event(kind, inner, description, maps)
    except DecodeError:
        pass


def _uncompressed(kind: int, content: bytes, description: events.FormatDescription) -> Iterator[tuple[int, bytes]]:
    if kind == events.TRANSACTION_PAYLOAD:
        for header, inner in compressed.payload(content, description, LARGEST):
            yield header.kind, inner
    elif kind in compressed.COMPRESSED:
        yield compressed.uncompressed(kind, content, description, LARGEST)
    else:
        yield kind, content


def _log_event(
    kind: int, content: bytes, description: events.FormatDescription, maps: dict[int, tablemap.TableMap]
) -> None:
    if kind == events.TABLE_MAP:
        width = 4 if description.post_header(kind, 8) == 6 else 6
        found = tablemap.read(content, mariadb=description.mariadb, id_bytes=width)
        maps[found.table_id] = found
    elif kind == events.QUERY:
        statements.statement(events.read_query(content, description).text)
    elif kind in log_rows.ROWS:
        header = log_rows.read_rows_header(kind, content, description)
        if header.table_id in maps:
            _log_rows(header, content, maps[header.table_id].columns)


READERS: dict[int, Callable[[bytes, events.FormatDescription], object]] = {
    events.ROTATE: events.read_rotate,
    events.XID: events.read_xid,
    events.INCIDENT: events.read_incident,
    events.XA_PREPARE: events.read_xa_prepare,
    events.PREVIOUS_GTIDS: gtid_events.read_previous_gtids,
    events.MARIADB_GTID_LIST: gtid_events.read_mariadb_gtid_list,
}


def _other_event(header: events.Header, content: bytes, description: events.FormatDescription) -> None:
    if header.kind in READERS:
        READERS[header.kind](content, description)
    elif header.kind in {events.GTID, events.ANONYMOUS_GTID, events.GTID_TAGGED}:
        gtid_events.read_gtid(header.kind, content, description)
    elif header.kind == events.MARIADB_GTID:
        gtid_events.read_mariadb_gtid(header, content, description)
    elif header.kind in {events.HEARTBEAT, events.HEARTBEAT_V2}:
        events.read_heartbeat(header, content, description)


def _log_rows(header: log_rows.RowsHeader, content: bytes, columns: Any) -> None:
    if header.operation == log_rows.UPDATE:
        read = images.compile_updates(columns, header.present, header.present_after, partial=header.partial)
    else:
        read = images.compile_reader(columns, header.present)
    read(content, header.start, len(content))


def mysql_json(data: bytes) -> None:
    """JSON as MySQL stores it, and changes of it."""
    feed = Feed(data)
    before, diffs = feed.part(), feed.rest()
    for read in (lambda: jsonb.text(before), lambda: jsonb.apply(before, diffs)):
        with contextlib.suppress(DecodeError):
            json.loads(read())


def mysql_gtids(data: bytes) -> None:
    """Sets of transactions, in bytes and in text."""
    text = data.decode("utf-8", "replace")
    for read in (lambda: gtids.GtidSet.decode(data), lambda: gtids.GtidSet.parse(text)):
        try:
            found = read()
        except DecodeError:
            continue
        assert gtids.GtidSet.parse(str(found)) == found
    with contextlib.suppress(DecodeError):
        gtids.MariadbPosition.parse(text)


def mysql_statement(data: bytes) -> None:
    """The text of a statement, as far as it is understood."""
    feed = Feed(data)
    mode = feed.byte() << 2
    statements.statement(feed.rest(), mode)


def postgres_stream(data: bytes) -> None:
    """Frames of a replication stream."""
    feed = Feed(data)
    relation, width, key = feed.byte(), feed.byte() % 9, feed.byte()
    stream = feed.rest()
    try:
        end = frames.complete(stream)
        assert 0 <= end <= len(stream)
        for read in _stream_readers(relation, width, key):
            *found, place = read(stream, 0, end)
            assert 0 <= place <= end
            assert all(row is None or len(row) == width for rows in found for row in rows)
    except DecodeError:
        pass


@lru_cache(maxsize=4096)
def _stream_readers(relation: int, width: int, key: int) -> list[Callable[[bytes, int, int], Any]]:
    held = [bool(key >> place & 1) for place in range(width)]
    return [
        stream_rows.compile_inserts(relation, width),
        stream_rows.compile_updates(relation, width, held),
        stream_rows.compile_deletes(relation, width, held),
    ]


def postgres_message(data: bytes) -> None:
    """One message of the output plugin, a keepalive, and an error of the server."""
    frames.read_failure(data)
    for read in (messages.read, frames.read_keepalive):
        with contextlib.suppress(DecodeError):
            read(data)


BASE = {
    number: types.Type(number, name, category=category)
    for number, name, category in (
        (types.BOOL, "bool", "B"),
        (types.BYTEA, "bytea", "U"),
        (types.INT8, "int8", "N"),
        (types.TEXT, "text", "S"),
        (types.JSON, "json", "U"),
        (types.FLOAT8, "float8", "N"),
        (types.DATE, "date", "D"),
        (types.TIME, "time", "D"),
        (types.TIMESTAMP, "timestamp", "D"),
        (types.TIMESTAMPTZ, "timestamptz", "D"),
        (types.INTERVAL, "interval", "T"),
        (types.NUMERIC, "numeric", "N"),
        (types.JSONB, "jsonb", "U"),
    )
}
ARRAYS = {
    1000 + number: types.Type(1000 + number, f"_{one.name}", category="A", element=number)
    for number, one in BASE.items()
}
TYPES = BASE | ARRAYS
QUOTED = frozenset({types.TEXT, types.BYTEA, types.DATE, types.TIME, types.TIMESTAMP, types.TIMESTAMPTZ})
"""Elements of these types are written in quotes; numbers and JSON go on as the server writes them."""


def _is_float(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and not text.translate(None, b"+-.0123456789aNefiInty") and text == text.strip()


def postgres_value(data: bytes) -> None:
    """The text of a value of any type, alone and beside itself."""
    feed = Feed(data)
    chosen = sorted(TYPES)[feed.byte() % len(TYPES)]
    given = feed.rest()
    treated = values.treatment(TYPES[chosen], TYPES)
    if treated.convert is None:
        return
    try:
        one = treated.convert(given)
    except DecodeError:
        one = None
    if ARRAYS.get(chosen, TYPES[chosen]).element in QUOTED and one is not None:
        json.loads(one)
    if treated.many is not None and (chosen != types.FLOAT8 or _is_float(given)):
        try:
            many = list(treated.many([given, given]))
        except DecodeError:
            many = None
        assert many == (None if one is None else [one, one])


def postgres_copy(data: bytes) -> None:
    """Rows of COPY's text: however they are read, they are the same."""
    feed = Feed(data)
    width, text = feed.byte() % 6, feed.rest()
    try:
        found: Any = copy.rows(text, width)
    except DecodeError:
        return
    assert all(len(row) == width for row in found)
    if width:
        lines = [line.split(b"\t") for line in text[:-1].split(b"\n")] if text else []
        assert [tuple(map(copy._value, line)) for line in lines] == list(map(tuple, found))


# ------------------------------------------------------------------ what a service says


SETTINGS = spec.Settings(batch_endpoint="/ingest/{table}")


def service_document(data: bytes) -> None:
    """A document, down to schema, operations and what they ask for."""
    try:
        found = document.read(data, "https://api.example.com/openapi.json")
        service = spec.service(found, SETTINGS)
        service.route_findings("orders", "orders")
        schema = service.event_schema("orders", "orders")
    except FuagentError as error:
        assert error.what
        return
    security.schemes(found)
    for path in ("/ingest/orders", "/"):
        operation.methods(found, path)
        operation.similar(found, path)
    if schema is not None:
        list(fit.problems(schema, {"id": 1, "name": None}))


def service_answer(data: bytes) -> None:
    """What a service answers to batches, to the question for its checkpoint, and to a request for a token."""
    feed = Feed(data)
    code = 100 + (feed.byte() * 256 + feed.byte()) % 500
    kind, wait = (feed.part().decode("latin-1") for _ in range(2))
    headers, content = {"content-type": kind, "retry-after": wait}, feed.rest()
    pause = retry_after.seconds(wait, NOW)
    assert pause is None or 0 <= pause <= retry_after.CAP
    outcome.read(code, headers, content, now=NOW, refusable=3)
    outcome.read(code, headers, content, now=NOW, empty=True)
    for read in (
        lambda: status.read(code, headers, content, url="https://api.example.com/status", now=NOW),
        lambda: oauth.read(code, headers, content, url="https://id.example.com/token", now=NOW, wall=NOW),
    ):
        try:
            read()
        except FuagentError as error:
            assert error.what


# ------------------------------------------------------------------ what an operator writes


def configuration(data: bytes) -> None:
    """config.yaml."""
    text = data.decode("utf-8", "replace")
    with tempfile.TemporaryDirectory() as folder:
        try:
            config.parse(text, environ={"NAME": "value"}, options=drivers.options, path=Path(folder) / "config.yaml")
        except FuagentError as error:
            assert error.what


COLUMNS = (Column("id", Kind.INTEGER), Column("name", Kind.TEXT), Column("price", Kind.DECIMAL))
ROWS = ((1, "a", "1.50"), (None, None, None), (2**70, "1", 0.5))


def condition(data: bytes) -> None:
    """A condition over rows."""
    try:
        holds = where.read(data.decode("utf-8", "replace"), Table("orders", COLUMNS, ("id",)))
    except HaltSyncError as error:
        assert error.what
        return
    assert {holds(row) for row in ROWS} <= {True, False, None}


# ------------------------------------------------------------------ what an agent sends


ROUTE = Route("orders", Target("orders", ("id",)), RowType(dict[str, Any], ["id"], "_deleted"), sweep=True)


def request(data: bytes) -> None:
    """A request to the kit: applied whole, or refused and nothing of it kept."""
    feed = Feed(data)
    coding = ("", "gzip", "zstd")[feed.byte() % 3]
    key, packed = feed.part().decode("latin-1"), feed.rest()
    store = MemoryStore()
    try:
        batch = payload.read(body.unpack(packed, coding, LARGEST), exact=len(key) % 2 == 1)
        receive(store, ROUTE, batch, key, name_rejected=False)
    except (PayloadError, body.BodyError):
        assert store.rows("orders") == []
        return
    assert len(store.rows("orders")) <= len(batch.events)
    assert store.checkpoint(batch.agent_id, batch.task_id) == batch.last_index


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__.replace("_", "-"): target
    for target in (
        mysql_packets,
        mysql_log,
        mysql_json,
        mysql_gtids,
        mysql_statement,
        postgres_stream,
        postgres_message,
        postgres_value,
        postgres_copy,
        service_document,
        service_answer,
        configuration,
        condition,
        request,
    )
}

if __name__ == "__main__":
    sys.stdout.write("\n".join(TARGETS))
