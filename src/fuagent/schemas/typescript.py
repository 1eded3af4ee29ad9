"""The event schema as TypeScript interfaces (https://www.typescriptlang.org/docs/handbook/2/objects.html)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import orjson

from fuagent.schemas.events import BATCH, EventShape, Tree, Value

_TYPES = {"integer": "number", "number": "number", "boolean": "boolean", "string": "string", "array": "unknown[]"}
_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


def module(shapes: Sequence[EventShape], sync: str) -> str:
    """For each table an interface of its events and one of a batch of them."""
    parts = [f"// Events of the sync {_text(sync)}, as fuagent sends them."]
    for shape in shapes:
        parts += [_interface(shape), _batch(shape)]
    return "\n\n".join(parts) + "\n"


def _interface(shape: EventShape) -> str:
    about = [f"One row of table {shape.table}."]
    if shape.key:
        about.append(f"Its key: {', '.join('.'.join(path) for path in shape.key)}.")
    about += [f"Note: {note}." for note in shape.notes]
    return f"/** {_text(' '.join(about))} */\nexport interface {shape.name} {_object(shape.tree, '')}"


def _object(tree: Tree, indent: str) -> str:
    inside = indent + "  "
    lines = []
    for name, node in tree.items():
        written = name if _NAME.fullmatch(name) else orjson.dumps(name).decode()
        optional = "?" if isinstance(node, Value) and not node.required else ""
        type_ = _type(node) if isinstance(node, Value) else _object(node, inside)
        about = f" // {_text(node.about)}" if isinstance(node, Value) and node.about else ""
        lines.append(f"{inside}{written}{optional}: {type_};{about}")
    return "\n".join(["{", *lines, indent + "}"])


def _type(value: Value) -> str:
    type_ = _TYPES.get(value.type, "unknown")
    return f"{type_} | null" if value.nullable and type_ != "unknown" else type_


def _batch(shape: EventShape) -> str:
    return f"""/** The body of one request with rows of table {_text(shape.table)}. */
export interface {shape.name}{BATCH} {{
  agent_id: string;
  task_id: string;
  is_snapshot_end: boolean;
  snapshot_sync_suggested: boolean;
  events: {shape.name}[];
}}"""


def _text(text: str) -> str:
    """Fit to stand in a comment, whatever a table may be called."""
    return "".join(one if one.isprintable() else " " for one in text).replace("*/", "* /")
