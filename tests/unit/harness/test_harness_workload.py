"""The random writer knows what it committed, and the judge finds what a service got wrong."""

import copy
import json
from types import SimpleNamespace

import psycopg
import pymysql
import pytest

from harness import convergence
from harness.service import Service
from harness.workload import Change, Workload
from harness.workload_mariadb import MariaDBDialect
from harness.workload_postgres import PostgresDialect
from harness.workload_table import check, lump

DIALECTS = {"mariadb": MariaDBDialect(), "full": PostgresDialect("FULL"), "default": PostgresDialect("DEFAULT")}


@pytest.fixture(params=DIALECTS)
def spoken(request):
    """A database and what its server speaks."""
    fixture = "database" if request.param == "mariadb" else "postgres_database"
    return request.getfixturevalue(fixture), DIALECTS[request.param]


@pytest.fixture(params=["mariadb", "full"])
def private(request):
    """A server of its own, and what it speaks."""
    fixture = "private_mariadb" if request.param == "mariadb" else "private_postgres"
    return request.getfixturevalue(fixture)(), DIALECTS[request.param]


def table(workload):
    """What the table really holds, by the row's own words."""
    return dict(workload.database.execute("SELECT id, ver FROM w"))


def delivered(workload):
    """A service that got every row of the table in a snapshot, and every later change in order."""
    service = Service()
    *others, last = convergence.rows(workload).values()
    send(service, [*others, {**last, "index": 1}], snapshot_end=True)
    return service


def send(service, events, *, snapshot_end=False):
    body = {"events": events, "is_snapshot_end": snapshot_end}
    post = SimpleNamespace(json=json.loads(json.dumps(body)), applied=False)
    service.posts.append(post)
    service.apply(post)


@pytest.mark.parametrize("seed", range(3))
def test_the_table_holds_what_the_writer_says(spoken, seed):
    """After many transactions of every kind, each row is there in the version it should have, and whole."""
    workload = Workload(*spoken, seed, rows=50)
    workload.run(150)

    assert table(workload) == workload.state.rows
    assert workload.rolled_back > 3
    assert workload.schemas > 0
    assert len(workload.ledger) + workload.rolled_back + workload.schemas == 151
    rows = workload.database.rows("w")
    assert [check(row["id"], row["ver"], row["tx"], row["val"]) for row in rows] == [row["chk"] for row in rows]
    assert [name for name in rows[0] if name.startswith("x_")] == sorted(workload.extra, key=list(rows[0]).index)


def test_the_seed_says_what_is_done(mariadb):
    """Two writers of one seed do the same, one of another seed something else."""
    ledgers = []
    for name, seed in (("shop_one", 7), ("shop_two", 7), ("shop_three", 8)):
        database = mariadb.database(name)
        workload = Workload(database, DIALECTS["mariadb"], seed, rows=20)
        workload.run(40)
        ledgers.append(workload.ledger)
        mariadb.execute(f"DROP DATABASE {name}")

    assert ledgers[0] == ledgers[1] != ledgers[2]


def test_versions_never_go_back(spoken):
    """Also where rows are deleted and come again, and where keys change, a key's versions rise."""
    workload = Workload(*spoken, 1, rows=10, ddl=False)
    workload.run(200)
    newest: dict[int, int] = {}
    for committed in workload.ledger:
        for key, version, _ in committed.changes:
            assert version is None or version > newest.get(key, 0)
            newest[key] = version or newest[key]

    assert any(change.version is None for committed in workload.ledger for change in committed.changes)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_it_survives_its_server(private, end):
    """However often the server ends and comes again, the ledger is what the table holds."""
    server, dialect = private
    workload = Workload(server.database(), dialect, 3, rows=100)
    workload.start()
    try:
        for _ in range(4):
            workload.wait_for(20)
            getattr(server, end)()
            server.start()
    finally:
        workload.stop()

    assert workload.reconnects >= 4
    assert table(workload) == workload.state.rows
    committed = {tx for (tx,) in server.execute("SELECT tx FROM w_log WHERE note = 'done'")}
    assert committed - {one.tx for one in workload.ledger} == set()


def test_what_fails_in_the_thread_is_raised(spoken):
    """A writer that cannot go on says so when it is stopped."""
    workload = Workload(*spoken, 1, rows=5)
    workload.database.execute("DROP TABLE w_log")
    workload.start()
    with pytest.raises((pymysql.err.ProgrammingError, psycopg.errors.UndefinedTable), match="w_log"):
        workload.wait_for(1)
    with pytest.raises((pymysql.err.ProgrammingError, psycopg.errors.UndefinedTable), match="w_log"):
        workload.stop()


@pytest.fixture
def workload(spoken):
    made = Workload(*spoken, 5, rows=30)
    made.run(60)
    return made


def test_a_service_with_all_of_it_has_converged(workload):
    """Values of every type of the zoo are compared as a service gets them."""
    service = delivered(workload)

    assert convergence.has_converged(service, workload)
    convergence.assert_converged(service, workload)


