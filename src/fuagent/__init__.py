"""Keeps HTTP services in step with databases.

What the author of a driver needs stands here: the two promises (:class:`Source`,
:class:`Pusher`), the values they trade in, and the errors that say what happens
next. Everything else is reached through its own module.
"""

from fuagent.errors import FuagentError, HaltSyncError, LostPlaceError, StopAgentError, TryAgainError
from fuagent.interfaces import Pusher, PusherContext, Source, SourceContext
from fuagent.model import (
    Anchor,
    Answer,
    Batch,
    Checkpoint,
    Column,
    Finding,
    Kind,
    Level,
    Outcome,
    Place,
    Rows,
    Table,
    TableSpec,
    Verdict,
)
from fuagent.version import __version__

__all__ = [
    "Anchor",
    "Answer",
    "Batch",
    "Checkpoint",
    "Column",
    "Finding",
    "FuagentError",
    "HaltSyncError",
    "Kind",
    "Level",
    "LostPlaceError",
    "Outcome",
    "Place",
    "Pusher",
    "PusherContext",
    "Rows",
    "Source",
    "SourceContext",
    "StopAgentError",
    "Table",
    "TableSpec",
    "TryAgainError",
    "Verdict",
    "__version__",
]
