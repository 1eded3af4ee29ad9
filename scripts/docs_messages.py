"""Every message the agent can say, with what to do about it, from where it is raised."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from docs_texts import Module, called, modules, pairs


@dataclass(frozen=True, slots=True)
class Message:
    """What is said, what to do about it, and the class that is raised or the level of a finding."""

    kind: str
    what: str
    fix: str
    path: str
    """The file, from the package's own folder."""
    line: int


@dataclass(frozen=True, slots=True)
class Call:
    """How a function takes a message: the places of its text and of its fix among the arguments."""

    what: int
    fix: int | str
    kind: str = ""
    """The class it stands for; empty where the first argument, a level, says it."""
    home: str = ""
    """How the files begin in which the name means this."""


CALLS = {
    "Finding": Call(2, 3),
    "Doubt": Call(2, 3),
    "find": Call(1, 2, "ConfigError", "config"),
    "wrong": Call(0, 1, "ConfigError", "config"),
    "_remark": Call(1, 2, "ConfigError", "config"),
    "notice": Call(0, "fix", "notice", "engine"),
    "RefusedError": Call(1, "fix", "RefusedError", "console"),
}
"""What takes messages beside the classes of errors, which take ``(what, *, where, fix)``."""
ELSEWHERE = ("testing/", "demo/", "receiver/conformance/", "wire/")
"""Where messages are not the agent's: of tests, of the demonstration, of the judge; and of decoders, whose caller speaks."""


def kinds() -> dict[str, str]:
    """Every class of errors, and what a module's own class is one of."""
    found = {"FuagentError": "FuagentError"}
    for module in (modules()["fuagent.errors"], *modules().values()):
        for node in module.nodes:
            if isinstance(node, ast.ClassDef):
                base = next((one.id for one in node.bases if isinstance(one, ast.Name) and one.id in found), "")
                if base:
                    found.setdefault(node.name, found[base] if node.name.startswith("_") else node.name)
    return found


def messages() -> tuple[list[Message], list[Message]]:
    """Those that can be read, in the order of the code, and those whose text is made up elsewhere."""
    known = kinds()
    read: dict[Message, None] = {}
    unread: dict[Message, None] = {}
    for module in modules().values():
        path = module.path.removeprefix("src/fuagent/")
        if path.startswith(ELSEWHERE):
            continue
        for node in sorted(chain.from_iterable(module.calls.values()), key=lambda one: one.lineno):
            for one in _told(node, module, path, known):
                (read if any(sign.isalpha() for sign in one.what) else unread)[one] = None
    return list(read), list(unread)


def _told(node: ast.Call, module: Module, path: str, known: Mapping[str, str]) -> Iterator[Message]:
    name = called(node)
    how = CALLS.get(name) or (Call(0, "fix", known[name]) if name in known else None)
    if how is None or not path.startswith(how.home) or any(isinstance(one, ast.Starred) for one in node.args):
        return
    what, fix = _argument(node, how.what, "what"), _argument(node, how.fix, "fix")
    if what is None:
        return
    scope = module.scope(node)
    kind = how.kind or (getattr(node.args[0], "attr", "") if node.args else "")
    for text, mend in pairs((what, scope), (fix or ast.Constant(value=""), scope)):
        yield Message(kind, " ".join(text.split()), " ".join(mend.split()), path, node.lineno)


def _argument(node: ast.Call, place: int | str, name: str) -> ast.expr | None:
    if isinstance(place, int) and place < len(node.args):
        return node.args[place]
    return next((one.value for one in node.keywords if one.arg == name), None)
