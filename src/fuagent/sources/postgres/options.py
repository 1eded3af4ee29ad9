"""What a person may set for a PostgreSQL source."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    """Every ``driver_params`` key of the driver ``postgres``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tls: Literal["off", "prefer", "require", "verify"] | None = Field(
        default=None,
        description="How the connection is encrypted: `verify` proves the server's certificate and name, `require` "
        'encrypts without proof, `prefer` takes what the server offers, `"off"`, in quotes, sends everything readable. '
        "Not set: `verify`, and `prefer` on the loopback address.",
    )
    tls_ca: str | None = Field(
        default=None, description="File with the certificates to prove the server by, if not the system's own."
    )
    connect_timeout: float = Field(default=10.0, gt=0, le=600, description="Seconds a connection may take to stand.")
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
    chunk_rows: int = Field(default=1000, ge=1, le=100_000, description="Rows encoded in one go.")
