"""All that can be wrong with a configuration once its YAML is read, in words for the reader.

Each check looks at the plain values, so that a mistake in one section hides none
in another. No finding holds a value: a value may be a secret in the wrong place,
or have come out of the environment.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import UnionType
from typing import Annotated, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from fuagent import config_credential, config_yaml
from fuagent.config_keys import RESERVED, CredentialKeys, FileKeys, SyncKeys
from fuagent.config_yaml import Document, Steps
from fuagent.errors import ConfigError
from fuagent.model import Cover, Finding, Level

SECTIONS = {"fuagent.sources": "sources", "fuagent.pushers": "pushers"}
"""Entry-point group of the drivers that a section names."""

OptionsOf = Callable[[str, str], type[BaseModel]]
"""Entry-point group and driver name to the driver's options; ConfigError where there is none."""

DELETE_FIELD = "_deleted"

_SHORTEST_REDACTED = 4
_LONGEST_NAME = 128
_COMPARED = 200
_MAX_FINDINGS = 100
_READ_AS = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
_SHAPES = {
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
    "model_attributes_type": "a mapping",
}
_Model = TypeVar("_Model", bound=BaseModel)


class Reading:
    """One document and the findings about it."""

    def __init__(self, document: Document, path: Path) -> None:
        self._document = document
        self._path = path
        self._findings: dict[tuple[Steps, Level], tuple[int, Finding]] = {}
        self._secrets = sorted((text for text in document.drawn if len(text) >= _SHORTEST_REDACTED), key=len)[::-1]
        for steps, remark in document.remarks.items():
            self.find(steps, remark.what, remark.fix, line=remark.line)
        for steps in document.nulls:
            if not _may_be_null(steps):
                self.find(steps, "nothing stands here", "Write a value, or leave the key out.")

    def find(self, steps: Steps, what: str, fix: str, *, level: Level = Level.ERROR, line: int | None = None) -> None:
        """Note a finding; of several about one place the first is kept, and a hundred in all."""
        if len(self._findings) >= _MAX_FINDINGS:
            return
        steps = _without_secret(steps)
        line = line or self._document.lines[self._document.known(steps)]
        where = config_yaml.place(self._document.name, line, steps)
        finding = Finding(level, where, self._redact(what), self._redact(fix))
        self._findings.setdefault((steps, level), (line, finding))

    def _redact(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def where(self, steps: Steps) -> str:
        """The place as findings show it."""
        return config_yaml.place(self._document.name, self._document.lines[self._document.known(steps)], steps)

    def findings(self) -> tuple[Finding, ...]:
        """All of them in the order of the file."""
        return tuple(finding for _, finding in sorted(self._findings.values(), key=lambda found: found[0]))

    def error(self) -> ConfigError | None:
        """Everything found as one error; None while there are only warnings."""
        lines = [f"{found.where}: {found.what}. {found.fix}" for found in self.findings() if found.level is Level.ERROR]
        if not lines:
            return None
        number = "one mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        number += " at least" if len(self._findings) >= _MAX_FINDINGS else ""
        return ConfigError("\n  ".join([f"{number} in the configuration:", *lines]), self.findings())

    def file(self) -> FileKeys | None:
        """The whole file against the keys there are."""
        value = self._document.value
        if not isinstance(value, dict):
            self.find(
                (), "the file does not hold a mapping", "Begin with `sources:`; `fuagent init` writes an example."
            )
            return None
        return self._validated(FileKeys, value, ())

    def _validated(self, model: type[_Model], value: object, base: Steps) -> _Model | None:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            for detail in error.errors(include_url=False)[: 2 * _MAX_FINDINGS]:
                self._worded(model, detail, base)
            return None

    def _worded(self, model: type[BaseModel], detail: ErrorDetails, base: Steps) -> None:
        """One of pydantic's errors in our words, at the place in the file it is about."""
        loc = tuple(step for step in detail["loc"] if step != "[key]")
        steps = (*base, *loc)
        if detail["type"] == "missing":
            example = _example(_fields(model, loc[:-1]).get(str(loc[-1])))
            fix = f"Add {loc[-1]}: {example}" if example else f"Add {loc[-1]} with its entries."
            return self.find(steps, f"{loc[-1]} is missing", fix)
        steps = self._document.known(steps)
        if detail["type"] == "extra_forbidden":
            return self._unknown(steps, _fields(model, loc[:-1]))
        field = next(
            (
                found
                for end in range(len(loc), 0, -1)
                if (found := _fields(model, loc[: end - 1]).get(str(loc[end - 1])))
            ),
            None,
        )
        return self.find(steps, *_said(detail, _example(field)))

    def _unknown(self, steps: Steps, keys: Iterable[str]) -> None:
        """A key nobody declared. One in a credential may itself be the secret."""
        key, known = str(steps[-1]), sorted(keys)
        close = _close(key, known)
        if _without_secret(steps) != steps:
            what = "there is a key that no credential has"
        else:
            what = f"there is no key {config_yaml.shown(key)}"
        fix = f"Did you mean {close[0]}?" if close else f"Remove it. The keys here are: {', '.join(known)}."
        self.find(steps, what, fix)

    def sections(self, section: str) -> Iterator[tuple[str, dict[str, object]]]:
        """The named entries of a top-level section that are mappings."""
        value = self._document.value
        entries = value.get(section) if isinstance(value, dict) else None
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            if isinstance(entry, dict):
                yield name, entry

    def options(self, group: str, options_of: OptionsOf) -> dict[str, BaseModel]:
        """The driver_params of every source or pusher, as their drivers read them."""
        found = {}
        for name, entry in self.sections(SECTIONS[group]):
            model = self._driver(group, name, entry, options_of)
            if model is None:
                continue
            if entry.get("endpoint") in (None, "") and getattr(model, "needs_endpoint", True):
                steps = (SECTIONS[group], name, "endpoint")
                self.find(steps, "endpoint is missing", "Add endpoint: where the driver connects to.")
            params = entry.get("driver_params")
            if not isinstance(params, dict | None):
                continue
            checked = self._validated(model, params or {}, (SECTIONS[group], name, "driver_params"))
            if checked is not None:
                found[name] = checked
        return found

    def _driver(self, group: str, name: str, entry: dict[str, object], options_of: OptionsOf) -> type[BaseModel] | None:
        driver = entry.get("driver")
        if not isinstance(driver, str):
            return None
        try:
            return options_of(group, driver)
        except ConfigError as error:
            fix = next((finding.fix for finding in error.findings), error.fix)
            self.find((SECTIONS[group], name, "driver"), error.what, fix)
            return None

    def credentials(self) -> None:
        """Every credential section: combinations, empty values, files, permissions."""
        literal: list[Steps] = []
        for section in SECTIONS.values():
            for name, entry in self.sections(section):
                steps: Steps = (section, name, "credential")
                if isinstance(entry.get("credential"), dict):
                    literal += self._credential(entry["credential"], steps)
        if literal and self._path.is_file() and config_credential.readable_by_others(self._path):
            what = "a secret stands in a file that others on this machine can read"
            fix = f"chmod 600 {config_yaml.shown(str(self._path))}, or write ${{NAME}} or the *_file key."
            self.find(literal[0], what, fix, level=Level.WARNING)

    def _credential(self, value: object, steps: Steps) -> list[Steps]:
        """Check one; the places where a secret is written out come back."""
        keys = self._validated(CredentialKeys, value, steps)
        if keys is None:
            return []
        for doubt in config_credential.doubts(keys, self._path.parent):
            self.find((*steps, doubt.key) if doubt.key else steps, doubt.what, doubt.fix, level=doubt.level)
        written = [(*steps, name) for name in config_credential.SECRETS if getattr(keys, name)]
        return [place for place in written if place not in self._document.expanded]

    def syncs(self, keys: FileKeys | None) -> None:
        """What a sync says about other sections, and about itself in several places."""
        for name, entry in self.sections("syncs"):
            for key, section in (("source", "sources"), ("pusher", "pushers")):
                self._reference(("syncs", name, key), entry.get(key), section)
        for name, sync in keys.syncs.items() if keys else ():
            self._together(name, sync)

    def _reference(self, steps: Steps, value: object, section: str) -> None:
        known = self._document.value.get(section) if isinstance(self._document.value, dict) else None
        if not isinstance(value, str) or not isinstance(known, dict) or value in known:
            return
        close = _close(value, known)
        fix = f"Did you mean {close[0]}?" if close else f"There are: {config_yaml.shown(', '.join(known))}."
        self.find(steps, f"{section} has no entry of this name", fix)

    def _together(self, name: str, sync: SyncKeys) -> None:
        steps = ("syncs", name)
        if sync.trust_checkpoint and sync.on_reject == "set_aside":
            what = "set_aside and trust_checkpoint exclude each other: a row set aside is no longer in the checkpoint"
            self.find((*steps, "trust_checkpoint"), what, "Choose one of them.")
        if sync.delete_field is not None and sync.deletes != "mark":
            fix = "Add deletes: mark, or remove delete_field."
            self.find((*steps, "delete_field"), "delete_field counts only with deletes: mark", fix)
        self._masks(steps, sync)
        mark = (sync.delete_field or DELETE_FIELD) if sync.deletes == "mark" else None
        if mark == RESERVED:
            self.find(
                (*steps, "delete_field"), "the property index is taken: the event's number goes there", "Rename it."
            )
        if mark in {name.split(".")[0] for name in sync.fields or {}}:
            self.find(
                (*steps, "fields", str(mark)), "deletes: mark writes this property too", "Set another delete_field."
            )

    def _masks(self, steps: Steps, sync: SyncKeys) -> None:
        hashed = [name for name, masked in sync.mask.items() if masked.cover is Cover.HASH]
        if hashed and not sync.mask_salt:
            what = "mask_salt is missing: without it anybody can find out what a hash stands for by trying"
            self.find(
                (*steps, "mask_salt"), what, 'Add mask_salt: "${MASK_SALT}", a long random text that stays the same.'
            )
        if sync.mask_salt and not hashed:
            self.find((*steps, "mask_salt"), "mask_salt counts only where a column is hashed", "Remove it.")

    def warn(self, keys: FileKeys | None) -> None:
        """What works today and surprises later."""
        if keys is not None and keys.agent_id is None:
            what = "agent_id is not set, so one is made up and kept in the journal; with the journal it would be lost"
            fix = "Add agent_id: with the id that `fuagent run` prints."
            self.find(("agent_id",), what, fix, level=Level.WARNING)


def _close(word: str, known: Iterable[str]) -> list[str]:
    """The known name most like the word; comparing is slow, so only names as long as names are."""
    names = [name for name in islice(known, _COMPARED) if len(name) <= _LONGEST_NAME]
    return difflib.get_close_matches(word, names, 1, 0.5)


def _without_secret(steps: Steps) -> Steps:
    """A key in a credential that no credential has may be the secret itself: stop above it."""
    if len(steps) < 4 or steps[0] not in SECTIONS.values() or steps[2] != "credential":
        return steps
    return steps[:4] if steps[3] in CredentialKeys.model_fields else steps[:3]


def _may_be_null(steps: Steps) -> bool:
    """A null is a value in a driver's own options and as a constant; elsewhere it is a value forgotten."""
    return steps[2:3] == ("driver_params",) or (steps[2:3] == ("fields",) and steps[4:] == ("constant",))


def _said(detail: ErrorDetails, example: str) -> tuple[str, str]:
    """What is wrong with a value, and what to write instead."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "refused":
        return context["what"], context["fix"]
    if kind == "string_type":
        read_as = _READ_AS.get(type(detail["input"]), "a mapping")
        what = f"text belongs here, and YAML reads this as {read_as}"
        return what, 'Put it in quotes: "…".'
    if kind == "literal_error":
        expected = context["expected"]
        close = _close(str(detail["input"]), re.findall("'([^']*)'", expected))
        return (
            "this is none of the values possible here",
            f"Did you mean {close[0]}?" if close else f"Write {expected}.",
        )
    if kind in ("bool_type", "bool_parsing"):
        return "a switch belongs here", "Write true or false, without quotes."
    if kind == "too_short":
        return "nothing is in here", f"Write it like {example}" if example else "Add an entry."
    if kind in _SHAPES:
        return f"{_SHAPES[kind]} belongs here", f"Write it like {example}" if example else "Indent its keys below it."
    message = config_yaml.shown(detail["msg"].removeprefix("Value error, ").removeprefix("Input should "))
    what = f"the value should {message}" if detail["msg"].startswith("Input should ") else message
    return what, f"Write it like {example}" if example else "Correct the value."


def _fields(model: type[BaseModel], loc: tuple[str | int, ...]) -> dict[str, FieldInfo]:
    """The keys of the section that ``loc`` leads to, from ``model`` downwards."""
    annotation: object = model
    for step in loc:
        annotation = next(
            (found for one in _alternatives(annotation) if (found := _inside(one, step)) is not None), None
        )
    for one in _alternatives(annotation):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return {field.alias or name: field for name, field in one.model_fields.items()}
    return {}


def _alternatives(annotation: object) -> list[object]:
    """The types of a union, or the one type there is."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [inner for one in get_args(annotation) for inner in _alternatives(one)]
    return [annotation]


def _inside(annotation: object, step: str | int) -> object:
    if get_origin(annotation) in (dict, list):
        return get_args(annotation)[-1]
    field = _fields(annotation, ()).get(str(step)) if isinstance(annotation, type) else None
    return field.annotation if field else None


def _example(field: FieldInfo | None) -> str:
    """The field's example as it stands on one line of YAML."""
    return json.dumps(field.examples[0], ensure_ascii=False) if field and field.examples else ""
