"""The writers of a soak: a process of its own that commits at a set rate and knows for certain what it committed.

    python tests/soak/soak_writers.py mariadb PORT --rate 1000 --writers 4 --seed 1

Lines on its input are orders: ``go``, then ``stop``; the end of its input ends it. It prints one line of JSON
a few times a second, with the number of the last transaction each writer committed, and after ``stop`` one more, with the
version of each key.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run by path, without pytest's settings

from soak_dialects import DIALECTS, ConflictError, Dialect, LostError, Session
from soak_table import FIXED, OWN, SHARED, mixed

TELL_EVERY = 0.2
"""Seconds between two lines."""
KEPT = 800
"""About how many rows a writer keeps."""
BACKLOG = 1.0
"""Seconds of work that is made up for after an outage; the rest is left out, or the load would double after it."""
COLUMNS = ", ".join(FIXED)
EXTRA = "SELECT column_name FROM information_schema.columns WHERE table_name = 'w' AND column_name LIKE 'x%'"
TEXTS = ("plain", 'quo"te, new\nline', "it''s", "Zoë 🦉", "\x01\x7f", "")


class Draft:
    """One transaction while it is put together: its statements, how many rows each touches, what it leaves."""

    def __init__(self, writer: Writer, tx: int) -> None:
        self.writer = writer
        self.tx = tx
        self.statements: list[str] = []
        self.touches: list[int] = []
        self.newest: dict[int, int] = {}
        self.there: dict[int, bool] = {}
        self.seq = 0

    def insert(self, keys: list[int]) -> None:
        """New rows by one statement."""
        crc, values = self._values()
        rows = [
            f"({key}, {ver}, {values[0]}, {key * 31 + ver * 17 + crc}, {values[1]})" for key, ver in self._take(keys)
        ]
        self._add(f"INSERT INTO w ({COLUMNS}) VALUES {', '.join(rows)}", len(keys))

    def update(self, keys: list[int]) -> None:
        """Rows in their next version, by one statement; also those that others update, too."""
        self._take([key for key in keys if key not in SHARED])
        self._add(self._set(f"WHERE id IN ({', '.join(map(str, keys))})"), len(keys))

    def move(self, old: int, new: int) -> None:
        """Another key for a row."""
        crc, (numbers, val) = self._values()
        self._gone(old)
        [(_, ver)] = self._take([new])
        writer, tx, seq, born = numbers.split(", ")
        sets = f"id = {new}, ver = {ver}, writer = {writer}, tx = {tx}, seq = {seq}, born = {born}, val = {val}"
        self._add(f"UPDATE w SET {sets}, chk = {new * 31 + ver * 17 + crc} WHERE id = {old}", 1)

    def delete(self, keys: list[int]) -> None:
        """Rows gone."""
        for key in keys:
            self._gone(key)
        self._add(f"DELETE FROM w WHERE id IN ({', '.join(map(str, keys))})", len(keys))

    def undone(self) -> None:
        """Something that a savepoint takes back."""
        key = next(iter(self.writer.held))
        lost = [f"UPDATE w SET ver = ver + 1000 WHERE id = {key}", f"DELETE FROM w WHERE id = {key}"]
        self.statements += ["SAVEPOINT s", *lost, "ROLLBACK TO SAVEPOINT s"]
        self.touches += [0, 1, 1, 0]

    def _take(self, keys: list[int]) -> list[tuple[int, int]]:
        """The next version of each, as the row's own."""
        taken = []
        for key in keys:
            version = self.newest.get(key, self.writer.newest.get(key, 0)) + 1
            self.newest[key], self.there[key] = version, True
            taken.append((key, version))
        return taken

    def _gone(self, key: int) -> None:
        self._take([key])
        self.there[key] = False

    def _values(self) -> tuple[int, tuple[str, str]]:
        """The checksum's part, and what stands before and behind the checksum in `FIXED`, as literals."""
        self.seq += 1
        text = self.writer.text()
        numbers = (self.writer.number, self.tx, self.seq, time.time_ns() // 1_000_000)
        crc = mixed(f"{':'.join(map(str, numbers))}:{text.replace(chr(39) * 2, chr(39))}")
        return crc, (", ".join(map(str, numbers)), f"'{text}'")

    def _set(self, where: str) -> str:
        # The checksum goes first: where assignments are made one after the other, ver is still the old one then.
        crc, (numbers, val) = self._values()
        writer, tx, seq, born = numbers.split(", ")
        sets = f"chk = id * 31 + (ver + 1) * 17 + {crc}, ver = ver + 1, writer = {writer}, tx = {tx}"
        return f"UPDATE w SET {sets}, seq = {seq}, born = {born}, val = {val} {where}"

    def _add(self, statement: str, touches: int) -> None:
        self.statements.append(statement)
        self.touches.append(touches)


class Writer:
    """One session with keys of its own. Its random choices follow from the seed alone."""

    def __init__(self, number: int, dialect: Dialect, rate: float, seed: int) -> None:
        self.number = number
        self.dialect = dialect
        self.newest: dict[int, int] = {}
        """The last version each key used up; a delete uses one up, too."""
        self.held: dict[int, None] = {}
        self.tx = 0
        self.counts: Counter[str] = Counter()
        self._rate = rate
        self._chance = random.Random(seed * 1000 + number)
        self._next = number * OWN
        self._gone: list[int] = []
        self._session: Session | None = None

    def prepare(self) -> None:
        """Write the first rows."""
        self._commit(lambda draft: draft.insert(self._fresh(KEPT)))

    def run(self, stopping: threading.Event) -> None:
        """Write until told to stop, at this writer's share of the rate."""
        due = time.monotonic()
        while not stopping.is_set():
            self._step()
            due = max(due + 1 / self._rate, time.monotonic() - BACKLOG)
            if (pause := due - time.monotonic()) > 0:
                stopping.wait(pause)
        if self._session is not None:
            self._session.close()

    def text(self) -> str:
        """A value, mostly small, as it stands in a literal."""
        if self._chance.random() < 0.004:
            return self._chance.randbytes(self._chance.randrange(1000, 8000)).hex()
        return f"{self._chance.randrange(10**6)} {self._chance.choice(TEXTS)}"

    def _fresh(self, count: int) -> list[int]:
        """Keys for new rows: some were there before."""
        found = []
        for _ in range(count):
            if len(self._gone) > 50 and self._chance.random() < 0.8:
                self._gone[0], self._gone[-1] = self._gone[-1], self._gone[0]
                found.append(self._gone.pop())
            else:
                self._next += 1
                found.append(self._next)
        return found

    def _held(self, count: int) -> list[int]:
        """Some of the rows there, other ones each time."""
        keys = []
        for _ in range(count):
            key = next(iter(self.held))
            del self.held[key]  # to the end, so that each has its turn
            self.held[key] = None
            keys.append(key)
        return keys

    def _step(self) -> None:
        kind = self._chance.random()
        if kind < 0.02:
            self._roll_back()
        elif kind < 0.022:
            self._commit(self._hundreds)
        elif kind < 0.03:
            self._commit(self._one_again_and_again)
        elif kind < 0.04:
            self._commit(self._with_savepoint)
        elif kind < 0.09:
            self._commit(lambda draft: draft.update([self._chance.choice(SHARED)]))
        else:
            self._commit(self._one)

    def _one(self, draft: Draft) -> None:
        kind = self._chance.random()
        if kind < 0.08:
            draft.delete(self._held(1))
            draft.insert(self._fresh(1))
        elif kind < 0.12:
            draft.move(self._held(1)[0], self._fresh(1)[0])
        elif kind < 0.2 and len(self.held) < 2 * KEPT:
            draft.insert(self._fresh(1))
        else:
            draft.update(self._held(1))

    def _hundreds(self, draft: Draft) -> None:
        draft.update(sorted(self._held(100)))
        draft.insert(self._fresh(self._chance.randrange(50, 250)))
        if (over := len(self.held) - KEPT) > 0:
            draft.delete(self._held(over))

    def _one_again_and_again(self, draft: Draft) -> None:
        [key] = self._fresh(1)
        draft.insert([key])
        for _ in range(self._chance.randrange(3, 12)):
            draft.update([key])
        if self._chance.random() < 0.5:
            draft.delete([key])

    def _with_savepoint(self, draft: Draft) -> None:
        draft.update(self._held(1))
        draft.undone()
        draft.update(self._held(1))

    # What is certain

    def _roll_back(self) -> None:
        draft = Draft(self, self.tx + 1)
        draft.update(self._held(1))
        try:
            self._connected().run([self.dialect.begin, *draft.statements, "ROLLBACK"])
        except (LostError, ConflictError) as error:
            self._failed(error)
        self.counts["rolled back"] += 1

    def _commit(self, fill: Any) -> None:
        """One transaction; where the connection is lost on the way, the database says what became of it.

        A session that the server still works for holds the writer's row of ``w_log``, so that asking waits for its end.
        """
        draft = Draft(self, self.tx + 1)
        fill(draft)
        entered = f"UPDATE w_log SET tx = {draft.tx} WHERE writer = {self.number}"
        try:
            touched = self._connected().run([self.dialect.begin, entered, *draft.statements, "COMMIT"])
        except (LostError, ConflictError) as error:
            self._failed(error)
            if isinstance(error, ConflictError) or not self._was_committed(draft.tx):
                self._forget(draft)
                return
        else:
            told = touched[2:-1]
            assert all(a == b for a, b in zip(told, draft.touches, strict=True) if b), (told, draft.statements)
        self._keep(draft)

    def _keep(self, draft: Draft) -> None:
        self.tx = draft.tx
        self.newest |= draft.newest
        for key, there in draft.there.items():
            if there:
                self.held.setdefault(key)
            else:
                self.held.pop(key, None)
                self._gone.append(key)
        self.counts["statements"] += len(draft.statements)

    def _forget(self, draft: Draft) -> None:
        """Keys that were to be new are free again."""
        self._gone += [key for key in draft.there if key not in self.held]

    def _connected(self) -> Session:
        if self._session is None:
            self._session = self.dialect.connect()
        return self._session

    def _failed(self, error: Exception) -> None:
        if isinstance(error, LostError):
            self._session = None
            self.counts["connections lost"] += 1
            time.sleep(0.05)
        else:
            self.counts["conflicts"] += 1

    def _was_committed(self, tx: int) -> bool:
        query = f"SELECT tx FROM w_log WHERE writer = {self.number}{self.dialect.locked}"
        while True:
            try:
                [(found,)] = self._connected().rows(query)
            except (LostError, ConflictError) as error:
                self._failed(error)
            else:
                assert found in {tx - 1, tx}, f"writer {self.number} entered {tx} and finds {found}"
                return bool(found == tx)


class Alterer:
    """Alters the table now and then, in columns that no writer knows of."""

    def __init__(self, dialect: Dialect, seed: int, every: float) -> None:
        self.altered = 0
        self.wanted = bool(dialect.alters)
        self._dialect = dialect
        self._chance = random.Random(seed)
        self._every = every

    def run(self, stopping: threading.Event) -> None:
        """Until told to stop. A lost connection is settled by looking."""
        while not stopping.wait(self._chance.uniform(0.5, 1.5) * self._every):
            try:
                session = self._dialect.connect()
                try:
                    session.run([self._statement([name for (name,) in session.rows(EXTRA)])])
                    self.altered += 1
                finally:
                    session.close()
            except (LostError, ConflictError):
                continue

    def _statement(self, extra: list[str]) -> str:
        fresh = f"x_{time.time_ns()}"
        kind = self._chance.choice(self._dialect.alters) if extra else "ADD"
        if kind == "ADD" and len(extra) < 4:
            return f"ALTER TABLE w ADD COLUMN {fresh} INT DEFAULT 7"
        chosen = self._chance.choice(extra)
        return (
            f"ALTER TABLE w DROP COLUMN {chosen}"
            if kind == "DROP"
            else f"ALTER TABLE w RENAME COLUMN {chosen} TO {fresh}"
        )


def told(writers: list[Writer], alterer: Alterer) -> dict[str, Any]:
    """One line: what was done so far."""
    counts: Counter[str] = Counter()
    for writer in writers:
        counts.update(writer.counts)
    return {"tx": {writer.number: writer.tx for writer in writers}, "altered": alterer.altered, **counts}


def say(line: dict[str, Any]) -> None:
    """Print it as JSON."""
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()


def work(writers: list[Writer], alterer: Alterer) -> None:
    """Write from ``go`` to ``stop``; whatever goes wrong in a thread is raised here."""
    stopping = threading.Event()
    failed: list[BaseException] = []

    def run(one: Writer | Alterer) -> None:
        try:
            one.run(stopping)
        except BaseException as error:  # raised again below
            failed.append(error)
            stopping.set()

    def wait_for_stop() -> None:
        sys.stdin.readline()
        stopping.set()

    working = (*writers, alterer) if alterer.wanted else writers
    threads = [threading.Thread(target=run, args=(one,)) for one in working]
    threading.Thread(target=wait_for_stop, daemon=True).start()
    for thread in threads:
        thread.start()
    while not stopping.wait(TELL_EVERY):
        say(told(writers, alterer))
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def main() -> None:
    """Make the rows, say so, and write when told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=DIALECTS)
    parser.add_argument("place")
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ddl", type=float, default=20.0, metavar="SECONDS")
    options = parser.parse_args()
    dialect = DIALECTS[options.kind](options.place)
    share = options.rate / options.writers
    writers = [Writer(number, dialect, share, options.seed) for number in range(1, options.writers + 1)]
    alterer = Alterer(dialect, options.seed, options.ddl)
    for writer in writers:
        writer.prepare()
    say(told(writers, alterer))
    if sys.stdin.readline().strip() == "go":
        work(writers, alterer)
    held = {key: writer.newest[key] for writer in writers for key in writer.held}
    say({**told(writers, alterer), "held": held})


if __name__ == "__main__":
    main()
