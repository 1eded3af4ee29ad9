"""config.yaml to typed values; all mistakes at once, each with file, line, path and repair.

The file passes through several hands: ``config_yaml`` reads text and keeps lines,
``config_keys`` declares every key, ``config_credential`` reads secrets,
``config_check`` finds and words the mistakes, and this module puts the values together.
``config_docs`` writes about the keys: reference rows, JSON Schema, a commented example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from fuagent import config_credential, config_yaml
from fuagent.config_check import DELETE_FIELD, SECTIONS, OptionsOf, Reading
from fuagent.config_docs import Answers, Option, describe, example, json_schema
from fuagent.config_keys import (
    Constant,
    FileKeys,
    OnLostPlace,
    OnReject,
    OnSchemaChange,
    PusherKeys,
    Rules,
    SourceKeys,
    SyncKeys,
)
from fuagent.model import Credential, Deletes, Fact, Field, Finding, Level, Mask, Secret
from fuagent.model import Mapping as EventMapping

__all__ = [
    "Answers",
    "Config",
    "Option",
    "PusherConfig",
    "SourceConfig",
    "SyncConfig",
    "describe",
    "example",
    "json_schema",
    "load",
    "parse",
]

STATE_DIR = ".fuagent"


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """One source; ``options`` is what its driver's ``Options`` made of driver_params.

    ``credential`` reads the credential afresh and raises TryAgainError where a file is gone.
    """

    name: str
    driver: str
    endpoint: str
    options: BaseModel
    credential: Callable[[], Credential | None] = field(compare=False)
    proof: object = field(default=None, repr=False)
    """What the file says under credential, to tell whether that has changed."""


@dataclass(frozen=True, slots=True)
class PusherConfig:
    """One pusher; its fields are those of :class:`SourceConfig`."""

    name: str
    driver: str
    endpoint: str
    options: BaseModel
    credential: Callable[[], Credential | None] = field(compare=False)
    proof: object = field(default=None, repr=False)
    """What the file says under credential, to tell whether that has changed."""


@dataclass(frozen=True, slots=True)
class SyncConfig:
    """One sync; times in seconds, sizes in bytes."""

    name: str
    source: str
    pusher: str
    tables: tuple[str, ...]
    exclude: tuple[str, ...]
    mapping: EventMapping
    transform: str | None
    """``package.module:function`` every event goes through."""
    whole_transactions: bool
    deletes_given: bool
    """False: the service's document may choose; ``mapping.deletes`` is what holds otherwise."""
    batch_size: int
    batch_bytes: int
    batch_wait: float
    timeout: float
    drain: float
    on_reject: OnReject
    rejected_limit: int
    validate_rows: bool
    on_lost_place: OnLostPlace
    on_schema_change: OnSchemaChange
    trust_checkpoint: bool
    outcomes: Mapping[int, str]
    accept_rejected: bool


@dataclass(frozen=True, slots=True)
class Config:
    """All of config.yaml. ``base_dir`` is what relative paths in it start from."""

    path: Path
    base_dir: Path
    agent_id: str | None
    state_dir: Path
    sources: Mapping[str, SourceConfig]
    pushers: Mapping[str, PusherConfig]
    syncs: Mapping[str, SyncConfig]
    warnings: tuple[Finding, ...] = ()


def load(path: Path, *, environ: Mapping[str, str], options: OptionsOf) -> Config:
    """Read the configuration file.

    Args:
        path: Where it lies.
        environ: The environment, read once for every ``${NAME}``.
        options: Finds a driver's options by entry-point group and driver name.

    Raises:
        ConfigError: with every mistake there is, and the warnings too.
    """
    text = config_yaml.decode(_bytes(path), str(path))
    return parse(text, path=path, environ=environ, options=options)


