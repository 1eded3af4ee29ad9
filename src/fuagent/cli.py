"""The command line: parse, call, print.

Whatever a command needs is imported inside it, so that ``--help`` answers at once.
Results go to standard output, everything else to standard error. ``cli_frame`` is what
the commands share; those for a running agent and its journal stand in ``cli_operate``.
"""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Never

import typer

from fuagent import cli_author, cli_bundle, cli_conformance, cli_operate, cli_receive
from fuagent.cli_frame import (
    EXIT_CODES,
    Commands,
    ConfigOption,
    DebugOption,
    ExitCode,
    Globals,
    JsonOption,
    StateDirOption,
    given,
    one_of,
    trace,
    wait,
)
from fuagent.errors import ConfigError
from fuagent.model import Finding, Level
from fuagent.version import __version__

if TYPE_CHECKING:
    from fuagent import app_console

_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:<6} {meaning}" for code, meaning in EXIT_CODES)

application = typer.Typer(
    name="fuagent",
    cls=Commands,
    help="Keeps HTTP services in step with databases: a snapshot first, then every change.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
config_commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Print the configuration's schema.")


def main() -> Never:
    """The entry point of the script ``fuagent``."""
    _leave_no_core()
    application(prog_name="fuagent")
    raise SystemExit  # typer has ended the process before


def _leave_no_core() -> None:
    """A core file would hold rows and credentials: there is none, and one made all the same has no memory of ours in it.

    The second is for a ``core_pattern`` that is a program, which the limit may not bind (core(5)); children inherit both.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # not on Linux
        Path("/proc/self/coredump_filter").write_text("0", encoding="ascii")


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

    options = given(ctx, config, None, debug)
    cli_init.write(
        options.config,
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
    from fuagent import app, app_commands, screen

    options = given(ctx, config, state_dir, debug)
    code = ExitCode.DONE
    try:
        findings = wait(app_commands.check(app.setup(options.config, options.state_dir)))
    except ConfigError as error:
        trace(ctx)
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
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:]PORT",
            envvar="FUAGENT_LISTEN",
            help="Serve the console, /metrics, /healthz and /readyz there; a bare port means 127.0.0.1.",
        ),
    ] = None,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    debug: DebugOption = False,
) -> None:
    """Keep the services in step.

    Runs until SIGTERM or Ctrl-C: the first lets requests under way finish, the second does not.
    """
    from fuagent import app, logs, screen

    options = given(ctx, config, state_dir, debug)
    one_of("--log-format", log_format, logs.FORMS)
    one_of("--log-level", log_level, logs.LEVELS)
    listening = _listening(listen) if listen else None
    logs.configure(log_format, log_level)
    setup = app.setup(options.config, options.state_dir)
    prints = any(pusher.driver == "stdout" for pusher in setup.config.pushers.values())
    live = log_format == "auto" and screen.can_be_live(rows_on_stdout=prints)
    raise typer.Exit(wait(app.run(setup, once=once, watch=screen.watch if live else None, listening=listening)))


def _listening(text: str) -> app_console.Listening:
    """What --listen asks for."""
    from fuagent import app_console, listen

    try:
        where = listen.address(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}.", param_hint="--listen") from None
    greet = _greet if sys.stderr.isatty() else None
    return app_console.Listening(partial(listen.serve, where), where.loopback, greet)


def _greet(link: str) -> None:
    """The console's link, on a terminal alone: its token belongs into no log."""
    typer.echo(f"console: {link}", err=True)


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

    given(ctx, None, None, debug)
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


cli_operate.add_to(application)
cli_bundle.add_to(application)
cli_author.add_to(application)
cli_conformance.add_to(application)
cli_receive.add_to(application)
application.add_typer(config_commands, name="config")
