"""The event schema as SQL: a table for the rows of each table, and one for the checkpoint.

Only what SQLite, PostgreSQL, MySQL and MariaDB all take. A text that is part of a key is a
VARCHAR, because MySQL puts no index on a TEXT. A moment names its digits, because MySQL keeps none by
itself, and a column that may be null says so, because a TIMESTAMP of MariaDB before 10.10 would turn null
into the time of the day (https://mariadb.com/kb/en/timestamp/). Names stand in double quotes only where they have to,
which MySQL takes with ``SET sql_mode = 'ANSI_QUOTES'``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fuagent.model import Kind
from fuagent.schemas.events import INDEX, EventShape, Value, leaves

_TYPES = {"integer": "BIGINT", "number": "DOUBLE PRECISION", "boolean": "BOOLEAN"}
_MOMENTS = {"date-time": "TIMESTAMP(6)", "date": "DATE"}
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_DECIMAL = re.compile(r"\(\s*[0-9]+\s*(?:,\s*[0-9]+\s*)?\)")
_RESERVED = frozenset(
    re.findall(
        r"[a-z_]+",
        """add all alter analyse analyze and any as asc between both by call cascade case change char character check
    collate column condition constraint continue create cross current_date current_time current_timestamp
    current_user cursor database databases dec decimal declare default deferrable delete desc describe distinct div
    do double drop each else end except exists explain false fetch float for foreign from full function grant group
    groups having if ignore in index initially inner inout insert int integer intersect interval into is join key
    keys kill lateral leading left like limit lines load localtime localtimestamp lock long loop match mod natural
    not null numeric of offset on only option or order out outer over partition placing precision primary procedure
    range rank read real recursive references release rename repeat replace require restrict return returning revoke
    right row rows schema select session_user set show smallint some sql symmetric system table then to trailing
    trigger true undo union unique unlock unsigned update usage use user using values varchar varying verbose when
    where while window with write xor zerofill""",
    )
)

CHECKPOINT = """-- The checkpoint: store the largest "index" of a batch here, in the transaction that stores its rows.
CREATE TABLE fuagent_checkpoint (
    task_id VARCHAR(255) NOT NULL,
    agent_id VARCHAR(255) NOT NULL,
    last_index BIGINT NOT NULL,
    PRIMARY KEY (task_id, agent_id)
);"""


def script(shapes: Sequence[EventShape], sync: str) -> str:
    """The statements."""
    head = f"-- Rows of the sync {_text(sync)}, as fuagent sends them."
    return "\n\n".join([head, *map(_table, shapes), CHECKPOINT]) + "\n"


def _table(shape: EventShape) -> str:
    columns = {
        path: value for path, value in leaves(shape.tree) if path not in {(INDEX,), (shape.mark,)} or value.column
    }
    names = _names(list(columns))
    lines = [f"{names[path]} {_type(value)}{_null(value)}" for path, value in columns.items()]
    if shape.key:
        lines.append(f"PRIMARY KEY ({', '.join(names[path] for path in shape.key)})")
    about = [f"-- Table {_text(shape.table)}."]
    if not shape.key:
        about.append("-- Its events carry no key: a row cannot be told from another one that is alike.")
    if shape.mark is not None:
        about.append(f'-- An event with "{_text(shape.mark)}" true asks for its row to be deleted.')
    about += [f"-- Note: {_text(note)}." for note in shape.notes]
    inside = ",\n".join(f"    {line}" for line in lines)
    return "\n".join([*about, f"CREATE TABLE {_quoted(shape.table.rpartition('.')[2])} (", inside, ");"])


def _names(paths: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """A column for each property; what is nested is joined by ``_``, and names differ whatever their case."""
    taken: set[str] = set()
    names = {}
    for path in paths:
        name = "_".join(path)
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        names[path] = _quoted(name)
    return names


def _type(value: Value) -> str:
    if value.column is not None and value.column.kind is Kind.DECIMAL:
        digits = _DECIMAL.search(value.column.type)
        return f"DECIMAL{digits[0].replace(' ', '')}" if digits else "TEXT"
    text = "VARCHAR(255)" if value.key else "TEXT"
    return _MOMENTS.get(value.format) or _TYPES.get(value.type, text)


def _null(value: Value) -> str:
    return " NULL" if value.nullable else " NOT NULL"


def _quoted(name: str) -> str:
    if _PLAIN.fullmatch(name) and name not in _RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    """Fit to stand in a comment, whatever a table may be called."""
    return "".join(one if one.isprintable() else " " for one in text)
