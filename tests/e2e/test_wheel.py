"""The wheel, installed into an environment of its own, does the job."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import venv
from pathlib import Path

import yaml

from harness import shop
from harness.agent import config, unmeasured
from harness.service import Service

ROOT = Path(__file__).parents[2]


def build(directory: Path) -> Path:
    """Build the wheel from this checkout, without fetching anything."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(directory), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, env=unmeasured())
    [wheel] = directory.glob("fuagent-*.whl")
    return wheel


def install(directory: Path, wheel: Path) -> Path:
    """An environment that holds the wheel; what it depends on is borrowed from the one that runs the tests."""
    venv.create(directory, with_pip=True)
    python = directory / "bin" / "python"
    [packages] = directory.glob("lib/python*/site-packages")
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    command = [str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, check=True, capture_output=True, env=unmeasured())
    (packages / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    return python


async def test_a_sync_runs_from_the_wheel(tmp_path: Path) -> None:
    """Built, installed, run once: all rows arrive, and the code that ran is the wheel's."""
    python = install(tmp_path / "venv", build(tmp_path))
    database = shop.make(tmp_path / "shop.db", 25)
    async with Service() as service:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(config(tmp_path / "shop.db", service.openapi)))
        path.chmod(0o600)
        where = subprocess.run(
            [str(python), "-c", "import fuagent; print(fuagent.__file__)"], capture_output=True, text=True, check=True
        )
        env = {key: value for key, value in unmeasured().items() if key != "PYTHONPATH"}
        process = await asyncio.create_subprocess_exec(
            str(python.parent / "fuagent"), "--config", str(path), "run", "--once", env=env, cwd=tmp_path
        )
        code = await process.wait()

        assert code == 0
        assert str(tmp_path) in where.stdout
        assert service.rows == shop.rows(database)
        assert json.loads(service.posts[-1].body)["is_snapshot_end"] is True
