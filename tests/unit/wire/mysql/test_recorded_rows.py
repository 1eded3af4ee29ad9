"""Every row in logs that real servers wrote is read, and is what whoever recorded it says it was."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace

import pytest
from recorded_log import FOLDER, LOGS, MANIFEST, Log, told, unsaid

from fuagent.model import ABSENT

RECORDED = {one["file"].removeprefix("binlogs/").removesuffix(".gz"): one for one in json.loads(MANIFEST.read_text())}


UNREADABLE = {
    "rust_mysql_common/ver_5_1-wl2325_r.001": ["A table map holds a name that is not UTF-8."],
    "rust_mysql_common/binlog_truncated_event.000001": ["The binary log is cut off within the header of an event."],
    "rust_mysql_common/binlog_truncated_prev_gtid_event.000001": [
        "The binary log is cut off within the header of an event."
    ],
    "rust_mysql_common/json.binlog.000001": ["An update holds changes of a JSON column without the value they change."],
}
"""Files with something that cannot be read, and how that ends."""


@pytest.mark.parametrize("name", RECORDED)
def test_every_row_is_read(name):
    """As many rows of each table were inserted, updated and deleted as were counted; nothing else fails."""
    log = Log(name, unsaid)
    counted: dict = {}
    for change in log.changes:
        by = counted.setdefault(f"{change.schema}.{change.table}", {})
        by[change.operation[0].upper()] = by.get(change.operation[0].upper(), 0) + 1

    assert log.faults == UNREADABLE.get(name, [])
    assert counted == RECORDED[name]["rows_by_table"]


# ------------------------------------------------------------------ what the origins assert


def piece(value):
    """What a test of the origin asserts, as a piece."""
    return value.encode() if isinstance(value, str) else value


def named(names, row):
    """A row by name; what its image does not hold is left out."""
    return {name: value for name, value in zip(names, row or (), strict=row is not None) if value is not ABSENT}


NDB = [
    f"rust_mysql_common/{statement}-{form}-row.binlog"
    for statement in ("write", "update")
    for form in ("full", "partial")
]


@pytest.mark.parametrize("name", NDB)
def test_partial_images(name):
    """Rows of a cluster, with all columns or only those that changed: a column left out is absent, not NULL."""
    found = []
    for change in Log(name, unsaid).changes:
        one = {"op": change.operation.upper(), "schema": change.schema, "table": change.table}
        for side, row in (("before", change.before), ("after", change.after)):
            if row is not None:
                one[side] = named([f"@{place}" for place in range(1, len(row) + 1)], row)
        found.append(one)

    wanted = told(name)["asserted"]["rows"]
    for one in wanted:
        for side in {"before", "after"} & one.keys():
            one[side] = {place: piece(value) for place, value in one[side].items()}
    assert found == wanted


ZALORA = {
    "buildings": ("building_no", "building_name", "address"),
    "rooms": ("room_no", "room_name", "building_no"),
    "departments": ("dept_no", "dept_name"),
}
"""Columns of the origin's tables; it has none for the others."""


def stamped(value):
    """Its TIMESTAMPs are the server's text, in UTC."""
    written = isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", value)
    return f"{value.replace(' ', 'T')}Z".encode() if written else piece(value)


@pytest.mark.parametrize(
    "name", [name for name in RECORDED if name.startswith("zalora/") and (FOLDER / f"{name}.expected.json").is_file()]
)
def test_rows_of_many_versions(name):
    """Inserts, updates and deletes of MySQL 5.6 and 5.7 and of MariaDB 10.0, by value."""
    found = []
    for change in Log(name, unsaid).changes:
        sides = []
        for row in (change.before, change.after):
            names = ZALORA.get(change.table)
            if row is not None:
                sides.append(sorted(map(repr, row)) if names is None else named(names, row))
        found.append((change.table, change.operation.title(), sides))

    wanted = []
    for message in told(name)["asserted"]["messages"]:
        sides = []
        for side in ("Data", "OldData", "NewData"):
            if side in message:
                row = {key: stamped(value) for key, value in message[side]["Row"].items()}
                known = message["Header"]["Table"] in ZALORA
                sides.append(row if known else sorted(map(repr, row.values())))
        if sides:
            wanted.append((message["Header"]["Table"], message["Type"], sides))
    assert found == wanted


def test_enum_set_and_long_texts():
    """Labels and texts on both sides of 255 bytes, from metadata alone."""
    name = "rust_mysql_common/mysql-enum-string-set.000001"
    log = Log(name)
    enum, set_ = (next(c.labels for c in log.tables["t"].columns if c.type == kind) for kind in (247, 248))

    def converted(value):
        if isinstance(value, dict) and "$enum_index" in value:
            return enum[value["$enum_index"] - 1]
        if isinstance(value, dict):
            return b",".join(label for place, label in enumerate(set_) if value["$set_bits"] >> place & 1)
        return piece(value)

    wanted = [
        tuple(None if row is None else tuple(map(converted, row)) for row in (one.get("before"), one.get("after")))
        for one in told(name)["asserted"]["rows"]
    ]
    assert [(change.before, change.after) for change in log.changes] == wanted


def test_bits():
    """BIT columns are numbers."""
    (change,) = Log("rust_mysql_common/mysql_type_bit.000001").changes

    assert change.after == (4, b"foo", 32)


def test_a_time_below_zero():
    """A TIME below zero is the server's own text."""
    name = "rust_mysql_common/time_issue.000001"
    (change,) = Log(name, unsaid).changes

    assert change.after == (told(name)["asserted"]["first_row"][0]["$time"].encode(),)


