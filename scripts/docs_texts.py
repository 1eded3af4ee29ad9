"""Texts of the code as they can come out, read without running it.

A text may be put together: from names with several values, from the arguments of a function, from what another
function gives, from pieces that are known only when it happens. Each way it can come out is followed as far as
literals go; what is known only then is shown as three dots.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "fuagent"
GAP = "…"
"""What stands for a piece that is known only when it happens."""
_MOST = 24
"""Ways in which one text may come out that are followed."""
_DEEPEST = 4
"""Calls that are followed, from an argument to where it is given or from a call to what it gives."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Value = tuple[ast.stmt, ast.expr]
"""An expression, and the statement that gives it to a name."""


@dataclass(slots=True, eq=False)
class Module:
    """One module of the package, parsed."""

    path: str
    """From the project's top."""
    tree: ast.Module
    nodes: list[ast.AST] = field(default_factory=list)
    """All of them, in no order."""
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    calls: dict[str, list[ast.Call]] = field(default_factory=dict)
    """By the last word of what is called."""
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name to module and name there."""

    def __post_init__(self) -> None:
        for node in ast.walk(self.tree):
            self.nodes.append(node)
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
            if isinstance(node, ast.Call):
                self.calls.setdefault(called(node), []).append(node)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fuagent"):
                self.imported |= {one.asname or one.name: (str(node.module), one.name) for one in node.names}

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around ``node``, the nearest first."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def scope(self, node: ast.AST) -> Scope:
        """Where the names of ``node`` are looked up."""
        return Scope(self, next((one for one in self.above(node) if isinstance(one, Function)), None))

    def block(self, node: ast.AST) -> list[ast.stmt]:
        """The statements that stand in one row with the one that ``node`` is, or is part of."""
        while not isinstance(node, ast.stmt):
            node = self.parents[node]
        lists = [value for _, value in ast.iter_fields(self.parents[node]) if isinstance(value, list)]
        return next(one for one in lists if node in one)


@cache
def modules() -> Mapping[str, Module]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = ".".join(("fuagent", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        found[name] = Module(str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8")))
    return found


@dataclass(frozen=True, eq=False, slots=True)
class Scope:
    """A function of a module, or the module itself."""

    module: Module
    function: Function | None
    depth: int = 0
    busy: tuple[ast.expr, ...] = ()
    """Values that are being followed: one that is made of its own name stands for the others."""
    call: Mapping[str, Bound] = field(default_factory=dict)
    """The arguments of one call; empty where any call may be meant."""

    def given(self, name: str) -> bool:
        """Whether it is an argument of the function."""
        return self.function is not None and any(one.arg == name for one in _arguments(self.function))

    def values(self, name: str, use: ast.expr) -> list[Value]:
        """What the name may stand for at ``use``."""
        body: Iterable[ast.AST] = ast.walk(self.function) if self.function else self.module.tree.body
        found = [(node, value) for node in body if isinstance(node, ast.stmt) for value in _assigned(node, name)]
        around = [use, *self.module.above(use)]
        if self.function is None or self.function not in around:
            return found
        # The last statement that is always come by hides those before it; those behind it may hide it.
        sure = [node.lineno for node, _ in found if node.lineno < use.lineno and self._holds(node, around)]
        since = max(sure, default=0)
        return [
            (node, value)
            for node, value in found
            if since <= node.lineno <= use.lineno and (self._holds(node, around) or not self._ends(node))
        ]

    def _holds(self, node: ast.stmt, around: Sequence[ast.AST]) -> bool:
        """Whether the statement, or the row it stands in, is around."""
        return node in around or any(one in around for one in self.module.block(node))

    def _ends(self, node: ast.stmt) -> bool:
        """Whether the function ends where the statement's row ends."""
        return any(isinstance(one, ast.Return | ast.Raise | ast.Continue) for one in self.module.block(node))


Bound = tuple[ast.expr, Scope]
"""An expression, and where its names are looked up."""


