"""What a person may set for a MySQL or MariaDB source."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    """Every ``driver_params`` key of the driver ``mysql``."""

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
        default=5.0,
        ge=0.1,
        le=300,
        description="Seconds after which a silent server is to give a sign of life; three of them missed end the connection.",
    )
    chunk_rows: int = Field(default=1000, ge=1, le=100_000, description="Rows encoded in one go.")