def test_unsigned_columns_of_a_minimal_image():
    """Signedness comes from the metadata, and columns that were not written are absent."""
    log = Log("rust_mysql_common/minimal_row_metadata.000001")

    assert [change.after for change in log.changes] == [(1, ABSENT, b"a", ABSENT, 3230202323)]
    assert log.tables["t1"].columns[2].collation == 255


def test_hidden_generated_columns():
    """The hidden column of a functional index stands in the table map and not in the image."""
    (change,) = Log("rust_mysql_common/rpl_unfiltered_hidden_gcol.000001").changes

    assert change.after == (1, ABSENT, b"1")


@pytest.mark.fault("F13")
def test_compressed_transactions():
    """Rows within a compressed transaction."""
    assert [change.after for change in Log("rust_mysql_common/transaction_compression.000001").changes] == [(1,)]


def test_vectors():
    """VECTOR columns as JSON arrays of their 32-bit floats."""
    name = "rust_mysql_common/vector.binlog"
    found = [change.after[1] for change in Log(name).changes if change.table == "foo"]

    assert [json.loads(text) for text in found] == told(name)["asserted"]["vector_floats_of_event_12"] * 2


def test_opaque_values_in_json():
    """Decimals, dates and bits within JSON, as MySQL prints them."""
    name = "rust_mysql_common/json-opaque.binlog"
    found = {str(change.event): json.loads(change.after[0]) for change in Log(name).changes}

    wanted = told(name)["asserted"]["json_by_event_number"]
    wanted["18"], wanted["20"] = {"d": 123.456}, {"e": 9.0}  # see its note: MySQL prints numbers
    assert found == wanted


def test_partial_updates_of_json():
    """Changes of JSON documents, applied to the documents before, whose other column is generated from them."""
    changes = Log("rust_mysql_common/json.binlog.000001").changes
    updates = [change for change in changes if change.before is not None]
    documents = [(json.loads(change.before[1]), json.loads(change.after[1])) for change in updates]

    assert len(updates) == 6
    assert [after for _, after in documents] == [before | {"age": before["age"] + 1} for before, _ in documents]
    assert [change.after[3] for change in updates] == [after["age"] for _, after in documents]


def test_minimal_images_hold_what_full_ones_do():
    """The same statements with both kinds of image: where a column is present, it is the same."""
    minimal, full = (Log(f"gh-ost/mysql-bin.0000{number}", unsaid).changes for number in ("66", "70"))
    sides = [
        (some, every)
        for one, other in zip(minimal, full, strict=True)
        for some, every in ((one.before, other.before), (one.after, other.after))
        if some is not None
    ]

    assert [[value for value in some if value is not ABSENT] for some, _ in sides] == [
        [value for value, mark in zip(every, some, strict=True) if mark is not ABSENT] for some, every in sides
    ]
    assert sum(ABSENT in some for some, _ in sides) == 24


# ------------------------------------------------------------------ what MariaDB's own tool prints


def number(text):
    """``-1 (4294967295)``: the first is the signed reading."""
    return int(text.split()[0])


def dateless(text):
    """A date of zeros is NULL, one with a zero in it as it is."""
    text = text.strip("'")
    if not text.strip("0-:. "):
        return None
    return text.encode() if "-00" in text else text.replace(" ", "T").encode()


PRINTED = {
    "INT": number,
    "TINYINT": number,
    "SHORTINT": number,
    "MEDIUMINT": number,
    "LONGINT": number,
    "DECIMAL": lambda text: text.encode(),
    "DATE": lambda text: dateless(text.replace(":", "-")),
    "TIME": lambda text: text.strip("'").encode(),
    "DATETIME": dateless,
    "BIT": lambda text: int(text[2:-1], 2),
    "YEAR": lambda text: 0 if text == "1900" else int(text),  # a weak spot of the tool
}
"""Types whose values the tool prints as they are → how."""

LINE = re.compile(r"###   @(\d+)=(.*?) +/\* ([A-Z]+)\S* .*is_null=(\d) \*/")


def printed(name):
    """Per image, the place and value of what can be compared."""
    text = gzip.decompress((FOLDER / f"{name}.mariadb-binlog.txt.gz").read_bytes()).decode("utf-8", "replace")
    found = []
    for line in text.splitlines():
        if line in {"### SET", "### WHERE"}:
            found.append({})
        elif match := LINE.fullmatch(line):
            place, value, kind, null = match.groups()
            if null == "1" or kind in PRINTED:
                found[-1][int(place)] = None if null == "1" else PRINTED[kind](value)
    return found


def signed(table, columns):
    """As the tool has it, which prints the signed reading first."""
    return [replace(column, unsigned=False) for column in unsaid(table, columns)]


STOPS = {"rust_mysql_common/vector.binlog", "rust_mysql_common/json-opaque.binlog"}
"""Where the tool stops at types it does not know."""

COMPARED = sorted({*RECORDED, *LOGS} - STOPS)


@pytest.mark.parametrize("name", COMPARED)
def test_values_as_the_tool_prints_them(name):
    """Integers, decimals, dates and times, bits and NULLs of every row."""
    found = [row for change in Log(name, signed).changes for row in (change.before, change.after) if row is not None]
    wanted = printed(name)

    assert [{place: row[place - 1] for place in one} for row, one in zip(found, wanted, strict=True)] == wanted
