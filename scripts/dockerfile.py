"""Runs the steps of deploy/Dockerfile as a script, in a folder that stands for the image; no builder is needed.

The folders that the steps name, ``/opt`` and the like, are laid below that one, and the base image's ``python`` is the
interpreter that runs this. All stages share the folder. Accounts are left out: they would be this machine's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
_PLACES = re.compile(r"(?<![\w./-])/(?=(?:opt|build|etc/fuagent|var/lib/fuagent)(?![\w-]))")
_ACCOUNTS = re.compile(r"\b(?:groupadd|useradd)\b")
_VALUE = re.compile(r'(\w+)=("[^"]*"|\S+)')


class StepFailedError(Exception):
    """A step that ended with another code than 0; the text is the step and what it said."""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction of the file, on one line."""

    word: str
    text: str


def read(path: Path = DOCKERFILE) -> list[Step]:
    """Every instruction, in order."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Step(*line.split(maxsplit=1)) for line in whole.splitlines() if line.strip()]


@dataclass(slots=True)
class Image:
    """What the steps make, below ``root``."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = Path()
    health: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """The base image: a path on which ``python`` is."""
        base = self.root / "base"
        base.mkdir(parents=True)
        python = base / "python"
        python.write_text(
            f'#!/bin/sh\nexec {getattr(sys, "_base_executable", sys.executable)} "$@"\n', encoding="utf-8"
        )
        python.chmod(0o755)
        self.environment = {"PATH": f"{base}:{os.defpath}", "HOME": str(self.root)}
        # How packages are had is the machine's affair, as a builder's network is.
        self.environment |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        self.folder = self.root

    def build(self, steps: list[Step], instead: Callable[[str], str] = str) -> None:
        """Walk the steps; ``instead`` may put another command in a RUN step's place.

        Raises:
            StepFailedError: one failed.
        """
        for step in steps:
            text = self._placed(step.text)
            if step.word == "RUN":
                self._run(instead(text))
            elif step.word == "COPY" and not step.text.startswith("--from="):
                self._copy(*step.text.split())
            elif step.word == "WORKDIR":
                self.folder = Path(text)
                self.folder.mkdir(parents=True, exist_ok=True)
            elif step.word == "ENV":
                for name, value in _VALUE.findall(text):
                    self.environment[name] = value.replace(f"${name}", self.environment.get(name, ""))
            elif step.word == "HEALTHCHECK":
                self.health = json.loads(text[text.index("[") :])
            elif step.word in {"ENTRYPOINT", "CMD"}:
                self.command += json.loads(text)

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as it would run in a container of the image."""
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False
        )

    def _placed(self, text: str) -> str:
        return _PLACES.sub(f"{self.root}/", text)

    def _run(self, text: str) -> None:
        if _ACCOUNTS.search(text):
            self.left_out.append(text)
            return
        done = self.call("sh", "-ec", text)
        if done.returncode:
            message = f"RUN {text}\n{done.stdout}{done.stderr}"
            raise StepFailedError(message)

    def _copy(self, *parts: str) -> None:
        """A folder's content goes into the target, a file beside its like (as Docker does it)."""
        *sources, target = parts
        for source in sources:
            here, there = ROOT / source, self.folder / target
            if here.is_dir():
                shutil.copytree(here, there, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                there = there / here.name if target.endswith("/") else there
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(here, there)
