"""What ``driver_params`` of the ``openapi`` pusher may say, each option declared once."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fuagent.contract import urls
from fuagent.contract.spec import Settings


class OpenAPIOptions(BaseModel):
    """What ``driver_params`` may say."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    batch_endpoint: str = Field(
        default="/ingest-batch",
        description="Path batches are POSTed to, below the server's own path; may hold {table} and {task}.",
    )
    status_endpoint: str | None = Field(
        default=None,
        description="Path (or URL) of the checkpoint question, for a document that does not name it.",
    )
    base_url: str | None = Field(
        default=None, description="The service's own URL, in place of the servers its document names."
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Hosts (host or host:port) beside the document's own that may have keys and rows.",
    )
    require_tls: bool = Field(default=False, description="Refuse http URLs.")
    accept_html: bool = Field(
        default=False, description="Take a 2xx answer with a page as delivered, for a service that means it."
    )
    ca_file: str | None = Field(
        default=None, description="PEM file of the authorities to trust, in place of the system's."
    )
    proxy: str | None = Field(
        default=None, repr=False, description="http URL of a proxy; the environment's is never used."
    )
    compression: Literal["none", "gzip", "zstd"] = Field(
        default="none", description="Content coding of request bodies."
    )
    max_connection_age: float = Field(
        default=300.0, gt=0, description="Seconds after which a connection is made anew (and its name looked up)."
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [host for host in hosts if "/" in host or "@" in host or not host.strip()]
        if wrong:
            raise ValueError("a host is written as host or host:port, without scheme and path")
        return hosts

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, proxy: str | None) -> str | None:
        if proxy is not None and urls.split(proxy) is None:
            raise ValueError("a proxy is written as http://host:port")
        return proxy

    @property
    def settings(self) -> Settings:
        """The part of it that decides how the document is read."""
        return Settings(
            batch_endpoint=self.batch_endpoint,
            status_endpoint=self.status_endpoint,
            base_url=self.base_url,
            allowed_hosts=self.allowed_hosts,
            require_tls=self.require_tls,
        )
