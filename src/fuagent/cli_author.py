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


def _fit_to_print(body: bytes) -> bytes:
    """The very bytes for a program or a file; on a terminal nothing that could move its cursor."""
    return clean(body.decode(errors="replace"), len(body)).encode() if sys.stdout.isatty() else body
