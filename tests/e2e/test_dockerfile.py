"""The image, and the wheel in it: what its file says is done here as a script, and what comes of it does the job."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import signal
import sys
from pathlib import Path

import pytest
import yaml

from fuagent.version import __version__
from harness import shop
from harness.agent import config, until
from harness.server import free_port
from harness.service import Service

ROOT = Path(__file__).parents[2]
BORROW = (
    """{python} -c 'import sysconfig; open(sysconfig.get_path("purelib") + "/borrowed.pth", "w").write("{paths}")'"""
)


@pytest.fixture
def dockerfile(monkeypatch):
    """scripts/dockerfile.py as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("dockerfile")


def borrowed(text: str) -> str:
    """The step without an index to ask: what the locks hold is borrowed from the environment that runs the tests."""
    paths = "\\n".join(path for path in sys.path if path.endswith("site-packages"))

    def lend(match: re.Match[str]) -> str:
        return BORROW.format(python=match["other"] or match["own"], paths=paths)

    return re.sub(
        r"(?P<own>\S+/python) -m pip (?:--python (?P<other>\S+) )?install [^&]*--require-hashes[^&]*", lend, text
    )


async def test_the_image_runs_and_says_that_it_is_healthy(tmp_path, dockerfile) -> None:
    """Built from the checkout, installed, run: all rows arrive, it is found healthy while it runs, and ends in order."""
    image = dockerfile.Image(tmp_path / "image")
    image.build(dockerfile.read(), borrowed)
    image.environment["FUAGENT_LISTEN"] = f"127.0.0.1:{free_port()}"
    database = shop.make(tmp_path / "shop.db", 3)
    async with Service() as service:
        path = Path(image.environment["FUAGENT_CONFIG"])
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump(config(tmp_path / "shop.db", service.openapi)))
        before = image.call(*image.health)
        process = await asyncio.create_subprocess_exec(
            *image.command, env=image.environment, cwd=image.folder, stderr=asyncio.subprocess.DEVNULL
        )
        await until(lambda: service.ends, "the rows arrive, and the end marker behind them")
        running = await asyncio.to_thread(image.call, *image.health)
        process.send_signal(signal.SIGTERM)

        assert await asyncio.wait_for(process.wait(), 60) == 0
        assert service.rows == shop.rows(database)
        assert json.loads(service.posts[-1].body)["is_snapshot_end"] is True
    assert (before.returncode, running.returncode) == (1, 0)
    assert image.call("fuagent", "--version").stdout == f"fuagent {__version__}\n"
    assert image.call("python", "-c", "import fuagent; print(fuagent.__file__)").stdout.startswith(
        str(image.root / "opt")
    )
    assert (Path(image.environment["FUAGENT_STATE_DIR"]) / "journal.db").exists()


def test_what_the_file_says_of_the_image(dockerfile) -> None:
    """It is nobody's root, names its journal, and takes nothing from the checkout that the builder is not given."""
    steps = dockerfile.read()
    last = {step.word: step.text for step in steps}
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    given = {line[1:] for line in ignored if line.startswith("!")}
    taken = [
        source
        for step in steps
        if step.word == "COPY" and "--from" not in step.text
        for source in step.text.split()[:-1]
    ]

    assert "*" in ignored
    assert [source for source in taken if source.partition("/")[0] not in given] == []
    assert [source for source in taken if not (ROOT / source).exists()] == []
    assert (last["USER"], last["STOPSIGNAL"], last["VOLUME"]) == ("10001:10001", "SIGTERM", "/var/lib/fuagent")
    assert "ADD" not in last
