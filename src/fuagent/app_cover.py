"""What must not leave the machine: the configuration without its secrets, and a last look for them in any text.

Two nets, because a person may have put a secret anywhere. The first says of each value of
config.yaml whether it may be told, by the keys that are known to hold secrets and by
names that sound like it. The second knows the secrets themselves, from the file, the
environment and the files that credentials name, and covers them wherever they stand.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import yaml

from fuagent import config_yaml
from fuagent.config import STATE_DIR
from fuagent.config_check import SECTIONS
from fuagent.config_credential import MAX_SECRET_BYTES, SECRETS
from fuagent.config_keys import CredentialKeys
from fuagent.config_yaml import Document, Steps
from fuagent.contract.auth import COVER
from fuagent.contract.text import address
from fuagent.errors import ConfigError

_SECRET = re.compile("key|secret|token|passw|pwd|salt|auth|credential", re.IGNORECASE)
"""Names that sound like a secret. Better one value too many is covered."""
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SHORTEST = 4
"""Characters of a secret that is looked for: a shorter one would be found in every second word."""
_WORDS = frozenset({"true", "false", "null", "none"})


class _Variables(dict[str, str]):
    """An environment in which every variable holds its own reference: so it stays as it was written."""

    def get(self, name: str, default: object = None) -> str:  # noqa: ARG002 - as a mapping has it
        """``${NAME}``."""
        return f"${{{name}}}"


class _Environment(dict[str, str]):
    """The environment; what is not set is empty, for a look that must not fail."""

    def get(self, name: str, default: object = None) -> str:  # noqa: ARG002 - as a mapping has it
        """The variable, or nothing."""
        return super().get(name, "")


@dataclass(frozen=True, slots=True)
class Covered:
    """A configuration as it may be told, and what must not be.

    ``text`` is None where the file cannot be read; ``problem`` then says why.
    """

    text: str | None
    problem: str
    state_dir: Path
    secrets: frozenset[str] = field(repr=False)

    def over(self, text: bytes) -> tuple[bytes, int]:
        """The text with every secret covered, in whatever form it stands there, and in how many places."""
        places = 0
        for form in _forms(self.secrets):
            places += text.count(form)
            text = text.replace(form, COVER.encode())
        return text, places


def read(path: Path, environ: Mapping[str, str]) -> Covered:
    """The configuration at ``path``, however broken it is."""
    secrets = {value for name, value in environ.items() if _SECRET.search(name)}
    text = ""
    try:
        text = config_yaml.decode(_bytes(path), str(path))
        written = config_yaml.read(text, str(path), _Variables())
        meant = config_yaml.read(text, str(path), _Environment(environ))
    except (ConfigError, OSError) as error:
        # Not even its lines are told: a secret may stand in any of them.
        secrets |= {environ.get(name, "") for name in _VARIABLE.findall(text)}
        problem = f"{error.strerror}." if isinstance(error, OSError) else str(error)
        return Covered(None, problem, path.parent / STATE_DIR, _worth_looking_for(secrets))
    secrets |= meant.drawn | set(_secrets(meant, path.parent))
    told = yaml.safe_dump(_covered(written.value, ()), sort_keys=False, allow_unicode=True)
    return Covered(told, "", path.parent / _state_dir(meant), _worth_looking_for(secrets))


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(2, "there is no such file", str(path))
    with path.open("rb") as file:
        return file.read(config_yaml.MAX_BYTES + 1)


def _state_dir(document: Document) -> str:
    told = document.value.get("state_dir") if isinstance(document.value, dict) else None
    return told if isinstance(told, str) else STATE_DIR


# ---------------------------------------------------------------- the first net


def _covered(value: object, steps: Steps) -> object:
    """The value with whatever may be a secret covered."""
    if isinstance(value, dict):
        return {_name(key, steps): _covered(inner, (*steps, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_covered(inner, (*steps, number)) for number, inner in enumerate(value)]
    return value if value is None or isinstance(value, bool) else _told(value, steps)


def _name(key: str, steps: Steps) -> str:
    """A key nobody declared may itself be the secret, where a credential stands."""
    return COVER if _in_credential(steps) and key not in CredentialKeys.model_fields else key


def _told(value: object, steps: Steps) -> object:
    text = str(value)
    if _is_secret(steps) or _is_constant(steps):
        # A reference to a variable says where the secret is, not what it is.
        return text if _VARIABLE.fullmatch(text) else COVER
    if "://" in text:
        return address(text)
    return COVER if "@" in text and steps[-1:] == ("endpoint",) else value


def _in_credential(steps: Steps) -> bool:
    return len(steps) >= 3 and steps[0] in SECTIONS.values() and steps[2] == "credential"


def _is_secret(steps: Steps) -> bool:
    if _in_credential(steps):
        return len(steps) == 3 or steps[3] in SECRETS or steps[3] not in CredentialKeys.model_fields
    named = [step for number, step in enumerate(steps) if isinstance(step, str) and number != 1]
    if steps[:1] == ("syncs",) and steps[2:3] in (("fields",), ("mask",)) and steps[-1] != "constant":
        return False  # what stands there are columns, under names of the user's own
    return any(map(_SECRET.search, named)) and not named[-1].endswith("_file")


def _is_constant(steps: Steps) -> bool:
    """What an event is given by hand may be a secret of the service's, and as well a word that is everywhere.

    So it is covered where it stands, and not looked for elsewhere.
    """
    return steps[:1] == ("syncs",) and steps[2:3] == ("fields",) and steps[-1] == "constant"


# ---------------------------------------------------------------- the second net


def _secrets(document: Document, base_dir: Path) -> Iterator[str]:
    """Everything in the file that must not be told, and what stands in the files it names."""
    for steps, value in _leaves(document.value, ()):
        if _is_secret(steps):
            yield value
        elif "://" in value:
            yield from _in_url(value)
        if _in_credential(steps) and str(steps[-1]).endswith("_file"):
            with suppress(OSError, ValueError):
                yield _in_file(base_dir / value)


def _leaves(value: object, steps: Steps) -> Iterator[tuple[Steps, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if _name(key, steps) == COVER:
                yield (*steps, key), key
            yield from _leaves(inner, (*steps, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, (*steps, number))
    elif value is not None and not isinstance(value, bool):
        yield steps, str(value)


def _in_url(url: str) -> Iterator[str]:
    with suppress(ValueError):
        parts = urlsplit(url)
        for secret in (parts.password, *(one.partition("=")[2] for one in parts.query.split("&")), parts.fragment):
            yield secret or ""
            yield unquote(secret or "")


def _in_file(path: Path) -> str:
    """The one line of a secret file; only a regular file is opened, a pipe could wait for ever."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(MAX_SECRET_BYTES).decode("utf-8-sig").strip("\r\n")


def _worth_looking_for(secrets: set[str]) -> frozenset[str]:
    return frozenset(one for one in secrets if len(one) >= _SHORTEST and one.lower() not in _WORDS)


def _forms(secrets: frozenset[str]) -> list[bytes]:
    """Each secret as it may stand in a text, the longest first: plain, in a URL, in JSON, in a header."""
    forms = set()
    for secret in secrets:
        plain = secret.encode(errors="surrogateescape")  # the environment may hold any bytes
        forms |= {plain, quote(plain).encode(), quote(plain, safe="").encode()}
        forms |= {
            json.dumps(secret)[1:-1].encode(),
            json.dumps(secret, ensure_ascii=False)[1:-1].encode(errors="replace"),
        }
        # Wherever it begins in what was encoded, the middle of it is one of three texts.
        forms |= {middle for before in range(3) if len(middle := _middle(plain, before)) >= 2 * _SHORTEST}
    return sorted(forms, key=len, reverse=True)


def _middle(secret: bytes, before: int) -> bytes:
    """What every Base64 text shares that holds the secret behind ``before`` bytes, counted modulo 3."""
    data = b"\0" * before + secret
    return base64.b64encode(data[: len(data) // 3 * 3])[4 if before else 0 :]
