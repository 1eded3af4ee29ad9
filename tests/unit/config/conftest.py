"""A config that is right, and drivers to check it against."""

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from fuagent import config
from fuagent.errors import ConfigError
from fuagent.model import Finding, Level

RIGHT = """\
agent_id: agent-1
sources:
  shop:
    driver: sqlite
    endpoint: sqlite:///data/shop.db
pushers:
  service:
    driver: openapi
    endpoint: https://api.example.com/openapi.json
    credential: {key: "k3y-of-mine"}
syncs:
  orders:
    source: shop
    pusher: service
    tables: [orders]
"""


class SourceOptions(BaseModel):
    """Options of a source of the tests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    speed: int = Field(5, ge=1, description="How fast.", examples=[7])


class Inner(BaseModel):
    """A section within options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    depth: int = 1


class PusherOptions(BaseModel):
    """Options of a pusher of the tests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_endpoint: str = Field("/ingest-batch", description="Where batches go.")
    hosts: tuple[str, ...] = Field((), description="Hosts that are trusted.")
    inner: Inner | None = None
    inners: dict[str, list[Inner]] = Field(default_factory=dict)

    @field_validator("batch_endpoint")
    @classmethod
    def _slash(cls, value: str) -> str:
        if not value.startswith("/"):
            raise ValueError(f"{value} does not begin with a slash")
        return value


class NothingOptions(BaseModel):
    """Options of a pusher that goes nowhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    needs_endpoint: ClassVar[bool] = False


DRIVERS = {
    ("fuagent.sources", "sqlite"): SourceOptions,
    ("fuagent.sources", "mysql"): SourceOptions,
    ("fuagent.pushers", "openapi"): PusherOptions,
    ("fuagent.pushers", "stdout"): NothingOptions,
}


def options(group: str, name: str) -> type[BaseModel]:
    """What the lookup of drivers answers."""
    if (group, name) in DRIVERS:
        return DRIVERS[group, name]
    what = f"there is no driver {name}"
    raise ConfigError(what, (Finding(Level.ERROR, "", what, "Did you mean sqlite?"),))


@pytest.fixture
def read(tmp_path: Path):
    """Read a text as the config.yaml of an empty directory."""

    def parse(text: str, **environ: str) -> config.Config:
        return config.parse(text, path=tmp_path / "config.yaml", environ=environ, options=options)

    return parse


@pytest.fixture
def mistakes(read, tmp_path):
    """The findings of a text that is wrong, as (line and path, what, fix)."""

    def parse(text: str, **environ: str) -> list[tuple[str, str, str]]:
        with pytest.raises(ConfigError) as caught:
            read(text, **environ)
        start = f"{tmp_path / 'config.yaml'}:"
        found = [found for found in caught.value.findings if found.level is Level.ERROR]
        assert all(finding.where.startswith(start) and finding.what and finding.fix for finding in found)
        return [(finding.where.removeprefix(start), finding.what, finding.fix) for finding in found]

    return parse


@pytest.fixture
def right() -> str:
    """A config without a mistake."""
    return RIGHT


@pytest.fixture
def drivers():
    """Group and name of every driver of the tests, with its options."""
    return DRIVERS


@pytest.fixture
def lookup():
    """The lookup itself."""
    return options
