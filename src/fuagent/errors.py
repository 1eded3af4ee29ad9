"""Every exception of fuagent, in one tree, grouped by what happens next.

::

    FuagentError
    ├── StopAgentError          the agent cannot run: fix it and start again
    │   ├── ConfigError         config.yaml is wrong; carries every finding
    │   └── StateError          the state directory or journal cannot be used
    ├── HaltSyncError           this sync stops and says why; the others go on
    │   ├── DecodeError         bytes of the source that make no sense
    │   └── JournalWriteError   the journal takes no writes; goes on when it does
    ├── TryAgainError           passes by itself: source or service not reachable
    ├── LostPlaceError          continuity cannot be proven any more
    └── PayloadError            a request body at the receiving end that breaks the contract

The reaction is the type; nothing else decides it.
Each error reads as: what happened, where, what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuagent.model import Finding, Place

MENDED_CREDENTIAL = (
    "one in a file is then read again by itself, one in config.yaml with fuagent reload, "
    "one in the environment when the agent starts again"
)
"""How a credential that was put right comes to be used."""


class FuagentError(Exception):
    """Base of all errors fuagent raises on purpose.

    Args:
        what: What happened, one sentence without a secret or a row value.
        where: The config path, URL (scheme, host, path only) or file it concerns.
        fix: What the reader can do about it.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} Fix: {self.fix}" if self.fix else text


class StopAgentError(FuagentError):
    """The agent cannot run at all."""


class ConfigError(StopAgentError):
    """The configuration is wrong; ``findings`` holds every mistake at once."""

    def __init__(self, what: str, findings: tuple[Finding, ...] = (), *, where: str = "") -> None:
        super().__init__(what, where=where)
        self.findings = findings


class StateError(StopAgentError):
    """The state directory is locked, unwritable, or written by a newer fuagent."""


class HaltSyncError(FuagentError):
    """One sync stops; a person has to act."""


class DecodeError(HaltSyncError):
    """Bytes from the source cannot be what their format says they are."""


class JournalWriteError(HaltSyncError):
    """The journal could not be written; nothing more is sent until it can."""


class TryAgainError(FuagentError):
    """A fault that passes by itself; the same work is tried again.

    ``retry_after`` is a floor in seconds where the other side named one.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "", retry_after: float | None = None) -> None:
        super().__init__(what, where=where, fix=fix)
        self.retry_after = retry_after


class UnauthorisedError(TryAgainError):
    """Credentials were refused; those in files are read again, and all are tried slowly."""


class WrongAnswerError(TryAgainError):
    """Something answers that is not the service; tried again slowly."""


class LostPlaceError(FuagentError):
    """The place in the source's log is gone or cannot be proven.

    ``place`` is where to go on where the source knows it: right behind what cannot be
    delivered (a truncated table, say). Without it the sync goes on from the oldest place.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "", place: Place | None = None) -> None:
        super().__init__(what, where=where, fix=fix)
        self.place = place


class PayloadError(FuagentError):
    """A request body that is not what the contract says; the receiving end answers it with 422."""
