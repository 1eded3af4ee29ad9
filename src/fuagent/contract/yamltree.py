"""YAML as OpenAPI means it: a tree of JSON values, built from events with every size capped.

OpenAPI asks for YAML's JSON schema (https://yaml.org/spec/1.2.2/#102-json-schema), so
``no``, ``on`` and ``2020-01-01`` are text and every key is the text that was written:
the usual loaders, made for YAML 1.1, turn a property named ``no`` into ``False``.
Building from the parser's events needs no recursion, and an alias counts as all
that it stands for, so that nesting and alias explosions end in a sentence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import yaml

DEPTH_LIMIT = 200
NODE_LIMIT = 1_000_000

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,400}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset({"!", f"{_TAG}str", f"{_TAG}timestamp", f"{_TAG}binary"})
_PLAIN_TAGS = frozenset({f"{_TAG}{name}" for name in ("int", "float", "bool", "null", "map", "seq")})


@dataclass(slots=True)
class _Open:
    """One container being filled; ``nodes`` is its size with aliases written out."""

    value: dict[str, object] | list[object]
    anchor: str | None
    nodes: int = 1
    key: str | None = None
    merged: list[dict[str, object]] = field(default_factory=list)


@dataclass(slots=True)
class _Builder:
    repeated: list[str]
    root: list[object] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str | None, tuple[object, int]] = field(default_factory=dict)
    total: int = 0

    def feed(self, event: object) -> None:
        match event:
            case yaml.MappingStartEvent():
                self._begin(_Open({}, event.anchor), event.tag)
            case yaml.SequenceStartEvent():
                self._begin(_Open([], event.anchor), event.tag)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.AliasEvent():
                self._alias(event.anchor)
            case yaml.DocumentStartEvent() if self.root:
                raise ValueError("it holds more than one document")

    def _begin(self, opened: _Open, tag: str | None) -> None:
        _check_tag(tag)
        if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None:
            raise ValueError("a key is an object or array; keys have to be text")
        if len(self.stack) >= DEPTH_LIMIT:
            raise ValueError(f"it is nested deeper than {DEPTH_LIMIT} levels")
        self._count(1)
        self.stack.append(opened)

    def _end(self) -> None:
        done = self.stack.pop()
        if isinstance(done.value, dict):
            for other in done.merged:
                self._count(len(other))
                done.value.update({key: value for key, value in other.items() if key not in done.value})
        if done.anchor:
            self.anchors[done.anchor] = (done.value, done.nodes)
        self._place(done.value, done.nodes)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._count(1)
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._key(top, event.value)
            value: object = event.value
        else:
            value = _value(event)
            self._place(value, 1)
        if event.anchor:
            self.anchors[event.anchor] = (value, 1)

    def _key(self, top: _Open, key: str) -> None:
        if key in cast("dict[str, object]", top.value):
            self.repeated.append(key)
        top.key = key

    def _alias(self, anchor: str | None) -> None:
        if anchor not in self.anchors:
            raise ValueError(f"the alias '{anchor}' stands for nothing, or for what it is part of")
        value, nodes = self.anchors[anchor]
        self._count(nodes)
        top = self.stack[-1]
        if isinstance(top.value, dict) and top.key is None:
            if not isinstance(value, str):
                raise ValueError("a key is an alias of something that is no text")
            self._key(top, value)
        else:
            self._place(value, nodes)

    def _count(self, nodes: int) -> None:
        self.total += nodes
        if self.total > NODE_LIMIT:
            raise ValueError(f"it holds more than {NODE_LIMIT:,} values once its aliases are written out")

    def _place(self, value: object, nodes: int) -> None:
        if not self.stack:
            self.root.append(value)
            return
        top = self.stack[-1]
        top.nodes += nodes
        if isinstance(top.value, list):
            top.value.append(value)
            return
        key, top.key = cast("str", top.key), None
        sources = value if isinstance(value, list) else [value]
        if key == "<<" and all(isinstance(source, dict) for source in sources):
            top.merged.extend(cast("list[dict[str, object]]", sources))
        else:
            top.value[key] = value


def read(text: str, repeated: list[str]) -> object:
    """Build the tree; keys that stand twice are added to ``repeated``.

    Raises:
        ValueError: it is not YAML, or larger than it may be.
    """
    builder = _Builder(repeated)
    try:
        for event in _events(text):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{error.problem}{place}") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    return builder.root[0] if builder.root else None


def _events(text: str) -> Iterator[object]:
    return cast("Iterator[object]", yaml.parse(text, Loader=_Loader))


def _check_tag(tag: str | None) -> None:
    if tag is not None and tag not in _TEXT_TAGS and tag not in _PLAIN_TAGS:
        raise ValueError(f"the tag '{tag}' is not allowed in an OpenAPI document")


def _value(event: yaml.ScalarEvent) -> object:
    _check_tag(event.tag)
    text: str = event.value
    if event.tag in _TEXT_TAGS or (event.style and event.tag is None):
        return text
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text
