"""What check says about a server, an account and its tables."""

from dataclasses import replace

import pytest
from mysql_links import address, as_root, scripted

from fuagent.model import Level
from fuagent.sources.mysql.findings import findings
from fuagent.sources.mysql.server import server as facts
from fuagent.sources.mysql.tables import layouts, listing
from fuagent.sources.selection import select
from harness.mariadb import USER
from harness.mysql_wire import Error


async def checked(link, database, wanted=("*",), **changes):
    """All that is said, where the server is as it is but for ``changes``."""
    found = await listing(link, database, wanted)
    tables = await layouts(link, select(found, wanted, ()), database)
    return await findings(link, replace(await facts(link), **changes), tables, found, wanted)


def texts(found, level=None):
    """What is said, in lines."""
    return "\n".join(f"{one.what} | {one.fix}" for one in found if level in (None, one.level))


@pytest.fixture
async def link(opened, database):
    """The reader's own account, and a table without a fault."""
    await (await opened(as_root(database))).rows("CREATE TABLE good (id INT PRIMARY KEY)")
    return await opened(address(database))


@pytest.mark.fault("S24")
async def test_nothing_is_said_where_nothing_is_wrong(link, database):
    """A server as it should be, and an account with what it needs."""
    assert await checked(link, database.name) == []


@pytest.mark.fault("F07", "F08", "F14")
@pytest.mark.parametrize(
    ("changes", "level", "what", "fix"),
    [
        ({"log_bin": False}, Level.ERROR, "writes no binlog", "log_bin"),
        ({"server_id": 0}, Level.ERROR, "server_id is 0", "SET GLOBAL server_id = 1"),
        ({"binlog_format": "MIXED"}, Level.ERROR, "binlog_format is MIXED", "SET GLOBAL binlog_format = ROW"),
        ({"row_image": "MINIMAL"}, Level.WARNING, "binlog_row_image is MINIMAL", "binlog_row_image = FULL"),
        ({"row_metadata": "NO_LOG"}, Level.WARNING, "binlog_row_metadata is NO_LOG", "binlog_row_metadata = FULL"),
        ({"row_metadata": ""}, Level.WARNING, "cannot log the names of columns", "MariaDB 10.5 or MySQL 8"),
        ({"value_options": "PARTIAL_JSON"}, Level.WARNING, "PARTIAL_JSON", "binlog_row_value_options = ''"),
        ({"expire_seconds": 3600}, Level.WARNING, "kept for 1 hours", "binlog_expire_logs_seconds"),
        ({"expire_seconds": 3600, "version": (10, 5, 0)}, Level.WARNING, "kept for 1 hours", "expire_logs_days = 7"),
        ({"log_replica_updates": False, "read_only": True}, Level.ERROR, "this is a replica", "log_slave_updates"),
    ],
)
@pytest.mark.fault("F104")
async def test_a_server_s_settings_are_looked_at(link, database, changes, level, what, fix):
    """Each with the statement that puts it right."""
    [said] = await checked(link, database.name, **changes)

    assert said.level is level
    assert what in said.what
    assert fix in said.fix
    assert said.where == link.where


@pytest.mark.fault("F11")
async def test_tables_are_looked_at(opened, link, database):
    """Those without a key, those that know no transactions, those that a foreign key changes; views."""
    root = await opened(as_root(database))
    await root.rows("CREATE TABLE keyless (id INT)")
    await root.rows("CREATE TABLE old (id INT PRIMARY KEY) ENGINE = MyISAM")
    await root.rows("CREATE TABLE kept (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES good (id))")
    await root.rows(
        "CREATE TABLE child (id INT PRIMARY KEY, `p q` INT COMMENT 'ON DELETE CASCADE', CONSTRAINT `FOREIGN KEY` "
        "FOREIGN KEY (`p q`) REFERENCES good (id) ON UPDATE CASCADE)"
    )
    await root.rows("CREATE VIEW seen AS SELECT 1 AS one")
    said = await checked(link, database.name)

    assert [one.what.split(" ")[:2] + [one.level] for one in said if one.level is Level.INFO] == [
        ["seen", "is", Level.INFO]
    ]
    warned = texts(said, Level.WARNING).splitlines()
    assert len(warned) == 3
    assert "rows of table child are changed or deleted by a foreign key" in warned[0]
    assert "table keyless has no primary key" in warned[1]
    assert "table old (MyISAM) knows no transactions" in warned[2]
    assert f"ALTER TABLE `{database.name}`.`old` ENGINE = InnoDB;" in warned[2]
    errors = texts(said, Level.ERROR)
    assert f"GRANT LOCK TABLES ON `{database.name}`.* TO '{USER}'@'%';" in errors


async def test_fractions_in_the_old_format_are_found(opened, link, database):
    """And what is said to run makes them readable."""
    root = await opened(as_root(database))
    await root.rows("SET GLOBAL mysql56_temporal_format = OFF")
    try:
        await root.rows("CREATE TABLE old (id INT PRIMARY KEY, plain DATETIME, at TIME(2))")
    finally:
        await root.rows("SET GLOBAL mysql56_temporal_format = ON")
    [said] = await checked(link, database.name)

    assert said.level is Level.ERROR
    assert "column at of table old has fractions" in said.what
    for statement in said.fix.rstrip(";").split("; "):
        await root.rows(statement)
    assert await checked(link, database.name) == []


