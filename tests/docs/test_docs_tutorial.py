"""The tutorial, word for word: its commands are run, and what it says comes true."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.agent import unmeasured
from harness.server import free_port

DEADLINE = 60.0


class Reader:
    """Somebody who follows the tutorial in a directory of their own."""

    def __init__(self, text: str, directory: Path) -> None:
        port = free_port()
        self.directory = directory
        self._text = text.replace("127.0.0.1:8000", f"127.0.0.1:{port}").replace("--port 8000", f"--port {port}")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = unmeasured() | {"PATH": path, "SERVICE_KEY": "secret", "PYTHONWARNINGS": "default"}

    def block(self, name: str) -> str:
        """The shell block of that name."""
        [found] = re.findall(rf"^```sh {name}\n(.*?)^```$", self._text, re.DOTALL | re.MULTILINE)
        return found

    def config(self) -> str:
        """The whole configuration that the tutorial shows."""
        [found] = re.findall(r"^```yaml\n(.*?)^```$", self._text, re.DOTALL | re.MULTILINE)
        return found

    def does(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run a block to its end."""
        command = ["bash", "-euc", self.block(name)]
        return subprocess.run(
            command, cwd=self.directory, env=self._environment, capture_output=True, text=True, timeout=DEADLINE
        )

    @contextmanager
    def starts(self, name: str):
        """Run a block in another terminal."""
        command = ["bash", "-euc", f"exec env {self.block(name).strip()}"]
        with (self.directory / f"{name}.log").open("w") as log:
            process = subprocess.Popen(command, cwd=self.directory, env=self._environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=DEADLINE)

    def awaits(self, condition, what: str) -> None:
        """Look again until it is so."""
        end = time.monotonic() + DEADLINE
        while not condition():
            logs = {path.name: path.read_text()[-2000:] for path in self.directory.glob("*.log")}
            assert time.monotonic() < end, f"never came true: {what}; {logs}"
            time.sleep(0.1)

    def in_step(self) -> bool:
        """Whether the comparison the tutorial shows finds both ends equal."""
        found = self.does("compare")
        return found.returncode == 0 and found.stdout.count("equal") == 3


@pytest.fixture
def reader(root, tmp_path):
    return Reader((root / "docs/tutorial.md").read_text(encoding="utf-8"), tmp_path)


@pytest.mark.slow
def test_the_tutorial_comes_true(reader):
    """Followed word for word, it ends with both databases equal and nothing left in the source."""
    assert reader.does("setup").returncode == 0
    with reader.starts("service"):
        reader.awaits(lambda: "http://" in (reader.directory / "service.log").read_text(), "the service listens")
        assert reader.does("init").returncode == 0
        written = (reader.directory / "config.yaml").read_text()
        assert "${SERVICE_KEY}" in written
        assert "secret" not in written

        refused = reader.does("check-fails")
        assert refused.returncode == 1
        assert "/ingest-batch" in refused.stdout + refused.stderr

        (reader.directory / "config.yaml").write_text(reader.config())
        checked = reader.does("check")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        with reader.starts("run") as agent:
            reader.awaits(reader.in_step, "the snapshot is at the service")
            assert reader.does("change").returncode == 0
            reader.awaits(reader.in_step, "the changes are at the service")
            status = reader.does("status")
            assert status.returncode == 0
            assert "shop-to-my-service" in status.stdout
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(timeout=DEADLINE) == 0
    removed = reader.does("remove")

    assert removed.returncode == 0
    assert "_fuagent_" in removed.stdout


def test_the_readme_shows_the_same_configuration(root, reader):
    """README and tutorial lead to the same file, comments aside."""
    block = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    readme, *servers = block.findall((root / "README.md").read_text())
    [tutorial] = block.findall((root / "docs/tutorial.md").read_text())

    def plain(text: str) -> list[str]:
        return [line.partition(" #")[0].rstrip() for line in text.splitlines()]

    assert plain(tutorial) == plain(readme)
    for server, guide in zip(servers, ("use-mysql.md", "use-postgres.md"), strict=True):
        assert server in (root / "docs/how-to" / guide).read_text()
