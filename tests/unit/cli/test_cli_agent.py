"""``run``, ``status``, ``snapshot`` and ``source remove`` with a real agent on a real database."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import suppress

import pytest

from fuagent import control
from harness import nursery
from harness.agent import until

CONFIG = """
agent_id: agent-0123456789ab
sources:
  shop: {driver: sqlite, endpoint: "sqlite:///shop.db"}
pushers:
  out: {driver: stdout}
syncs:
  orders: {source: shop, pusher: out, tables: [orders]}
"""
PATIENCE = 60.0


@pytest.fixture
def shop(tmp_path):
    """A database with three orders and a configuration that prints them."""
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT)")
        database.executemany("INSERT INTO orders VALUES (?, ?)", [(1, "a"), (2, "b"), (3, "c")])
    database.close()
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    path.chmod(0o600)
    return tmp_path


@pytest.fixture
def environment(shop, monkeypatch):
    """What the commands see: the shop's directory, and no variable of ours."""
    monkeypatch.chdir(shop)
    return {name: value for name, value in os.environ.items() if not name.startswith("FUAGENT_")}


@pytest.fixture
async def start(shop, environment):
    """Starts commands in the shop's directory; what still runs at the end is killed."""
    started = []

    async def command(*arguments):
        with (shop / "said").open("wb") as said:
            started.append(await nursery.begin(arguments, environment, said, said))
        return started[-1]

    yield command
    for process in started:
        process.kill()
        await process.wait()


@pytest.fixture
def call(environment):
    """Runs one command to its end: exit code, output, errors."""
    return lambda *arguments: nursery.call(arguments, environment)


async def caught_up(shop):
    """Wait until the running agent says so; gives its status of the sync."""

    async def there():
        with suppress(control.NotRunningError, FileNotFoundError):
            syncs = (await control.call(shop / ".fuagent", "status"))["syncs"]
            return next((sync for sync in syncs if sync["state"] == "caught up"), None)

    return await until(there, "caught up")


async def test_run_once_prints_the_rows_and_logs_json(call):
    """Rows go to standard output, JSON log lines to standard error, and it ends with 0."""
    code, out, err = await call("run", "--once")

    assert code == 0, err
    rows = [event["id"] for line in out.splitlines() for event in json.loads(line)["events"]]
    assert rows == [1, 2, 3]
    lines = [json.loads(line) for line in err.splitlines()]
    assert {"timestamp", "level", "event"} <= set(lines[0])
    assert any(line.get("state") == "snapshot" for line in lines)


async def test_log_options(call):
    """The form and the level of the log are chosen by options."""
    assert "agent starts" in (await call("run", "--once", "--log-format", "console"))[2]
    assert (await call("run", "--once", "--log-level", "error"))[2] == ""


async def test_check_of_a_sound_configuration(call):
    """Nothing wrong: exit code 0, nothing printed that is an error, and nothing was made."""
    code, out, _ = await call("check", "--json")

    assert code == 0
    assert "error" not in {finding["level"] for finding in json.loads(out)}


async def test_status_and_snapshot_of_a_running_agent(shop, start, call):
    """A running agent tells its state and takes a snapshot on demand; a second one is refused."""
    agent = await start("run")
    before = await caught_up(shop)
    assert before["rows"] == 3

    code, out, _ = await call("status", "--json")
    report = json.loads(out)
    assert (code, report["running"], report["syncs"][0]["rows"]) == (0, True, 3)

    code, out, _ = await call("status")
    assert code == 0
    assert "caught up" in out

    code, out, _ = await call("snapshot", "orders")
    assert code == 0
    assert "snapshot" in out

    async def again():
        return (await caught_up(shop))["rows"] == 6

    await until(again, "the rows come again")

    code, _, err = await call("run")
    assert code == 4
    assert err.startswith("error: ")
    assert "fix: " in err

    agent.send_signal(signal.SIGTERM)
    assert await agent.wait() == 0

    code, out, _ = await call("status")
    assert code == 0
    assert "not running" in out


async def test_snapshot_without_an_agent_waits_for_it(call):
    """Asked for while nothing runs, the snapshot is remembered and taken at the next start."""
    await call("run", "--once")
    code, out, _ = await call("snapshot", "orders")

    assert code == 0
    assert "when it starts" in out
    _, out, _ = await call("run", "--once")
    assert [event["id"] for line in out.splitlines() for event in json.loads(line)["events"]] == [1, 2, 3]


