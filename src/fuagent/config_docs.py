"""What there is to say about the keys of config.yaml, taken from where they are declared.

Rows for the reference page, a JSON Schema for editors, and the commented file
that ``fuagent init`` writes.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from fuagent.config_keys import CredentialKeys, FileKeys, PusherKeys, SourceKeys, SyncKeys

Drivers = Mapping[tuple[str, str], type[BaseModel]]
"""Entry-point group and driver name to the driver's options."""

_SECTIONS = {"fuagent.sources": "sources", "fuagent.pushers": "pushers"}
_TREE: tuple[tuple[str, type[BaseModel]], ...] = (
    ("", FileKeys),
    ("sources.<name>.", SourceKeys),
    ("pushers.<name>.", PusherKeys),
    ("<sources or pushers>.<name>.credential.", CredentialKeys),
    ("syncs.<name>.", SyncKeys),
)
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./:-]*(?<!:)")
_LOOKS_LIKE_MORE = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Option:
    """One row of the reference: where the key stands, its type, default, and what it does.

    ``driver`` is set for a key of driver_params that belongs to that driver.
    """

    path: str
    type: str
    default: str
    description: str
    example: str = ""
    driver: str = ""


def describe(drivers: Drivers | None = None) -> list[Option]:
    """Every key there is, those of the given drivers behind their section's own."""
    rows: list[Option] = []
    for prefix, model in _TREE:
        rows.extend(_rows(prefix, model))
        for (group, driver), options in (drivers or {}).items():
            if prefix == f"{_SECTIONS[group]}.<name>.":
                rows.extend(_rows(f"{prefix}driver_params.", options, driver))
    return rows


def _rows(prefix: str, model: type[BaseModel], driver: str = "") -> Iterator[Option]:
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    for key, told in schema.get("properties", {}).items():
        required = key in schema.get("required", ())
        yield Option(
            path=prefix + key,
            type=_type(told, definitions),
            default="required" if required else _default(told.get("default")),
            description=told.get("description", ""),
            example=_inline(told["examples"][0]) if told.get("examples") else "",
            driver=driver,
        )


def _default(value: object) -> str:
    if value in (None, [], {}, ""):
        return ""
    return _inline(int(value) if isinstance(value, float) and value.is_integer() else value)


def _type(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """A schema in a word or two."""
    if "x-type" in schema:
        return str(schema["x-type"])
    if "enum" in schema or "const" in schema:
        return " | ".join(_inline(value) for value in schema.get("enum", [schema.get("const")]))
    if "$ref" in schema:
        return _type(definitions[schema["$ref"].rpartition("/")[2]], {})
    if "anyOf" in schema:
        kinds = [_type(one, definitions) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    kind = schema.get("type", "anything")
    kind = next(one for one in kind if one != "null") if isinstance(kind, list) else kind
    if kind == "array":
        return f"list of {_type(schema.get('items', {}), definitions)}"
    return {"object": "mapping", "boolean": "true | false", "string": "text"}.get(kind, str(kind))


def json_schema(drivers: Drivers | None = None) -> dict[str, Any]:
    """The file's JSON Schema (draft 2020-12); driver_params are checked for the given drivers."""
    given = drivers or {}
    models: dict[type[BaseModel], None] = dict.fromkeys([FileKeys, SourceKeys, PusherKeys, *given.values()])
    references, together = models_json_schema([(model, "validation") for model in models])
    definitions = together["$defs"]
    for (group, driver), options in given.items():
        model = SourceKeys if group == "fuagent.sources" else PusherKeys
        entry = _target(definitions, references[model, "validation"])
        entry.setdefault("allOf", []).append(
            {
                "if": {"properties": {"driver": {"const": driver}}, "required": ["driver"]},
                "then": {
                    "properties": {"driver_params": {"anyOf": [references[options, "validation"], {"type": "null"}]}}
                },
            }
        )
    root = _target(definitions, references[FileKeys, "validation"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions}


def _target(definitions: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = definitions[reference["$ref"].rpartition("/")[2]]
    return found


@dataclass(frozen=True, slots=True)
class Answers:
    """What ``fuagent init`` asks for. ``credential`` is key, basic, oauth2 or none."""

    agent_id: str
    tables: Sequence[str]
    source_endpoint: str
    pusher_endpoint: str
    source_driver: str = "sqlite"
    source_user: str = ""
    """Set: the source gets a credential with this user and ``${SOURCE_PASSWORD}``."""
    pusher_driver: str = "openapi"
    credential: str = "key"
    source: str = "shop"
    pusher: str = "my-service"
    sync: str = "shop-to-my-service"


_CREDENTIALS = {
    "key": {"key": "${SERVICE_KEY}"},
    "basic": {"user": "${SERVICE_USER}", "password": "${SERVICE_PASSWORD}"},
    "oauth2": {"client_id": "${CLIENT_ID}", "client_secret": "${CLIENT_SECRET}"},
}


def example(answers: Answers) -> str:
    """A whole config.yaml: the answers in force, every other key of a sync as a comment."""
    login = {"user": answers.source_user, "password": "${SOURCE_PASSWORD}"} if answers.source_user else None
    lines = [
        "# Configuration of fuagent: which tables of which source go to which service.",
        "# ${NAME} stands for an environment variable; `fuagent check` finds mistakes.",
        "",
        *_about(FileKeys, "agent_id", ""),
        f"agent_id: {_scalar(answers.agent_id)}",
        "",
        "sources:",
        *_driven(answers.source, SourceKeys, answers.source_driver, answers.source_endpoint, login),
        "",
        "pushers:",
        *_driven(
            answers.pusher,
            PusherKeys,
            answers.pusher_driver,
            answers.pusher_endpoint,
            _CREDENTIALS.get(answers.credential),
        ),
        "",
        "syncs:",
        "  # The name is the task_id the service sees.",
        f"  {_scalar(answers.sync)}:",
        f"    source: {_scalar(answers.source)}",
        f"    pusher: {_scalar(answers.pusher)}",
        f"    tables: {_inline(list(answers.tables))}",
        *_commented(SyncKeys, {"source", "pusher", "tables"}),
    ]
    return "\n".join(lines) + "\n"


def _driven(
    name: str, keys: type[BaseModel], driver: str, endpoint: str, credential: Mapping[str, str] | None
) -> Iterator[str]:
    yield f"  {_scalar(name)}:"
    yield f"    driver: {_scalar(driver)}"
    if endpoint:
        yield from _about(keys, "endpoint", "    ")
        yield f"    endpoint: {_scalar(endpoint)}"
    if credential:
        yield f"    credential: {_inline(dict(credential))}"
    for options in filter(None, keys.model_fields["driver_params"].examples or ()):
        yield from _about(keys, "driver_params", "    ")
        yield f"    # driver_params: {_inline(options)}"


def _commented(keys: type[BaseModel], told: set[str]) -> Iterator[str]:
    for name, field in keys.model_fields.items():
        if name not in told:
            yield ""
            yield from _about(keys, name, "    ")
            yield f"    # {field.alias or name}: {_inline((field.examples or [field.default])[0])}"


def _about(keys: type[BaseModel], name: str, indent: str) -> list[str]:
    return textwrap.wrap(
        keys.model_fields[name].description or "", _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
    )


def _inline(value: object) -> str:
    """A value on one line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_inline(key)}: {_inline(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return _scalar(value) if isinstance(value, str) else json.dumps(value)


def _scalar(text: str) -> str:
    """The text as YAML reads it back: plain where nothing can be mistaken, else in double quotes."""
    if _PLAIN.fullmatch(text) and text.lower() not in _LOOKS_LIKE_MORE:
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08X}"
