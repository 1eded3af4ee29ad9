"""What a person may set for a MySQL or MariaDB source."""

from __future__ import annotations

from pydantic import Field

from fuagent.sources.options import ServerOptions


class Options(ServerOptions):
    """Every ``driver_params`` key of the driver ``mysql``."""

    heartbeat: float = Field(
        default=5.0,
        ge=0.1,
        le=300,
        description="Seconds after which a silent server is to give a sign of life; three of them missed end the connection.",
    )
    chunk_rows: int = Field(default=1000, ge=1, le=100_000, description="Rows encoded in one go.")
