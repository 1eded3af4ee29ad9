"""What a person may set for a PostgreSQL source."""

from __future__ import annotations

from pydantic import Field

from fuagent.sources.options import ServerOptions


class Options(ServerOptions):
    """Every ``driver_params`` key of the driver ``postgres``."""

    heartbeat: float = Field(
        default=10.0,
        ge=0.1,
        le=300,
        description="Seconds after which a silent server is asked for a sign of life; three of them missed end the connection.",
    )
    home_schema: str = Field(
        default="public", min_length=1, description="The schema whose tables are named without their schema."
    )
    publication: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        description="Name of the publication, where somebody else makes it. Not set: `fuagent_`, the agent and the sync.",
    )
    slot: str | None = Field(
        default=None,
        pattern="^[a-z0-9_]{1,63}$",
        description="Name of the replication slot. Not set: as the publication's own.",
    )
    failover: bool = Field(
        default=True,
        description="Whether a standby may keep a copy of the replication slot (PostgreSQL 17 and later), so that the "
        "sync goes on when it is promoted. The standby needs `sync_replication_slots`; a server without one is none "
        "the worse for it.",
    )
    chunk_rows: int = Field(default=1000, ge=1, le=100_000, description="Rows encoded in one go.")
