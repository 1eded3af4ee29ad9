"""Credentials: every way of giving one, every combination that makes no sense, and files that change."""

import copy
import dataclasses
import json
import os
import pickle
import traceback

import orjson
import pytest

from fuagent.errors import TryAgainError
from fuagent.model import Credential, Level, Secret

TEXT = "text belongs here, and YAML reads this as"
UNCLEAR = "unquoted, this value is one thing to some YAML readers and another to others"


@pytest.fixture
def files(tmp_path):
    """Secret files beside the config, readable by their owner alone."""
    contents = {
        "key": "f-key\n",
        "user": "f-user",
        "pw": "f-päss wörd\r\n",
        "id": "f-id\n",
        "secret": "f-secret",
        "pem": "-----",
    }
    for name, text in contents.items():
        (tmp_path / name).write_bytes(text.encode())
        (tmp_path / name).chmod(0o600)
    return tmp_path


@pytest.fixture
def credential(read, right):
    """Read one credential section and give what it says."""

    def of(section: str, **environ: str):
        found = read(right.replace('{key: "k3y-of-mine"}', section), **environ)
        return found.pushers["service"].credential, found.warnings

    return of


@pytest.fixture
def wrong(mistakes, right):
    """Read one wrong credential section and give path below it, what and fix of the findings."""

    def of(section: str, **environ: str):
        found = mistakes(right.replace('{key: "k3y-of-mine"}', section), **environ)
        start = "10 pushers.service.credential"
        assert all(where.startswith(start) for where, _, _ in found)
        return [(where.removeprefix(start), what, fix) for where, what, fix in found]

    return of


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("{key: abc}", Credential(key=Secret("abc"))),
        ('{key: "0123"}', Credential(key=Secret("0123"))),
        ("{key: 'no'}", Credential(key=Secret("no"))),
        ("{key: !!str 0123}", Credential(key=Secret("0123"))),
        ('{key: "a-${ENV}-$${b}"}', Credential(key=Secret("a-007-${b}"))),
        ('{key: "${ENV}"}', Credential(key=Secret("007"))),
        ("{key_file: key}", Credential(key=Secret("f-key"))),
        ('{key_file: "${NAME}"}', Credential(key=Secret("f-key"))),
        ("{user: u, password: p}", Credential(user="u", password=Secret("p"))),
        ("{user: u, passwd: p}", Credential(user="u", password=Secret("p"))),
        ('{user: u, password: ""}', Credential(user="u", password=Secret(""))),
        ("{user_file: user, password_file: pw}", Credential(user="f-user", password=Secret("f-päss wörd"))),
        ("{user: u, passwd_file: pw}", Credential(user="u", password=Secret("f-päss wörd"))),
        (
            "{client_id: i, client_secret: s, token_url: 'https://h/t', scopes: a b}",
            Credential(client_id="i", client_secret=Secret("s"), token_url="https://h/t", scopes=("a", "b")),
        ),
        (
            "{client_id_file: id, client_secret_file: secret, scopes: [c]}",
            Credential(client_id="f-id", client_secret=Secret("f-secret"), scopes=("c",)),
        ),
    ],
)
def test_ways_of_giving_a_credential(credential, files, section, expected):
    """Each way comes out as the same value, whether written, from a variable or from a file."""
    reader, warnings = credential(section, ENV="007", NAME="key")

    assert reader() == expected
    assert warnings == ()


def test_a_client_certificate(credential, files):
    """Certificate and key are paths beside the config, and may accompany any other way."""
    reader, warnings = credential("{key: k, client_cert: pem, client_key: key, client_key_password_file: pw}")

    assert reader() == Credential(
        key=Secret("k"), cert_file=str(files / "pem"), key_file=str(files / "key"), key_password=Secret("f-päss wörd")
    )
    assert warnings == ()


