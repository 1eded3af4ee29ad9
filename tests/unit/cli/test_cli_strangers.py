"""What a command takes from where it stands: no secret from its own line, no code from the directory it is started in."""

import os
import re
import subprocess
import sys

import pytest
import typer

from fuagent import cli

TELLING = re.compile(r"key|pass|secret|token|credential")
NAMES_A_PLACE = {
    ("init", "--credential"),  # one of four words
    ("init", "--key-env"),
    ("conformance", "--key"),
    ("conformance", "--password"),
    ("receive", "--key-env"),
    ("receive", "--key"),  # columns of a table's key
}
CONFIG = """
agent_id: agent-0123456789ab
sources:
  shop: {driver: sqlite, endpoint: "sqlite:///shop.db"}
pushers:
  out: {driver: stdout}
syncs:
  orders: {source: shop, pusher: out, tables: [orders], transform: "planted:function"}
"""
PLANTED = """
from pathlib import Path
Path("planted").touch()
def function(row):
    return row
"""


def options():
    """Every option of every command that sounds like a secret."""
    for name, command in typer.main.get_command(cli.application).commands.items():
        for parameter in command.params:
            yield from ((name, option) for option in parameter.opts if TELLING.search(option))


@pytest.mark.fault("S07")
def test_no_option_takes_a_secret():
    """Options that sound like one name a place where it stands, or something else; a new one is looked at first."""
    assert set(options()) == NAMES_A_PLACE


@pytest.mark.fault("S07")
@pytest.mark.parametrize(
    "command",
    [
        ("init", "--source-driver", "sqlite", "--key-env", "s3cret/t"),
        ("init", "--credential", "s3cret/t"),
        ("conformance", "http://127.0.0.1:1", "--key", "s3cret/t"),
        ("conformance", "http://127.0.0.1:1", "--user", "me", "--password", "s3cret/t"),
        ("receive", "--database", "sqlite:///x.db", "--key-env", "s3cret/t"),
        ("receive", "--database", "postgresql://me:s3cret@127.0.0.1:1/x"),
    ],
)
def test_a_secret_on_the_line_is_refused_and_not_repeated(tmp_path, command):
    """Before anything is done; what says so does not show it a second time."""
    done = subprocess.run(
        [sys.executable, "-m", "fuagent", *command],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "SERVICE_KEY": "k-1"},
        stdin=subprocess.DEVNULL,
        check=False,
    )

    assert done.returncode == 2
    assert "s3cret" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("S43")
def test_nothing_is_imported_from_where_it_is_started(tmp_path):
    """Neither a function of this name nor a library: whoever may write there does not decide what runs."""
    script, here = tmp_path / "bin" / "fuagent", tmp_path / "here"
    script.parent.mkdir()
    here.mkdir()
    script.write_text("from fuagent.cli import main\nmain()\n")  # as the installed script is
    (here / "config.yaml").write_text(CONFIG)
    for name in ("planted", "yaml", "orjson", "structlog"):
        (here / f"{name}.py").write_text(PLANTED)
    done = subprocess.run([sys.executable, script, "check"], capture_output=True, text=True, cwd=here, check=False)

    assert "planted:function cannot be imported" in done.stdout + done.stderr
    assert not (here / "planted").exists()
