"""The command line as a program: what it parses, prints and ends with."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fuagent import cli, cli_frame
from fuagent.errors import ConfigError, FuagentError, HaltSyncError, JournalWriteError, StateError
from fuagent.model import Finding, Level

CONFIG = """
agent_id: agent-0123456789ab
sources:
  shop: {driver: sqlite, endpoint: "sqlite:///shop.db"}
pushers:
  out: {driver: stdout}
syncs:
  orders: {source: shop, pusher: out, tables: [orders]}
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Runs one command in an empty directory, its environment free of ours."""
    monkeypatch.chdir(tmp_path)
    for name in ("FUAGENT_CONFIG", "FUAGENT_STATE_DIR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    runner = CliRunner()
    return lambda *arguments, **options: runner.invoke(cli.application, arguments, prog_name="fuagent", **options)


def program(*arguments, **options):
    """The real program, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "fuagent", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        **options,
    )


def one_line(text):
    return " ".join(text.split())


# ---------------------------------------------------------------- help and usage


def test_help_names_every_command_and_exit_code(call):
    """The first page says what there is and what a command ends with."""
    result = call("--help")

    assert result.exit_code == 0
    for command in (
        "init",
        "check",
        "run",
        "status",
        "snapshot",
        "pause",
        "resume",
        "accept-gap",
        "rejected",
        "preview",
        "schema",
        "conformance",
        "source",
        "drivers",
        "demo",
        "config",
    ):
        assert re.search(rf"^  {command} ", result.output, re.MULTILINE)
    for code, meaning in cli_frame.EXIT_CODES:
        assert re.search(rf"^    {re.escape(code)} +{re.escape(meaning)}$", result.output, re.MULTILINE)


def test_help_loads_nothing_heavy():
    """The first page comes without the agent, drivers, display or configuration: that is what makes it instant."""
    code = (
        "import sys\nbefore = set(sys.modules)\nfrom fuagent import cli\n"
        "try: cli.application(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in set(sys.modules) - before if name.split('.')[0] in "
        "('rich', 'pydantic', 'yaml', 'aiohttp', 'asyncio', 'structlog', 'orjson', 'sqlite3')], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert result.stderr.strip() == "[]"
    assert "Usage: fuagent" in result.stdout.replace("-c", "fuagent")


@pytest.mark.parametrize(
    "command",
    [
        "init",
        "check",
        "run",
        "status",
        "snapshot",
        "pause",
        "resume",
        "accept-gap",
        "preview",
        "schema",
        "conformance",
        "rejected list",
        "rejected show",
        "rejected retry",
        "rejected drop",
        "source remove",
        "drivers",
        "demo",
        "config schema",
    ],
)
def test_every_command_has_help(call, command):
    """Every command says what it does and explains every option."""
    result = call(*command.split(), "--help")

    assert result.exit_code == 0
    assert f"Usage: fuagent {command}" in result.output
    for option in re.findall(r"^  (?:-\w, )?(--[a-z-]+) *[A-Z]*(.*)$", result.output, re.MULTILINE):
        assert option[0]


def test_version(call):
    """--version prints one line."""
    assert re.fullmatch(r"fuagent \d+\.\d+\.\d+\n", call("--version").output)


def test_no_command_shows_help(call):
    """Called with nothing, it shows what there is; that is a mistake of usage all the same."""
    result = call()

    assert "Commands:" in result.output
    assert result.exit_code == cli_frame.ExitCode.USAGE


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["snapshot"],
        ["source", "remove"],
        ["status", "--watch"],
        ["status", "--watch", "--json"],
        ["preview", "orders", "-n", "0"],
        ["rejected", "show"],
        ["rejected", "show", "orders"],
        ["rejected", "show", "a", "b", "1"],
        ["rejected", "retry"],
        ["rejected", "retry", "orders", "1", "--all"],
        ["rejected", "drop", "orders", "1", "--all"],
        ["rejected", "drop", "orders", "--yes"],
        ["run", "--log-format", "xml"],
        ["run", "--log-level", "loud"],
        ["init", "--key-env", "not-a-name", "--table", "t", "--source-endpoint", "s", "--service", "x"],
        ["init", "--credential", "magic"],
        ["init"],
    ],
)
def test_wrong_usage(call, arguments):
    """What makes no sense ends with 2 and a word about it, without a trace."""
    result = call(*arguments)

    assert result.exit_code == cli_frame.ExitCode.USAGE
    assert "Error:" in result.output
    assert "Traceback" not in result.output


