"""Holds what runs the agent on a machine, systemd, containers and Kubernetes, against the tools made for each.

Each check gives what is wrong, one line each. The tools that are Python packages come from requirements/deploy.lock,
into an environment of their own: what they need would not fit beside what the tests need.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import dockerfile
import yaml

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
LOCK = ROOT / "requirements" / "deploy.lock"
TOOLS = ROOT / ".cache" / "deployment"
KUBERNETES = "1.30"
"""The version whose schema the manifests are held against; what they use is older, and has stayed as it was."""


def tools() -> Iterator[str]:
    """The Python tools are there as the lock has them; they are installed if need be."""
    stamp = TOOLS / "lock"
    if stamp.exists() and stamp.read_bytes() == LOCK.read_bytes():
        return
    print("Installing what deploy/ is held against into .cache/deployment (requirements/deploy.lock) ...", flush=True)
    venv.create(TOOLS, with_pip=True, clear=True)
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps", "-r", str(LOCK)]
    wrong = list(run(str(TOOLS / "bin" / "python"), "-m", "pip", "install", *options))
    yield from wrong
    if not wrong:
        stamp.write_bytes(LOCK.read_bytes())


def run(command: str, *arguments: str, silent: bool = False) -> Iterator[str]:
    """What a command prints where it fails; nothing where it is content. A ``silent`` one is content without a word."""
    name = Path(command).name
    try:
        done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    except FileNotFoundError:
        yield f"{name} is not here: run scripts/system-packages deployment"
        return
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode or (silent and lines):
        yield from (f"{name}: {line}" for line in lines or ["it failed and said nothing"])


def systemd() -> Iterator[str]:
    """Every key of the unit is known, every value makes sense."""
    with tempfile.TemporaryDirectory() as folder:
        # What it starts has to be there, and on this machine no agent is installed.
        unit = Path(folder) / "fuagent.service"
        text = (DEPLOY / "systemd" / "fuagent.service").read_text(encoding="utf-8")
        unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", text, flags=re.MULTILINE))
        yield from run("systemd-analyze", "verify", str(unit), silent=True)


def hadolint() -> Iterator[str]:
    """The Dockerfile, and the shell in it."""
    yield from run(str(TOOLS / "bin" / "hadolint"), "--no-color", "deploy/Dockerfile")


def schemas() -> Iterator[str]:
    """compose.yaml against the schema of Compose, each configuration against ours."""
    check = str(TOOLS / "bin" / "check-jsonschema")
    yield from run(check, "--builtin-schema", "vendor.compose-spec", "deploy/compose/compose.yaml")
    ours = "docs/reference/config.schema.json"
    yield from run(check, "--schemafile", ours, "deploy/compose/config.yaml")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        told = yaml.safe_load((DEPLOY / "kubernetes" / "config.yaml").read_text(encoding="utf-8"))
        path.write_text(told["data"]["config.yaml"], encoding="utf-8")
        yield from run(check, "--schemafile", ours, str(path))


def kubernetes() -> Iterator[str]:
    """The manifests, with no key that Kubernetes does not know."""
    files = sorted(str(path.relative_to(ROOT)) for path in (DEPLOY / "kubernetes").glob("*.yaml"))
    said = run(str(TOOLS / "bin" / "kubernetes-validate"), "--strict", "--kubernetes-version", KUBERNETES, *files)
    yield from (line for line in said if " INFO " not in line)


def image() -> Iterator[str]:
    """The Dockerfile's steps, one after the other, in an empty folder and with nothing borrowed."""
    with tempfile.TemporaryDirectory() as folder:
        made = dockerfile.Image(Path(folder) / "image")
        try:
            made.build(dockerfile.read())
        except dockerfile.StepFailedError as error:
            yield from (f"Dockerfile: {line}" for line in str(error).splitlines())
            return
        for command in (["fuagent", "--version"], ["fuagent", "drivers"]):
            done = made.call(*command)
            if done.returncode:
                yield from (f"{' '.join(command)}: {line}" for line in done.stderr.splitlines())


CHECKS: tuple[Callable[[], Iterator[str]], ...] = (tools, systemd, hadolint, schemas, kubernetes, image)
