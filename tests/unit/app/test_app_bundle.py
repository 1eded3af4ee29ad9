"""The support bundle where things are broken: what can be had is had, and what is left out says why."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest
from typer.testing import CliRunner

from fuagent import app_bundle, app_cover, cli
from fuagent.journal import FILE, Journal, SyncRecord
from harness import canary

BROKEN = f'syncs: [\n  key: {canary.KEY} "${{CANARY_PASSWORD}}\n'
WRONG = f"""
state_dir: elsewhere
{canary.CLIENT_SECRET}: 1
sources:
  shop: {{driver: sqlite, endpoint: "sqlite:///none.db", password: {canary.KEY}}}
pushers:
  out: {{driver: stdout, credential: {canary.PASSWORD}}}
syncs:
  orders: {{source: shop, pusher: nobody}}
"""

RIGHT = """
sources: {shop: {driver: sqlite, endpoint: "sqlite:///shop.db"}}
pushers: {out: {driver: stdout}}
syncs: {orders: {source: shop, pusher: out, tables: [orders]}}
"""


async def gather(tmp_path, text):
    """The parts of a bundle by name, and those that are not whole."""
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    made = await app_bundle.gather(app_bundle.Wanted(path, None, None))
    assert canary.leaks({part.name: part.data for part in made.parts}) == []
    return {part.name: part.data.decode() for part in made.parts}, {part.name for part in made.parts if not part.whole}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """A secret that only the environment holds."""
    monkeypatch.setenv("CANARY_PASSWORD", canary.PASSWORD)
    monkeypatch.setenv("A_KEY_NOBODY_USES", canary.CLIENT_SECRET)


@pytest.mark.fault("S05", "S06")
@pytest.mark.parametrize(("text", "reason"), [(BROKEN, "this is not YAML"), (None, "no such file"), ("", "is empty")])
async def test_a_configuration_that_cannot_be_read(tmp_path, text, reason):
    """Nothing of the file is told but what is wrong; the journal is looked into all the same."""
    journal = Journal.open(tmp_path / ".fuagent")
    journal.sync("orders").save(SyncRecord(acknowledged=7))
    journal.close()
    parts, lacking = await gather(tmp_path, text)

    assert reason in parts["config.yaml"]
    assert lacking == {"config.yaml", "tables.json", "status.json", "metrics.txt", "log.txt"}
    assert json.loads(parts["journal.json"])["syncs"]["orders"]["record"]["acknowledged"] == 7
    assert json.loads(parts["system.json"])["packages"]["aiohttp"]
    assert "error: " in parts["check.txt"]


@pytest.mark.fault("S05", "S06")
async def test_a_configuration_that_is_wrong(tmp_path):
    """It is told without the secrets in wrong places, with all that is wrong; its state directory is found."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / FILE).write_bytes(b"no journal at all" * 100)
    parts, lacking = await gather(tmp_path, WRONG)

    assert "password: '***'" in parts["config.yaml"]
    assert "credential: '***'" in parts["config.yaml"]
    assert "pusher: nobody" in parts["config.yaml"]
    assert parts["check.txt"].count("error: ") >= 2
    assert "file is not a database" in parts["journal.json"]
    assert FILE in parts["state-dir.json"]
    assert lacking == {"tables.json", "status.json", "metrics.txt", "log.txt", "journal.json"}


async def test_a_journal_with_a_damaged_record(tmp_path):
    """What does not check out is said to be damaged; the rest is there."""
    journal = Journal.open(tmp_path / ".fuagent")
    journal.sync("orders").save(SyncRecord(acknowledged=7))
    journal.sync("users").save(SyncRecord(acknowledged=8))
    with journal.durable() as database:
        database.execute("UPDATE sync SET sum = 1 WHERE name = 'orders'")
    journal.close()
    parts, _ = await gather(tmp_path, None)
    syncs = json.loads(parts["journal.json"])["syncs"]

    assert syncs["orders"]["record"] == "damaged"
    assert syncs["users"]["record"]["acknowledged"] == 8


async def test_what_takes_too_long_and_what_fails_keeps_nothing_else_out(tmp_path, monkeypatch):
    """Each part ends in its time, and an error of any kind becomes a word without its text."""

    def failing(_path):
        raise ValueError(canary.row(1))

    async def hanging(_setup):
        await asyncio.Event().wait()

    monkeypatch.setattr(app_bundle, "PATIENCE", 0.2)
    monkeypatch.setattr(app_bundle.app_commands, "check", hanging)
    monkeypatch.setattr(app_bundle.journal_look, "look", failing)
    Journal.open(tmp_path / ".fuagent").close()
    parts, lacking = await gather(tmp_path, RIGHT)

    assert "within 0 s" in parts["check.txt"]
    assert parts["journal.json"] == "Not to be had: a defect, ValueError.\n"
    assert {"check.txt", "journal.json"} <= lacking
    assert json.loads(parts["system.json"])["fuagent"]
    assert "orders" in parts["config.yaml"]


async def test_the_tables_of_a_source(tmp_path):
    """Names, types and keys; a source that cannot be asked says why, in its own place."""
    nothing, _ = await gather(tmp_path, RIGHT)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    parts, lacking = await gather(tmp_path, RIGHT)

    assert "Not to be had: " in json.loads(nothing["tables.json"])["orders"]["tables"]
    assert json.loads(parts["tables.json"])["orders"]["tables"][0]["key"] == ["id"]
    assert "tables.json" not in lacking