WRONG = {
    "a row is missing": (lambda rows, key: rows.pop(key), "is missing"),
    "a row is too many": (lambda rows, key: rows.update({-1: rows[key]}), "should be gone"),
    "a text is wrong": (lambda rows, key: rows[key].update(val="other"), "val is 'other'"),
    "a decimal is a number": (lambda rows, key: rows[key].update(z_dec=1.5), "z_dec is 1.5"),
    "a column is absent": (lambda rows, key: rows[key].pop("z_bin"), "z_bin is 'absent'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_differs_is_found(workload, name):
    """Rows too few, too many, and wrong in one value are named."""
    service = delivered(workload)
    bend, told = WRONG[name]
    bend(service.rows, next(iter(service.rows)))

    assert not convergence.has_converged(service, workload)
    with pytest.raises(AssertionError, match=told):
        convergence.assert_converged(service, workload)


def test_columns_that_came_are_owed_to_rows_written_since(workload):
    """A row written after the last DDL has every column; one written before owes the fixed ones only."""
    while not workload.extra or len(set(workload.state.schema.values())) < 2:
        workload.run(1)
    service = delivered(workload)
    new = next(key for key, schema in workload.state.schema.items() if schema == workload.schemas)
    old = next(key for key, schema in workload.state.schema.items() if schema != workload.schemas)
    [column, *_] = workload.extra
    del service.rows[old][column]
    assert convergence.differences(service, workload) == []

    del service.rows[new][column]
    assert len(convergence.differences(service, workload)) == 1


def row(key, ver, index=None, **more):
    found = {
        "id": key,
        "ver": ver,
        "tx": 1,
        "val": "v",
        "chk": check(key, ver, 1, "v"),
        "lump_no": 0,
        "lump": "",
    } | more
    return found if index is None else {**found, "index": index}


@pytest.mark.parametrize(
    ("batches", "told"),
    [
        ([[row(1, 1)], [row(1, 1)], [row(1, 2, 10), row(2, 1, 11)], [row(1, 2, 10), row(1, 3, 12)]], []),
        ([[row(1, 2, 10)], [row(1, 3, 10)]], ["index 10 had two contents"]),
        ([[row(1, 2, 10)], [row(2, 3, 9)]], ["index 9 was new after 10"]),
        ([[row(1, 2, 10)], [row(1, 1, 11)]], ["row 1 went back from version 2 to 1"]),
        ([[row(1, 2, 10, chk=5)]], ["row 1 version 2 is not what was written"]),
        ([[row(1, 2, 10, lump_no=4, lump=lump(4))]], []),
        ([[row(1, 2, 10, lump_no=4, lump=lump(3))]], ["row 1 version 2 is not what was written"]),
        ([[row(1, 2, 10, lump_no=4, lump=None)]], ["row 1 version 2 is not what was written"]),
        ([[row(1, 2)], [row(1, 3, 10)], [row(1, 2)]], []),  # a snapshot's row sent once more
        ([[row(1, 3, 10)], [{"id": 1, "_deleted": True, "index": 11}]], []),
    ],
)
def test_disorder_is_found(batches, told):
    """An index of two contents, one that goes back, a version that does, a row that is not whole."""
    service = Service()
    for events in batches:
        send(service, events)

    assert convergence.disorder(service) == told


PARTIAL = SimpleNamespace(ledger=[SimpleNamespace(tx=1, changes=(Change(1, 2, partial=True), Change(1, 3)))])


@pytest.mark.parametrize(
    ("batches", "told"),
    [
        ([[row(1, 3, 10)], [row(1, 2, 11)]], []),
        ([[row(1, 2, 10)], [row(1, 3, 10)]], []),
        ([[row(2, 3, 11)], [row(1, 3, 10)]], []),
        ([[row(1, 3, 10)], [row(1, 1, 10)]], ["index 10 had two contents"]),
        ([[row(1, 2, 10, lump=None)]], ["row 1 version 2 is not what was written"]),
    ],
)
def test_what_was_completed_by_a_later_row_is_no_disorder(batches, told):
    """Such an event may be another one at every reading, but never of a version before it, and it is whole."""
    service = Service()
    for events in batches:
        send(service, events)

    assert convergence.disorder(service, PARTIAL) == told


def changes(text):
    """``1 2p gone`` as changes of one key."""
    return [Change(1, None if one == "gone" else int(one.strip("p")), one.endswith("p")) for one in text.split()]


@pytest.mark.parametrize(
    ("owed", "got", "expected"),
    [
        ("1 2 gone 3", "1 2 gone 3", True),
        ("1 2 gone 3", "1 gone 3", False),
        ("1 2 gone 3", "1 2 3", False),
        ("1 2", "1 2 2", False),
        ("1 2", "2 1", False),
        ("1 2 3", "1 2", False),
        ("", "1", False),
        ("1 2p 3", "1 2 3", True),
        ("1 2p 3", "1 3 3", True),
        ("1 2p 3", "1 3", False),  # it is there, so something must come for it
        ("1 2p 3", "1 1 3", False),
        ("1 2p 3p 4", "1 4 4 4", True),
        ("1 2p 3 gone", "1 3 gone", True),  # gone when it was read
        ("1 2p 3 gone", "1 2 gone", False),
        ("1 2p gone 3", "1 3 gone 3", True),
        ("1 2p gone 3p", "1 gone", False),
    ],
)
def test_the_changes_of_a_row_are_followed(owed, got, expected):
    """Each in order, and only where the log lacks a large value a later row, or none before a delete."""
    assert convergence.follows(changes(owed), [change.version for change in changes(got)]) is expected


def test_what_never_came_is_found(workload):
    """Each change after the snapshot is owed, also one that was overwritten at once, and a delete."""
    service = delivered(workload)
    assert convergence.astray(service, workload) == []
    workload.after = workload.ledger[-1].tx
    workload.run(5)
    owed = [change for one in workload.ledger if one.tx > workload.after for change in one.changes]
    keys = {change.key for change in owed}
    assert len(convergence.astray(service, workload)) == len(keys) > 0

    events = [
        {"id": key, "_deleted": True, "index": index} if version is None else row(key, version, index)
        for index, (key, version, _) in enumerate(owed, 2)
    ]
    send(service, copy.deepcopy(events[:-1]))
    assert len(convergence.astray(service, workload)) == 1
    send(service, events[-1:])
    assert convergence.astray(service, workload) == []
