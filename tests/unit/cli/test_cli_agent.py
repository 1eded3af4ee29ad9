"""``run``, ``status``, ``snapshot`` and ``source remove`` with a real agent on a real database."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

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
def start(shop):
    """Starts commands in the shop's directory; what still runs at the end is killed."""
    started = []

    def command(*arguments):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FUAGENT_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "fuagent", *arguments],
            cwd=shop,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield command
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def call(start):
    """Runs one command to its end: exit code, output, errors."""

    def command(*arguments):
        process = start(*arguments)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err

    return command


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, what()
        time.sleep(0.05)
    return value


def caught_up(shop, call):
    """Wait until the running agent says so; gives its status of the sync."""

    seen = []

    def there():
        code, out, err = call("status", "--json")
        seen[:] = [out, err]
        if code:
            return None
        report = json.loads(out)
        [sync] = report["syncs"]
        return sync if report["running"] and sync["state"] == "caught up" else None

    return until(there, lambda: f"caught up; the last status was {seen}")


def test_run_once_prints_the_rows_and_logs_json(call):
    """Rows go to standard output, JSON log lines to standard error, and it ends with 0."""
    code, out, err = call("run", "--once")

    assert code == 0, err
    rows = [event["id"] for line in out.splitlines() for event in json.loads(line)["events"]]
    assert rows == [1, 2, 3]
    lines = [json.loads(line) for line in err.splitlines()]
    assert {"timestamp", "level", "event"} <= set(lines[0])
    assert any(line.get("state") == "snapshot" for line in lines)


def test_log_options(call):
    """The form and the level of the log are chosen by options."""
    assert "agent starts" in call("run", "--once", "--log-format", "console")[2]
    assert call("run", "--once", "--log-level", "error")[2] == ""


def test_check_of_a_sound_configuration(call):
    """Nothing wrong: exit code 0, nothing printed that is an error, and nothing was made."""
    code, out, _ = call("check", "--json")

    assert code == 0
    assert "error" not in {finding["level"] for finding in json.loads(out)}


def test_status_and_snapshot_of_a_running_agent(shop, start, call):
    """A running agent tells its state and takes a snapshot on demand; a second one is refused."""
    agent = start("run")
    before = caught_up(shop, call)
    assert before["rows"] == 3

    code, out, _ = call("status")
    assert code == 0
    assert "caught up" in out

    code, out, _ = call("snapshot", "orders")
    assert code == 0
    assert "snapshot" in out
    until(lambda: caught_up(shop, call)["rows"] == 6, lambda: "the rows did not come again")

    code, _, err = call("run")
    assert code == 4
    assert err.startswith("error: ")
    assert "fix: " in err

    agent.send_signal(signal.SIGTERM)
    agent.communicate(timeout=PATIENCE)
    assert agent.returncode == 0

    code, out, _ = call("status")
    assert code == 0
    assert "not running" in out


def test_snapshot_without_an_agent_waits_for_it(call):
    """Asked for while nothing runs, the snapshot is remembered and taken at the next start."""
    call("run", "--once")
    code, out, _ = call("snapshot", "orders")

    assert code == 0
    assert "when it starts" in out
    _, out, _ = call("run", "--once")
    assert [event["id"] for line in out.splitlines() for event in json.loads(line)["events"]] == [1, 2, 3]


def test_source_remove(call, shop):
    """What fuagent put into the database is named and gone."""
    call("run", "--once")

    def ours():
        with sqlite3.connect(shop / "shop.db") as database:
            found = database.execute("SELECT name FROM sqlite_master WHERE name LIKE '%fuagent%'").fetchall()
        database.close()
        return found

    assert ours()
    code, out, err = call("source", "remove", "shop", "--yes")
    assert code == 0, err
    assert out.strip()
    assert ours() == []


def test_source_remove_asks_on_a_terminal(call, shop, terminal):
    """A no leaves everything as it is."""
    call("run", "--once")
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


def test_status_is_watched(shop, start, call, terminal):
    """--watch shows the agent come, work and go, and Ctrl-C ends the view alone, with 0."""
    view = terminal("status", "--watch")
    view.expect("nothing ran here yet")
    agent = start("run")
    view.expect("caught up")
    view.expect("3 rows sent")
    agent.send_signal(signal.SIGTERM)
    agent.communicate(timeout=PATIENCE)
    view.expect("not running")
    view.say("\x03")

    assert view.end() == 0, view.seen
    assert "Traceback" not in view.seen
    assert "Ctrl-C ends this view, and nothing else" in view.seen


def test_watching_ends_in_order_when_told_to(call, terminal):
    """SIGTERM ends it like Ctrl-C, and the cursor is there again."""
    call("run", "--once")
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


def test_a_second_signal_ends_it_at_once(shop, start, call):
    """The exit code then says which signal it was."""
    (shop / "config.yaml").write_text(CONFIG.replace("tables: [orders]", "tables: [orders], drain: 1h"))
    agent = start("run")
    caught_up(shop, call)
    agent.send_signal(signal.SIGTERM)
    agent.send_signal(signal.SIGINT)
    agent.communicate(timeout=PATIENCE)

    assert agent.returncode in (0, 130)  # it may have drained between the two
