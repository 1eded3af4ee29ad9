"""The event schema as pydantic models (https://docs.pydantic.dev), as the text of a module."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence

from fuagent.model import INDEX_MAX
from fuagent.schemas.events import BATCH, INDEX, EventShape, Tree, Value, type_name

_TYPES = {"integer": "int", "number": "float", "boolean": "bool", "string": "str", "array": "list[Any]", "": "Any"}
_MOMENTS = {"date-time": "datetime", "date": "date"}
# A field of such a name would hide a method of every model, or a type that stands in an annotation below it.
_TAKEN = frozenset(
    {"construct", "copy", "dict", "from_orm", "json", "parse_file", "parse_obj", "parse_raw", "schema", "schema_json"}
    | {"update_forward_refs", "validate", "int", "float", "bool", "str", "list", "date", "datetime", "Any", "Field"}
)


def module(shapes: Sequence[EventShape], sync: str) -> str:
    """The module: for each table a model of its events and one of a batch of them."""
    classes = [text for shape in shapes for text in (*_models(shape), _batch(shape))]
    body = "\n\n\n".join(classes)
    about = f'"""Events of the sync {_text(sync)}, as fuagent sends them."""'
    return "\n".join([about, "", *_imports(body)]) + "\n\n\n" + body + "\n"


def _imports(body: str) -> list[str]:
    """What the annotations name, in the order people sort imports."""
    named = set(re.findall(r"\w+", " ".join(re.findall(r"^    \w+: ([^=\n]+)", body, re.MULTILINE))))
    moments = sorted(named & {"date", "datetime"})
    lines = [f"from datetime import {', '.join(moments)}"] if moments else []
    lines += ["from typing import Any"] if "Any" in named else []
    return [*lines, *([""] if lines else []), "from pydantic import BaseModel, ConfigDict, Field"]


def _models(shape: EventShape) -> list[str]:
    notes = "".join(f" Note: {note}." for note in shape.notes)
    key = f" Its key: {', '.join('.'.join(path) for path in shape.key)}." if shape.key else ""
    return _model(shape.name, shape.tree, _text(f"One row of table {shape.table}.{key}{notes}"))


def _model(name: str, tree: Tree, about: str) -> list[str]:
    """The models nested in one come before it, because Python reads from the top."""
    inner: list[str] = []
    taken: set[str] = set()
    lines = [f"class {name}(BaseModel):", f'    """{about}"""', ""]
    lines += ["    model_config = ConfigDict(populate_by_name=True)", ""]
    for property_, node in tree.items():
        if isinstance(node, Value):
            type_ = _type(node)
            default = None if node.required else "None"
        else:
            type_, default = f"{name}_{type_name(property_)}", None  # no table's type has such a name
            inner += _model(type_, node, _text(f"What is nested in {property_}."))
        lines.append(_field(property_, type_, default, taken, limits=property_ == INDEX))
    return [*inner, "\n".join(lines)]


def _type(value: Value) -> str:
    type_ = _MOMENTS.get(value.format) or _TYPES[value.type]
    optional = value.nullable or not value.required
    return f"{type_} | None" if optional and type_ != "Any" else type_


def _field(property_: str, type_: str, default: str | None, taken: set[str], *, limits: bool) -> str:
    name = _name(property_, taken)
    settings = [] if default is None else [f"default={default}"]
    settings += [f"alias={property_!a}"] if name != property_ else []
    settings += ["ge=1", f"le={INDEX_MAX}"] if limits else []
    if settings == ["default=None"]:
        return f"    {name}: {type_} = None"
    return f"    {name}: {type_} = Field({', '.join(settings)})" if settings else f"    {name}: {type_}"


def _name(property_: str, taken: set[str]) -> str:
    """The property as a name Python and pydantic take; ``_deleted`` becomes ``deleted``."""
    name = re.sub(r"\W", "_", property_, flags=re.ASCII).strip("_") or "field"
    if name[0].isdigit():
        name = f"field_{name}"
    if keyword.iskeyword(name) or name in _TAKEN or name.startswith("model_"):
        name += "_"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _batch(shape: EventShape) -> str:
    return f'''class {shape.name}{BATCH}(BaseModel):
    """The body of one request with rows of table {_text(shape.table)}."""

    agent_id: str
    task_id: str
    is_snapshot_end: bool
    snapshot_sync_suggested: bool
    events: list[{shape.name}]'''


def _text(text: str) -> str:
    """Fit to stand in a docstring, whatever a table may be called."""
    return "".join(one if one.isprintable() else " " for one in text).replace("\\", "\\\\").replace('"', "'")