def _arguments(function: Function) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def _assigned(node: ast.stmt, name: str) -> Iterator[ast.expr]:
    """What this one statement gives the name."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _matched(target, node.value, name)
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield from _matched(node.target, node.value, name)
    elif isinstance(node, ast.For):
        known = node.iter.elts if isinstance(node.iter, ast.Tuple | ast.List) else [ast.Constant(value=GAP)]
        for element in known:
            yield from _matched(node.target, element, name)


def _matched(target: ast.expr, value: ast.expr, name: str) -> Iterator[ast.expr]:
    """The part of the value that goes to the name."""
    if spelled(target) == name:
        yield value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.IfExp):
        yield from _matched(target, value.body, name)
        yield from _matched(target, value.orelse, name)
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for one, part in zip(target.elts, value.elts, strict=True):
            yield from _matched(one, part, name)
    elif isinstance(target, ast.Tuple) and any(spelled(one) == name for one in target.elts):
        yield ast.Constant(value=GAP)


def spelled(node: ast.expr) -> str:
    """A name, or an attribute of the object itself, as it is written; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    return f"self.{node.attr}" if own and isinstance(node, ast.Attribute) else ""


# ------------------------------------------------------------------ one text


def texts(bound: Bound) -> list[str]:
    """The ways a text can come out."""
    node, scope = bound
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return _joined([texts((part, scope)) for part in parts])
        case ast.FormattedValue(value=inner, format_spec=None):
            found = [GAP] if isinstance(inner, ast.Call) else texts((inner, scope))
            return [GAP] if GAP in found else found
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _joined([texts((left, scope)), texts((right, scope))])
        case ast.IfExp(body=body, orelse=other):
            return _once([*texts((body, scope)), *texts((other, scope))])
        case ast.BoolOp(op=ast.Or(), values=values):
            return _once([text for value in values for text in texts((value, scope))])
        case ast.Call(func=ast.Attribute(value=inner, attr="strip" | "removesuffix")):
            return texts((inner, scope))
        case ast.Call(func=ast.Attribute(value=inner, attr="format")):
            return [_filled(text) for text in texts((inner, scope))]
        case ast.Call(func=function):
            return _known(returned(function, scope))
        case ast.Name() | ast.Attribute():
            return _known(bindings(node, scope))
    return [GAP]


def _known(found: Iterable[Bound]) -> list[str]:
    return _once([text for one in found for text in texts(one)]) or [GAP]


def _joined(parts: Sequence[list[str]]) -> list[str]:
    ways = 1
    for part in parts:
        ways *= len(part)
    if ways > _MOST:
        parts = [part if len(part) == 1 else [GAP] for part in parts]
    return _once(["".join(one) for one in product(*parts)])


def _filled(text: str) -> str:
    """A template with its fields as gaps."""
    for piece in {text[start : text.index("}", start) + 1] for start, sign in enumerate(text) if sign == "{"}:
        text = text.replace(piece, GAP)
    return text


def _once(found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(found))[:_MOST]


def bindings(node: ast.expr, scope: Scope) -> list[Bound]:
    """Every expression that a name, or an attribute of the object itself, can stand for."""
    name = spelled(node)
    if name.startswith("self."):
        return _followed([found for _, found in _anywhere(scope.module, name)], replace(scope, function=None))
    here = [found for _, found in scope.values(name, node)]
    if here:
        return _followed(here, scope)
    if scope.given(name):
        return [one[name] for one in ([scope.call] if scope.call else callers(scope)) if name in one]
    if scope.function is not None:
        return bindings(node, replace(scope, function=None))
    home, original = scope.module.imported.get(name, ("", ""))
    if home in modules():
        return bindings(ast.Name(id=original), Scope(modules()[home], None, scope.depth))
    return []


def _followed(values: Iterable[ast.expr], scope: Scope) -> list[Bound]:
    found = []
    for value in values:
        if value not in scope.busy:
            inside = scope.module.scope(value) if scope.function is None and value in scope.module.parents else scope
            found.append((value, replace(inside, depth=scope.depth, busy=(*scope.busy, value))))
    return found


def _anywhere(module: Module, name: str) -> Iterator[Value]:
    """What a module gives an attribute of its objects."""
    for node in module.nodes:
        if isinstance(node, ast.stmt):
            yield from ((node, value) for value in _assigned(node, name))