# ---------------------------------------------------------------- where the configuration is


def test_config_before_and_after_the_command(call, tmp_path, monkeypatch):
    """The environment, options before and options after the command: the later wins."""
    named = {}
    for name in ("env", "before", "after"):
        named[name] = tmp_path / f"{name}.yaml"
        named[name].write_text("nonsense: true\n")

    def place(*arguments):
        return next(name for name in named if f"{name}.yaml" in call(*arguments).output)

    monkeypatch.setenv("FUAGENT_CONFIG", str(named["env"]))

    assert place("check") == "env"
    assert place("-c", "before.yaml", "check") == "before"
    assert place("check", "--config", "after.yaml") == "after"
    assert place("-c", "before.yaml", "check", "-c", "after.yaml") == "after"
    assert place("-c", "before.yaml", "snapshot", "x", "-c", "after.yaml") == "after"


def test_default_config(call):
    """Without a word, config.yaml of the directory is meant."""
    result = call("status")

    assert "config.yaml" in result.output
    assert result.exit_code == cli_frame.ExitCode.CONFIG


def test_state_dir_before_and_after_the_command(call, tmp_path, monkeypatch):
    """The state directory is found the same way."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    monkeypatch.setenv("FUAGENT_STATE_DIR", str(tmp_path / "env"))
    told = [
        call("status").output,
        call("--state-dir", "before", "status").output,
        call("--state-dir", "before", "status", "--state-dir", "after").output,
    ]

    assert [name in text for name, text in zip(("/env", "/before", "/after"), told, strict=True)] == [True] * 3


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 3),
        (StateError("x"), 4),
        (JournalWriteError("x"), 4),
        (HaltSyncError("x"), 5),
        (FuagentError("x"), 5),
    ],
)
def test_the_type_of_an_error_is_its_exit_code(error, code):
    """Configuration, state and everything else are told apart."""
    assert cli_frame.code_of(error) == code


def test_config_errors_are_all_told(call, tmp_path):
    """Every mistake with place and fix, on standard error, without a trace."""
    (tmp_path / "config.yaml").write_text(CONFIG.replace("source: shop", "source: shup") + "agent: 1\n")
    result = call("run")

    assert result.exit_code == cli_frame.ExitCode.CONFIG
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert any("syncs.orders.source" in line for line in errors)
    assert "fix: " in result.stderr
    assert "Traceback" not in result.stderr


def raising(error):
    """An application whose one command raises."""
    application = typer.Typer(cls=cli_frame.Commands, rich_markup_mode=None)

    @application.callback()
    def remember(ctx: typer.Context, debug: bool = False):
        ctx.obj = cli_frame.Globals(Path("x"), None, debug)

    @application.command()
    def fail():
        raise error

    return lambda *arguments: CliRunner().invoke(application, [*arguments, "fail"])


def test_an_error_is_two_lines():
    """Where, what and fix; control characters from elsewhere are not passed on."""
    result = raising(FuagentError("no\x1b[2J answer\n", where="http://a", fix="start it"))()

    assert result.exit_code == cli_frame.ExitCode.ERROR
    assert result.stderr.splitlines() == ["error: http://a: no [2J answer", "fix: start it"]


def test_an_error_with_findings_tells_them():
    """Warnings among the findings are told as warnings."""
    findings = (Finding(Level.ERROR, "a", "wrong", "mend"), Finding(Level.WARNING, "", "odd"))
    result = raising(ConfigError("two", findings))()

    assert result.stderr.splitlines() == ["error: a: wrong", "fix: mend", "warning: odd"]


def test_a_defect_is_no_trace_unless_asked_for():
    """What nobody thought of ends with 5 and says how to find out more; its text may hold a row's value."""
    fail = raising(ValueError("secret"))

    assert fail().exit_code == cli_frame.ExitCode.ERROR
    assert fail().stderr.splitlines()[0] == "error: a defect in fuagent: ValueError."
    assert "secret" not in fail().output
    assert "--debug" in fail().stderr
    assert "Traceback" in fail("--debug").stderr
    assert fail("--debug").exit_code == cli_frame.ExitCode.ERROR


