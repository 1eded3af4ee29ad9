"""What a person may set for an SQLite source."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    """Every ``driver_params`` key of the driver ``sqlite``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep_rows: int = Field(
        default=10_000,
        ge=0,
        description="Delivered changes that stay in the change log, so that a service restored from a backup "
        "can be brought up to date without a snapshot.",
    )
    poll_interval: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="Seconds between two looks at the file where no file notification arrives (network file systems).",
    )
    busy_timeout: float = Field(
        default=5.0,
        gt=0,
        le=600,
        description="Seconds to wait for a lock another program holds before trying again later.",
    )
    chunk_rows: int = Field(default=1000, ge=1, le=100_000, description="Rows read and encoded in one go.")
