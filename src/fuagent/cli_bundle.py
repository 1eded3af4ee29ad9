"""The command that gathers what somebody who helps has to see."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fuagent.cli_frame import ConfigOption, DebugOption, StateDirOption, given, wait
from fuagent.errors import FuagentError


def add_to(application: typer.Typer) -> None:
    """Make the command part of the command line."""
    application.command("support-bundle")(support_bundle)


def support_bundle(
    ctx: typer.Context,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write it; a new .tar.gz here.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with the agent's log; its end is put in.")
    ] = None,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Gather what somebody who helps has to see.

    One file with versions, configuration, check, status, metrics and what the journal remembers. Secrets
    are covered and no row is in it. Works beside a running agent, without one, and with a broken configuration.
    """
    from fuagent import app_bundle

    options = given(ctx, config, state_dir, debug)
    path = output or Path(time.strftime("fuagent-support-%Y%m%d-%H%M%S.tar.gz"))
    bundle = wait(app_bundle.gather(app_bundle.Wanted(options.config, options.state_dir, log)))
    try:
        app_bundle.write(bundle, path)
    except OSError as error:
        raise FuagentError(
            f"the bundle cannot be written: {error.strerror}.", where=str(path), fix="Name another file with --output."
        ) from None
    typer.echo(f"{path} holds:")
    for part in bundle.parts:
        typer.echo(f"  {part.name:<15} {part.about}{'' if part.whole else '; not to be had, it says why'}")
    covered = sum(part.places for part in bundle.parts)
    typer.echo(
        f"All of it was looked through for the {bundle.secrets} secrets that the configuration and the environment "
        f"hold; {covered} places were covered with ***."
    )
    typer.echo("It names hosts, users, tables and columns. Look into it before you hand it on.")
