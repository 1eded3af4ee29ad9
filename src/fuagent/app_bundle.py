"""``fuagent support-bundle``: what somebody who helps has to see, in one file, without a secret or a row.

Each part is gathered for itself, so that what is broken keeps nothing else out: a part that
cannot be had holds the reason. Nothing is changed, and a running agent goes on.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import io
import os
import platform
import re
import resource
import shutil
import sqlite3
import ssl
import stat
import sys
import tarfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import orjson

from fuagent import app, app_commands, app_cover, control, drivers, journal_look
from fuagent.app_cover import Covered
from fuagent.contract.text import address, clean
from fuagent.errors import ConfigError, FuagentError
from fuagent.journal import FILE
from fuagent.model import Finding, Level
from fuagent.version import __version__

PATIENCE = 40.0
"""Seconds that one part may take: a database that does not answer must not keep the rest waiting."""
LOG_BYTES = 2_000_000
"""How much of the log's end is looked at."""
_LOG_LINE = re.compile(r'\{"[^\n]*"event":[^\n]*\}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [^\n]*')
"""One event as fuagent writes it, for programs or for people, whatever a supervisor puts before it."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the bundle is made from; ``state_dir`` and ``log`` only where the command names them."""

    config: Path
    state_dir: Path | None
    log: Path | None


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the bundle; ``places`` is in how many places of it a secret was covered."""

    name: str
    about: str
    data: bytes
    places: int
    whole: bool
    """False where it holds the reason why there is no more."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """The parts, and how many secrets they were looked through for."""

    parts: Sequence[Part]
    secrets: int


async def gather(wanted: Wanted) -> Bundle:
    """Everything there is to be had."""
    covered = app_cover.read(wanted.config, os.environ)
    gathering = _Gathering(wanted, covered, wanted.state_dir or covered.state_dir)
    parts = [await gathering.part(name, about, make) for name, about, make in gathering.parts()]
    return Bundle(parts, len(covered.secrets))


class _Gathering:
    """One bundle in the making."""

    def __init__(self, wanted: Wanted, covered: Covered, state_dir: Path) -> None:
        self._wanted = wanted
        self._covered = covered
        self._state_dir = state_dir

    def parts(self) -> Sequence[tuple[str, str, Callable[[], Awaitable[bytes]]]]:
        """Name, what it is, and what makes it."""
        return (
            ("system.json", "versions of fuagent, Python and packages; the machine", self._system),
            ("config.yaml", "the configuration, without secrets and comments", self._config),
            ("check.txt", "what fuagent check finds", self._check),
            ("tables.json", "sources and services: drivers, hosts, tables with their columns", self._tables),
            ("status.json", "what the running agent says of each sync", self._status),
            ("metrics.txt", "the running agent's metrics", self._metrics),
            ("journal.json", "what the journal remembers, without the rows set aside", self._journal),
            ("state-dir.json", "the files of the state directory, by name and size", self._files),
            ("log.txt", "the end of the log", self._log),
        )

    async def part(self, name: str, about: str, make: Callable[[], Awaitable[bytes]]) -> Part:
        """One part, or why it is not to be had; secrets covered in both."""
        whole = False
        try:
            async with asyncio.timeout(PATIENCE):
                data = await make()
            whole = True
        except TimeoutError:
            data = f"Not to be had within {PATIENCE:.0f} s.\n".encode()
        except OSError as error:
            data = f"Not to be had: {error.filename or 'a file'}: {error.strerror}.\n".encode(errors="replace")
        except (FuagentError, sqlite3.Error) as error:
            data = f"Not to be had: {error}\n".encode(errors="replace")
        except Exception as error:  # the bundle is for when things are broken; an error's own text may hold anything
            data = f"Not to be had: a defect, {type(error).__name__}.\n".encode()
        return Part(name, about, *self._covered.over(data), whole)

    async def _system(self) -> bytes:
        packages = {one.name: one.version for one in importlib.metadata.distributions()}
        installed = [asdict(one) for group in (drivers.SOURCES, drivers.PUSHERS) for one in drivers.known(group)]
        return _json(
            {
                "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "fuagent": __version__,
                "python": sys.version,
                "platform": platform.platform(),
                "processors": os.cpu_count(),
                "time_zone": time.tzname,
                "sqlite": sqlite3.sqlite_version,
                "openssl": ssl.OPENSSL_VERSION,
                "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
                "variables": sorted(name for name in os.environ if name.startswith("FUAGENT_")),
                "drivers": installed,
                "packages": dict(sorted(packages.items())),
            }
        )

    async def _config(self) -> bytes:
        if self._covered.text is None:
            raise FuagentError(f"the file cannot be read, and so nothing of it is told. {self._covered.problem}")
        return self._covered.text.encode()

    async def _check(self) -> bytes:
        try:
            findings = await app_commands.check(app.setup(self._wanted.config, self._wanted.state_dir))
        except ConfigError as error:
            findings = list(error.findings) or [Finding(Level.ERROR, error.where, error.what)]
        return "".join(_line(one) for one in findings).encode() or b"Nothing was found.\n"

    async def _tables(self) -> bytes:
        setup = app.setup(self._wanted.config, self._wanted.state_dir)
        told = {}
        for name, sync in setup.config.syncs.items():
            source, pusher = setup.config.sources[sync.source], setup.config.pushers[sync.pusher]
            told[name] = {
                "source": {"name": source.name, "driver": source.driver, "endpoint": address(source.endpoint)},
                "service": {"name": pusher.name, "driver": pusher.driver, "endpoint": address(pusher.endpoint)},
                "tables": await _discovered(setup, name),
            }
        return _json(told)

    async def _status(self) -> bytes:
        return _json(await self._asked("status"))

    async def _metrics(self) -> bytes:
        return str(await self._asked("metrics")).encode()

    async def _asked(self, command: str) -> object:
        try:
            return await control.call(self._state_dir, command)
        except control.NotRunningError:
            raise FuagentError("no agent is running.", where=str(self._state_dir)) from None

    async def _journal(self) -> bytes:
        path = self._state_dir / FILE
        if not path.is_file():
            raise FuagentError("there is no journal.", where=str(path))
        return _json(journal_look.look(path))

    async def _files(self) -> bytes:
        free = shutil.disk_usage(self._state_dir).free
        files = [_file(path, self._state_dir) for path in sorted(self._state_dir.rglob("*"))]
        return _json({"directory": str(self._state_dir), "free_bytes": free, "files": files})

    async def _log(self) -> bytes:
        if self._wanted.log is None:
            raise FuagentError("no file was named.", fix="Name one with --log; journalctl -u fuagent -o cat writes it.")
        if not self._wanted.log.is_file():
            raise FuagentError("there is no such file.", where=str(self._wanted.log))
        with self._wanted.log.open("rb") as file:
            file.seek(max(0, self._wanted.log.stat().st_size - LOG_BYTES))
            text = _COLOURS.sub("", file.read().decode(errors="replace"))
        lines = text.splitlines()
        ours = [found[0] for line in lines if (found := _LOG_LINE.search(line))]
        note = f"{len(lines) - len(ours)} lines left out that fuagent did not write: nobody knows what is in them.\n"
        return "\n".join([*ours, note]).encode()


async def _discovered(setup: app.Setup, name: str) -> object:
    """The tables of a sync with their columns; no row is read."""
    source = app.source(setup, setup.config.syncs[name], setup.config.agent_id or "agent-bundle", lambda _finding: None)
    try:
        await source.open()
        return [asdict(table) for table in await source.discover()]
    except FuagentError as error:
        return f"Not to be had: {error}"
    finally:
        await source.close()


def _line(finding: Finding) -> str:
    text = f"{finding.level}: {clean(finding.where)}: {clean(finding.what, 1000)}\n"
    return text + (f"  fix: {clean(finding.fix, 1000)}\n" if finding.fix else "")


def _file(path: Path, directory: Path) -> dict[str, object]:
    told: dict[str, object] = {"name": str(path.relative_to(directory))}
    with suppress(OSError):  # it may be gone by now
        found = path.lstat()
        told |= {"mode": stat.filemode(found.st_mode), "bytes": found.st_size, "changed": found.st_mtime}
        if path.parent.name == "documents" and path.is_file():
            told["sha256"] = sha256(path.read_bytes()).hexdigest()  # whether it is the document that is meant
    return told


def _json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str)


def write(bundle: Bundle, path: Path) -> None:
    """The bundle as a file that only its owner may read.

    Raises:
        FileExistsError: there is a file of that name.
        OSError: it cannot be written.
    """
    folder = path.name.removesuffix(".gz").removesuffix(".tar")
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for part in bundle.parts:
            member = tarfile.TarInfo(f"{folder}/{part.name}")
            member.size, member.mode, member.mtime = len(part.data), 0o600, int(time.time())
            archive.addfile(member, io.BytesIO(part.data))
