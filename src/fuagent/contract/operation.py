"""One operation of a document: found by its path, and what it says about a request's body.

A concrete path wins over a templated one, as OpenAPI says; among templated ones the one
whose first template comes latest. Method names are lower case in a document.
https://spec.openapis.org/oas/v3.1.1.html#paths-object
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from fuagent.contract.document import Document, Node, array, resolve, table, words

_FEW = 3
"""Paths that are worth naming though none is like the one that was looked for."""
_TEMPLATE = re.compile(r"\{[^{}/]*\}")


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. ``body`` is the schema of its JSON request body, None where there is none."""

    path: str
    """The path as the document writes it, templates and all."""
    node: dict[str, Node]
    body: Node
    takes_json: bool
    moved: bool
    """The path or operation names servers of its own."""

    def __str__(self) -> str:
        return f"POST {self.path}"


def find(document: Document, path: str) -> Operation | None:
    """The POST operation that serves ``path`` (below the server's own path, without query)."""
    paths = table(document.tree.get("paths"))
    for name in _serving(paths, path):
        item = {**resolve(document, paths[name]), **table(paths[name])}
        node = resolve(document, item.get("post"))
        if node or "post" in item:
            body, takes_json = _body(document, item, node)
            return Operation(name, node, body, takes_json, "servers" in node or "servers" in item)
    return None


def methods(document: Document, path: str) -> tuple[str, ...]:
    """The methods the document does have at ``path``, in capitals."""
    paths = table(document.tree.get("paths"))
    known = ("get", "put", "post", "delete", "patch", "head", "options", "trace", "query")
    items = [resolve(document, paths[name]) for name in _serving(paths, path)]
    return tuple(method.upper() for method in known if any(method in item for item in items))


def similar(document: Document, path: str) -> tuple[str, ...]:
    """Paths with a POST that may have been meant, the likeliest first; where none is like it, all if they are few."""
    paths = [name for name, item in table(document.tree.get("paths")).items() if "post" in resolve(document, item)]
    near = [name for name in paths if name.strip("/").lower() == path.strip("/").lower()]
    sane = [name for name in paths if len(name) < 200][:500]
    return tuple(near or difflib.get_close_matches(path, sane, n=3) or (sane if len(paths) <= _FEW else ()))


def _serving(paths: dict[str, Node], path: str) -> list[str]:
    templated = [name for name in paths if "{" in name and name != path and _matches(name, path)]
    return [path] * (path in paths) + sorted(templated, key=lambda name: name.index("{"), reverse=True)


def _matches(template: str, path: str) -> bool:
    parts, given = template.split("/"), path.split("/")
    if len(parts) != len(given):
        return False
    return all(_fits(part, value) for part, value in zip(parts, given, strict=True))


def _fits(part: str, value: str) -> bool:
    texts = _TEMPLATE.split(part)
    if len(texts) == 1:
        return part == value
    head, *middle, tail = texts
    at = len(head)
    for text in middle:
        # Each template takes at least one character; the earliest find leaves the most to the rest.
        found = value.find(text, at + 1)
        if found < 0:
            return False
        at = found + len(text)
    return value.startswith(head) and value.endswith(tail) and len(value) - len(tail) > at


def _body(document: Document, item: dict[str, Node], node: dict[str, Node]) -> tuple[Node, bool]:
    """The schema of the JSON body, and whether the operation takes JSON at all."""
    if "swagger" in document.tree:
        parameters = [resolve(document, one) for word in (node, item) for one in array(word.get("parameters"))]
        bodies = [one.get("schema") for one in parameters if one.get("in") == "body"]
        consumes = array(node.get("consumes") or document.tree.get("consumes"))
        return (bodies[0] if bodies else None), not consumes or any(map(_is_json, map(words, consumes)))
    content = table(resolve(document, node.get("requestBody")).get("content"))
    accepted = sorted(filter(_is_json, content), key=_preference)
    if not accepted:
        return None, not content
    return resolve(document, content[accepted[0]]).get("schema"), True


def _is_json(media: str) -> bool:
    kind = media.split(";", maxsplit=1)[0].strip().lower()
    return kind in {"application/json", "*/*", "application/*"} or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def _preference(media: str) -> tuple[bool, bool]:
    kind = media.split(";", maxsplit=1)[0].strip().lower()
    return kind != "application/json", "*" in kind
