"""YAML text to plain values, every one with the line it came from.

The text is read event by event (https://yaml.org/spec/1.2.2/#31-processes)
instead of being loaded whole, for three reasons: each value keeps its line, a
key given twice is seen, and size, depth and aliases are counted before anything
is built, so that no text can blow up memory or the stack.

Plain scalars are read by the rules on which all versions of YAML agree.
Where they disagree (``no``, ``0123``, ``1:30``, a date) the reader is asked to
use quotes: such a value may be a password, and a password must arrive as written.
``${NAME}`` in a value stands for an environment variable, ``$${`` for ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml.reader import ReaderError

from fuagent.errors import ConfigError
from fuagent.model import Finding, Level

MAX_BYTES = 1_000_000
MAX_NODES = 20_000
MAX_ALIASES = 100
MAX_DEPTH = 50
SHOWN = 200

Steps = tuple[str | int, ...]

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*(_[0-9]+)*)")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_UNCLEAR = re.compile(
    r"""(?xi)
    y|n|yes|no|on|off | = | <<
    | [-+]?[0-9][0-9_]*                      # leading zero: octal to some, decimal to others
    | [-+]?0(x[0-9a-f_]+|o[0-7_]+|b[01_]+)
    | [-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?   # base sixty
    | [-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9_]*[0-9][0-9_]*)(e[-+]?[0-9]+)?
    | [-+]?[0-9][0-9_]*e[-+]?[0-9]+
    | [-+]?\.inf | \.nan
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([t\s].*)?
    """
)
_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")
_SIMPLE_KEY = re.compile(r"[A-Za-z_$<][A-Za-z0-9_>-]*")
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_SYNTAX_FIX = "Check the indentation, and quote values with special characters."
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_STRING_TAGS = (None, "!", "tag:yaml.org,2002:str")


@dataclass(frozen=True, slots=True)
class Remark:
    """A mistake at a path, before anyone decided how much of the path may be shown."""

    line: int
    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML document as plain values: dict, list, str, int, float, bool, None.

    ``lines`` has a line for every path; ``expanded`` the paths whose text held a
    variable; ``drawn`` the values those variables had, which must not be shown;
    ``nulls`` the paths where nothing stands.
    """

    name: str
    value: object
    lines: Mapping[Steps, int] = field(default_factory=dict)
    expanded: frozenset[Steps] = frozenset()
    drawn: frozenset[str] = frozenset()
    nulls: frozenset[Steps] = frozenset()
    remarks: Mapping[Steps, Remark] = field(default_factory=dict)

    def known(self, path: Steps) -> Steps:
        """The longest beginning of ``path`` that stands in the text."""
        while path not in self.lines:
            path = path[:-1]
        return path


def shown(text: str) -> str:
    """Text from outside made fit for one line of a terminal."""
    clean = "".join(character if character.isprintable() else "?" for character in text)
    return clean if len(clean) <= SHOWN else clean[: SHOWN - 1] + "…"


def place(name: str, line: int, path: Steps = ()) -> str:
    """File, line and dotted path as findings show them."""
    parts = [_step(step) for step in path]
    dotted = "".join(parts).lstrip(".")
    return f"{shown(name)}:{line} {dotted}".rstrip()


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _SIMPLE_KEY.fullmatch(step) else f'["{shown(step)}"]'


def refuse(finding: Finding) -> ConfigError:
    """One mistake that keeps the rest of the file from being read."""
    return ConfigError(f"{finding.what}. {finding.fix}".rstrip(". ") + ".", (finding,), where=finding.where)