def callers(scope: Scope) -> list[dict[str, Bound]]:
    """What a function's arguments are at each place of its own module that calls it."""
    function = scope.function
    if function is None or scope.depth >= _DEEPEST:
        return []
    names = [one.arg for one in _arguments(function) if one.arg not in {"self", "cls"}]
    unsaid = {name: (value, scope) for name, value in _defaults(function)}
    found = []
    for node in scope.module.calls.get(function.name, ()):
        at = replace(scope.module.scope(node), depth=scope.depth + 1)
        given = {name: (value, at) for name, value in zip(names, node.args, strict=False)}
        found.append(unsaid | given | {one.arg: (one.value, at) for one in node.keywords if one.arg})
    return found


def called(node: ast.Call) -> str:
    """The last word of what is called."""
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _defaults(function: Function) -> Iterator[tuple[str, ast.expr]]:
    """what each argument is where it is not given, or cannot be seen to be."""
    found = function.args
    placed = [*found.posonlyargs, *found.args]
    yield from ((one.arg, ast.Constant(value=GAP)) for one in placed)
    yield from ((one.arg, value) for one, value in zip(reversed(placed), reversed(found.defaults), strict=False))
    for one, default in zip(found.kwonlyargs, found.kw_defaults, strict=True):
        yield one.arg, default or ast.Constant(value=GAP)


def returned(function: ast.expr, scope: Scope) -> list[Bound]:
    """What a function of the package can give, where it is called by its own name."""
    if scope.depth >= _DEEPEST:
        return []
    name, home = spelled(function).removeprefix("self."), scope.module
    if isinstance(function, ast.Name) and name in home.imported:
        place, name = home.imported[name]
        home = modules().get(place, scope.module)
    elif isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and not name:
        place, inner = scope.module.imported.get(function.value.id, ("", ""))
        home, name = modules().get(f"{place}.{inner}", scope.module), function.attr
    found: list[Bound] = []
    for node in home.nodes:
        if isinstance(node, Function) and node.name == name:
            at = Scope(home, node, scope.depth + 1, scope.busy)
            given = [one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value is not None]
            found += [(value, at) for value in given]
    return found


# ------------------------------------------------------------------ a text with its fix


def pairs(what: Bound, fix: Bound) -> list[tuple[str, str]]:
    """The ways a text and its fix can come out together."""
    scope = what[1]
    if not scope.call and any(_hangs_on_arguments(*one) for one in (what, fix)):
        given = callers(scope)
        if given:
            return _unique(pair for one in given for pair in pairs(_in_call(what, one), _in_call(fix, one)))
    if isinstance(what[0], ast.Name) and scope.values(what[0].id, what[0]):
        together = _side_by_side(what[0], scope, fix)
        return _unique(pair for one, other in together for pair in product(texts(one), texts(other)))
    return _unique(product(texts(what), texts(fix)))


def _unique(found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(found))


def _hangs_on_arguments(node: ast.expr, scope: Scope) -> bool:
    """Whether an argument of the function is in the text, or in what a name in it stands for."""
    for name in [one for one in ast.walk(node) if isinstance(one, ast.Name)]:
        values = [found for _, found in scope.values(name.id, name) if found not in scope.busy]
        if not values and scope.given(name.id):
            return True
        if any(_hangs_on_arguments(one, replace(scope, busy=(*scope.busy, one))) for one in values if scope.function):
            return True
    return False


def _in_call(bound: Bound, call: Mapping[str, Bound]) -> Bound:
    node, scope = bound
    if isinstance(node, ast.Name) and node.id in call and not scope.values(node.id, node):
        return call[node.id]
    return node, replace(scope, call=call)


def _side_by_side(name: ast.Name, scope: Scope, fix: Bound) -> Iterator[tuple[Bound, Bound]]:
    """Each value of a name with the fix that belongs to it: where that is a name too, the one given beside it."""
    other, there = fix
    fixes = there.values(other.id, other) if isinstance(other, ast.Name) else []
    for statement, value in scope.values(name.id, name):
        row = scope.module.block(statement)
        near = [mend for where, mend in fixes if where in row] or [mend for _, mend in fixes] or [other]
        for found in near:
            yield (value, replace(scope, busy=(value,))), (found, replace(there, busy=(found,)))
