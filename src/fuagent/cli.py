"""The command line: parse, call, print.

Whatever a command needs is imported inside it, so that ``--help`` answers at once.
Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, Never, TypeVar

import typer
from typer.core import TyperGroup

from fuagent.contract.text import clean
from fuagent.errors import ConfigError, FuagentError, JournalWriteError, StateError
from fuagent.model import Finding, Level
from fuagent.version import __version__

Result = TypeVar("Result")


class ExitCode(IntEnum):
    """What a command ends with; ended by a signal it is 128 and the signal's number."""

    DONE = 0
    FOUND = 1
    USAGE = 2
    CONFIG = 3
    STATE = 4
    ERROR = 5


EXIT_CODES: tuple[tuple[str, str], ...] = (
    (str(int(ExitCode.DONE)), "done"),
    (str(int(ExitCode.FOUND)), "check found an error, a sync halted, or the demo's comparison differs"),
    (str(int(ExitCode.USAGE)), "the command line makes no sense"),
    (str(int(ExitCode.CONFIG)), "the configuration is wrong"),
    (str(int(ExitCode.STATE)), "the state directory or its journal cannot be used"),
    (str(int(ExitCode.ERROR)), "any other error"),
    ("128+n", "ended by signal n before everything in flight was finished"),
)
"""Every exit code and what it means; the reference page is made from this."""

INTERRUPTED = 130
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Globals:
    """The options that every command takes."""

    config: Path
    state_dir: Path | None
    debug: bool = False


class _Commands(TyperGroup):
    """All commands; an error that leaves one becomes lines for the reader and an exit code."""

    def invoke(self, ctx: Any) -> Any:  # the context's class is typer's own affair
        try:
            return super().invoke(ctx)
        except FuagentError as error:
            _trace(ctx)
            _say_error(error)
            raise typer.Exit(code_of(error)) from None
        except (KeyboardInterrupt, typer.Abort):
            typer.echo("stopped.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise  # typer ends quietly
        except Exception as error:
            if hasattr(error, "exit_code"):  # typer's own: usage errors and Exit
                raise
            _trace(ctx)
            _say("error", "", f"a defect in fuagent: {type(error).__name__}.")
            _say("fix", "", "Run it again as fuagent --debug ... for the trace, and report it.")
            raise typer.Exit(ExitCode.ERROR) from None


def code_of(error: FuagentError) -> ExitCode:
    """The exit code of an error that ends a command."""
    if isinstance(error, ConfigError):
        return ExitCode.CONFIG
    return ExitCode.STATE if isinstance(error, (StateError, JournalWriteError)) else ExitCode.ERROR


def _trace(ctx: Any) -> None:
    if isinstance(ctx.obj, Globals) and ctx.obj.debug:
        import traceback

        typer.echo(traceback.format_exc(), err=True, nl=False)


def _say_error(error: FuagentError) -> None:
    findings = error.findings if isinstance(error, ConfigError) else ()
    for one in findings or (Finding(Level.ERROR, error.where, error.what, error.fix),):
        _say(str(one.level), one.where, one.what)
        if one.fix:
            _say("fix", "", one.fix)


def _say(word: str, where: str, what: str) -> None:
    """One line on standard error, whatever stands in the text."""
    text = f"{where}: {what}" if where else what
    colours = {"error": typer.colors.RED, "warning": typer.colors.YELLOW, "fix": typer.colors.CYAN}
    plain = not sys.stderr.isatty() or bool(os.environ.get("NO_COLOR"))
    typer.echo(
        f"{word if plain else typer.style(word, colours.get(word), bold=True)}: {clean(text, _LONGEST)}", err=True
    )


ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration file.", show_default=False)
]
StateDirOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where the journal lies, instead of what the configuration says."),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:<6} {meaning}" for code, meaning in EXIT_CODES)

application = typer.Typer(
    name="fuagent",
    cls=_Commands,
    help="Keeps HTTP services in step with databases: a snapshot first, then every change.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
source_commands = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Take out what fuagent put into a database."
)
config_commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Print the configuration's schema.")


def main() -> Never:
    """The entry point of the script ``fuagent``."""
    application(prog_name="fuagent")
    raise SystemExit  # typer has ended the process before


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fuagent {__version__}")
        raise typer.Exit


