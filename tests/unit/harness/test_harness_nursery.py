"""Processes that are forked off one that has loaded the program: they are what one started anew would be."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from harness import nursery, shop
from harness.agent import config, unmeasured, until
from harness.server import until as until_gone

TESTS = Path(__file__).parents[2]
LEFT_ALONE = """
import asyncio, os, sys
from harness import nursery
async def main():
    with open(os.devnull, "wb") as nothing:
        life = await nursery.begin(sys.argv[1:], os.environ, nothing, nothing)
    print(life.pid, flush=True)
    sys.stdin.read()
asyncio.run(main())
"""


@pytest.fixture
def begin(tmp_path):
    """Begins one in the test's directory; gives it once its files are open."""

    async def one(*arguments, **more):
        with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
            return await nursery.begin(arguments, {**unmeasured(), **more}, out, err)

    return one


@pytest.fixture
def forever(tmp_path):
    """The command line of an agent that does not end by itself."""
    shop.make(tmp_path / "shop.db", 1).close()
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config(tmp_path / "shop.db", "http://127.0.0.1:9/openapi.json")))
    path.chmod(0o600)
    return ["--config", str(path), "run"]


async def test_a_signal_comes_too_late_for_one_that_has_just_ended(begin):
    """Also where nobody has told so yet: a test that sends it cannot know."""
    done = await begin("--version")
    # Without an await in between, in which the news of the end could arrive.
    until_gone(lambda: not psutil.pid_exists(done.pid), "it ends")
    done.send_signal(signal.SIGTERM)

    assert await done.wait() == 0


async def test_each_has_an_end_and_words_of_its_own(begin, tmp_path, monkeypatch):
    """Command line, working directory, environment, output, errors and exit code are those of this process alone."""
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("nothing: here")
    done = await begin("--version")
    code, out = await done.wait(), Path("out").read_text()
    wrong = await begin("check", FUAGENT_CONFIG="mine.yaml")

    assert (code, out.partition(" ")[0]) == (0, "fuagent")
    assert await wrong.wait() == wrong.returncode == 3
    assert "nothing" in Path("out").read_text()
    assert "FUAGENT_CONFIG" not in os.environ


async def test_two_live_beside_each_other_and_are_killed_alone(begin, forever, tmp_path):
    """A signal reaches the one that it is meant for; its exit code says so."""
    first, second = await begin(*forever), await begin(*forever, "--state-dir", str(tmp_path / "other"))
    assert first.pid != second.pid
    first.kill()
    ended, still = await first.wait(), second.returncode
    assert (ended, still) == (-signal.SIGKILL, None)
    second.kill()
    assert await second.wait() == -signal.SIGKILL
    second.kill()  # nobody is there any more


async def test_none_outlives_its_worker(forever):
    """Where the process that asked for one is killed, the one that was asked for ends too."""
    env = {**unmeasured(), "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", LEFT_ALONE, *forever]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as asking:
        left = psutil.Process(int(asking.stdout.readline()))
        asking.kill()

        await until(lambda: not left.is_running() or left.status() == psutil.STATUS_ZOMBIE, "it ends")

        assert asking.wait() == -signal.SIGKILL
