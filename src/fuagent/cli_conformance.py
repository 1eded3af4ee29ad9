"""The command that judges a service: what it is told, and the report printed and written."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fuagent.cli_frame import DebugOption, ExitCode, JsonOption, given, say_error, trace, wait
from fuagent.errors import FuagentError

if TYPE_CHECKING:
    from fuagent.receiver.conformance import Report

_SECRET = "env:NAME|file:PATH"  # noqa: S105 - how a secret is named, none itself


def add_to(application: typer.Typer) -> None:
    """Make the command part of the command line."""
    application.command()(conformance)


def conformance(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(help="URL or file of the service's OpenAPI document, or the service's URL.")],
    key: Annotated[
        str | None, typer.Option(metavar=_SECRET, help="Where its API key stands, never the key itself.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="User name, in place of a key.")] = None,
    password: Annotated[str | None, typer.Option(metavar=_SECRET, help="Where the user's password stands.")] = None,
    batch_endpoint: Annotated[str, typer.Option(help="Path that takes batches.")] = "/ingest-batch",
    status_endpoint: Annotated[
        str | None, typer.Option(help="Path of the checkpoint question, if the document does not name it.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="The service's own URL, in place of the servers in its document.")
    ] = None,
    task_id: Annotated[
        str | None, typer.Option(help="One task id for all probes; made up and new for each, if left out.")
    ] = None,
    agent_id: Annotated[str | None, typer.Option(help="What every agent id begins with; made up, if left out.")] = None,
    rows: Annotated[int, typer.Option(min=1, max=1_000_000, help="Rows in the large batch.")] = 5000,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds one request may take.")] = 30.0,
    json: JsonOption = False,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the findings there too, as JUnit XML.")
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Judge a live service against the contract.

    Sends it rows and questions as the agent would, and says of everything that is not as the contract
    asks what was sent, what came back and how to mend it. The rows stay in the service: use one whose
    data may be thrown away. Exit code 1 if a *must* is not kept, 2 if nobody answers.
    """
    from fuagent.receiver.conformance import Target, judge

    given(ctx, None, None, debug)
    if (password is None) is not (user is None) or (key is not None and user is not None):
        raise typer.BadParameter("give --key, or --user and --password, or none.", param_hint="--key / --user")
    target = Target(
        url,
        key=_secret("--key", key),
        user=user,
        password=_secret("--password", password),
        batch_endpoint=batch_endpoint,
        status_endpoint=status_endpoint,
        base_url=base_url,
        task_id=task_id,
        agent_id=agent_id,
        rows=rows,
        timeout=timeout,
    )
    try:
        report = wait(judge(target))
    except FuagentError as error:
        trace(ctx)
        say_error(error)
        raise typer.Exit(ExitCode.USAGE) from None
    _print(report, as_json=json, junit=junit)
    if not report.keeps_the_contract:
        raise typer.Exit(ExitCode.FOUND)


def _print(report: Report, *, as_json: bool, junit: Path | None) -> None:
    from fuagent.receiver.conformance import report as written

    if as_json:
        import orjson

        typer.echo(orjson.dumps(written.tree(report), option=orjson.OPT_INDENT_2))
    else:
        typer.echo(written.text(report))
    if junit is not None:
        try:
            junit.write_bytes(written.junit(report))
        except OSError as error:
            raise typer.BadParameter(f"{junit}: {error.strerror}.", param_hint="--junit") from None


def _secret(option: str, where: str | None) -> str | None:
    """What stands in the environment or the file; the text of the option is never repeated: it may be the secret."""
    from fuagent import config_credential
    from fuagent.config_keys import CredentialKeys
    from fuagent.model import Level

    if where is None:
        return None
    kind, _, name = where.partition(":")
    if kind == "env" and name:
        if name not in os.environ:
            raise typer.BadParameter("the environment has no such variable.", param_hint=option)
        keys = CredentialKeys.model_validate({"key": os.environ[name]})
    elif kind == "file" and name:
        keys = CredentialKeys.model_validate({"key_file": name})
    else:
        message = "write env:NAME or file:PATH: a secret on a command line is seen by everybody on this machine."
        raise typer.BadParameter(message, param_hint=option)
    for doubt in config_credential.doubts(keys, Path.cwd()):
        if doubt.level is Level.ERROR:
            raise typer.BadParameter(f"{doubt.what}. {doubt.fix}", param_hint=option)
    found = None
    with suppress(FuagentError):  # a file that went away since it was looked at
        found = config_credential.reader(keys, Path.cwd(), option)().key
    if found is None:
        raise typer.BadParameter("the file went away.", param_hint=option)
    return found.reveal()
