"""Commands for whoever operates an agent: what it does, and what it is to do.

Each reaches the running agent through its control socket, or works on the journal without one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fuagent import cli_rejected
from fuagent.cli_frame import ConfigOption, DebugOption, Globals, JsonOption, StateDirOption, agreed, given, wait
from fuagent.cli_names import SyncArgument

if TYPE_CHECKING:
    from fuagent import app

source_commands = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Take out what fuagent put into a database."
)


def add_to(application: typer.Typer) -> None:
    """Make the commands part of the command line."""
    for command in (status, console, snapshot, pause, resume, reload, accept_gap):
        application.command()(command)
    application.add_typer(cli_rejected.commands, name="rejected")
    application.add_typer(source_commands, name="source")


def status(
    ctx: typer.Context,
    json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it live, until Ctrl-C.")] = False,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Say how every sync fares.

    The running agent is asked; without one the journal tells what it holds.
    """
    from fuagent import app, app_commands, screen

    options = given(ctx, config, state_dir, debug)
    if watch and json:
        raise typer.BadParameter("choose one.", param_hint="--watch / --json")
    if watch and not sys.stdout.isatty():
        raise typer.BadParameter("this is no terminal; --json tells it to a program.", param_hint="--watch")
    setup = app.setup(options.config, options.state_dir, sends=False)
    if watch:
        wait(screen.watch_status(partial(app_commands.status, setup)))
        return
    screen.show_status(wait(app_commands.status(setup)), as_json=json)


def console(
    ctx: typer.Context,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Print the link of the running agent's console.

    The agent must run with --listen. The link holds a token with which a browser may act; it is new at each start.
    """
    from fuagent import app, app_commands

    options = given(ctx, config, state_dir, debug)
    typer.echo(wait(app_commands.console(app.setup(options.config, options.state_dir, sends=False))))


def snapshot(
    ctx: typer.Context,
    sync: SyncArgument,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Send every row of one sync again."""
    from fuagent import app_commands

    _wish(app_commands.snapshot, sync, given(ctx, config, state_dir, debug))


def _wish(wish: Callable[[app.Setup, str], Coroutine[Any, Any, str]], sync: str, options: Globals) -> None:
    """Ask something of one sync, and print what happens next."""
    from fuagent import app

    typer.echo(wait(wish(app.setup(options.config, options.state_dir, sends=False), sync)))


def pause(
    ctx: typer.Context,
    sync: SyncArgument,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Stop one sync until it is resumed.

    It stops at the next transaction end; the others go on. A pause outlives a restart of the agent.
    """
    from fuagent import app_commands

    _wish(app_commands.pause, sync, given(ctx, config, state_dir, debug))


def resume(
    ctx: typer.Context,
    sync: SyncArgument,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """End the pause of one sync; it goes on where it stopped."""
    from fuagent import app_commands

    _wish(app_commands.resume, sync, given(ctx, config, state_dir, debug))


def accept_gap(
    ctx: typer.Context,
    sync: SyncArgument,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Take a lost place for known.

    Changes may be missing at the service. Batches suggest no snapshot any more; none is taken.
    """
    from fuagent import app_commands

    _wish(app_commands.accept_gap, sync, given(ctx, config, state_dir, debug))


def reload(
    ctx: typer.Context,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Let the running agent read its configuration again.

    Only syncs that changed restart. What is wrong with the file is said, and then nothing changes. SIGHUP does the same.
    """
    from fuagent import app, app_commands

    options = given(ctx, config, state_dir, debug)
    typer.echo(wait(app_commands.reload(app.setup(options.config, options.state_dir, sends=False))))


@source_commands.command("remove")
def source_remove(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="Name of the source.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Take out of the database all that fuagent put there."""
    from fuagent import app, app_commands

    options = given(ctx, config, state_dir, debug)
    setup = app.setup(options.config, options.state_dir)
    question = f"Remove what fuagent put into the database of source {source}? A later run starts with a snapshot."
    if not agreed(question, yes=yes):
        typer.echo("Nothing was removed.")
        return
    lines = wait(app_commands.remove(setup, source))
    typer.echo("\n".join(lines) if lines else "There was nothing to remove.")