def parse(text: str, *, environ: Mapping[str, str], options: OptionsOf, path: Path = Path("config.yaml")) -> Config:
    """Read the text of a file that lies, or would lie, at ``path``; otherwise as :func:`load`."""
    reading = Reading(config_yaml.read(text, str(path), environ), path)
    keys = reading.file()
    reading.credentials()
    params = {section: reading.options(group, options) for group, section in SECTIONS.items()}
    reading.syncs(keys)
    reading.warn(keys)
    error = reading.error()
    if error is not None:
        raise error
    assert keys is not None
    return _config(keys, params, path, reading)


def _bytes(path: Path) -> bytes:
    """What the file holds; only a regular file is opened, a pipe could wait for ever."""
    fix = "Give another --config, or let `fuagent init` write one."
    try:
        if path.is_file():
            with path.open("rb") as file:
                return file.read(config_yaml.MAX_BYTES + 1)
        what = "this is a directory or device, not a file" if path.exists() else "there is no such file"
    except OSError as error:
        what = f"the file cannot be read: {error.strerror or 'unknown reason'}"
        fix = "Make it readable for the user fuagent runs as."
    raise config_yaml.refuse(Finding(Level.ERROR, config_yaml.shown(str(path)), what, fix))


def _config(keys: FileKeys, params: Mapping[str, Mapping[str, BaseModel]], path: Path, reading: Reading) -> Config:
    def credential(section: str, name: str, entry: SourceKeys | PusherKeys) -> Callable[[], Credential | None]:
        if entry.credential is None:
            return _none
        return config_credential.reader(entry.credential, path.parent, reading.where((section, name, "credential")))

    return Config(
        path=path,
        base_dir=path.parent,
        agent_id=keys.agent_id,
        state_dir=path.parent / (keys.state_dir or STATE_DIR),
        sources={
            name: SourceConfig(
                name,
                entry.driver,
                entry.endpoint,
                params["sources"][name],
                credential("sources", name, entry),
                entry.credential,
            )
            for name, entry in keys.sources.items()
        },
        pushers={
            name: PusherConfig(
                name,
                entry.driver,
                entry.endpoint,
                params["pushers"][name],
                credential("pushers", name, entry),
                entry.credential,
            )
            for name, entry in keys.pushers.items()
        },
        syncs={name: _sync(name, sync) for name, sync in keys.syncs.items()},
        warnings=reading.findings(),
    )


def _none() -> None:
    """The credential where none is needed."""


def _sync(name: str, keys: SyncKeys) -> SyncConfig:
    return SyncConfig(
        name=name,
        source=keys.source,
        pusher=keys.pusher,
        tables=tuple(keys.tables),
        exclude=tuple(keys.exclude),
        mapping=EventMapping(
            fields=None if keys.fields is None else _fields(keys.fields),
            deletes=Deletes(keys.deletes or "row"),
            delete_field=keys.delete_field or DELETE_FIELD,
            where=keys.where.strip(),
            masks=_masks(keys),
        ),
        transform=keys.transform,
        whole_transactions=keys.whole_transactions,
        deletes_given=keys.deletes is not None,
        batch_size=keys.batch_size,
        batch_bytes=keys.batch_bytes,
        batch_wait=keys.batch_wait,
        timeout=keys.timeout,
        drain=keys.drain,
        on_reject=keys.on_reject,
        rejected_limit=keys.rejected_limit,
        validate_rows=keys.validation == "rows",
        on_lost_place=keys.on_lost_place,
        on_schema_change=keys.on_schema_change,
        trust_checkpoint=keys.trust_checkpoint,
        outcomes=keys.outcomes,
        accept_rejected=keys.accept_rejected,
    )


def _fields(rules: Rules) -> tuple[Field, ...]:
    return tuple(_field(name, rule) for name, rule in rules.items())


def _field(name: str, rule: str | Constant | Fact) -> Field:
    if isinstance(rule, Constant):
        return Field(name, constant=rule.value)
    return Field(name, fact=rule) if isinstance(rule, Fact) else Field(name, column=rule)


def _masks(keys: SyncKeys) -> tuple[Mask, ...]:
    salt = Secret(keys.mask_salt) if keys.mask_salt else None
    return tuple(Mask(column, masked.cover, salt, masked.length) for column, masked in keys.mask.items())
