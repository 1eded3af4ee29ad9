"""What a person may set for every source that is a server."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ServerOptions(BaseModel):
    """How the server is reached."""

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
