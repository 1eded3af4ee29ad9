"""SQLite as a source: one database file, its changes kept by triggers."""

from fuagent.sources.sqlite.options import Options
from fuagent.sources.sqlite.source import SQLite

__all__ = ["Options", "SQLite"]
