"""PostgreSQL as a source."""

from fuagent.sources.postgres.source import Postgres

__all__ = ["Postgres"]
