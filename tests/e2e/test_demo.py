"""The demonstration, as a person starts it."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from types import SimpleNamespace

import psutil
import pytest

from fuagent.demo import street
from fuagent.demo.compare import compare
from fuagent.demo.shop import TABLES

pytestmark = pytest.mark.slow

PATIENCE = 300.0


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "fuagent", "demo", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def children(directory):
    """Processes that work in ``directory`` or were told of it."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        told = [process.info["cwd"] or "", *(process.info["cmdline"] or [])]
        if process.pid != os.getpid() and any(str(directory) in text for text in told):
            found.append(process)
    return found


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return value


def test_both_ends_are_equal_after_two_kills(tmp_path):
    """Agent and service are killed while the shop lives, and nothing is missing, extra or different at the end."""
    process = start("--keep", str(tmp_path / "kept"), cwd=tmp_path)
    out, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, out
    [told] = re.findall(r"^EQUAL: (.*)$", out, re.MULTILINE)
    rows, transactions, events, kills = map(int, re.findall(r"\d+", told)[:4])
    assert rows > 100
    assert transactions > 200
    assert events > rows
    assert kills == 2
    assert out.count("all equal") == 3
    assert len(re.findall(r"killed process \d+", out)) == 2
    assert children(tmp_path) == []
    kept = {path.name for path in (tmp_path / "kept").iterdir()}
    assert {"shop.db", "service.db", "config.yaml", "agent.log", "service.log", ".fuagent"} <= kept
    assert (tmp_path / "kept/config.yaml").stat().st_mode & 0o777 == 0o600


def test_what_differs_is_said(tmp_path, monkeypatch):
    """A service that loses a row is found out: the comparison names the table and the count, and all is ended."""
    copy, said, equal, later = tmp_path / "kept/service.db", [], [], [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + later[0], sleep=time.sleep)
    monkeypatch.setattr(street, "time", clock)

    def say(text):
        said.append(text.plain)
        if ", process " in text.plain:  # the service runs, and the agent does not yet
            with closing(sqlite3.connect(copy, timeout=30)) as database:
                database.execute(
                    "CREATE TRIGGER lose AFTER INSERT ON customers WHEN NEW.id = 5 "
                    "BEGIN DELETE FROM customers WHERE id = 5; END"
                )

    def play():
        equal.append(street.show(tmp_path / "kept", say))

    def all_but_one():
        wrong = [one for one in compare(tmp_path / "kept/shop.db", copy, TABLES) if not one.equal]
        return [(one.table, one.missing, one.extra, one.different) for one in wrong] == [("customers", 1, 0, 0)]

    playing = threading.Thread(target=play)
    playing.start()
    until(lambda: any(line.startswith("3. ") for line in said), "the agent starts")
    until(all_but_one, "all other rows arrive")
    later[0] = 2 * street.DEADLINE  # it has waited for long enough
    playing.join(PATIENCE)

    assert equal == [False]
    assert any(line.startswith("NOT EQUAL: ") for line in said)
    assert any("customers: " in line and "1 missing" in line for line in said)
    assert children(tmp_path) == []


def test_it_cleans_up_when_interrupted(tmp_path):
    """Ctrl-C in the middle leaves no process and no directory behind."""
    process = start(cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)})
    until(lambda: len(children(tmp_path)) >= 3, "service and agent run")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 130, out
    assert "Traceback" not in out
    assert children(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_use_is_left_alone(tmp_path):
    """--keep never mixes with what is there already."""
    (tmp_path / "mine").write_text("x")
    process = start("--keep", str(tmp_path))
    out, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 5
    assert "not empty" in out
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_fastapi_it_says_so_and_goes_on(tmp_path):
    """Where FastAPI is missing the service of the standard library takes its place."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text("import sys\nsys.modules['fastapi'] = None\n")
    path = os.pathsep.join(filter(None, [str(blocked), os.environ.get("PYTHONPATH", "")]))
    process = start(cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    out, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, out
    assert "FastAPI is not installed" in out