@pytest.mark.parametrize(
    ("written", "what"),
    [
        *[(written, f"{TEXT} a number") for written in ("123", "-5", "1_000", "1e3", "1.5", "0", ".5", "1.")],
        *[(written, f"{TEXT} true or false") for written in ("true", "False", "TRUE")],
        *[(written, "nothing stands here") for written in ("null", "~", "", "Null")],
        *[(written, UNCLEAR) for written in ("0123", "no", "YES", "on", "Off", "y", "N", "0x1F", "0o17", "0b1")],
        *[(written, UNCLEAR) for written in ("2024-01-01", "2001-12-14 21:59:43.1 -5", "1:30", "1:30.5", "=", "<<")],
        *[(written, UNCLEAR) for written in (".inf", "-.INF", ".NaN", "1_0.5", "01e5", "00.5", "1_", "0123456")],
    ],
)
@pytest.mark.parametrize(("key", "other"), [("key", ""), ("password", "      user: someone\n")])
@pytest.mark.fault("S12")
def test_values_that_yaml_would_change(mistakes, right, key, other, written, what):
    """A secret that any YAML reader takes for something else than its text has to be quoted."""
    section = f"\n      {key}: {written}\n{other}"
    found = {where: (said, fix) for where, said, fix in mistakes(right.replace(' {key: "k3y-of-mine"}\n', section))}
    said, fix = found[f"11 pushers.service.credential.{key}"]

    assert said == what
    assert ("Put it in quotes" in fix) == (said != "nothing stands here")


BAD = [
    ("{}", "", "the credential is empty", "Leave it out, or give key, or user and password."),
    ("", "", "nothing stands here", "Write a value, or leave the key out."),
    ("3", "", "a mapping belongs here", None),
    ("{key: a, user: b, password: c}", "", "two ways of logging in at once: key; user and password", None),
    (
        "{key: a, client_id: b, client_secret: c}",
        "",
        "two ways of logging in at once: key; client_id and client_secret",
        None,
    ),
    ("{user: a}", "", "user without password", "Add password (or password_file) beside it."),
    ("{passwd: a}", "", "password without user", "Add user (or user_file) beside it."),
    ("{client_id: a}", "", "client_id without client_secret", "Add client_secret (or client_secret_file) beside it."),
    (
        "{client_secret_file: secret}",
        "",
        "client_secret without client_id",
        "Add client_id (or client_id_file) beside it.",
    ),
    ("{token_url: 'https://h/'}", "", "token_url or scopes without client_id and client_secret", None),
    ("{key: a, key_file: key}", ".key_file", "given twice: key and key_file", "Keep one of them."),
    ("{user: a, password: b, passwd: c}", ".password", "given twice: passwd and password", "Keep one of them."),
    ("{user: a, password: b, passwd_file: pw}", ".password", "given twice: passwd_file and password", None),
    ("{client_key: key, key: a}", ".client_key", "client_key without client_cert", "Add client_cert: the PEM file."),
    ("{client_key_password: a, key: a}", ".client_key_password", "client_key_password without client_cert", None),
    ('{key: ""}', ".key", "the value is empty", None),
    ('{key: "${EMPTY}"}', ".key", "the value is empty", "Write it, or set the variable it comes from."),
    ('{key: "a\\r\\nX-Admin: 1"}', ".key", "the value holds control characters", None),
    ('{key: "${NONE}"}', ".key", "the environment variable NONE is not set", None),
    ("{kee: a}", "", "there is a key that no credential has", "Did you mean key?"),
    (
        "{client_id: a, client_secret: b, token_url: h/t}",
        ".token_url",
        "the token URL does not begin with https:// or http://",
        None,
    ),
    (
        "{client_id: a, client_secret: b, token_url: 'https://a:b@h/t'}",
        ".token_url",
        "a user or password stands in the URL",
        None,
    ),
    ("{key_file: none}", ".key_file", "the file cannot be used: {dir}/none: there is none", None),
    ("{key_file: folder}", ".key_file", "the file cannot be used: {dir}/folder: it is no regular file", None),
    ("{key_file: pipe}", ".key_file", "the file cannot be used: {dir}/pipe: it is no regular file", None),
    ("{key_file: empty}", ".key_file", "the file cannot be used: {dir}/empty: it is empty", None),
    ("{key_file: long}", ".key_file", "the file cannot be used: {dir}/long: it is too long for a secret", None),
    ("{key_file: latin}", ".key_file", "the file cannot be used: {dir}/latin: it is not UTF-8 text", None),
    (
        "{key_file: two}",
        ".key_file",
        "the file cannot be used: {dir}/two: it holds more than one line, or control characters",
        None,
    ),
    ('{key_file: "a\\0b"}', ".key_file", "the file cannot be used: {dir}/a?b: there is none", None),
    (
        "{client_cert: none}",
        ".client_cert",
        "the file cannot be used: {dir}/none: there is none",
        "Give the path of a PEM file.",
    ),
    ('{key_file: "' + "x" * 300 + '"}', ".key_file", None, "Give a file that holds the secret alone."),
]


