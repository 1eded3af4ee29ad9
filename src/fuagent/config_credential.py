"""A credential section to a :class:`~fuagent.model.Credential`, files read afresh each time.

A section says who the agent is in one of three ways (key; user and password;
OAuth2 client credentials), and may add a client certificate. Each secret stands
in the section itself or in a file of its own (``*_file``), where whatever
rotates secrets can replace it under a running agent.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fuagent.config_keys import CredentialKeys
from fuagent.errors import TryAgainError
from fuagent.model import Credential, Level, Secret

MAX_SECRET_BYTES = 65_536

SECRETS = ("key", "password", "passwd", "client_secret", "client_key_password")
"""The keys whose values must never be shown."""

_WAYS: Mapping[str, tuple[str, ...]] = {
    "key": ("key", "key_file"),
    "user and password": ("user", "user_file", "password", "password_file", "passwd", "passwd_file"),
    "client_id and client_secret": (
        "client_id",
        "client_id_file",
        "client_secret",
        "client_secret_file",
        "token_url",
        "scopes",
    ),
}
_TOGETHER = (("user", "password"), ("password", "user"), ("client_id", "client_secret"), ("client_secret", "client_id"))
_ONE_OF = ("key", "user", "password", "client_id", "client_secret", "client_key_password")


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something wrong with a credential: the key it concerns, what, and what to do."""

    level: Level
    key: str
    what: str
    fix: str


class _UnreadableError(Exception):
    """A secret file that gives no secret; the text says why, without what is in it."""


@dataclass(frozen=True, slots=True)
class CredentialReader:
    """Call it for the credential as it is now: files are read each time."""

    where: str
    values: Mapping[str, str | Secret]
    files: Mapping[str, Path]
    scopes: tuple[str, ...] = ()

    def __call__(self) -> Credential:
        """The credential.

        Raises:
            TryAgainError: a file cannot be read just now.
        """
        found = {**self.values, **{key: self._read(key, path) for key, path in self.files.items()}}
        return Credential(
            key=_secret(found.get("key")),
            user=_text(found.get("user")),
            password=_secret(found.get("password")),
            client_id=_text(found.get("client_id")),
            client_secret=_secret(found.get("client_secret")),
            token_url=_text(found.get("token_url")),
            scopes=self.scopes,
            cert_file=_text(found.get("client_cert")),
            key_file=_text(found.get("client_key")),
            key_password=_secret(found.get("client_key_password")),
        )

    def _read(self, key: str, path: Path) -> str:
        try:
            return _secret_in(path)
        except _UnreadableError as error:
            what = f"{key}_file cannot be used: {error}"
            raise TryAgainError(what, where=self.where, fix="Put the secret back; it is read again.") from None


def reader(keys: CredentialKeys, base_dir: Path, where: str) -> CredentialReader:
    """The reader for a section that :func:`doubts` found nothing wrong with."""
    given = {name: value for name, value in keys if value is not None and name != "scopes"}
    files = {_plain(name): base_dir / value for name, value in given.items() if name.endswith("_file")}
    values: dict[str, str | Secret] = {}
    for name, value in given.items():
        if name in ("client_cert", "client_key"):
            values[name] = str(base_dir / value)
        elif not name.endswith("_file"):
            values[_plain(name)] = Secret(value) if name in SECRETS else value
    return CredentialReader(where, values, files, tuple(keys.scopes))


def doubts(keys: CredentialKeys, base_dir: Path) -> Iterator[Doubt]:
    """All that is wrong or risky: combinations first, then values and files."""
    given = {name: value for name, value in keys if value not in (None, [])}
    yield from _combination(set(given))
    for name, value in given.items():
        if name.endswith("_file"):
            yield from _secret_file(name, base_dir / value)
        elif name in ("client_cert", "client_key"):
            yield from _pem_file(name, base_dir / value, private=name == "client_key" or "client_key" not in given)
        elif name not in ("scopes", "token_url"):
            yield from _value(name, value)


