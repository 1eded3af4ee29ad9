"""A service's OpenAPI document: bytes in, one checked tree out.

JSON or YAML, from anyone on the network, so every size is capped before it can hurt:
bytes first, then depth, then nodes *as they would be with every alias written out*
(an alias explosion is small on the wire and small in memory, and huge to walk).
A key that stands twice keeps its last value in both notations, and is told.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast
from urllib.parse import unquote

from fuagent.contract import yamltree
from fuagent.contract.text import address, clean
from fuagent.errors import HaltSyncError, WrongAnswerError
from fuagent.model import Finding, Level

BYTE_LIMIT = 5 * 1024 * 1024
"""Largest document read."""

Node: TypeAlias = "dict[str, Node] | list[Node] | str | int | float | bool | None"

_ASK = "give the URL of the OpenAPI document itself, often /openapi.json"
_REFS = 32
_TOLD = 10


@dataclass(frozen=True, slots=True)
class Document:
    """One document as it was read; ``url`` is where it was found in the end."""

    tree: Mapping[str, Node]
    url: str
    sha256: str
    version: str
    findings: tuple[Finding, ...] = ()

    @property
    def where(self) -> str:
        """The document's place, for messages."""
        return address(self.url)


def table(node: object) -> dict[str, Node]:
    """The node if it is an object, else an empty one."""
    return cast("dict[str, Node]", node) if isinstance(node, dict) else {}


def array(node: object) -> list[Node]:
    """The node if it is an array, else an empty one."""
    return cast("list[Node]", node) if isinstance(node, list) else []


def words(node: object) -> str:
    """The node if it is text, else nothing."""
    return node if isinstance(node, str) else ""


def read(data: bytes, url: str) -> Document:
    """Read a document.

    Args:
        data: The bytes as they came.
        url: Where they were found after redirects; ``file:`` for a file.

    Raises:
        WrongAnswerError: these bytes are no OpenAPI document.
        HaltSyncError: it is one of a version that is not known.
    """
    try:
        tree, repeated = _tree(data)
    except ValueError as error:
        raise WrongAnswerError(clean(str(error)), where=address(url), fix=_ASK) from None
    findings = tuple(_repeated(key, address(url)) for key in list(dict.fromkeys(repeated))[:_TOLD])
    return Document(tree, url, hashlib.sha256(data).hexdigest(), _version(tree, address(url)), findings)


def resolve(document: Document, node: object) -> dict[str, Node]:
    """Follow ``$ref`` from object to object, inside the document only.

    A reference that leads outside, nowhere or in a circle gives an empty object.
    """
    found = table(node)
    for _ in range(_REFS):
        if "$ref" not in found:
            return found
        found = table(point(document, words(found["$ref"])))
    return {}


def point(document: Document, ref: str) -> Node:
    """What a local JSON pointer (RFC 6901, ``#/a/b``) names, None where nothing stands.

    Anything that does not begin with ``#`` lies outside the document and is never
    fetched: it could name a private address or a file of this machine.
    """
    if ref != "#" and not ref.startswith("#/"):
        return None
    found: Node = cast("dict[str, Node]", document.tree)
    for part in ref.split("/")[1:]:
        found = _step(found, unquote(part).replace("~1", "/").replace("~0", "~"))
    return found


def _step(found: Node, name: str) -> Node:
    if not isinstance(found, list):
        return table(found).get(name)
    inside = name.isascii() and name.isdecimal() and len(name) < 10 and int(name) < len(found)
    return found[int(name)] if inside else None


def _tree(data: bytes) -> tuple[dict[str, Node], list[str]]:
    if len(data) > BYTE_LIMIT:
        raise ValueError(f"the document is larger than {BYTE_LIMIT // 1024 // 1024} MB")
    repeated: list[str] = []
    tree = _parse(_text(data), repeated)
    if not isinstance(tree, dict):
        raise ValueError("this is no OpenAPI document: it is not an object")  # noqa: TRY004 (one kind for all)
    if "openapi" not in tree and "swagger" not in tree:
        raise ValueError("this is no OpenAPI document: it has neither 'openapi' nor 'swagger'")
    return tree, repeated


def _text(data: bytes) -> str:
    encoding = "utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError("this is no OpenAPI document: it is not UTF-8 text") from None
    if text.lstrip().startswith("<"):
        raise ValueError("this is a web page (HTML or XML), not an OpenAPI document")
    if not text.strip():
        raise ValueError("the document is empty")
    return text


def _parse(text: str, repeated: list[str]) -> Node:
    if text.lstrip()[0] not in "{[":
        return _yaml(text, repeated)
    try:
        return _json(text, repeated)
    except RecursionError:
        raise ValueError("the document is nested too deeply") from None
    except ValueError as error:
        wrong = str(error)
    # YAML's own flow notation begins like JSON; if it is not that either, JSON was meant.
    try:
        return _yaml(text, repeated)
    except ValueError:
        raise ValueError(f"the document is not valid JSON: {wrong}") from None


def _json(text: str, repeated: list[str]) -> Node:
    def collect(pairs: Sequence[tuple[str, Node]]) -> dict[str, Node]:
        found = dict(pairs)
        if len(found) < len(pairs):
            repeated.extend(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        return found

    return cast("Node", json.loads(text, object_pairs_hook=collect, parse_constant=_constant))


def _constant(name: str) -> Node:
    raise ValueError(f"{name} is no JSON value")


def _yaml(text: str, repeated: list[str]) -> Node:
    try:
        return cast("Node", yamltree.read(text, repeated))
    except ValueError as error:
        raise ValueError(f"the document is not valid YAML: {error}") from None


def _repeated(key: str, where: str) -> Finding:
    what = f"the key '{clean(key, 80)}' stands twice in one object; the last one counts"
    return Finding(Level.WARNING, where, what, "remove one of the two")


def _version(tree: Mapping[str, Node], where: str) -> str:
    version = clean(str(tree["openapi"] if "openapi" in tree else tree["swagger"]), 20)
    known = version == "3" or version.startswith("3.") if "openapi" in tree else version in {"2.0", "2"}
    if not known:
        fix = "write the document as OpenAPI 3.0, 3.1, 3.2 or Swagger 2.0"
        raise HaltSyncError(f"OpenAPI version '{version}' is not known", where=where, fix=fix)
    return version