@application.callback()
def _globals(
    ctx: typer.Context,
    config: Annotated[
        Path,
        typer.Option("--config", "-c", metavar="FILE", envvar="FUAGENT_CONFIG", help="Configuration file."),
    ] = Path("config.yaml"),
    state_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", envvar="FUAGENT_STATE_DIR", help="Where the journal lies, instead of .fuagent."),
    ] = None,
    debug: DebugOption = False,
    version: Annotated[  # noqa: ARG001 - its callback has ended the command
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    ctx.obj = Globals(config, state_dir, debug)


def _given(ctx: typer.Context, config: Path | None, state_dir: Path | None, debug: bool) -> Globals:
    """What holds for this command: options behind its name win over those before it."""
    before: Globals = ctx.obj
    given = Globals(config or before.config, state_dir or before.state_dir, debug or before.debug)
    ctx.find_root().obj = replace(before, debug=given.debug)  # an error is met by the outermost context
    return given


def _wait(work: Coroutine[Any, Any, Result]) -> Result:
    import asyncio

    return asyncio.run(work)


@application.command()
def init(
    ctx: typer.Context,
    source_driver: Annotated[str | None, typer.Option(help="Source driver; `fuagent drivers` lists them.")] = None,
    source_endpoint: Annotated[str | None, typer.Option(help="URL of the database, or path of an SQLite file.")] = None,
    source_user: Annotated[
        str | None, typer.Option(help="User at the database; its password comes from SOURCE_PASSWORD.")
    ] = None,
    table: Annotated[list[str] | None, typer.Option(help="Table, or pattern with * and ?; may be given again.")] = None,
    service: Annotated[str | None, typer.Option(help="URL or path of the service's OpenAPI document.")] = None,
    credential: Annotated[str, typer.Option(help="How the service knows us: key, basic, oauth2 or none.")] = "key",
    key_env: Annotated[str, typer.Option(help="Environment variable that holds the service's key.")] = "SERVICE_KEY",
    agent_id: Annotated[str | None, typer.Option(help="Id of this agent; made up if left out.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Write a commented configuration.

    Asks for what the options leave open. No option takes a secret: the file refers to
    environment variables, and what is printed says which.
    """
    from fuagent import cli_init

    given = _given(ctx, config, None, debug)
    cli_init.write(
        given.config,
        cli_init.Wanted(source_driver, source_endpoint, source_user, table, service, credential, key_env, agent_id),
        force=force,
    )


@application.command()
def check(
    ctx: typer.Context,
    json: JsonOption = False,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Find everything that would go wrong.

    Configuration, source, the service's document, credentials and the rows' form, each finding
    with its fix. Changes nothing and sends no row.
    """
    from fuagent import app, screen

    given = _given(ctx, config, state_dir, debug)
    code = ExitCode.DONE
    try:
        findings = _wait(app.check(app.setup(given.config, given.state_dir)))
    except ConfigError as error:
        _trace(ctx)
        findings = list(error.findings) or [Finding(Level.ERROR, error.where, error.what, error.fix)]
        code = ExitCode.CONFIG
    screen.show_findings(findings, as_json=json)
    if any(finding.level is Level.ERROR for finding in findings):
        raise typer.Exit(code or ExitCode.FOUND)


@application.command()
def run(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="End when every sync has caught up.")] = False,
    log_format: Annotated[str, typer.Option(help="auto, console or json; auto: JSON unless on a terminal.")] = "auto",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Keep the services in step.

    Runs until SIGTERM or Ctrl-C: the first lets requests under way finish, the second does not.
    """
    from fuagent import app, logs, screen

    given = _given(ctx, config, state_dir, debug)
    _one_of("--log-format", log_format, logs.FORMS)
    _one_of("--log-level", log_level, logs.LEVELS)
    logs.configure(log_format, log_level)
    setup = app.setup(given.config, given.state_dir)
    prints = any(pusher.driver == "stdout" for pusher in setup.config.pushers.values())
    live = log_format == "auto" and screen.can_be_live(rows_on_stdout=prints)
    raise typer.Exit(_wait(app.run(setup, once=once, watch=screen.watch if live else None)))


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        message = f"{value!r} is not one of {', '.join(allowed)}."
        raise typer.BadParameter(message, param_hint=option)


@application.command()
def status(
    ctx: typer.Context,
    json: JsonOption = False,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Say how every sync fares.

    The running agent is asked; without one the journal tells what it holds.
    """
    from fuagent import app, screen

    given = _given(ctx, config, state_dir, debug)
    screen.show_status(_wait(app.status(app.setup(given.config, given.state_dir, sends=False))), as_json=json)


@application.command()
def snapshot(
    ctx: typer.Context,
    sync: Annotated[str, typer.Argument(help="Name of the sync.", show_default=False)],
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Send every row of one sync again."""
    from fuagent import app

    given = _given(ctx, config, state_dir, debug)
    typer.echo(_wait(app.snapshot(app.setup(given.config, given.state_dir, sends=False), sync)))


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
    from fuagent import app

    given = _given(ctx, config, state_dir, debug)
    setup = app.setup(given.config, given.state_dir)
    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here: say that you mean it.", param_hint="--yes")
    question = f"Remove what fuagent put into the database of source {source}? A later run starts with a snapshot."
    if not yes and not typer.confirm(question):
        typer.echo("Nothing was removed.")
        return
    lines = _wait(app.remove(setup, source))
    typer.echo("\n".join(lines) if lines else "There was nothing to remove.")


@application.command()
def drivers() -> None:
    """List the installed drivers."""
    from fuagent import drivers as installed
    from fuagent import screen

    rows = []
    for group in (installed.SOURCES, installed.PUSHERS):
        for driver in installed.known(group):
            try:
                about = installed.summary(group, driver.name)
            except ConfigError as error:
                about = f"{error.what}. {error.fix}".strip()
            rows.append((group.rpartition(".")[2].removesuffix("s"), driver.name, driver.package, about))
    screen.show_table(("kind", "name", "package", "what it does"), rows)


@application.command()
def demo(
    ctx: typer.Context,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Work in this new directory and leave it there.")
    ] = None,
    debug: DebugOption = False,
) -> None:
    """See it work, in half a minute.

    A shop's database and a service stay in step while the agent and the service are killed.
    Needs nothing but this program; what it makes is removed again.
    """
    from fuagent.demo import street

    _given(ctx, None, None, debug)
    raise typer.Exit(ExitCode.DONE if street.show(keep) else ExitCode.FOUND)


@config_commands.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    import orjson

    from fuagent import config, drivers

    options = {}
    for group in (drivers.SOURCES, drivers.PUSHERS):
        for driver in drivers.known(group):
            # A driver whose library is missing leaves its own options unchecked.
            with suppress(ConfigError):
                options[group, driver.name] = drivers.options(group, driver.name)
    typer.echo(orjson.dumps(config.json_schema(options), option=orjson.OPT_INDENT_2))


application.add_typer(source_commands, name="source")
application.add_typer(config_commands, name="config")