def _combination(given: set[str]) -> Iterator[Doubt]:
    if not given:
        yield Doubt(Level.ERROR, "", "the credential is empty", "Leave it out, or give key, or user and password.")
    ways = [name for name, keys in _WAYS.items() if given & set(keys)]
    if len(ways) > 1:
        fix = "Keep one way; a client certificate may stand beside it."
        yield Doubt(Level.ERROR, "", f"two ways of logging in at once: {'; '.join(ways)}", fix)
    for name in _ONE_OF:
        spelled = sorted(key for key in given if _plain(key) == name)
        if len(spelled) > 1:
            yield Doubt(Level.ERROR, spelled[1], f"given twice: {' and '.join(spelled)}", "Keep one of them.")
    have = {_plain(key) for key in given}
    for one, other in _TOGETHER:
        if one in have and other not in have:
            yield Doubt(Level.ERROR, "", f"{one} without {other}", f"Add {other} (or {other}_file) beside it.")
    yield from _leftovers(have)


def _leftovers(have: set[str]) -> Iterator[Doubt]:
    """Keys that mean something only beside others."""
    if have & {"token_url", "scopes"} and not have & {"client_id", "client_secret"}:
        fix = "Add client_id and client_secret."
        yield Doubt(Level.ERROR, "", "token_url or scopes without client_id and client_secret", fix)
    if "client_key" in have and "client_cert" not in have:
        yield Doubt(Level.ERROR, "client_key", "client_key without client_cert", "Add client_cert: the PEM file.")
    if "client_key_password" in have and "client_cert" not in have:
        fix = "Add client_cert, and client_key unless both are in one file."
        yield Doubt(Level.ERROR, "client_key_password", "client_key_password without client_cert", fix)


def _value(name: str, value: str) -> Iterator[Doubt]:
    # An empty password is real in test databases; it is taken only where somebody wrote "".
    if not value and name not in ("password", "passwd"):
        yield Doubt(Level.ERROR, name, "the value is empty", "Write it, or set the variable it comes from.")
    elif not value.isprintable():
        fix = "Remove line breaks and tabs from it."
        yield Doubt(Level.ERROR, name, "the value holds control characters", fix)


def _secret_file(name: str, path: Path) -> Iterator[Doubt]:
    try:
        _secret_in(path)
    except _UnreadableError as error:
        yield Doubt(Level.ERROR, name, f"the file cannot be used: {error}", "Give a file that holds the secret alone.")
    else:
        yield from _exposed(name, path)


def _pem_file(name: str, path: Path, *, private: bool) -> Iterator[Doubt]:
    try:
        _open(path)
    except _UnreadableError as error:
        yield Doubt(Level.ERROR, name, f"the file cannot be used: {error}", "Give the path of a PEM file.")
    else:
        if private:
            yield from _exposed(name, path)


def _exposed(name: str, path: Path) -> Iterator[Doubt]:
    if readable_by_others(path):
        what = "others on this machine can read the secret file"
        yield Doubt(Level.WARNING, name, what, f"chmod 600 {_shown(path)}")


def readable_by_others(path: Path) -> bool:
    """Whether group or others may read the file."""
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def _open(path: Path) -> bytes:
    """The file's bytes; only a regular file is opened, a pipe could wait for ever."""
    try:
        if not path.is_file():
            reason = "it is no regular file" if path.exists() else "there is none"
            raise _UnreadableError(f"{_shown(path)}: {reason}")
        with path.open("rb") as file:
            return file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise _UnreadableError(f"{_shown(path)}: {error.strerror or 'it cannot be read'}") from None


def _secret_in(path: Path) -> str:
    """The one line a secret file holds, without the line break editors add."""
    data = _open(path)
    if len(data) > MAX_SECRET_BYTES:
        raise _UnreadableError(f"{_shown(path)}: it is too long for a secret")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _UnreadableError(f"{_shown(path)}: it is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise _UnreadableError(f"{_shown(path)}: it is empty")
    if not text.isprintable():
        raise _UnreadableError(f"{_shown(path)}: it holds more than one line, or control characters")
    return text


def _plain(name: str) -> str:
    """``passwd_file`` is a way of giving ``password``."""
    name = name.removesuffix("_file")
    return "password" if name == "passwd" else name


def _shown(path: Path) -> str:
    return "".join(character if character.isprintable() else "?" for character in str(path))[-150:]


def _secret(value: str | Secret | None) -> Secret | None:
    return Secret(value) if isinstance(value, str) else value


def _text(value: str | Secret | None) -> str | None:
    return value.reveal() if isinstance(value, Secret) else value
