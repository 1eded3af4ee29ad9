"""What the engine has to know of one sync's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from fuagent.model import Mapping


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """One sync. Times in seconds, sizes in bytes; the names are those of ``config.yaml``."""

    name: str
    agent_id: str
    mapping: Mapping = field(default_factory=Mapping)
    deletes_given: bool = False
    """Whether ``deletes`` was configured; if not, the document may choose."""
    batch_size: int = 1000
    batch_bytes: int = 1_000_000
    batch_wait: float = 0.0
    whole_transactions: bool = False
    drain: float = 20.0
    on_reject: str = "halt"
    rejected_limit: int = 1000
    validate_rows: bool = False
    on_lost_place: str = "continue"
    on_schema_change: str = "follow"
    trust_checkpoint: bool = False
    accept_rejected: bool = False
    """Whether a 2xx may name rows as rejected: the service's checkpoint is then no proof of every row below it."""
    shape: str = ""
    """Hash of tables, filters and delete mode."""
