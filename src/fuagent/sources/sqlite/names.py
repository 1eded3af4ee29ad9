"""Names: the file behind an endpoint, what fuagent calls its own things in it, and how any name is quoted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote as percent
from urllib.parse import unquote, urlsplit

from fuagent.errors import HaltSyncError

PREFIX = "_fuagent_"
"""Every table and trigger of ours begins with it, whichever agent and sync it is for."""


def quote(name: str) -> str:
    """Any name as an SQL identifier (https://sqlite.org/lang_keywords.html)."""
    return '"{}"'.format(name.replace('"', '""'))


def file_of(endpoint: str, base_dir: Path) -> Path:
    """The file an endpoint names: ``sqlite:///below/base.db`` or ``sqlite:////from/the/root.db``.

    Raises:
        HaltSyncError: the endpoint is spelled wrong.
    """
    parts = urlsplit(endpoint)
    path = unquote(parts.path)[1:]
    if parts.scheme != "sqlite" or parts.netloc or parts.query or parts.fragment or not path or "\0" in path:
        raise HaltSyncError(
            "the endpoint of an SQLite source names a file and nothing else",
            where="endpoint",
            fix="write sqlite:///data/shop.db, or sqlite:////var/data/shop.db from the root; ? # % as %3F %23 %25",
        )
    return base_dir / path


def uri_of(path: Path) -> str:
    """The file as an SQLite URI that opens it for writing and never creates it."""
    return f"file:{percent(str(path.absolute()))}?mode=rw"


@dataclass(frozen=True, slots=True)
class Names:
    """Our own names in a database, for one sync of one agent."""

    prefix: str

    @classmethod
    def of(cls, agent_id: str, sync: str) -> Names:
        """The names for this agent and sync: a digest, so that no id can ask for a strange name."""
        digest = hashlib.sha256(f"{agent_id}\0{sync}".encode()).hexdigest()
        return cls(f"{PREFIX}{digest[:12]}_")

    @property
    def log(self) -> str:
        """The table that holds the changes."""
        return f"{self.prefix}log"

    @property
    def meta(self) -> str:
        """The table that says how to read them."""
        return f"{self.prefix}meta"

    def trigger(self, number: int, event: str) -> str:
        """The trigger that writes one kind of change of the table version ``number``."""
        return f"{self.prefix}{number}_{event}"
