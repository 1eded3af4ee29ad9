"""Commands for whoever writes the service: what it will be sent, and how that can be described."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fuagent.cli_frame import ConfigOption, DebugOption, ExitCode, StateDirOption, given, wait
from fuagent.cli_names import SyncArgument
from fuagent.contract.text import clean


def add_to(application: typer.Typer) -> None:
    """Make the commands part of the command line."""
    application.command()(preview)
    application.command()(schema)


def preview(
    ctx: typer.Context,
    sync: SyncArgument,
    number: Annotated[int, typer.Option("-n", "--rows", min=1, help="Rows of each table.")] = 5,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Print the requests the first rows would make.

    Method, URL, headers and body to the byte, secrets covered; and whether the rows are what the
    service's document says about events. Sends nothing and changes nothing.
    """
    from fuagent import app, app_preview

    options = given(ctx, config, state_dir, debug)
    made = wait(app_preview.preview(app.setup(options.config, options.state_dir), sync, number))
    for request in made.requests:
        typer.echo(f"{request.method} {request.url}".strip())
        for name, value in request.headers:
            typer.echo(f"{name}: {value}")
        typer.echo(b"\n" + _fit_to_print(request.body) + b"\n")
        if request.note:
            typer.echo(f"note: {request.note}", err=True)
    for note in made.notes:
        typer.echo(f"note: {clean(note, 1000)}", err=True)
    for wrong in made.wrong:
        typer.echo(f"error: {clean(wrong, 1000)}", err=True)
    if made.wrong:
        raise typer.Exit(ExitCode.FOUND)


def schema(
    ctx: typer.Context,
    sync: SyncArgument,
    openapi: Annotated[bool, typer.Option("--openapi", help="A whole OpenAPI 3.1 document of the service.")] = False,
    pydantic: Annotated[bool, typer.Option("--pydantic", help="Pydantic models, as a Python module.")] = False,
    typescript: Annotated[bool, typer.Option("--typescript", help="TypeScript interfaces.")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="CREATE TABLE statements, one for the checkpoint too.")] = False,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Write what the events look like, for the service's author.

    Made from the source's tables and the sync's mapping; the service is not asked. Choose one form.
    """
    from fuagent import app, app_schema

    options = given(ctx, config, state_dir, debug)
    chosen = dict(zip(app_schema.LANGUAGES, (openapi, pydantic, typescript, sql), strict=True))
    if sum(chosen.values()) != 1:
        raise typer.BadParameter("choose one.", param_hint=" / ".join(f"--{name}" for name in chosen))
    language = next(name for name, wanted in chosen.items() if wanted)
    setup = app.setup(options.config, options.state_dir, sends=False)
    text, notes = wait(app_schema.schema(setup, sync, language))
    typer.echo(text, nl=False)
    for note in notes:
        typer.echo(f"note: {clean(note, 1000)}", err=True)


def _fit_to_print(body: bytes) -> bytes:
    """The very bytes for a program or a file; on a terminal nothing that could move its cursor."""
    return clean(body.decode(errors="replace"), len(body)).encode() if sys.stdout.isatty() else body
