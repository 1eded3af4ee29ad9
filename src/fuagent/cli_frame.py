"""What every command of the command line shares: its options, its errors as lines for the reader, its exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from fuagent.contract.text import clean
from fuagent.errors import ConfigError, FuagentError, JournalWriteError, StateError
from fuagent.model import Finding, Level

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
    (
        str(int(ExitCode.FOUND)),
        "check or preview found an error, conformance a broken must, a sync halted, rows stay refused, or the demo differs",
    ),
    (
        str(int(ExitCode.USAGE)),
        "the command line makes no sense, or conformance cannot reach the service",
    ),
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


class Commands(TyperGroup):
    """All commands; an error that leaves one becomes lines for the reader and an exit code."""

    def invoke(self, ctx: Any) -> Any:  # the context's class is typer's own affair
        try:
            return super().invoke(ctx)
        except FuagentError as error:
            trace(ctx)
            say_error(error)
            raise typer.Exit(code_of(error)) from None
        except (KeyboardInterrupt, typer.Abort):
            typer.echo("stopped.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise  # typer ends quietly
        except Exception as error:
            if hasattr(error, "exit_code"):  # typer's own: usage errors and Exit
                raise
            trace(ctx)
            _say("error", "", f"a defect in fuagent: {type(error).__name__}.")
            _say("fix", "", "Run it again as fuagent --debug ... for the trace, and report it.")
            raise typer.Exit(ExitCode.ERROR) from None


def code_of(error: FuagentError) -> ExitCode:
    """The exit code of an error that ends a command."""
    if isinstance(error, ConfigError):
        return ExitCode.CONFIG
    return ExitCode.STATE if isinstance(error, (StateError, JournalWriteError)) else ExitCode.ERROR


def trace(ctx: Any) -> None:
    if isinstance(ctx.obj, Globals) and ctx.obj.debug:
        import traceback

        typer.echo(traceback.format_exc(), err=True, nl=False)


def say_error(error: FuagentError) -> None:
    """The error as lines for the reader."""
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


def given(ctx: typer.Context, config: Path | None, state_dir: Path | None, debug: bool) -> Globals:
    """What holds for this command: options behind its name win over those before it."""
    before: Globals = ctx.obj
    now = Globals(config or before.config, state_dir or before.state_dir, debug or before.debug)
    ctx.find_root().obj = replace(before, debug=now.debug)  # an error is met by the outermost context
    return now


def agreed(question: str, *, yes: bool) -> bool:
    """Whether the person means it: said on the command line, or asked now."""
    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here: say that you mean it.", param_hint="--yes")
    return yes or typer.confirm(question)


def wait(work: Coroutine[Any, Any, Result]) -> Result:
    import asyncio

    return asyncio.run(work)


def one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        message = f"{value!r} is not one of {', '.join(allowed)}."
        raise typer.BadParameter(message, param_hint=option)