@pytest.mark.fault("S24")
async def test_an_account_with_too_little_learns_what_to_grant(opened, link, database):
    """Reading the log, seeing its end, reading a table."""
    root = await opened(as_root(database))
    await root.rows("CREATE TABLE half (id INT PRIMARY KEY, hidden INT)")
    await root.rows("CREATE OR REPLACE USER poor IDENTIFIED BY 'fuagent-password'")
    await root.rows(f"GRANT SELECT ON `{database.name}`.good TO poor")
    await root.rows(f"GRANT INSERT ON `{database.name}`.half TO poor")
    said = await checked(await opened(replace(address(database), user="poor")), database.name)
    await root.rows("DROP USER poor")

    assert texts(said, Level.ERROR).splitlines() == [
        "the account may not read the binlog. | GRANT REPLICATION SLAVE ON *.* TO 'poor'@'%';",
        "the account may not see where the binlog ends. | GRANT BINLOG MONITOR ON *.* TO 'poor'@'%';",
        f"the account may not read table half. | GRANT SELECT ON `{database.name}`.`half` TO 'poor'@'%';",
    ]


async def test_a_server_without_a_log_hides_no_grant(opened, private_mariadb):
    """What is missing besides the log is said in the same round."""
    server = private_mariadb(log_bin=None, log_slave_updates=None)
    for statement in (
        "CREATE TABLE good (id INT PRIMARY KEY)",
        "CREATE USER poor IDENTIFIED BY 'fuagent-password'",
        "GRANT SELECT, REPLICATION SLAVE ON *.* TO poor",
    ):
        server.execute(statement)
    said = await checked(await opened(replace(address(server.database()), user="poor")), "shop")

    assert [line.partition(" | ")[0] for line in texts(said, Level.ERROR).splitlines()] == [
        "the server writes no binlog: there are no changes to follow.",
        "the account may not see where the binlog ends.",
    ]


@pytest.mark.fault("S24")
async def test_an_account_with_too_much_is_warned_of(opened, database):
    """Reading needs no such power."""
    root = await opened(as_root(database))
    await root.rows("CREATE TABLE good (id INT PRIMARY KEY)")
    [said] = await checked(root, database.name)

    assert said.level is Level.WARNING
    assert "'root'@" in said.what


async def test_a_replica_that_logs_nothing_is_found(opened, private_mariadb):
    """What it copies never reaches its own log; the same server on its own is fine."""
    server = private_mariadb(log_slave_updates=None, server_id=2)
    server.execute("CREATE TABLE t (id INT PRIMARY KEY)")
    link = await opened(as_root(server.database()))
    alone = await checked(link, "shop")
    server.execute("CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1, MASTER_USER = 'x'")
    copying = await checked(link, "shop")

    assert "this is a replica" not in texts(alone)
    assert "this is a replica" in texts(copying, Level.ERROR)


async def test_a_log_that_leaves_a_database_out_is_found(opened, private_mariadb):
    """By either of the two filters."""
    server = private_mariadb(binlog_ignore_db="shop")
    server.execute("CREATE TABLE t (id INT PRIMARY KEY)")
    link = await opened(as_root(server.database()))

    assert "the binlog leaves the database shop out" in texts(await checked(link, "shop"), Level.ERROR)


async def test_mysql_is_asked_for_locks_and_gtids(scripting, opened, link, database):
    """Its accounts need a lock for a snapshot; roles count; GTIDs are advised."""
    found = await listing(link, database.name, ["*"])
    tables = await layouts(link, select(found, ["*"], ()), database.name)
    server = replace(await facts(link), mariadb=False, version=(8, 4, 0), gtid_mode="OFF")
    mysql = await scripting()
    mysql.rows(r"SELECT CURRENT_USER\(\)", ["user"], ("f'a@10.0.0.%",))
    mysql.rows(r"SELECT CURRENT_ROLE\(\)", ["role"], ("`r`@`%`",))
    mysql.rows(
        r"SHOW GRANTS FOR CURRENT_USER\(\) USING `r`@`%`", ["grant"], ("GRANT REPLICATION SLAVE ON *.* TO `f`@`%`",)
    )
    mysql.rows("SHOW BINARY LOG STATUS", ["File", "Position", "Do", "Ignore", "Set"], ("b.1", 4, "other", "", ""))
    mysql.rows("SELECT .* LIMIT 0", ["id"])
    mysql.rows("SHOW CREATE TABLE .*", ["Table", "Create Table"], ("good", "CREATE TABLE `good` (`id` int)"))
    mysql.answer("SHOW REPLICA STATUS", Error(1227, "Access denied"))
    mine = await opened(scripted(mysql))
    said = await findings(mine, server, tables, found, ["*"])
    mysql.rows(r"SHOW GRANTS FOR.*", ["grant"], ("GRANT RELOAD, REPLICATION SLAVE ON *.* TO `f`@`%`",))
    less = await findings(mine, replace(server, gtid_mode="ON"), tables, found, ["*"])

    assert [one.level for one in said] == [Level.INFO, Level.ERROR, Level.ERROR]
    assert "gtid_mode is OFF" in said[0].what
    assert f"GRANT LOCK TABLES ON `{database.name}`.* TO 'f''a'@'10.0.0.%';" in said[1].fix
    assert f"leaves the database {database.name} out" in said[2].what
    assert less == said[2:]
