"""Tables: which a sync selects, what they are called, and their keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mysql_links import address, as_root, layouts_of

from fuagent.errors import HaltSyncError
from fuagent.sources.mysql.tables import layouts, listing
from fuagent.sources.selection import Listing, Name, select

TABLES = ("customers", "Orders", "orders", "order_items", "a.b")
FOUND = Listing(
    "shop",
    (*(Name("shop", table) for table in TABLES), Name("crm", "people"), Name("crm", "orders")),
    {Name("shop", "totals"): "a view"},
)


@pytest.mark.parametrize(
    ("wanted", "exclude", "expected"),
    [
        (["customers"], [], ["customers"]),
        (["CUSTOMERS"], [], ["customers"]),
        (["orders"], [], ["orders"]),
        (["ORDERS"], [], ["Orders", "orders"]),
        (["order*"], [], ["Orders", "orders", "order_items"]),
        (["*"], ["order?"], ["customers", "order_items", "a.b"]),
        (["crm.people"], [], ["crm.people"]),
        (["crm.*"], ["crm.orders"], ["crm.people"]),
        (["*.orders"], [], ["Orders", "orders", "crm.orders"]),
        (["shop.customers", "customers"], [], ["customers"]),
        (["a.b"], [], ["a.b"]),
        (["c*"], ["nothing", "x*"], ["customers"]),
        (["[co]*s"], ["orders"], ["customers", "Orders", "order_items"]),
    ],
)
def test_names_and_patterns_select(wanted, exclude, expected):
    """In the order asked for, each once; the exact spelling goes before others."""
    assert [FOUND.label(name) for name in select(FOUND, wanted, exclude)] == expected


@pytest.mark.parametrize(
    ("wanted", "exclude", "text"),
    [
        (["custmers"], [], 'no table "custmers".*did you mean customers'),
        (["nothing"], [], "there are: customers, orders"),
        (["x*"], [], 'no table matches "x\\*"'),
        (["totals"], [], "totals is a view"),
        (["people"], [], 'no table "people".*crm.people'),
        (["customers"], ["*"], "exclude takes away every table"),
    ],
)
def test_what_selects_nothing_is_said(wanted, exclude, text):
    """With what was probably meant."""
    with pytest.raises(HaltSyncError, match=text):
        select(FOUND, wanted, exclude)


@given(st.text(max_size=20))
def test_any_name_selects_or_is_said(entry):
    """Whatever stands in the configuration."""
    try:
        chosen = select(FOUND, [entry], [])
    except HaltSyncError as error:
        assert error.fix
    else:
        assert set(chosen) <= set(FOUND.tables)


async def test_a_server_s_tables_are_found(opened, database):
    """Base tables of the databases that are meant; views are told apart; hostile names are names."""
    root = await opened(as_root(database))
    weird = "o'r\"d`er; -- 😀"[:-2]
    await root.rows(f"CREATE TABLE `{weird.replace('`', '``')}` (id INT PRIMARY KEY)")
    await root.rows("CREATE TABLE plain (id INT PRIMARY KEY)")
    await root.rows("CREATE VIEW seen AS SELECT 1 AS one")
    other = f"{database.name}_b"
    await root.rows(f"CREATE DATABASE {other}")
    try:
        await root.rows(f"CREATE TABLE {other}.plain (id INT PRIMARY KEY)")
        link = await opened(address(database))
        found = await listing(link, database.name, ["*", f"{other}.*"])
        chosen = select(found, ["*", f"{other}.*"], [])
        tables = [one.table for one in await layouts(link, chosen, database.name)]
    finally:
        await root.rows(f"DROP DATABASE {other}")

    assert [found.label(name) for name in found.tables] == [weird, "plain", f"{other}.plain"]
    assert found.others == {Name(database.name, "seen"): "a view"}
    assert [table.label for table in tables] == [weird, "plain", f"{other}.plain"]
    assert [table.schema for table in tables] == ["", "", other]


async def test_a_database_that_is_not_there_is_said(opened, database):
    """With the spelling that is."""
    link = await opened(address(database))
    with pytest.raises(HaltSyncError, match="letter case counts"):
        await listing(link, database.name.upper(), ["*"])
    with pytest.raises(HaltSyncError, match="no database nowhere"):
        await listing(link, "nowhere", ["*"])


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ("a INT, b INT, PRIMARY KEY (b, a), UNIQUE (a)", ("b", "a")),
        ("a INT NOT NULL, b INT, UNIQUE u2 (a), UNIQUE u1 (b)", ("a",)),
        ("a INT NOT NULL, b INT NOT NULL, UNIQUE z (a), UNIQUE y (b, a)", ("b", "a")),
        ("a VARCHAR(99) NOT NULL, UNIQUE (a(5))", ()),
        ("a INT, UNIQUE (a)", ()),
        ("a INT NOT NULL, KEY (a)", ()),
    ],
)
async def test_a_key_is_found(opened, database, body, key):
    """The primary one; else a unique one of whole columns that are never NULL."""
    await (await opened(as_root(database))).rows(f"CREATE TABLE t ({body})")
    [layout] = await layouts_of(await opened(address(database)), database.name, "t")

    assert layout.table.key == key


async def test_a_layout_tells_alterations(opened, database):
    """Rows and engines are facts beside it; columns, types, labels and keys are what it is."""
    root = await opened(as_root(database))
    await root.rows("CREATE TABLE t (id INT PRIMARY KEY, e ENUM('a'))")
    link = await opened(address(database))
    [first] = await layouts_of(link, database.name, "t")
    await root.rows("INSERT INTO t VALUES (1, 'a')")
    await root.rows("ALTER TABLE t ENGINE = MyISAM")
    [second] = await layouts_of(link, database.name, "t")
    await root.rows("ALTER TABLE t MODIFY e ENUM('a', 'b')")
    [third] = await layouts_of(link, database.name, "t")

    assert (first == second, second == third) == (True, False)
    assert (first.transactional, second.transactional) == (True, False)
    assert second.estimate == 1


async def test_a_table_that_is_gone_is_left_out(opened, database):
    """Between looking for it and looking at it."""
    await (await opened(as_root(database))).rows("CREATE TABLE t (id INT)")
    link = await opened(address(database))
    names = [Name(database.name, "gone"), Name(database.name, "t")]

    assert [one.table.name for one in await layouts(link, names, database.name)] == ["t"]
    assert await layouts(link, [], database.name) == []
