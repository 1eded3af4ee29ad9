"""The command that runs a ready-made receiving service: what it is told, and what it says when it is ready."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fuagent.cli_frame import DebugOption, given, one_of, wait
from fuagent.errors import StopAgentError

if TYPE_CHECKING:
    from fuagent.listen import Address

_UNKNOWN = ("ignore", "reject", "add")
_MAKE_KEY = "export {}=$(python3 -c 'import secrets; print(secrets.token_urlsafe(32))')"
_LINES = """\
The agent needs this in its config.yaml:

pushers:
  copy:
    driver: openapi
    endpoint: {origin}/openapi.json
    credential: {{key: "${{{key_env}}}"}}
    driver_params: {{batch_endpoint: "/ingest/{{table}}"}}
"""


def add_to(application: typer.Typer) -> None:
    """Make the command part of the command line."""
    application.command()(receive)


def receive(
    ctx: typer.Context,
    database: Annotated[
        str,
        typer.Option(
            metavar="URL",
            envvar="FUAGENT_DATABASE",
            help="Where rows go: sqlite:///FILE, postgresql://... or mysql://...; one with a password belongs into the "
            "environment.",
        ),
    ],
    listen: Annotated[
        str, typer.Option(metavar="[HOST:]PORT", help="Where to listen; a bare port means 127.0.0.1.")
    ] = "127.0.0.1:8000",
    key_env: Annotated[
        str, typer.Option(metavar="NAME", help="Environment variable that holds the API key which senders must know.")
    ] = "SERVICE_KEY",
    schema: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.sql",
            help="Take the tables of this file alone, as `fuagent schema --sql` writes it; without it they are made "
            "from the rows that come.",
        ),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TABLE=COLUMN,...",
            help="What tells the rows of a table apart, if neither its primary key nor `id`; may be given again.",
        ),
    ] = None,
    deletes: Annotated[
        bool, typer.Option("--deletes", help="Take marks of deleted rows, in the property _deleted.")
    ] = False,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep",
            help="Take rows away that a finished snapshot did not contain; each table must come from one sync alone.",
        ),
    ] = False,
    unknown: Annotated[
        str | None,
        typer.Option(
            help="What happens to a property without a column: ignore, reject or add; add without --schema, else ignore."
        ),
    ] = None,
    max_bytes: Annotated[int, typer.Option(min=1024, help="Largest body, also once it is unpacked.")] = 16
    * 1024
    * 1024,
    log_format: Annotated[str, typer.Option(help="auto, console or json; auto: JSON unless on a terminal.")] = "auto",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    debug: DebugOption = False,
) -> None:
    """Keep a copy of tables in a database.

    A ready-made service: run it, point an agent at it, and its rows and changes are kept in tables of the
    same names. Runs until SIGTERM or Ctrl-C: the first lets requests under way finish, the second does not.
    """
    from fuagent import listen as listening
    from fuagent import logs

    given(ctx, None, None, debug)
    one_of("--log-format", log_format, logs.FORMS)
    one_of("--log-level", log_level, logs.LEVELS)
    if unknown is not None:
        one_of("--unknown", unknown, _UNKNOWN)
    try:
        where = listening.address(listen)
    except ValueError as error:
        raise typer.BadParameter(f"{listen!r}: {error}.", param_hint="--listen") from None
    _unseen(ctx)
    options = {
        "api_key": _key(key_env, where),
        "schema": _schema(schema),
        "keys": dict(_named(one) for one in key or ()),
        "deletes": deletes,
        "sweep": sweep,
        "unknown": unknown,
        "max_bytes": max_bytes,
    }
    logs.configure(log_format, log_level)
    _serve(database, where, options, key_env)


def _serve(database: str, where: Address, options: dict[str, Any], key_env: str) -> None:
    ready, server = _parts()
    engine = server.open_database(database)
    try:
        application = ready.application(engine, ready.Settings(**options))
    except ValueError as error:
        raise StopAgentError(
            f"{error}.", where=server.shown(engine.url), fix="Change the options or the schema."
        ) from None
    except server.DBAPIError as error:
        what = f"the database does not make the tables of the receiver: {server.clean(str(error.orig), 300)}"
        fix = "Grant this user what it takes to make and change tables, and to read and write them."
        raise StopAgentError(what, where=server.shown(engine.url), fix=fix) from None
    taken = server.bind(where.host, where.port)
    bound = type(where)(where.host, taken.getsockname()[1])
    wait(server.serve(application, taken, lambda: _say(bound, server.shown(engine.url), key_env)))
    engine.dispose()


def _parts() -> tuple[Any, Any]:
    try:
        from fuagent.receiver import ready, ready_server
    except ModuleNotFoundError as error:
        what = f"this needs libraries that are not installed ({error.name})."
        raise StopAgentError(what, fix="pip install 'fuagent[receiver]'") from None
    return ready, ready_server


def _say(bound: Address, database: str, key_env: str) -> None:
    import structlog

    log = structlog.get_logger()
    log.info("listening", address=str(bound), document=f"http://{bound}/openapi.json", database=database)
    if not bound.loopback:
        log.warning(
            "keys and rows go over the network in clear: this service speaks http alone",
            address=str(bound),
            fix="Put a proxy with TLS in front of it and listen on 127.0.0.1, or keep the network closed.",
        )
    typer.echo(_LINES.format(origin=f"http://{bound}", key_env=key_env))


def _unseen(ctx: typer.Context) -> None:
    """Refuse a password that everybody on the machine can see in the list of processes."""
    from urllib.parse import urlsplit

    source = ctx.get_parameter_source("database")
    try:
        holds = bool(urlsplit(ctx.params["database"]).password)
    except ValueError:
        holds = False  # no URL: that is said by whoever opens it
    if holds and source is not None and source.name == "COMMANDLINE":
        message = "a password on a command line is seen by everybody on this machine: set FUAGENT_DATABASE instead."
        raise typer.BadParameter(message, param_hint="--database")


def _key(name: str, where: Address) -> str:
    from fuagent import config_credential
    from fuagent.config_keys import CredentialKeys
    from fuagent.model import Level

    if not name.isidentifier():
        message = "the name of an environment variable belongs here, never the key itself."
        raise typer.BadParameter(message, param_hint="--key-env")
    found = os.environ.get(name, "")
    if not found:
        open_to = "this machine" if where.loopback else "the network"
        what = f"the environment has no {name}, and without a key anybody on {open_to} could write the database."
        raise StopAgentError(what, where="--key-env", fix=_MAKE_KEY.format(name))
    for doubt in config_credential.doubts(CredentialKeys.model_validate({"key": found}), Path.cwd()):
        if doubt.level is Level.ERROR:
            raise StopAgentError(doubt.what, where=name, fix=doubt.fix)
    return found


def _schema(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise typer.BadParameter(f"{path}: {reason}.", param_hint="--schema") from None


def _named(text: str) -> tuple[str, tuple[str, ...]]:
    table, _, columns = text.rpartition("=")
    names = tuple(name.strip() for name in columns.split(","))
    if not table or not all(names):
        raise typer.BadParameter(f"{text!r}: write TABLE=COLUMN or TABLE=COLUMN,COLUMN.", param_hint="--key")
    return table, names
