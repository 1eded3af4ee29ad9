"""What every measurement shares: a counting service, agents beside it, the kernel's figures about a process, the report."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

HERE = Path(__file__).parent
ROWS = int(os.environ.get("ROWS", "300000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
LARGE = int(os.environ.get("LARGE", "2000000"))
SMALL = 200_000


@dataclass
class Line:
    """One line of the report."""

    what: str
    figure: str
    target: str = ""
    met: bool | None = None


class Counter:
    """The counting service as a process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "service.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/ingest-batch"

    def ask(self, word: str) -> dict[str, object]:
        """``mark`` or ``report``."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return dict(json.loads(self.process.stdout.readline()))


@contextmanager
def street(
    directory: Path, sources: dict[str, object], syncs: dict[str, object]
) -> Iterator[tuple[Counter, Callable[..., subprocess.Popen[bytes]]]]:
    """A counting service, and a way to start the agent with these sources and syncs; the pusher is ``service``."""
    counter = Counter()
    config = {
        "agent_id": "agent-000000000000",
        "sources": sources,
        "pushers": {"service": {"driver": "openapi", "endpoint": f"http://127.0.0.1:{counter.port}/openapi.json"}},
        "syncs": syncs,
    }
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    path.chmod(0o600)
    started: list[subprocess.Popen[bytes]] = []

    def agent(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "fuagent", "--config", str(path), "run", "--log-level", "warning", *arguments]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(HERE)})
        started.append(process)
        return process

    try:
        yield counter, agent
    finally:
        for process in [*started, counter.process]:
            if process.poll() is None:
                process.kill()
            process.wait()


def peak(process: subprocess.Popen[bytes], settled: Callable[[], bool]) -> float:
    """Wait until ``settled``; gives the highest memory of the process so far, in MB."""
    while process.poll() is None and not settled():
        time.sleep(0.05)
    return memory_of(process, "VmHWM")


def memory_of(process: subprocess.Popen[bytes], what: str) -> float:
    """A line of the process's status (proc(5)), in MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith(what)]
    return int(line.split()[1]) / 1024


def rate(counter: Counter) -> float:
    """Rows a second between the first and the last request."""
    told = counter.ask("report")
    return float(str(told["rows"])) / (float(str(told["last"])) - float(str(told["first"])))


def rows_of(counter: Counter) -> int:
    """Rows that have arrived since the last mark."""
    return int(str(counter.ask("report")["rows"]))


def wait_for(counter: Counter, rows: int, most: float = 60) -> None:
    """Until so many rows have arrived; ``most`` are seconds."""
    end = time.monotonic() + most
    while rows_of(counter) < rows:
        if time.monotonic() > end:
            sys.exit("rows never arrived; see the log above")
        time.sleep(0.05)


def finished(process: subprocess.Popen[bytes]) -> float:
    """Wait for an agent run with ``--once``; gives the processor time it took, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.wait(600) != 0:
        sys.exit("the agent failed; see its log above")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def shown(sync: dict[str, int]) -> str:
    """Settings that are not the defaults."""
    return "".join(f", {name} {value}" for name, value in sync.items())


def speed(what: str, ours: list[float], others: list[float], name: str, least: float | None) -> Line:
    """A rate beside another one of the same rounds; it is to be at least so many times as high."""
    ratio = statistics.median(one / other for one, other in zip(ours, others, strict=True))
    figure = f"{statistics.median(ours):,.0f} = {ratio:.2f} x {name} ({statistics.median(others):,.0f})"
    return Line(what, figure) if least is None else Line(what, figure, f">= {least} x", ratio >= least)


def memory(what: str, measure: Callable[[int], float], large: int) -> Line:
    """Peak memory at a large size beside a small one."""
    small, big = measure(SMALL), measure(large)
    figure = f"{big:.0f} MB at {large:,} rows, {small:.0f} MB at {SMALL:,} ({big / small - 1:+.0%})"
    return Line(what, figure, "< 120 MB, within 10 %", big < 120 and big <= small * 1.1)


def cpu(pid: int) -> float:
    """Seconds of processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(title: str, lines: list[Line]) -> None:
    """Print one table."""
    width = max(len(line.what) for line in lines)
    print(f"\n{title}, medians of {ROUNDS}, one run on this machine\n")
    for line in lines:
        verdict = {True: "met", False: "MISSED", None: ""}[line.met]
        print(f"{line.what:<{width}}  {line.figure:<64}  {line.target:<22} {verdict}")
