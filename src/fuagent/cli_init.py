"""``fuagent init``: asks for what the options leave open and writes a commented configuration.

A secret is never asked for nor taken: the file holds ``${NAME}`` references, and
what is printed says which variables to set. The text is read back the way
``fuagent check`` reads it before it is written, so that nothing half right is left.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import typer

from fuagent import config, drivers
from fuagent.errors import ConfigError, StateError
from fuagent.model import Finding, Level

CREDENTIALS = ("key", "basic", "oauth2", "none")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DRIVERS = {
    "mysql": "mysql",
    "mariadb": "mysql",
    "postgres": "postgres",
    "postgresql": "postgres",
    "sqlite": "sqlite",
}
"""What a URL begins with → the driver it is for."""
_SERVERS = frozenset({"mysql", "postgres"})
_QUESTIONS = {
    "sqlite": "Path of the database file",
    "mysql": "Server and database, such as db.internal:3306/shop",
    "postgres": "Server and database, such as db.internal:5432/shop",
}
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options said; None is asked for on a terminal."""

    source_driver: str | None
    source_endpoint: str | None
    source_user: str | None
    tables: Sequence[str] | None
    service: str | None
    credential: str
    key_env: str
    agent_id: str | None


def write(path: Path, wanted: Wanted, *, force: bool) -> None:
    """Write the configuration to ``path`` and say what comes next.

    Raises:
        ConfigError: the answers make no configuration, or the file exists.
        StateError: the file cannot be written.
    """
    if path.exists() and not force:
        _refuse(str(path), "the file exists.", "Choose another with --config, or replace it with --force.")
    if wanted.credential not in CREDENTIALS:
        message = f"one of {', '.join(CREDENTIALS)} belongs here, never the credential itself."
        raise typer.BadParameter(message, param_hint="--credential")
    if not _VARIABLE.fullmatch(wanted.key_env):
        message = "the name of an environment variable belongs here, never the key itself."
        raise typer.BadParameter(message, param_hint="--key-env")
    text = _text(path, wanted)
    names = list(dict.fromkeys(_REFERENCE.findall(_uncommented(text))))
    config.parse(text, environ=dict.fromkeys(names, "set-later"), options=drivers.options, path=path)
    _store(path, text)
    _say_next(path, [name for name in names if name not in os.environ])


def _text(path: Path, wanted: Wanted) -> str:
    installed = tuple(dict.fromkeys(driver.name for driver in drivers.known(drivers.SOURCES)))
    likely = _DRIVERS.get((wanted.source_endpoint or "").partition("://")[0], "sqlite")
    driver = wanted.source_driver or _ask("Source driver", "--source-driver", likely, hint=", ".join(installed))
    question = _QUESTIONS.get(driver, "URL of the database, without user and password")
    endpoint = _url(driver, wanted.source_endpoint or _ask(question, "--source-endpoint"), path)
    user = wanted.source_user or (_ask("User at the database", "--source-user") if driver in _SERVERS else "")
    tables = wanted.tables or _ask("Tables, with commas between them", "--table").split(",")
    service = wanted.service or _ask("URL of the service's OpenAPI document", "--service")
    source = _name(endpoint)
    text = config.example(
        config.Answers(
            agent_id=wanted.agent_id or f"agent-{secrets.token_hex(6)}",
            tables=[table.strip() for table in tables if table.strip()],
            source_endpoint=endpoint,
            pusher_endpoint=service,
            source_driver=driver,
            source_user=user,
            credential=wanted.credential,
            source=source,
            sync=f"{source}-to-my-service",
        )
    )
    return text.replace("${SERVICE_KEY}", f"${{{wanted.key_env}}}")


def _ask(question: str, option: str, default: str | None = None, hint: str = "") -> str:
    if not sys.stdin.isatty():
        if default is not None:
            return default
        raise typer.BadParameter("nobody can be asked here: give it as an option.", param_hint=option)
    answer: str = typer.prompt(f"{question} ({hint})" if hint else question, default=default, err=True)
    return answer.strip()


def _url(driver: str, given: str, path: Path) -> str:
    """What people write becomes a URL; a relative path of a database in the file is relative to the file."""
    if "://" in given or driver not in _QUESTIONS:
        return given
    if driver in _SERVERS:
        return f"{driver}://{given}"
    database = Path(given)
    here = path.parent.resolve() == Path.cwd().resolve()
    return f"sqlite:///{database if here else database.absolute()}"


def _name(endpoint: str) -> str:
    """A name for the source, taken from its database: ``shop`` for ``sqlite:///data/shop.db``."""
    try:
        stem = Path(urlsplit(endpoint).path).stem
    except ValueError:
        stem = ""
    return _NO_NAME.sub("-", stem).strip("-.")[:60] or "source"


def _uncommented(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def _store(path: Path, text: str) -> None:
    """Readable for the owner alone from the first moment, and never half written."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StateError(
            f"the file cannot be written: {error.strerror or 'unknown reason'}.",
            where=str(path),
            fix="Choose another place with --config.",
        ) from error


def _say_next(path: Path, unset: Sequence[str]) -> None:
    typer.echo(f"Wrote {path}; only you can read it.")
    command = "fuagent" if path == Path("config.yaml") else f"fuagent --config {path}"
    if unset:
        typer.echo("\nIt takes secrets from the environment. Set:")
        typer.echo("\n".join(f"  export {name}=..." for name in unset))
    typer.echo(f"\nThen:\n  {command} check\n  {command} run")


def _refuse(where: str, what: str, fix: str) -> None:
    raise ConfigError(what, (Finding(Level.ERROR, where, what, fix),), where=where)
