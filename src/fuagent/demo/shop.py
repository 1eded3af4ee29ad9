"""A small shop: the database at the source end, and the life in it.

The same seed makes the same shop and the same changes, whatever the clock says.
Each change is one transaction of the kind a real application makes: an order with
its items, a status, a cancellation, a customer who gets another number (a key
change over two tables), a row deleted and inserted again, a rollback that must
never be seen at the other end.
"""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

TABLES = ("customers", "orders", "order_items")

SCHEMA = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, city TEXT NOT NULL);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, status TEXT NOT NULL,
    total_cents INTEGER NOT NULL, placed_at TEXT NOT NULL, note TEXT
);
CREATE TABLE order_items (
    id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, product TEXT NOT NULL,
    quantity INTEGER NOT NULL, price REAL NOT NULL
);
CREATE INDEX items_of_order ON order_items (order_id);
CREATE INDEX orders_of_customer ON orders (customer_id);
"""

OPENED = datetime(2024, 1, 1, 8, tzinfo=UTC)
FIRST_NAMES = ("Ada", "Béla", "Chloé", "Dmitri", "Eun-ji", "Fatima", "Günther", "Hina 陽菜", "Íris", "João")
LAST_NAMES = ("O'Neill", "Nagy", "Müller", "Sato", "da Silva", "Åberg", "Kowalski", "Nguyễn", "Smith", "Öztürk")
CITIES = ("Lisboa", "Kraków", "Reykjavík", "大阪", "İzmir", "Nowhere \\ Falls", 'The "Hague"')
PRODUCTS = ("tea", "coffee", "mug", "kettle", "biscuits 🍪", "spoon", "sugar")
NOTES = (None, None, "ring twice", "leave with the neighbour\nplease", "50% off!", "")


class Shop:
    """The shop in the SQLite file ``path``."""

    def __init__(self, path: Path, seed: int = 1) -> None:
        self.path = path
        self._chance = random.Random(seed)
        self._number = 0

    def open(self, customers: int = 40, orders: int = 120) -> None:
        """Make the tables and fill them."""
        with closing(self._connect()) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.executescript(SCHEMA)
        with self._transaction() as database:
            for _ in range(customers):
                self._new_customer(database)
            for _ in range(orders):
                self._new_order(database)

    def change(self, transactions: int = 1) -> None:
        """Make this many transactions, each of a kind chosen by chance."""
        for _ in range(transactions):
            [kind] = self._chance.choices(list(self._KINDS), weights=list(self._KINDS.values()))
            with self._transaction() as database:
                kind(self, database)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=30, isolation_level=None)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connect()) as database, database:
            database.execute("BEGIN IMMEDIATE")
            yield database

    def _pick(self, database: sqlite3.Connection, table: str) -> int:
        """A row that exists; there always is one, because nothing removes the last ones."""
        low, high = database.execute(f"SELECT min(id), max(id) FROM {table}").fetchone()
        near = self._chance.randint(low, high)
        found = database.execute(f"SELECT id FROM {table} WHERE id >= ? ORDER BY id LIMIT 1", (near,)).fetchone()
        return int(found[0])

    def _new_customer(self, database: sqlite3.Connection) -> None:
        name = f"{self._chance.choice(FIRST_NAMES)} {self._chance.choice(LAST_NAMES)}"
        email = self._chance.choice((None, f"{self._chance.getrandbits(32):08x}@example.com"))
        row = (name, email, self._chance.choice(CITIES))
        database.execute("INSERT INTO customers (name, email, city) VALUES (?, ?, ?)", row)

    def _new_order(self, database: sqlite3.Connection) -> None:
        self._number += 1
        placed_at = (OPENED + timedelta(minutes=7 * self._number)).isoformat()
        row = (self._pick(database, "customers"), placed_at, self._chance.choice(NOTES))
        order = database.execute(
            "INSERT INTO orders (customer_id, status, total_cents, placed_at, note) VALUES (?, 'new', 0, ?, ?)", row
        ).lastrowid
        for _ in range(self._chance.randint(1, 4)):
            item = (
                order,
                self._chance.choice(PRODUCTS),
                self._chance.randint(1, 5),
                self._chance.randint(99, 4999) / 100,
            )
            database.execute("INSERT INTO order_items (order_id, product, quantity, price) VALUES (?, ?, ?, ?)", item)
            # Once per item, as an application with a running total does: the same row changes several times.
            database.execute(
                "UPDATE orders SET total_cents = total_cents + ? WHERE id = ?", (round(item[2] * item[3] * 100), order)
            )

    def _move_status(self, database: sqlite3.Connection) -> None:
        status = self._chance.choice(("paid", "packed", "shipped", "returned"))
        database.execute("UPDATE orders SET status = ? WHERE id = ?", (status, self._pick(database, "orders")))

    def _cancel_order(self, database: sqlite3.Connection) -> None:
        order = self._pick(database, "orders")
        if database.execute("SELECT count(*) FROM orders").fetchone()[0] > 1:
            database.execute("DELETE FROM order_items WHERE order_id = ?", (order,))
            database.execute("DELETE FROM orders WHERE id = ?", (order,))

    def _renumber_customer(self, database: sqlite3.Connection) -> None:
        old = self._pick(database, "customers")
        new = database.execute("SELECT max(id) + 1 FROM customers").fetchone()[0]
        database.execute("UPDATE customers SET id = ? WHERE id = ?", (new, old))
        database.execute("UPDATE orders SET customer_id = ? WHERE customer_id = ?", (new, old))

    def _replace_customer(self, database: sqlite3.Connection) -> None:
        row = database.execute("SELECT * FROM customers WHERE id = ?", (self._pick(database, "customers"),)).fetchone()
        database.execute("DELETE FROM customers WHERE id = ?", row[:1])
        database.execute("INSERT INTO customers VALUES (?, ?, ?, ?)", (*row[:3], self._chance.choice(CITIES)))

    def _raise_prices(self, database: sqlite3.Connection) -> None:
        product = self._chance.choice(PRODUCTS)
        database.execute("UPDATE order_items SET price = round(price * 1.05, 2) WHERE product = ?", (product,))

    def _change_of_mind(self, database: sqlite3.Connection) -> None:
        database.execute("UPDATE orders SET status = 'never seen'")
        database.execute("DELETE FROM order_items")
        database.execute("ROLLBACK")

    _KINDS: ClassVar[dict[Callable[["Shop", sqlite3.Connection], None], int]] = {
        _new_order: 8,
        _move_status: 8,
        _new_customer: 3,
        _cancel_order: 3,
        _renumber_customer: 2,
        _replace_customer: 2,
        _raise_prices: 1,
        _change_of_mind: 1,
    }
    """How often each kind of change comes, against the others."""