def test_debug_after_the_command(call):
    """--debug behind the command's name counts too."""
    assert "Traceback" in call("status", "--debug").stderr
    assert "Traceback" not in call("status").stderr


def test_ctrl_c_is_clean():
    """An interrupt is one word and the code a shell expects."""
    result = raising(KeyboardInterrupt())()

    assert result.exit_code == cli_frame.INTERRUPTED == 128 + signal.SIGINT
    assert result.stderr == "stopped.\n"


def test_a_closed_pipe_is_clean():
    """A reader that stops reading is no error worth a word."""
    result = subprocess.run(
        f"{sys.executable} -m fuagent config schema | true", shell=True, capture_output=True, text=True, timeout=60
    )

    assert result.stderr == ""


# ---------------------------------------------------------------- commands without an agent


def test_config_schema(call):
    """The schema is JSON and knows the drivers' own options."""
    schema = json.loads(call("config", "schema").output)

    assert {"sources", "pushers", "syncs"} <= set(schema["properties"])
    assert "batch_endpoint" in json.dumps(schema)


def test_drivers(call):
    """Every installed driver, and what it does."""
    lines = call("drivers").output.splitlines()

    assert lines[0].split()[:3] == ["kind", "name", "package"]
    assert {tuple(line.split()[:2]) for line in lines[1:]} >= {
        ("source", "sqlite"),
        ("pusher", "openapi"),
        ("pusher", "stdout"),
    }
    assert all("cannot be used" not in line for line in lines)


def test_check_finds_what_is_wrong_in_the_configuration(call, tmp_path):
    """Mistakes of the configuration are findings like others, but end with their own code; nothing is made."""
    (tmp_path / "config.yaml").write_text(CONFIG.replace("orders: {", "orders: {batch_sise: 3, "))
    result = call("check")
    told = json.loads(call("check", "--json").output)

    assert result.exit_code == cli_frame.ExitCode.CONFIG
    assert "batch_size" in result.output
    assert [finding["level"] for finding in told] == ["error"]
    assert list(tmp_path.iterdir()) == [tmp_path / "config.yaml"]


def test_check_finds_what_is_wrong_beyond_it(call, tmp_path):
    """A database that is not there is a finding: exit code 1."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "config.yaml").chmod(0o600)
    result = call("check")

    assert result.exit_code == cli_frame.ExitCode.FOUND
    assert "shop.db" in result.output
    assert "fix: " in result.output


def test_check_without_a_file(call):
    """No file is a finding too, in either form."""
    assert call("check").exit_code == cli_frame.ExitCode.CONFIG
    assert json.loads(call("check", "--json").output)[0]["level"] == "error"


def test_source_remove_asks(call, tmp_path):
    """Where nobody can be asked it wants --yes; a source that is not there is named."""
    (tmp_path / "config.yaml").write_text(CONFIG)

    assert call("source", "remove", "shop").exit_code == cli_frame.ExitCode.USAGE
    wrong = call("source", "remove", "shup", "--yes")
    assert wrong.exit_code == cli_frame.ExitCode.ERROR
    assert "shop" in wrong.stderr


def test_snapshot_of_an_unknown_sync(call, tmp_path):
    """A name that is not there is answered with those that are."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    result = call("snapshot", "order")

    assert result.exit_code == cli_frame.ExitCode.ERROR
    assert "Choose one of: orders" in result.stderr


def test_status_before_the_first_run(call, tmp_path):
    """Without a journal there is nothing to tell, which is an error of state."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    result = call("status")

    assert result.exit_code == cli_frame.ExitCode.STATE
    assert "fuagent run" in result.stderr
    assert not (tmp_path / ".fuagent").exists()


def test_module_and_script_are_the_same():
    """``python -m fuagent`` is the script."""
    assert program("--version").stdout.startswith("fuagent ")
    assert program("nonsense").returncode == cli_frame.ExitCode.USAGE
    assert "Usage: fuagent" in one_line(program("--help").stdout)
