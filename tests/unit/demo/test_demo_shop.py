"""The demonstration's shop: the same by the same seed, and alive in every way the agent has to follow."""

import sqlite3
from contextlib import closing

import pytest

from fuagent.demo.shop import TABLES, Shop

LOG = "".join(
    f"CREATE TRIGGER {table}_{operation} AFTER {operation} ON {table} BEGIN "
    f"INSERT INTO seen VALUES ('{operation}', '{table}', {before}, {after}); END;"
    for table in TABLES
    for operation, before, after in (
        ("INSERT", "NULL", "new.id"),
        ("UPDATE", "old.id", "new.id"),
        ("DELETE", "old.id", "NULL"),
    )
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "shop.db"


def content(path):
    with closing(sqlite3.connect(path)) as database:
        return {table: database.execute(f"SELECT * FROM {table} ORDER BY id").fetchall() for table in TABLES}


def test_the_same_seed_makes_the_same_shop(tmp_path):
    """Two shops of one seed are equal after the same changes, and one of another seed is not."""
    contents = []
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        shop = Shop(tmp_path / name, seed)
        shop.open(customers=5, orders=10)
        shop.change(60)
        contents.append(content(tmp_path / name))

    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_the_shop_opens_as_asked(path):
    """The shop starts with the number of customers and orders asked for, in WAL mode."""
    Shop(path).open(customers=7, orders=11)

    found = content(path)
    assert (len(found["customers"]), len(found["orders"])) == (7, 11)
    assert len(found["order_items"]) >= 11
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_every_kind_of_change_happens(path):
    """Inserts, updates, deletes, key changes and a key used again all come up, and no rollback is seen."""
    shop = Shop(path, seed=2)
    shop.open(customers=5, orders=10)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(f"CREATE TABLE seen (operation, tab, before, after); {LOG}")

    shop.change(200)

    with closing(sqlite3.connect(path)) as database:
        seen = database.execute("SELECT * FROM seen").fetchall()
    assert {(operation, table) for operation, table, _, _ in seen} >= {
        ("INSERT", "customers"),
        ("INSERT", "orders"),
        ("INSERT", "order_items"),
        ("UPDATE", "customers"),
        ("UPDATE", "orders"),
        ("UPDATE", "order_items"),
        ("DELETE", "customers"),
        ("DELETE", "orders"),
        ("DELETE", "order_items"),
    }
    assert any(before != after for operation, _, before, after in seen if operation == "UPDATE")
    deleted = {(table, before) for operation, table, before, _ in seen if operation == "DELETE"}
    assert deleted & {(table, after) for operation, table, _, after in seen if operation == "INSERT"}
    assert not [row for row in content(path)["orders"] if row[2] == "never seen"]


def test_the_shop_keeps_its_books(path):
    """Every item has its order, every order its customer, after any number of changes."""
    shop = Shop(path, seed=5)
    shop.open(customers=3, orders=4)
    shop.change(150)

    found = content(path)
    customers, orders = {row[0] for row in found["customers"]}, {row[0] for row in found["orders"]}
    assert {row[1] for row in found["orders"]} <= customers
    assert {row[1] for row in found["order_items"]} <= orders


def test_the_last_order_is_never_cancelled(path):
    """The shop does not change itself empty."""
    shop = Shop(path, seed=1)
    shop.open(customers=1, orders=1)
    shop.change(120)

    assert content(path)["orders"]
