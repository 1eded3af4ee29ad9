"""What the suite for pushers needs from an author: a receiving end that does as it is told."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fuagent.interfaces import Pusher, PusherContext
from fuagent.model import Batch, Credential

TABLES = ("a", "b")
LATER = 7.0
"""Seconds that :attr:`Act.LATER` asks for."""


class Act(Enum):
    """What the receiving end does with one batch, in words; how HTTP says it stands in brackets."""

    WISH = "takes it and wants a snapshot"
    BUSY = "is in trouble that passes (500)"
    LATER = "is in trouble for seven seconds (503 with Retry-After)"
    CUT = "reads it and is gone without an answer (a reset)"
    SILENT = "reads it and never answers"
    LARGE = "finds it too large (413)"
    REFUSE = "finds a row in it wrong (422)"
    DENY = "refuses the credential (401)"
    MOVE = "sends the sender elsewhere (307), where it would be taken"
    PAGE = "is something else, which answers with a page (200)"
    GONE = "is there no more, for good (410)"


class Said(Enum):
    """What the receiving end answers to the checkpoint question."""

    INDEX = "the index 42"
    NONE = "nothing is there of this sync (404)"
    BUSY = "trouble that passes (500)"
    SILENT = "never anything"
    DENY = "the credential is refused (401)"
    PAGE = "a page of something else (200)"
    NONSENSE = "what cannot be an index: a negative number"


class PusherKit:
    """One receiving end, made anew for every test, and drivers that deliver to it.

    By itself it takes every batch and has no checkpoint. A kit is entered before its test
    and left behind it. ``pusher``, ``received`` and ``events`` are needed; what else raises
    NotImplementedError may be left out if the suite's ``no_…`` attributes say why.

    Args:
        directory: An empty directory of this test alone.
    """

    secret = ""
    """A part of the credential that no text may show; empty where there is none."""
    timeout = 30.0
    """Seconds one attempt may take; the suite shortens it where the other side stays silent."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._made: list[Pusher] = []

    # ------------------------------------------------------------ what the author writes

    def pusher(self) -> Pusher:
        """A new driver object for the sync ``suite``, as if the agent had been restarted."""
        raise NotImplementedError

    async def received(self) -> list[bytes]:
        """The batches that arrived whole, as they came off the wire, wherever they arrived and whatever was answered."""
        raise NotImplementedError

    def events(self, body: bytes) -> list[dict[str, Any]]:
        """The events in what was received."""
        raise NotImplementedError

    async def play(self, act: Act) -> None:
        """The next batch meets this, the one behind it is taken again."""
        raise NotImplementedError

    async def say(self, said: Said) -> None:
        """The checkpoint question is answered so from now on."""
        raise NotImplementedError

    async def rotate(self) -> None:
        """From now on another credential is wanted, which is what the driver's context gives when asked again."""
        raise NotImplementedError

    # ------------------------------------------------------------ what it is given

    def context(
        self,
        *,
        endpoint: str = "",
        options: object = None,
        credential: Callable[[], Credential | None] = lambda: None,
    ) -> PusherContext:
        """The context to make a driver with."""
        return PusherContext(
            sync="suite",
            agent_id="agent-0123456789ab",
            endpoint=endpoint,
            credential=credential,
            options=options,
            timeout=self.timeout,
            base_dir=self.directory,
            cache=self.directory / "cache",
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take down what the kit set up."""

    # ------------------------------------------------------------ what the suite uses

    def made(self) -> Pusher:
        """A driver that is closed when the test ends."""
        self._made.append(self.pusher())
        return self._made[-1]

    async def ready(self) -> Pusher:
        """A driver that is open."""
        pusher = self.made()
        await pusher.open()
        return pusher

    async def finish(self) -> None:
        """Close every driver."""
        for pusher in self._made:
            await pusher.close()


def batch(*keys: int, number: int = 1, end: bool = False, suggested: bool = False) -> Batch:
    """A batch with one event for each key."""
    texts = tuple(b'{"id":%d,"v":"},{\xc3\xa9\\n","index":%d}' % (key, key + 100) for key in keys)
    key = f"suite.1.{number}"
    return Batch(
        "suite", "agent-0123456789ab", key, texts, TABLES[0], is_snapshot_end=end, snapshot_sync_suggested=suggested
    )
