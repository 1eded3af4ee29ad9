"""The disk under the journal: what a dying process leaves on it, and what a power cut does.

The journal itself is the real one. What is simulated is what SQLite's promises leave open:
commits behind the last synchronous one may be there, may be gone, or may be torn in the
middle; and any byte may turn over.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from fuagent.errors import JournalWriteError
from fuagent.journal import FILE, Journal, SyncJournal

MEMORY = Path("/dev/shm")


class Disk:
    """One state directory through many lives of the agent."""

    def __init__(self, chance: random.Random, *, cuts: bool) -> None:
        self.directory = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.full = False
        self.torn = 0
        """How often a power cut left commits torn in the middle."""
        self._chance = chance
        self._cuts = cuts
        self._kept: dict[str, bytes] = {}

    def synced(self) -> None:
        """What is in the files now is on disk."""
        if self._cuts:
            self._kept = self._files()

    def dies(self) -> dict[str, bytes]:
        """The files as a killed process leaves them: nothing is closed, nothing is tidied up."""
        return self._files()

    def killed(self, now: dict[str, bytes]) -> None:
        """The process is gone; with a power cut so is, in part, what was not synchronous."""
        left = now
        if self._cuts and self._kept:
            torn = self._torn(now)
            left = self._kept | ({f"{FILE}-wal": torn} if torn is not None else {})
        self.lose()
        for name, data in left.items():
            (self.directory / name).write_bytes(data)

    def _torn(self, now: dict[str, bytes]) -> bytes | None:
        """The log as synced and some bytes more, where it only grew since."""
        log = f"{FILE}-wal"
        before, after = self._kept.get(log, b""), now.get(log, b"")
        if now.get(FILE) != self._kept.get(FILE) or len(after) <= len(before) or not after.startswith(before):
            return None
        self.torn += 1
        return after[: self._chance.randint(len(before), len(after))]

    def lose(self) -> None:
        """Everything is gone."""
        for path in self.directory.glob(f"{FILE}*"):
            path.unlink()

    def flip(self) -> None:
        """One byte turns over."""
        paths = sorted(path for path in self.directory.glob(f"{FILE}*") if not path.name.endswith("-shm"))
        paths = [path for path in paths if path.stat().st_size]
        if not paths:
            return
        path = self._chance.choice(paths)
        data = bytearray(path.read_bytes())
        first_page = self._chance.random() < 0.5
        data[self._chance.randrange(min(len(data), 200) if first_page else len(data))] ^= 1 << self._chance.randrange(8)
        path.write_bytes(data)
        self._kept = self._files()

    def close(self) -> None:
        """Clean up."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _files(self) -> dict[str, bytes]:
        return {
            path.name: path.read_bytes()
            for path in self.directory.glob(f"{FILE}*")
            if not path.name.endswith(("-shm", "-journal"))
        }


class Watched(SyncJournal):
    """A journal in front of and behind whose every write the process may end."""

    def __init__(self, journal: Journal, name: str, disk: Disk, step: Callable[[str], None]) -> None:
        self._disk = disk
        self._step = step
        super().__init__(journal, name)

    def save(self, record, anchor=None):
        self._before("save")
        super().save(record, anchor)
        self._disk.synced()
        self._step("journal: saved")

    def advance(self, record, anchor):
        self._before("advance")
        super().advance(record, anchor)
        self._step("journal: advanced")

    def set_aside(self, *row):
        self._before("set aside")
        number = super().set_aside(*row)
        self._disk.synced()
        self._step("journal: set aside")
        return number

    def _before(self, what: str) -> None:
        self._step(f"journal: {what}")
        if self._disk.full:
            raise JournalWriteError("the journal takes no writes (the disk is full).", fix="Free disk space.")