def decode(data: bytes, name: str) -> str:
    """The bytes of a file as text.

    Raises:
        ConfigError: too long, or not UTF-8.
    """
    if len(data) > MAX_BYTES:
        raise _too_long(name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise refuse(
            Finding(Level.ERROR, place(name, line), "the file is not UTF-8 text", "Save it as UTF-8.")
        ) from None


def _too_long(name: str) -> ConfigError:
    what = f"the file is longer than {MAX_BYTES:,} bytes"
    return refuse(Finding(Level.ERROR, shown(name), what, "Is this really the configuration?"))


def read(text: str, name: str, environ: Mapping[str, str]) -> Document:
    """Read one YAML document.

    Mistakes that leave the rest readable are in ``Document.remarks``.

    Raises:
        ConfigError: not YAML, empty, or beyond what a configuration can be.
    """
    if len(text) > MAX_BYTES:
        raise _too_long(name)
    builder = _Builder(text, name)
    root = builder.document()
    flat = _Flattener(environ)
    value = flat.value(root, ())
    return Document(
        name, value, flat.lines, frozenset(flat.expanded), frozenset(flat.drawn), frozenset(flat.nulls), flat.remarks
    )


@dataclass(frozen=True, slots=True)
class _Node:
    """One value; ``size`` counts everything in it with aliases written out."""

    line: int
    content: str | list[_Node] | list[tuple[_Node, _Node]]
    kind: type[Event]
    plain: bool = False
    size: int = 1
    height: int = 1


class _Builder:
    """Events to nodes, within bounds."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._events = self._safely(text)
        self._anchors: dict[str, _Node | None] = {}
        self._aliases = 0
        self._nodes = 0

    def document(self) -> _Node:
        """The only document of the text."""
        next(self._events)
        event = next(self._events)
        if isinstance(event, StreamEndEvent):
            raise self._stop(1, "the file is empty", "`fuagent init` writes one to start from.")
        root = self._node(next(self._events), 1)
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                raise self._stop(_line(event), "a second document begins here", "Keep one document; remove the `---`.")
        return root

    def _safely(self, text: str) -> Iterator[Event]:
        """The parser's events, its errors turned into ours; it quotes text that may be secret, we do not."""
        try:
            yield from yaml.parse(text, Loader=yaml.SafeLoader)
        except ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise self._stop(
                line, "a control character stands in the text", "Remove it or write it as an escape."
            ) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            problem = _QUOTED.sub(_sign, error.problem or error.context or "cannot be read")
            what = f"this is not YAML (column {column}): {shown(problem)}"
            variable = any("${" in one for one in _BREAK.split(text)[line - 1 : line])
            fix = 'Put "${NAME}" in quotes inside { } and [ ].' if variable else _SYNTAX_FIX
            raise self._stop(line, what, fix) from None
        except (yaml.YAMLError, ValueError, OverflowError):
            raise self._stop(
                1, "this is not YAML: an escape in it makes no sense", "Check the \\ in quoted texts."
            ) from None

    def _stop(self, line: int, what: str, fix: str) -> ConfigError:
        return refuse(Finding(Level.ERROR, place(self._name, line), what, fix))

    def _node(self, event: Event, depth: int) -> _Node:
        self._count(event, 1, depth)
        if isinstance(event, AliasEvent):
            return self._alias(event, depth)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = None
        node = self._fresh(event, depth)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _fresh(self, event: Event, depth: int) -> _Node:
        line = _line(event)
        if isinstance(event, ScalarEvent):
            self._tag(event, line, _STRING_TAGS)
            return _Node(line, event.value, ScalarEvent, plain=event.implicit[0])
        if isinstance(event, SequenceStartEvent):
            self._tag(event, line, (None, "!", "tag:yaml.org,2002:seq"))
            items = list(self._children(depth))
            return _Node(line, items, SequenceStartEvent, size=_size(items), height=_height(items))
        self._tag(event, line, (None, "!", "tag:yaml.org,2002:map"))
        parts = list(self._children(depth))
        pairs = list(zip(parts[::2], parts[1::2], strict=True))
        return _Node(line, pairs, MappingStartEvent, size=_size(parts), height=_height(parts))

    def _children(self, depth: int) -> Iterator[_Node]:
        while not isinstance(event := next(self._events), CollectionEndEvent):
            yield self._node(event, depth + 1)

    def _tag(self, event: Event, line: int, known: tuple[str | None, ...]) -> None:
        if getattr(event, "tag", None) not in known:
            raise self._stop(line, "YAML tags are not read here", "Quote the value if its ! belongs to it.")

    def _alias(self, event: AliasEvent, depth: int) -> _Node:
        line = _line(event)
        node = self._anchors.get(event.anchor or "")
        if node is None:
            raise self._stop(
                line, "an alias (*name) without an anchor (&name) before it", "Quote the value if its * belongs to it."
            )
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise self._stop(line, f"more than {MAX_ALIASES} aliases", "Write the values out.")
        self._count(event, node.size, depth + node.height - 1)
        return node

    def _count(self, event: Event, nodes: int, depth: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise self._stop(_line(event), f"more than {MAX_NODES:,} values", "Is this really the configuration?")
        if depth > MAX_DEPTH:
            raise self._stop(
                _line(event), f"nested deeper than {MAX_DEPTH} levels", "Is this really the configuration?"
            )


class _Flattener:
    """Nodes to plain values, with the line of every path."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.lines: dict[Steps, int] = {}
        self.expanded: set[Steps] = set()
        self.drawn: set[str] = set()
        self.nulls: set[Steps] = set()
        self.remarks: dict[Steps, Remark] = {}
        self._environ = environ
        self._room = MAX_BYTES

    def value(self, node: _Node, path: Steps) -> object:
        """The node as a plain value; mistakes go to ``remarks``."""
        self.lines.setdefault(path, node.line)
        if node.kind is ScalarEvent:
            return self._scalar(str(node.content), path, plain=node.plain)
        if node.kind is SequenceStartEvent:
            items: list[_Node] = node.content  # type: ignore[assignment]
            return [self.value(item, (*path, number)) for number, item in enumerate(items)]
        return self._mapping(node.content, path)  # type: ignore[arg-type]

    def _mapping(self, pairs: list[tuple[_Node, _Node]], path: Steps) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, content in pairs:
            if key.kind is not ScalarEvent:
                self._find(path, "a key must be a plain name", "Quote the text if its braces belong to it.", key.line)
                continue
            name = str(key.content)
            here = (*path, name)
            if name in found:
                what = f"the key stands here and in line {self.lines[here]}"
                self._find(here, what, "Keep one of the two.", key.line)
            elif name == "<<" and key.plain:
                self._find(path, "merge keys (<<) are not read here", "Write the keys out.", key.line)
            else:
                self.lines[here] = key.line
                found[name] = self.value(content, here)
        return found

    def _scalar(self, text: str, path: Steps, *, plain: bool) -> object:
        if plain:
            if _NULL.fullmatch(text):
                self.nulls.add(path)
                return None
            if _BOOLEAN.fullmatch(text):
                return text.lower() == "true"
            if _INTEGER.fullmatch(text) or _FLOAT.fullmatch(text):
                return self._number(text, path)
            if _UNCLEAR.fullmatch(text):
                what = "unquoted, this value is one thing to some YAML readers and another to others"
                self._find(path, what, "Put it in quotes if it is text; write true or false for a switch.")
                return None
        if any("\ud800" <= character <= "\udfff" for character in text):
            self._find(path, "the text holds half a character (\\ud800 to \\udfff)", "Write the whole character.")
            return ""
        return self._expand(text, path) if "${" in text else text

    def _number(self, text: str, path: Steps) -> object:
        try:
            return int(text) if _INTEGER.fullmatch(text) else float(text)
        except ValueError:
            self._find(path, "the number has too many digits", "Put it in quotes if it is text.")
            return 0

    def _expand(self, text: str, path: Steps) -> str:
        def replace(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            self.expanded.add(path)
            return self._variable(match[1], path)

        return _VARIABLE.sub(replace, text)

    def _variable(self, name: str | None, path: Steps) -> str:
        value = self._environ.get(name) if name else None
        if not name:
            self._find(path, "a ${ that no variable name and } follow", "Write ${NAME}, or $${ for the two characters.")
            return ""
        if value is None:
            fix = f"export {shown(name)}=…, or write $${{ for a literal."
            self._find(path, f"the environment variable {shown(name)} is not set", fix)
            return ""
        self._room -= len(value)
        if self._room < 0:  # a short text may name a long variable many times
            self._find(path, "the environment variables are too long altogether", "Use shorter ones, or a *_file key.")
            return ""
        self.drawn.add(value)
        if not value.isprintable():
            what = f"the environment variable {shown(name)} holds control characters"
            self._find(path, what, "Set it without line breaks.")
        return value

    def _find(self, path: Steps, what: str, fix: str, line: int | None = None) -> None:
        self.remarks.setdefault(path, Remark(line or self.lines[path], what, fix))


def _sign(match: re.Match[str]) -> str:
    """What the parser quotes is shown if it is a sign or a kind of token; letters may be part of a secret."""
    text = match[0]
    if text == "'\\t'":
        return "tab"
    return text if text.startswith("'<") or not any(map(str.isalnum, text)) else "…"


def _line(event: Event) -> int:
    assert event.start_mark is not None  # only events made by hand have none
    return event.start_mark.line + 1


def _size(nodes: list[_Node]) -> int:
    return 1 + sum(node.size for node in nodes)


def _height(nodes: list[_Node]) -> int:
    return 1 + max((node.height for node in nodes), default=0)
