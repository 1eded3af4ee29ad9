"""Rows of every type of MariaDB come out as SELECT gave them on the server that wrote the log."""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import replace

import pytest
from recorded_log import LOGS, Log, told

from fuagent.wire.mysql import rows
from fuagent.wire.mysql.numbers import double


def mariadb_says(expected):
    """What neither type nor metadata tell: a UUID or an internet address is a STRING like any other."""
    kinds = {table: one["kind"] for table, one in expected["tables"].items()}

    def says(table, columns):
        kind = kinds.get(table)
        return [*columns[:1], replace(columns[1], declared=kind)] if kind in {"uuid", "inet4", "inet6"} else columns

    return says


@pytest.fixture(scope="module", params=LOGS)
def mariadb(request):
    """The log and what SELECT gave on the server that wrote it."""
    expected = told(request.param)
    return Log(request.param, mariadb_says(expected)), expected


def text_of(value) -> bytes | tuple:
    if isinstance(value["text"], dict):
        return ("sha256", value["text"]["sha256_utf8"])
    return value["text"].encode()


def bytes_of(value):
    if isinstance(value["hex"], dict):
        return ("sha256", value["hex"]["sha256"])
    return base64.b64encode(bytes.fromhex(value["hex"]))


def dateless(text: str) -> bytes | None:
    """A date of zeros is NULL; one with a zero in it stays as the server writes it."""
    if not text.strip("0-:. "):
        return None
    return text.encode() if "-00" in text else text.replace(" ", "T").encode()


def stamped(value) -> bytes | None:
    """A TIMESTAMP of zeros is NULL."""
    text = value["text"]
    if text.startswith("0000"):
        return None
    return text.replace(" ", "T").encode() + b"Z"


EXPECTED = {
    "int": lambda value: int(value["text"]),
    "uint": lambda value: int(value["text"]),
    "year": lambda value: int(value["text"]),
    "bit": lambda value: value["num"],
    "float": lambda value: value["exact_double"],
    "double": lambda value: value["exact_double"],
    "date": lambda value: dateless(value["text"]),
    "datetime": lambda value: dateless(value["text"]),
    "timestamp": stamped,
    "bin": bytes_of,
    "geom": lambda value: base64.b64encode(bytes.fromhex(value["wkb_hex"])),
}
"""What SELECT gave → the piece, where it is not the text itself."""


def single(text: bytes) -> float:
    return struct.unpack("<f", struct.pack("<f", float(text)))[0]


def compared(kind, piece):
    """A piece in the form in which what SELECT gave can be compared with it."""
    if piece is None or not isinstance(piece, bytes):
        return piece
    if kind in {"float", "double"}:
        return single(piece) if kind == "float" else float(piece)
    return piece


def same(kind, piece, value) -> bool:
    if value is None:
        return piece is None
    wanted = EXPECTED.get(kind, text_of)(value)
    if isinstance(wanted, tuple):
        plain = base64.b64decode(piece) if kind == "bin" else piece
        return hashlib.sha256(plain).hexdigest() == wanted[1]
    return compared(kind, piece) == wanted


def differences(kind, pieces, wanted):
    """Of two mappings from key to value, what differs."""
    return {
        key: (pieces.get(key), wanted.get(key))
        for key in pieces.keys() | wanted.keys()
        if key not in pieces or key not in wanted or not same(kind, pieces[key], wanted[key])
    }


def test_every_type_of_mariadb_inserted(mariadb):
    """What was inserted into the 216 tables is what SELECT gave afterwards."""
    log, expected = mariadb
    wrong = {}
    for table, one in expected["tables"].items():
        found = dict(change.after for change in log.of(table) if change.operation == rows.INSERT)
        if different := differences(one["kind"], found, dict(one["rows_after_inserts"])):
            wrong[table] = different

    assert len(expected["tables"]) == 216
    assert wrong == {}


def test_every_type_of_mariadb_changed(mariadb):
    """Inserts, updates and deletes in order leave what SELECT gave in the end, and each finds the row it changes."""
    log, expected = mariadb
    wrong = {}
    for table, one in expected["tables"].items():
        found: dict = {}
        for change in log.of(table):
            if change.before is not None:
                assert found.pop(change.before[0]) == change.before[1]
            if change.after is not None:
                found[change.after[0]] = change.after[1]
        if different := differences(one["kind"], found, dict(one["final_rows"])):
            wrong[table] = different

    assert wrong == {}


def test_doubles_are_the_servers_own_text(mariadb):
    """Where a DOUBLE declares no digits, it is written letter by letter as SELECT gave it."""
    log, expected = mariadb
    wanted = dict(expected["tables"]["double_"]["rows_after_inserts"])
    inserted = [change.after for change in log.of("double_") if change.operation == rows.INSERT]
    found = {key: None if value is None else double(value) for key, value in inserted}

    assert found == {key: None if value is None else value["text"].encode() for key, value in wanted.items()}


def rebuilt(log, table) -> list[dict]:
    """The rows of a table in the end, found again by all their values, as tables without a key need it."""
    names = [column.name for column in log.tables[table].columns]
    found: list[tuple] = []
    for change in log.of(table):
        if change.before is not None:
            found.remove(change.before)
        if change.after is not None:
            found.append(change.after)
    return [dict(zip(names, row, strict=True)) for row in found]


@pytest.mark.parametrize("table", ["gen", "nopk", "cpk", "we``ird.näme", "wide300", "oddr", "mix"])
def test_special_tables_of_mariadb(mariadb, table):
    """Generated and invisible columns, no key, a key of prefixes, odd names, 300 columns, other engines."""
    log, expected = mariadb

    found = rebuilt(log, "mya" if table == "mix" else table)

    wanted = expected["special"][table]["final"]
    for row in wanted:
        row.update({name: value.encode() for name, value in row.items() if isinstance(value, str)})
    assert sorted(found, key=repr) == sorted(wanted, key=repr)


def test_long_values_of_mariadb(mariadb):
    """Values of a megabyte and of one byte, by length and hash."""
    log, expected = mariadb

    found = []
    for row in sorted(rebuilt(log, "big"), key=lambda row: row["id"]):
        plain = None if row["w"] is None else base64.b64decode(row["w"])
        hashes = [None if data is None else hashlib.md5(data).hexdigest() for data in (row["v"], plain)]
        lengths = [None if data is None else len(data) for data in (row["v"], plain)]
        found.append({"id": row["id"], "lv": lengths[0], "mv": hashes[0], "lw": lengths[1], "mw": hashes[1]})

    assert found == expected["special"]["big"]["final"]


def test_full_metadata_of_mariadb(mariadb):
    """Names, keys and invisible columns' names as created."""
    log, _ = mariadb

    assert [(c.name, c.key, c.unsigned) for c in log.tables["cpk"].columns] == [
        ("x", True, None),
        ("n", False, False),
        ("y", True, True),
        ("v", False, None),
    ]
    assert [c.key for c in log.tables["nopk"].columns] == [False, False]
    assert log.tables["enum_l1"].columns[1].labels == ("ä".encode(), "ö".encode(), b"")