def test_the_command_says_what_it_made(tmp_path, monkeypatch):
    """Each part with what it is, that it was looked through, and where it lies; a name of its own if none is given."""
    monkeypatch.chdir(tmp_path)
    made = CliRunner().invoke(cli.application, ["support-bundle"], prog_name="fuagent")
    [path] = tmp_path.glob("fuagent-support-*.tar.gz")
    again = CliRunner().invoke(cli.application, ["support-bundle", "-o", str(path)], prog_name="fuagent")

    assert made.exit_code == 0
    assert made.output.startswith(f"{path.name} holds:\n")
    assert "  journal.json    what the journal remembers, without the rows set aside; not to be had" in made.output
    assert "places were covered" in made.output
    assert again.exit_code == 5
    assert "fix: Name another file with --output." in again.output


# ------------------------------------------------------------ the first net


@pytest.mark.fault("S06")
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("sources: {a: {credential: {password: hunter22}}}", "password: '***'"),
        ("sources: {a: {credential: {password: '${PASSWORD}'}}}", "password: ${PASSWORD}"),
        ("sources: {a: {credential: {password: 'x${PASSWORD}'}}}", "password: '***'"),
        ("sources: {a: {credential: {password: 12345678}}}", "password: '***'"),
        (
            "sources: {a: {credential: {user: agent, password_file: /run/p}}}",
            "user: agent\n      password_file: /run/p",
        ),
        ("sources: {a: {credential: {hunter22: 1}}}", "'***': '***'"),
        (
            "sources: {a: {endpoint: 'mysql://me:hunter22@db:3306/shop?token=hunter22'}}",
            "endpoint: mysql://db:3306/shop",
        ),
        ("sources: {a: {endpoint: 'me:hunter22@db'}}", "endpoint: '***'"),
        ("pushers: {a: {driver_params: {api_token: hunter22, batch_endpoint: /in}}}", "api_token: '***'"),
        ("pushers: {a: {driver_params: {login: {auth: [hunter22]}}}}", "- '***'"),
        ("pushers: {a: {driver_params: {proxy: 'http://me:hunter22@proxy:3128'}}}", "proxy: http://proxy:3128"),
        ("syncs: {a: {mask_salt: hunter22, mask: {key: hash}}}", "mask_salt: '***'\n    mask:\n      key: hash"),
        (
            "syncs: {a: {fields: {key: id, token: {constant: hunter22}}}}",
            "key: id\n      token:\n        constant: '***'",
        ),
        ("syncs: {a: {fields: {key: id, region: {constant: hunter22}}}}", "region:\n        constant: '***'"),
        ("sources: {a: {endpoint: 'sqlite:////srv/shop.db?key=hunter22'}}", "endpoint: sqlite:////srv/shop.db"),
        ("sources: {a: {endpoint: 'sqlite:///shop.db'}}", "endpoint: sqlite:///shop.db"),
        ("syncs: {a_token: {source: a, drain: 5, whole_transactions: true}}", "drain: 5\n    whole_transactions: true"),
        ("secret: hunter22", "secret: '***'"),
    ],
)
def test_which_values_are_told(tmp_path, line, told):
    """A secret's own keys, names that sound like one, and what a URL carries; all else stays as it was written."""
    path = tmp_path / "config.yaml"
    path.write_text(line)
    covered = app_cover.read(path, {"PASSWORD": "from the environment"})

    assert told in covered.text
    assert "hunter22" not in covered.text


# ------------------------------------------------------------ the second net


@pytest.mark.fault("S05")
def test_a_secret_in_any_form_is_covered(tmp_path):
    """Plain, in a URL, in JSON, and in the middle of what was encoded; from the file, its files and the environment."""
    path = tmp_path / "config.yaml"
    (tmp_path / "secret").write_text(canary.CLIENT_SECRET)
    path.write_text(
        f"sources: {{a: {{credential: {{key: {canary.KEY}, client_secret_file: secret}}, endpoint: 'x://u:t%22oken@h/'}}}}"
    )
    covered = app_cover.read(path, {"DB_PASSWORD": canary.PASSWORD, "OTHER_KEY": "true", "BYTES_KEY": "a\udcffb-cdef"})
    forms = {form for one in (canary.KEY, canary.PASSWORD, canary.CLIENT_SECRET) for form in canary.forms(one)}
    text = b"\n".join([*forms, b'{"key":"t\\"oken"}', b"a\xffb-cdef", b"true"])
    told, places = covered.over(text)

    assert canary.leaks({"it": told}, frozenset(forms)) == []
    assert b"oken" not in told
    assert b"cdef" not in told
    assert b"true" in told
    assert places >= len(forms)
    assert repr(covered).count(canary.KEY) == 0


@pytest.mark.fault("S05")
def test_the_variables_of_a_file_that_cannot_be_read_are_secrets_too(tmp_path):
    """Whatever they are called: nobody knows what each of them was for."""
    path = tmp_path / "config.yaml"
    path.write_text("a: [${DATABASE_LOGIN}\n")

    assert app_cover.read(path, {"DATABASE_LOGIN": "hunter22", "HOME": "/home"}).over(b"hunter22 /home") == (
        b"*** /home",
        1,
    )
