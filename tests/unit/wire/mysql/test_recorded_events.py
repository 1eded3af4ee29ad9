"""Logs that real servers wrote are walked to their end, and every event in them is read."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from fuagent.errors import DecodeError
from fuagent.wire.mysql import compressed, events, gtid_events, rows
from fuagent.wire.mysql.statements import Kind, statement

FOLDER = Path(os.environ.get("FUAGENT_FIXTURES", Path(__file__).parents[5] / "shared" / "fixtures")) / "binlogs"
MANIFEST = FOLDER / "manifest.json"
if not MANIFEST.is_file():
    pytest.skip(f"recorded logs are not at {FOLDER} (set FUAGENT_FIXTURES)", allow_module_level=True)

FILES = {path.name.removesuffix(".info.json"): path for path in sorted(FOLDER.glob("*/*.info.json"))}

CUT_OFF = {"binlog_truncated_event.000001", "binlog_truncated_prev_gtid_event.000001"}
COUNTED_IN_PART = {"ver_5_1-wl2325_s.001"}
"""The tool that counted stopped early, at an event of a pre-release."""

FAULTS = {
    "corrupt-relay-bin.000624": {"A QUERY event ends too early.": 1},
    # A pre-release with other numbers for the same types.
    "ver_5_1-wl2325_r.001": {"An XID event has 19 bytes where it needs 14.": 3},
    "ver_5_1-wl2325_s.001": {"Rows events of type 20 are not supported; servers since 5.1 write others.": 1},
}
"""Events that cannot be read, with the reason."""

READERS = {
    events.ROTATE: events.read_rotate,
    events.QUERY: events.read_query,
    events.XID: events.read_xid,
    events.XA_PREPARE: events.read_xa_prepare,
    events.INCIDENT: events.read_incident,
    events.PREVIOUS_GTIDS: gtid_events.read_previous_gtids,
    events.MARIADB_GTID_LIST: gtid_events.read_mariadb_gtid_list,
}
GTIDS = {events.GTID, events.ANONYMOUS_GTID, events.GTID_TAGGED}
ROWS = rows.ROWS | {events.WRITE_ROWS_V0}


class Walk:
    """What one file holds."""

    def __init__(self, name):
        plain = FILES[name].with_name(name)
        self.data = (
            plain.read_bytes() if plain.is_file() else gzip.decompress(plain.with_name(name + ".gz").read_bytes())
        )
        self.kinds, self.inner, self.faults = Counter(), Counter(), Counter()
        self.found = []
        self.end = None
        self.description = None
        try:
            for offset, header, body in events.events(self.data):
                self.kinds[header.kind] += 1
                if header.kind == events.FORMAT_DESCRIPTION:
                    self.description = events.read_format_description(self.data[offset : offset + header.size])
                self.read(header, body)
        except DecodeError as error:
            self.end = error.what

    def read(self, header, body):
        try:
            self.found.append((header, self.value(header, body)))
        except DecodeError as error:
            self.faults[error.what] += 1

    def value(self, header, body):
        kind = header.kind
        if kind in compressed.COMPRESSED:
            kind, body = compressed.uncompressed(kind, body, self.description)
        if kind in ROWS:
            return rows.read_rows_header(kind, body, self.description)
        if kind in GTIDS:
            return gtid_events.read_gtid(kind, body, self.description)
        if kind == events.MARIADB_GTID:
            return gtid_events.read_mariadb_gtid(header, body, self.description)
        if kind == events.TRANSACTION_PAYLOAD:
            for inner, data in compressed.payload(body, self.description):
                self.inner[inner.kind] += 1
                self.read(inner, data)
        return READERS[kind](body, self.description) if kind in READERS else None

    def of(self, *kinds):
        return [value for header, value in self.found if header.kind in kinds]


@pytest.fixture(params=FILES)
def name(request):
    """Each file by name."""
    return request.param


@pytest.fixture(scope="module")
def walks():
    """Each file, walked once."""
    done = {}

    def walk(file):
        if file not in done:
            done[file] = Walk(file)
        return done[file]

    return walk


def counts(recorded):
    return {int(kind.split()[0]): count for kind, count in recorded.items()}


def test_every_event_is_found(walks, name):
    """As many of each type as the tool that recorded the file counted, within compressed transactions too."""
    info = json.loads(FILES[name].read_text())
    walk = walks(name)
    kinds = walk.kinds

    if name in COUNTED_IN_PART:
        kinds &= Counter(counts(info["events"]))
    assert kinds == counts(info["events"])
    assert walk.inner == counts(info["payload_events"])
    assert walk.end == ("The binary log is cut off within the header of an event." if name in CUT_OFF else None)


def test_every_event_is_read(walks, name):
    """Except those that are known to be broken."""
    assert walks(name).faults == FAULTS.get(name, {})


def test_servers_are_recognised(walks, name):
    """Version, family and checksums as recorded."""
    info = json.loads(FILES[name].read_text())
    description = walks(name).description

    if description is None:
        assert info["server_version"] is None
        return
    assert description.mariadb is ("MariaDB" in info["server_version"])
    assert description.server_version == info["server_version"]
    assert description.checksum is (info["checksum"] == "CRC32")
    assert all(map(events.known, walks(name).kinds))


def test_gtids_are_those_that_were_asserted(walks, name):
    """Where the origin's own tests name ids, they are these."""
    path = FILES[name].with_name(name + ".expected.json")
    asserted = json.loads(path.read_text())["asserted"] if path.is_file() else {}
    walk = walks(name)

    if "previous_gtids" in asserted:
        (found,) = walk.of(events.PREVIOUS_GTIDS)
        assert str(found) == asserted["previous_gtids"]
    if "gtid" in asserted:
        assert [gtid.text for gtid in walk.of(asserted["gtid_event_type"])] == [asserted["gtid"]]
    if "inner_events" in asserted:
        assert sum(walk.inner.values()) == len(asserted["inner_events"])


