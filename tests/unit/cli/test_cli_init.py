"""``fuagent init``: the file it writes, what it asks, and what it never does."""

import os
import re
import stat

import pytest
from typer.testing import CliRunner

from fuagent import cli, cli_frame, config, drivers

ARGUMENTS = ("--source-endpoint", "shop.db", "--table", "orders", "--table", "log_*", "--service", "http://h:1/o.json")


@pytest.fixture
def init(tmp_path, monkeypatch):
    """Runs ``init`` in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FUAGENT_CONFIG", raising=False)
    monkeypatch.delenv("SERVICE_KEY", raising=False)
    return lambda *arguments: CliRunner().invoke(cli.application, ["init", *arguments])


def read(path="config.yaml", **environ):
    """The file as the agent reads it."""
    return config.load(path, environ=environ, options=drivers.options)


def test_what_is_written_can_be_read(init, tmp_path):
    """Flags become a configuration that holds exactly them."""
    assert init(*ARGUMENTS).exit_code == 0
    got = read(tmp_path / "config.yaml", SERVICE_KEY="k")

    [source], [pusher], [sync] = got.sources.values(), got.pushers.values(), got.syncs.values()
    assert re.fullmatch("agent-[0-9a-f]{12}", got.agent_id)
    assert (source.name, source.driver, source.endpoint) == ("shop", "sqlite", "sqlite:///shop.db")
    assert (pusher.driver, pusher.endpoint) == ("openapi", "http://h:1/o.json")
    assert pusher.credential().key.reveal() == "k"
    assert (sync.source, sync.pusher, sync.tables) == (source.name, pusher.name, ("orders", "log_*"))
    assert got.warnings == ()


@pytest.mark.fault("S09")
def test_only_the_owner_can_read_it(init, tmp_path):
    """Whatever the umask, nobody else reads the file, and no draft is left."""
    before = os.umask(0)
    try:
        init(*ARGUMENTS)
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "config.yaml").stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [tmp_path / "config.yaml"]


def test_it_says_what_to_set_and_do_next(init):
    """Variables that are not set are named, then the next commands."""
    result = init(*ARGUMENTS)

    assert "export SERVICE_KEY=" in result.output
    assert "fuagent check" in result.output
    assert "fuagent run" in result.output


def test_a_variable_that_is_set_needs_no_word(init, monkeypatch):
    """What the environment already holds is not asked for, and never shown."""
    monkeypatch.setenv("SERVICE_KEY", "very-secret")
    result = init(*ARGUMENTS)

    assert "export" not in result.output
    assert "very-secret" not in result.output


@pytest.mark.parametrize(
    ("credential", "names"),
    [
        ("key", ["SERVICE_KEY"]),
        ("basic", ["SERVICE_USER", "SERVICE_PASSWORD"]),
        ("oauth2", ["CLIENT_ID", "CLIENT_SECRET"]),
        ("none", []),
    ],
)
def test_credentials_are_references(init, tmp_path, credential, names):
    """Each kind of credential is written as references to variables that are then named."""
    result = init(*ARGUMENTS, "--credential", credential)

    assert result.exit_code == 0
    assert re.findall(r"export (\w+)=", result.output) == names
    text = (tmp_path / "config.yaml").read_text()
    assert all(f"${{{name}}}" in text for name in names)


def test_a_variable_of_ones_own(init, tmp_path):
    """--key-env names the variable that holds the key."""
    result = init(*ARGUMENTS, "--key-env", "MY_KEY")

    assert "export MY_KEY=" in result.output
    assert "${MY_KEY}" in (tmp_path / "config.yaml").read_text()
    assert "SERVICE_KEY" not in (tmp_path / "config.yaml").read_text()


@pytest.mark.fault("S07")
def test_a_key_in_place_of_its_variable_is_refused(init, tmp_path):
    """Whoever types the key itself is stopped, and the key is in no file and no message."""
    result = init(*ARGUMENTS, "--key-env", "sk-12345-abc")

    assert result.exit_code == cli_frame.ExitCode.USAGE
    assert "sk-12345-abc" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_it_does_not_overwrite(init, tmp_path):
    """A file that exists stays as it is, unless --force says otherwise."""
    (tmp_path / "config.yaml").write_text("mine")
    result = init(*ARGUMENTS)

    assert result.exit_code == cli_frame.ExitCode.CONFIG
    assert "--force" in result.output
    assert (tmp_path / "config.yaml").read_text() == "mine"
    assert init(*ARGUMENTS, "--force").exit_code == 0
    assert stat.S_IMODE((tmp_path / "config.yaml").stat().st_mode) == 0o600
    assert read(tmp_path / "config.yaml", SERVICE_KEY="k").agent_id


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        (["--agent-id", "a b"], "agent_id"),
        (["--source-driver", "oracle"], "sources"),
        (["--service", "http://user:pw@h/x"], "pushers"),
    ],
)
def test_what_makes_no_configuration_is_not_written(init, tmp_path, changes, place):
    """Mistakes are told as ``check`` would, and no file is left."""
    result = init(*ARGUMENTS, *changes)

    assert result.exit_code == cli_frame.ExitCode.CONFIG
    assert place in result.output
    assert list(tmp_path.iterdir()) == []


def test_the_agent_id_can_be_given(init, tmp_path):
    """An id that already has checkpoints goes on."""
    init(*ARGUMENTS, "--agent-id", "agent-mine")

    assert read(tmp_path / "config.yaml", SERVICE_KEY="k").agent_id == "agent-mine"


def test_a_relative_database_is_found_from_anywhere(init, tmp_path):
    """A path is meant from where one stands; in a file elsewhere it becomes absolute."""
    (tmp_path / "etc").mkdir()
    init(*ARGUMENTS, "--config", "etc/f.yaml")
    got = read(tmp_path / "etc/f.yaml", SERVICE_KEY="k")

    assert got.sources["shop"].endpoint == f"sqlite:///{tmp_path}/shop.db"


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("sqlite:////var/lib/web shop.db", "web-shop"),
        ("sqlite:///.db", "db"),
        ("/data/shop.sqlite3", "shop"),
        ("???", "source"),
    ],
)
def test_names_come_from_the_database(init, tmp_path, endpoint, name):
    """The source is called what its database is called, as far as a name may hold that."""
    result = init("--source-endpoint", endpoint, "--table", "t", "--service", "http://h/o")

    assert result.exit_code == 0, result.output
    assert list(read(tmp_path / "config.yaml", SERVICE_KEY="k").sources) == [name]


@pytest.mark.parametrize(
    ("arguments", "endpoint"),
    [
        (["--source-driver", "mysql", "--source-endpoint", "db.internal/shop"], "mysql://db.internal/shop"),
        (["--source-driver", "mysql", "--source-endpoint", "mysql://h:3307/shop"], "mysql://h:3307/shop"),
        (["--source-endpoint", "postgresql://h/shop"], "postgresql://h/shop"),
        (["--source-driver", "postgres", "--source-endpoint", "h/shop"], "postgres://h/shop"),
        (["--source-endpoint", "mariadb://h/shop"], "mariadb://h/shop"),
    ],
)
def test_a_server_is_named_with_its_user(init, tmp_path, arguments, endpoint):
    """A MySQL source gets its address and a login whose password is a reference; the URL tells the driver."""
    result = init(*arguments, "--source-user", "fuagent", "--table", "t", "--service", "http://h/o")
    assert result.exit_code == 0, result.output
    source = read(tmp_path / "config.yaml", SERVICE_KEY="k", SOURCE_PASSWORD="geheim").sources["shop"]

    assert source.endpoint == endpoint
    assert source.driver == ("postgres" if "postgres" in endpoint else "mysql")
    assert source.credential().user == "fuagent"
    assert source.credential().password.reveal() == "geheim"
    assert re.findall(r"export (\w+)=", result.output) == ["SOURCE_PASSWORD", "SERVICE_KEY"]


def test_a_place_that_cannot_be_written(init):
    """A directory that is not there is told, not traced."""
    result = init(*ARGUMENTS, "--config", "nowhere/config.yaml")

    assert result.exit_code == cli_frame.ExitCode.STATE
    assert "nowhere/config.yaml" in result.output


def test_nobody_to_ask(init):
    """Without a terminal, what is missing is named by its option."""
    assert "--source-endpoint" in init("--table", "t").output
    assert "--table" in init("--source-endpoint", "s").output
    assert "--service" in init("--source-endpoint", "s", "--table", "t").output
    assert "--source-user" in init("--source-driver", "mysql", "--source-endpoint", "h/shop", "--table", "t").output


def test_it_asks_on_a_terminal(tmp_path, terminal):
    """Each open point is a question; Enter takes the default."""
    talk = terminal("init")
    for question, answer in (
        ("Source driver (mysql, postgres, sqlite) [sqlite]:", ""),
        ("Path of the database file:", "shop.db"),
        ("Tables, with commas between them:", "orders, customers"),
        ("URL of the service's OpenAPI document:", "http://localhost/openapi.json"),
    ):
        talk.expect(question)
        talk.say(f"{answer}\n")

    assert talk.end() == 0, talk.seen
    got = read(tmp_path / "config.yaml", SERVICE_KEY="k")
    assert got.syncs["shop-to-my-service"].tables == ("orders", "customers")


def test_it_asks_for_server_and_user(terminal):
    """A MySQL source has no file, and its account is asked for; its password never is."""
    talk = terminal("init", "--table", "t", "--service", "http://h/o")
    for question, answer in (
        ("Source driver (mysql, postgres, sqlite) [sqlite]:", "mysql"),
        ("Server and database, such as db.internal:3306/shop:", "localhost/shop"),
        ("User at the database:", "fuagent"),
    ):
        talk.expect(question)
        talk.say(f"{answer}\n")
    talk.expect("export SOURCE_PASSWORD=")

    assert talk.end() == 0, talk.seen


def test_ctrl_c_at_a_question(tmp_path, terminal):
    """An interrupt writes nothing and leaves no trace on the screen."""
    talk = terminal("init")
    talk.expect("Source driver")
    talk.interrupt()
    code = talk.end()

    assert code == cli_frame.INTERRUPTED
    assert "Traceback" not in talk.seen
    assert list(tmp_path.iterdir()) == []