@pytest.mark.parametrize(("section", "path", "what", "fix"), BAD, ids=[f"{section[:40]!r}" for section, *_ in BAD])
def test_credentials_that_make_no_sense(wrong, files, section, path, what, fix):
    """What is mixed, incomplete, empty or unreadable is told at its key."""
    (files / "folder").mkdir()
    (files / "empty").write_text("\n")
    (files / "long").write_text("x" * 70_000)
    (files / "latin").write_bytes(b"p\xe4ss")
    (files / "two").write_text("a\nb\n")
    os.mkfifo(files / "pipe")
    said, repair = next((said, repair) for where, said, repair in wrong(section, EMPTY="") if where == path)

    assert what is None or said == what.format(dir=files)
    assert fix in (None, repair)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
@pytest.mark.parametrize(
    ("section", "name", "key"),
    [
        ("{key_file: key}", "key", "key_file"),
        ("{client_cert: pem, client_key: key}", "key", "client_key"),
        ("{client_cert: pem}", "pem", "client_cert"),
    ],
)
@pytest.mark.fault("S09")
def test_secret_files_that_others_can_read(credential, files, section, name, key, mode, warned):
    """A secret or private key readable by group or others works and is warned about."""
    (files / name).chmod(mode)
    _, warnings = credential(section)

    assert [(w.level, w.what, w.fix) for w in warnings] == (
        [(Level.WARNING, "others on this machine can read the secret file", f"chmod 600 {files / name}")]
        if warned
        else []
    )
    assert all(w.where.endswith(f"10 pushers.service.credential.{key}") for w in warnings)


def test_a_public_certificate_may_be_read_by_all(credential, files):
    """With the private key in a file of its own, the certificate is no secret."""
    (files / "pem").chmod(0o644)

    assert credential("{client_cert: pem, client_key: key}")[1] == ()


def test_files_are_read_afresh(credential, files):
    """A secret replaced under a running agent is seen at the next call, one that is gone is tried again."""
    reader, _ = credential("{key_file: key}")
    assert reader().key.reveal() == "f-key"

    (files / "key").write_text("rotated\n")
    assert reader().key.reveal() == "rotated"

    (files / "key").unlink()
    with pytest.raises(TryAgainError) as caught:
        reader()
    assert caught.value.what == f"key_file cannot be used: {files / 'key'}: there is none"
    assert caught.value.where.endswith("config.yaml:10 pushers.service.credential")

    (files / "key").write_text("back")
    assert reader().key.reveal() == "back"


@pytest.mark.fault("S05")
def test_nothing_prints_a_secret(read, right):
    """Neither the config nor its parts show a secret, however they are printed, and none is pickled."""
    found = read(right.replace('"k3y-of-mine"', "k3y-of-mine, scopes: []"))

    assert "k3y-of-mine" not in repr(found) + str(found) + f"{found.pushers}" + repr(
        found.pushers["service"].credential()
    )
    with pytest.raises(TypeError):
        pickle.dumps(found.pushers["service"].credential())


@pytest.mark.fault("S05")
@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        "{!r:>40}".format,
        "%s %(x)s".__mod__,
        "%r".__mod__,
        json.dumps,
        orjson.dumps,
        pickle.dumps,
        copy.deepcopy,
        vars,
        list,
        lambda secret: json.dumps({"key": secret}, default=str),
        lambda secret: orjson.dumps(Credential(key=secret), default=str),
        lambda secret: dataclasses.asdict(Credential(key=secret)),
        lambda secret: "".join(traceback.format_exception(ValueError(secret, Credential(password=secret)))),
    ],
)
def test_a_secret_shows_itself_to_nobody(show):
    """Printed, formatted, dumped, copied or thrown: stars, or an error that does not hold it either."""
    secret = Secret("k3y-of-mine")
    try:
        shown = show(secret)
    except Exception as error:
        shown = f"{error!r} {error}"

    assert "k3y-of-mine" not in str(shown) + repr(shown)
    assert secret.reveal() == "k3y-of-mine"
