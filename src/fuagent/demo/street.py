"""The director: builds the street, lets life go on in the shop, kills both ends, compares.

Every part is a process of its own, started here and ended by its own process id:
the service, and the agent as ``python -m fuagent run``. Nothing waits for a
length of time: each step waits for what it promises, with a deadline.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.text import Text

from fuagent import control
from fuagent.demo.compare import Comparison, compare
from fuagent.demo.shop import TABLES, Shop
from fuagent.errors import FuagentError

DEADLINE = 60.0
"""Seconds one step may take on a busy machine."""
GRACE = 5.0
"""Seconds a process may take to end when it is asked to."""
POLL = 0.05
SYNC = "shop-to-service"
KEY = "SERVICE_KEY"

CONFIG = """\
# Written by `fuagent demo`: every table of the shop goes to its own path at the service.
agent_id: {agent_id}
sources:
  shop:
    driver: sqlite
    endpoint: sqlite:///shop.db
pushers:
  service:
    driver: openapi
    endpoint: {url}/openapi.json
    credential: {{key: "${{{key}}}"}}
    driver_params: {{batch_endpoint: "/ingest/{{table}}"}}
syncs:
  {sync}:
    source: shop
    pusher: service
    tables: [{tables}]
"""


def show(keep: Path | None = None, say: Callable[[Text], None] | None = None) -> bool:
    """Play the whole street in a temporary directory, or in ``keep``; True if both ends are equal.

    Raises:
        FuagentError: a step did not come true; the logs' last lines are told.
    """
    say = say or _printer()
    with _directory(keep) as directory, _signals_noted() as heed:
        street = _Street(directory, say, heed)
        try:
            equal = street.play()
        except FuagentError:
            street.tell_logs()
            raise
        finally:
            street.close()
    if keep is not None:
        say(Text(f"Everything is left in {keep}: shop.db, service.db, config.yaml and both logs."))
    return equal


def _printer() -> Callable[[Text], None]:
    console = Console(highlight=False, soft_wrap=True)
    return console.print


@contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="fuagent-demo-", ignore_cleanup_errors=True) as made:
            yield Path(made)
        return
    try:
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        used = any(keep.iterdir())
    except OSError as error:
        raise FuagentError(
            f"the directory cannot be used: {error.strerror}.", where=str(keep), fix="Choose another one with --keep."
        ) from error
    if used:
        raise FuagentError("the directory is not empty.", where=str(keep), fix="Name a new one with --keep.")
    yield keep.resolve()


@contextmanager
def _signals_noted() -> Iterator[Callable[[], None]]:
    """Signals that ask this process to end are noted, and end it where the function given is called.

    Raised wherever they happen to arrive, they would tear what is under way: a process just
    being started would be lost sight of, an event loop left half made.
    Only the main thread may say so; elsewhere they do what they did.
    """
    came: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, lambda number, _frame: came.append(number)) for number in asked}

    def heed() -> None:
        if came:
            raise KeyboardInterrupt

    try:
        yield heed
        heed()
    finally:
        for number, former in before.items():
            signal.signal(number, former)


# ---------------------------------------------------------------- processes


@dataclass(slots=True)
class _Process:
    """One part of the street: how it is started, its log, and the process that runs now."""

    command: list[str]
    log: Path
    directory: Path
    environment: Mapping[str, str]
    running: subprocess.Popen[bytes] | None = None

    def start(self, *, read: bool = False) -> IO[bytes] | None:
        """Start it; gives its standard output if that is to be read."""
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(  # noqa: S603 - the command is ours
                self.command,
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if read else log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the director alone, who ends the others in order
            )
        return self.running.stdout

    def kill(self) -> int:
        """SIGKILL: no chance to finish anything; gives the process id."""
        assert self.running is not None
        self.running.kill()
        self._reap()
        return self.running.pid

    def end(self) -> int | None:
        """SIGTERM, and SIGKILL for one that does not listen; gives the exit code."""
        if self.running is None:
            return None
        if self.running.poll() is None:
            self.running.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.running.wait(GRACE)
            self.running.kill()
        return self._reap()

    def _reap(self) -> int:
        assert self.running is not None
        code = self.running.wait()
        if self.running.stdout is not None:
            self.running.stdout.close()
        return code

    def alive(self) -> bool:
        return self.running is not None and self.running.poll() is None


@dataclass(slots=True)
class _Life:
    """Transactions in the shop, one after the other, until told to stop."""

    shop: Shop
    pause: float = 0.01
    transactions: int = 0
    _stopping: threading.Event = field(default_factory=threading.Event)
    _failed: list[Exception] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the transaction under way."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(GRACE)
            self._thread = None

    def check(self) -> None:
        if self._failed:
            raise FuagentError(f"the shop cannot be written: {self._failed[0]}.", where=str(self.shop.path))

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self.pause):
                self.shop.change()
                self.transactions += 1
        except Exception as error:  # told by check(), in the thread that people look at
            self._failed.append(error)


# ---------------------------------------------------------------- the street


class _NeverEqualError(Exception):
    """Both ends stay different: no step can follow but the comparison that says how."""


class _Street:
    """One run: the parts, and the steps in order."""

    def __init__(self, directory: Path, say: Callable[[Text], None], heed: Callable[[], None]) -> None:
        self._directory = directory
        self._say = say
        self._heed = heed
        self._began = time.monotonic()
        self._step = 0
        self._kills = 0
        self._events = 0
        self._url = ""
        self._shop = Shop(directory / "shop.db")
        self._life = _Life(self._shop)
        self._copy = directory / "service.db"
        environment = {**os.environ, KEY: secrets.token_hex(16), "SERVICE_DATABASE": str(self._copy)}
        self._framework = bool(find_spec("fastapi") and find_spec("uvicorn"))
        module = f"fuagent.demo.{'service_fastapi' if self._framework else 'service_plain'}"
        python = [sys.executable, "-m"]
        self._service = _Process([*python, module, "--port", "0"], directory / "service.log", directory, environment)
        config = ["--config", str(directory / "config.yaml")]
        # No option from the caller's own environment may lead the agent elsewhere.
        own = {name: value for name, value in environment.items() if not name.startswith("FUAGENT_")}
        self._agent = _Process([*python, "fuagent", *config, "run"], directory / "agent.log", directory, own)

    def play(self) -> bool:
        """All steps; True if the last comparison finds nothing."""
        try:
            self._open_shop()
            self._start_service()
            self._start_agent()
            self._live()
            self._kill_agent()
            self._kill_service()
        except _NeverEqualError as error:
            self._life.stop()
            self._tell(f"{error}: both ends still differ after {DEADLINE:.0f} seconds")
        return self._compare()

    def close(self) -> None:
        """End everything that was started, by its process id."""
        self._life.stop()
        self._agent.end()
        self._service.end()

    def tell_logs(self) -> None:
        """The last lines of both logs, for whoever has to find out why."""
        for process in (self._agent, self._service):
            if process.log.exists():
                lines = process.log.read_text("utf-8", "replace").splitlines()[-8:]
                self._say(Text(f"--- the end of {process.log.name}", style="dim"))
                for line in lines:
                    self._say(Text("".join(char if char.isprintable() else " " for char in line)))

    # -- steps

    def _open_shop(self) -> None:
        self._title("A small shop opens", f"shop.db: SQLite, tables {', '.join(TABLES)}")
        self._shop.open()
        self._tell(f"{self._rows()} rows")

    def _start_service(self) -> None:
        kind = "FastAPI" if self._framework else "the standard library alone, as FastAPI is not installed"
        self._title("A service starts that wants to know", f"written with {kind}; it keeps its own service.db")
        self._await_service()
        self._tell(f"{self._url}, process {self._pid(self._service)}, key in ${KEY}")

    def _start_agent(self) -> None:
        self._title("fuagent starts between them", "a snapshot first, then every change")
        text = CONFIG.format(
            agent_id=f"agent-{secrets.token_hex(6)}", url=self._url, key=KEY, sync=SYNC, tables=", ".join(TABLES)
        )
        path = self._directory / "config.yaml"
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        self._agent.start()
        self._until_equal("the snapshot")
        self._tell(f"{self._rows()} rows on both sides")

    def _live(self) -> None:
        self._title("The shop lives", "orders come and go, customers move, prices rise")
        self._life.start()
        self._until_written(60)
        self._until_delivering()
        self._life.stop()
        began = time.monotonic()
        self._until_equal("the changes")
        self._tell(f"{self._life.transactions} transactions so far, {self._rows()} rows on both sides", began)

    def _kill_agent(self) -> None:
        self._title("The agent is killed in the middle of it", "SIGKILL; the shop goes on meanwhile")
        self._life.start()
        self._until_written(40)
        self._until_delivering()
        self._note_events()
        self._tell(f"killed process {self._agent.kill()}")
        self._kills += 1
        self._until_written(40)
        self._agent.start()
        self._tell(f"started again as process {self._pid(self._agent)}")
        self._until_written(40)
        self._until_delivering()
        self._settle("what the agent missed")

    def _kill_service(self) -> None:
        self._title("The service is killed in the middle of it", "SIGKILL; the agent tries again until it answers")
        self._life.start()
        self._until_written(40)
        self._until_delivering()
        self._tell(f"killed process {self._service.kill()}")
        self._kills += 1
        self._until_written(40)
        self._until(lambda: self._status().get("retries"), "the agent to notice")
        self._await_service()
        self._tell(f"started again as process {self._pid(self._service)}")
        self._until_written(40)
        self._until_delivering()
        self._settle("what the service missed")

    def _compare(self) -> bool:
        self._title("Everything ends, and both ends are compared row by row", "")
        self._note_events()
        codes = self._agent.end(), self._service.end()
        comparisons = compare(self._shop.path, self._copy, TABLES)
        for one in comparisons:
            self._tell(str(one))
        equal = all(one.equal for one in comparisons)
        took = time.monotonic() - self._began
        figures = (
            f"{sum(one.rows for one in comparisons)} rows, {self._life.transactions} transactions, "
            f"at least {self._events} events delivered, {self._kills} kills, {took:.0f} seconds"
        )
        if codes[0]:
            self._tell(f"the agent ended with code {codes[0]}")
        self._say(
            Text.assemble(("EQUAL" if equal else "NOT EQUAL", "bold green" if equal else "bold red"), f": {figures}")
        )
        return equal

    # -- what is said

    def _title(self, what: str, how: str) -> None:
        self._heed()
        self._step += 1
        self._say(Text.assemble((f"{self._step}. {what}", "bold"), (f"  {how}", "dim") if how else ""))

    def _tell(self, what: str, began: float | None = None) -> None:
        self._say(Text(f"   {what}" + (f", {time.monotonic() - began:.1f} s after the last change" if began else "")))

    def _rows(self) -> int:
        return sum(one.rows for one in compare(self._shop.path, self._shop.path, TABLES))

    # -- what is waited for

    def _await_service(self) -> None:
        """Start the service and wait for the line that says where it listens; a second start keeps the port."""
        if self._url:
            self._service.command[-1] = self._url.rpartition(":")[2]
        pipe = self._service.start(read=True)
        assert pipe is not None
        line: list[bytes] = []
        reading = threading.Thread(target=lambda: line.append(pipe.readline()), daemon=True)
        reading.start()
        deadline = time.monotonic() + DEADLINE
        while reading.is_alive() and time.monotonic() < deadline:
            self._heed()
            reading.join(POLL)
        if not line or not line[0].startswith(b"http://"):
            raise FuagentError(
                "the service did not start.", where=" ".join(self._service.command[1:3]), fix="See its log above."
            )
        self._url = line[0].decode().strip()

    def _settle(self, what: str) -> None:
        self._life.stop()
        began = time.monotonic()
        self._until_equal(what)
        self._tell(f"{self._rows()} rows on both sides again", began)

    def _until_written(self, transactions: int) -> None:
        goal = self._life.transactions + transactions
        self._until(lambda: self._life.transactions >= goal, "the shop's transactions")

    def _until_delivering(self) -> None:
        """Wait until another batch has arrived, so that what comes next comes in the middle."""
        before = self._status().get("batches", 0)
        self._until(lambda: self._status().get("batches", 0) > before, "the next batch")

    def _until_equal(self, what: str) -> None:
        self._until(lambda: all(one.equal for one in self._comparisons()), what, _NeverEqualError(what))

    def _comparisons(self) -> list[Comparison]:
        return compare(self._shop.path, self._copy, TABLES)

    def _until(self, condition: Callable[[], object], what: str, late: Exception | None = None) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            self._heed()
            self._life.check()
            for process in (self._agent, self._service):
                if (
                    process.running is not None
                    and not process.alive()
                    and process.running.returncode != -signal.SIGKILL
                ):
                    raise FuagentError(f"{process.log.stem} ended while waiting for {what}.", where=str(process.log))
            status = self._status()
            if status.get("state") == "halted":
                raise FuagentError(f"the sync halted: {status['problem']}", where=SYNC, fix=str(status["fix"]))
            if time.monotonic() > deadline:
                raise late or FuagentError(f"{what} never came true in {DEADLINE:.0f} s.", where=str(self._directory))
            time.sleep(POLL)

    def _status(self) -> dict[str, Any]:
        """The running agent's own counters; empty while it does not answer."""
        with suppress(control.NotRunningError, FuagentError, FileNotFoundError):
            report = asyncio.run(control.call(self._directory / ".fuagent", "status"))
            assert isinstance(report, dict)
            return dict(report["syncs"][0])
        return {}

    def _note_events(self) -> None:
        """Add what this agent delivered: the count starts over with each agent."""
        self._events += self._status().get("rows", 0)

    @staticmethod
    def _pid(process: _Process) -> int:
        assert process.running is not None
        return process.running.pid
