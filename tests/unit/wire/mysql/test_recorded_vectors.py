"""Values and table maps recorded by others, with what they are."""

from __future__ import annotations

import json

import pytest
from recorded_log import FOLDER

from fuagent.wire.mysql import decimals, images, tablemap
from fuagent.wire.mysql.tablemap import ImageColumn

VECTORS = json.loads((FOLDER / "vectors" / "go-mysql.json").read_text())


def read(column, data):
    """The piece of a value, alone in its image."""
    image = b"\xfe" + data
    ((piece,),) = images.compile_reader([column], b"\x01")(image, 0, len(image))
    return piece


@pytest.mark.parametrize("one", VECTORS["decimal"], ids=lambda one: f"{one['expected']}-{one['precision']}")
def test_decimals(one):
    """Text and width of each."""
    width = decimals.width(one["precision"], one["scale"])
    column = ImageColumn(tablemap.NEWDECIMAL, one["precision"] << 8 | one["scale"])

    assert width == one["bytes_used"]
    assert read(column, bytes.fromhex(one["hex"])[:width]) == one["expected"].encode()


@pytest.mark.parametrize("one", VECTORS["datetime2"], ids=lambda one: one["expected"])
def test_datetimes(one):
    """A zero in a date keeps the server's own form, zeros alone are no date."""
    expected = one["expected"]
    if expected == "0000-00-00 00:00:00":
        wanted = None
    else:
        wanted = (expected if "-00" in expected else expected.replace(" ", "T")).encode()

    assert read(ImageColumn(tablemap.DATETIME2, one["fsp"]), bytes.fromhex(one["hex"])) == wanted


@pytest.mark.parametrize("one", VECTORS["time2"], ids=lambda one: one["expected"])
def test_times(one):
    """Below zero and up to 838 hours."""
    assert read(ImageColumn(tablemap.TIME2, one["fsp"]), bytes.fromhex(one["hex"])) == one["expected"].encode()


def columns(one):
    return tablemap.read(bytes.fromhex(one["hex"]), mariadb=one["server"].startswith("mariadb")).columns


NAMED = VECTORS["table_map_names"]


@pytest.mark.parametrize("one", NAMED["cases"], ids=lambda one: one["server"])
def test_a_table_of_all_types(one):
    """Names, labels, signs and character sets, in which the two servers count differently."""
    found = {column.name: column for column in columns(one)}

    assert list(found) == NAMED["column_names"]
    assert found["e_enum"].labels == tuple(label.encode() for label in NAMED["enum_values"])
    assert found["s_set"].labels == tuple(label.encode() for label in NAMED["set_values"])
    signs = {name: column.unsigned for name, column in found.items() if name.startswith("n")}
    assert signs == {name: name.startswith("nu_") for name in signs}
    binary = {name for name, column in found.items() if column.collation == tablemap.BINARY}
    blobs = {"c_binary", "c_varbinary", "c_tinyblob", "c_blob", "c_mediumblob", "c_longblob"}
    assert binary - {"g_geometry"} == blobs
    assert {column.collation for name, column in found.items() if name.startswith("c_")} == {63, 224}


@pytest.mark.parametrize("one", VECTORS["table_map_primary_key"], ids=lambda one: one["server"])
def test_keys(one):
    """Which columns belong to the primary key, with prefixes or without."""
    keys = [place for place, column in enumerate(columns(one)) if column.key]

    assert keys == sorted(one["primary_key"] or [])
    assert (columns(one)[0].key is None) == (one["primary_key"] is None)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("mysql 8.0, case1", [place in {1, 3, 4, 8} for place in range(11)]),
        ("mysql 5.7, case2", [None] * 11),
        ("mysql 8.0, case2", [True] * 11),
        ("mariadb 10.4, case2", [None] * 11),
        ("mariadb 10.5, case2", [None] * 11),
    ],
)
def test_visibility(server, expected):
    """Only newer MySQL servers tell."""
    (one,) = [one for one in VECTORS["table_map_visibility"] if one["server"] == server]

    assert [column.visible for column in columns(one)] == expected