async def test_source_remove(call, shop):
    """What fuagent put into the database is named and gone."""
    await call("run", "--once")

    def ours():
        with sqlite3.connect(shop / "shop.db") as database:
            found = database.execute("SELECT name FROM sqlite_master WHERE name LIKE '%fuagent%'").fetchall()
        database.close()
        return found

    assert ours()
    code, out, err = await call("source", "remove", "shop", "--yes")
    assert code == 0, err
    assert out.strip()
    assert ours() == []


async def test_source_remove_asks_on_a_terminal(call, shop, terminal):
    """A no leaves everything as it is."""
    await call("run", "--once")
    talk = terminal("source", "remove", "shop")
    talk.expect("[y/N]:")
    talk.say("n\n")

    assert talk.end() == 0
    assert "Nothing was removed." in talk.seen


def test_run_on_a_terminal(shop, terminal):
    """On a terminal a board stands below the log lines; Ctrl-C ends it in order."""
    (shop / "config.yaml").write_text(
        CONFIG.replace("driver: stdout", "driver: openapi, endpoint: 'http://127.0.0.1:9/o'")
    )
    talk = terminal("run")
    talk.expect("1 sync · running for")
    talk.expect("retrying")
    talk.expect("problem:")
    talk.say("\x03")

    assert talk.end() == 0, talk.seen
    assert "Traceback" not in talk.seen


async def test_status_is_watched(shop, start, call, terminal):
    """--watch shows the agent come, work and go, and Ctrl-C ends the view alone, with 0."""
    view = terminal("status", "--watch")
    view.expect("nothing ran here yet")
    agent = await start("run")
    view.expect("caught up")
    view.expect("3 rows sent")
    agent.send_signal(signal.SIGTERM)
    await agent.wait()
    view.expect("not running")
    view.say("\x03")

    assert view.end() == 0, view.seen
    assert "Traceback" not in view.seen
    assert "Ctrl-C ends this view, and nothing else" in view.seen


async def test_watching_ends_in_order_when_told_to(call, terminal):
    """SIGTERM ends it like Ctrl-C, and the cursor is there again."""
    await call("run", "--once")
    view = terminal("status", "--watch")
    view.expect("not running")
    view.process.send_signal(signal.SIGTERM)

    assert view.end() == 0, view.seen
    assert view.seen.rstrip().endswith("\x1b[?25h")


def test_names_of_syncs_are_completed(shop, call):
    """A shell is given the syncs of the configuration that is meant, and nothing where it cannot be read."""
    (shop / "other.yaml").write_text("syncs: {alpha: {}, beta: {}}")
    (shop / "broken.yaml").write_text("syncs: [")

    def completed(*words):
        line = " ".join(["fuagent", *words])
        environment = {**os.environ, "_FUAGENT_COMPLETE": "complete_bash", "COMP_WORDS": line}
        done = subprocess.run(
            [sys.executable, "-c", "from fuagent.cli import main; main()"],
            cwd=shop,
            env={**environment, "COMP_CWORD": str(len(line.split(" ")) - 1)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.stderr == ""
        return done.stdout.split()

    assert completed("pause", "") == ["orders"]
    assert completed("snapshot", "o") == ["orders"]
    assert completed("snapshot", "x") == []
    assert completed("-c", "other.yaml", "rejected", "retry", "") == ["alpha", "beta"]
    assert completed("preview", "-c", "other.yaml", "b") == ["beta"]
    assert completed("-c", "broken.yaml", "resume", "") == []
    assert completed("-c", "missing.yaml", "resume", "") == []
    assert "rejected" in completed("rej")


async def test_a_second_signal_ends_it_at_once(shop, start, call):
    """The exit code then says which signal it was."""
    (shop / "config.yaml").write_text(CONFIG.replace("tables: [orders]", "tables: [orders], drain: 1h"))
    agent = await start("run")
    await caught_up(shop)
    agent.send_signal(signal.SIGTERM)
    agent.send_signal(signal.SIGINT)

    assert await agent.wait() in (0, 130)  # it may have drained between the two
