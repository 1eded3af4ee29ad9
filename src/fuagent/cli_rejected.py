"""``fuagent rejected``: the rows a service refused and that were set aside."""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated

import typer

from fuagent.cli_frame import ConfigOption, DebugOption, ExitCode, JsonOption, StateDirOption, agreed, given, wait
from fuagent.cli_names import SyncArgument, SyncMayArgument
from fuagent.contract.text import clean

commands = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="See to rows that the service refused and that were set aside."
)
NumbersArgument = Annotated[
    list[int] | None,
    typer.Argument(metavar="[ID]...", help="Numbers of rows, as the list has them.", show_default=False),
]
AllOption = Annotated[bool, typer.Option("--all", help="All rows of the sync.")]
_LONGEST = 200


@commands.command("list")
def list_rows(
    ctx: typer.Context,
    sync: SyncMayArgument = None,
    json: JsonOption = False,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """List the rows: number, table, and why. Shows nothing of the rows themselves."""
    from fuagent import app, app_rejected, app_set_aside, screen

    options = given(ctx, config, state_dir, debug)
    rows, more = wait(app_set_aside.listed(app.setup(options.config, options.state_dir, sends=False), sync))
    if json:
        screen.show_json([app_rejected.told(row) for row in rows])
    elif not rows:
        typer.echo("No row is set aside.")
    else:
        lines = [
            (str(row.id), row.sync, _when(row.at), row.table, str(row.status or "-"), clean(row.reason, _LONGEST))
            for row in rows
        ]
        screen.show_table(("id", "sync", "set aside", "table", "status", "why"), lines)
        if more:
            typer.echo(f"and {more} more", err=True)


@commands.command("show")
def show_row(
    ctx: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[SYNC] ID", help="Number of the row; its sync may stand before it.", show_default=False
        ),
    ],
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Show one row: its key and the event as it was sent.

    They are printed here and nowhere else; no log ever holds them.
    """
    from fuagent import app, app_set_aside

    options = given(ctx, config, state_dir, debug)
    sync, number = _sync_and_number(words)
    found = wait(app_set_aside.show(app.setup(options.config, options.state_dir, sends=False), sync, number))
    row = found.listed
    key = ", ".join(f"{name} = {value!r}" for name, value in found.key.items())
    typer.echo(f"row {row.id} of sync {row.sync}, table {row.table}, set aside {_when(row.at)}")
    typer.echo(f"why: {clean(row.reason, 1000)}" + (f" (status {row.status})" if row.status else ""))
    typer.echo(f"key: {clean(key, 1000) or 'not known: the table could not be asked for it'}")
    typer.echo(clean(found.event, len(found.event)))


@commands.command("retry")
def retry_rows(
    ctx: typer.Context,
    sync: SyncArgument,
    numbers: NumbersArgument = None,
    every: AllOption = False,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Send rows once more, as they are now; without a number, all of them.

    Each is read again from the source by its key and sent alone, without an index, with nothing
    else in flight. One that is gone at the source leaves the list; one that is refused again stays.
    """
    from fuagent import app, app_set_aside

    options = given(ctx, config, state_dir, debug)
    _not_both(numbers, every)
    read = partial(app.setup, options.config, options.state_dir)
    done = wait(app_set_aside.retry(lambda sends: read(sends=sends), sync, numbers or None))
    typer.echo(f"{_rows(done.sent)} sent.")
    if done.gone:
        typer.echo(f"{_rows(done.gone)} gone at the source, and off the list.")
    for number, reason in done.kept:
        typer.echo(f"row {number} stays: {clean(reason, _LONGEST)}")
    if done.kept:
        raise typer.Exit(ExitCode.FOUND)


@commands.command("drop")
def drop_rows(
    ctx: typer.Context,
    sync: SyncArgument,
    numbers: NumbersArgument = None,
    every: AllOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Take rows off the list; the service will not have them."""
    from fuagent import app, app_set_aside

    options = given(ctx, config, state_dir, debug)
    _not_both(numbers, every)
    if not numbers and not every:
        raise typer.BadParameter("name the rows by their numbers, or say --all.", param_hint="ID")
    setup = app.setup(options.config, options.state_dir, sends=False)
    what = f"rows {', '.join(map(str, numbers))}" if numbers else "all rows"
    if not agreed(f"Take {what} of sync {sync} off the list? The service will not have them.", yes=yes):
        typer.echo("Nothing was dropped.")
        return
    typer.echo(f"{_rows(wait(app_set_aside.drop(setup, sync, numbers or None)))} dropped.")


def _sync_and_number(words: list[str]) -> tuple[str | None, int]:
    if len(words) > 2 or not words[-1].isdecimal():
        raise typer.BadParameter("give the number of one row, as fuagent rejected list has it.", param_hint="ID")
    return (words[0] if len(words) == 2 else None), int(words[-1])


def _not_both(numbers: list[int] | None, every: bool) -> None:
    if numbers and every:
        raise typer.BadParameter("name rows, or all of them.", param_hint="--all")


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