def test_gtids_count_on(walks, name):
    """The sets at the start of a file and the ids that follow fit together: none comes twice."""
    walk = walks(name)
    for first in walk.of(events.PREVIOUS_GTIDS)[:1]:
        seen = first.copy()
        for gtid in walk.of(*GTIDS):
            assert not seen.contains(gtid.server, gtid.tag, gtid.number)
            if gtid.number:
                seen.add(gtid.server, gtid.tag, gtid.number)
    for start in walk.of(events.MARIADB_GTID_LIST):
        for gtid in walk.of(events.MARIADB_GTID):
            assert not start.position.contains(gtid.domain, gtid.sequence)


def test_xa_transactions_are_one_by_their_names(walks):
    """The id, the statement and the event of a prepared transaction name it alike."""
    walk = walks("mariadb-10.11-types.000001")
    statements = [statement(query.text, query.mode) for query in walk.of(events.QUERY)]

    prepared = [prepare.xid.text for prepare in walk.of(events.XA_PREPARE)]

    assert prepared == ["X'78696431',X'62',7", "X'78696432',X'',1"]
    assert prepared == [gtid.xid.text for gtid in walk.of(events.MARIADB_GTID) if gtid.prepared]
    assert prepared == [gtid.xid.text for gtid in walk.of(events.MARIADB_GTID) if gtid.completed]
    assert prepared == [one.name for one in statements if one.kind is Kind.XA_END]
    assert prepared == [one.name for one in statements if one.kind in {Kind.XA_COMMIT, Kind.XA_ROLLBACK}]


def test_compressed_events_are_those_of_the_plain_log(walks):
    """The same statements, written by the same server with compression and without, read the same."""
    plain = walks("mariadb-10.11-types.000001")
    packed = walks("mariadb-10.11-compressed-full-metadata.000001")

    def texts(walk):
        return [query.text for query in walk.of(events.QUERY, events.QUERY_COMPRESSED)]

    def operations(walk):
        return [one.operation for one in walk.of(*rows.ROWS)]

    assert len(texts(plain)) > 200
    assert texts(plain) == texts(packed)
    assert operations(plain) == operations(packed)


def test_statements_of_real_logs_are_understood(walks, name):
    """What changes tables is never OTHER in logs of real servers."""
    verbs = {"TRUNCATE", "DROP TABLE", "ALTER TABLE", "CREATE TABLE", "RENAME TABLE"}
    for query in walks(name).of(events.QUERY, events.QUERY_COMPRESSED):
        found = statement(query.text, query.mode)
        if found.kind is Kind.OTHER:
            assert verbs.isdisjoint({found.words[0], " ".join(found.words[:2])}), query.text
