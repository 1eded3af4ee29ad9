"""Row images into tuples of pieces, by code generated for each table and set of columns.

An image is a bitmap of the columns that are NULL, among those it holds at all, and then the
values of the others one after the other (``pack_row`` in the servers' ``sql/rpl_record.cc``).
The events of rows hold one bitmap of the columns that are present for all their images.

The time is spent here, so there is more than one way through an image. Values of fixed width are
unpacked together, with the length of what stands behind them, where no column is NULL; where one is, those
between the columns that may be, by the word of the table map; one by one, where it is not kept. The text of the code is made of the numbers of columns and of recipes
(``values.py``); what others wrote, names and labels, is only ever passed as a value.

Lengths have no sign, so the place in the data only grows, and whatever lies beyond the end shows
by where the last image ends. One image takes a byte at least, so every loop comes to an end.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from fuagent.errors import DecodeError
from fuagent.model import ABSENT, Row
from fuagent.wire.mysql import jsonb
from fuagent.wire.mysql.cursor import Cursor
from fuagent.wire.mysql.tablemap import JSON, ImageColumn
from fuagent.wire.mysql.values import Recipe, recipe

Reader = Callable[[bytes, int, int], list[Row]]
"""From data, the start of the first image and the end of the last, the rows of an event of inserts or deletes.

A DOUBLE in them is the number itself: ``numbers.doubles`` writes those of many rows together.
"""

UpdateReader = Callable[[bytes, int, int], tuple[list[Row], list[Row]]]
"""From the same, the rows before the updates and, place by place, after them."""

_INDENT = "    "


def compile_reader(columns: Sequence[ImageColumn], present: bytes) -> Reader:
    """Make the reader for inserts or deletes of one table.

    An event whose images hold no column is one row, all of it absent: an insert of nothing but defaults.

    Args:
        columns: The table's columns, with all that is needed to read them.
        present: The bitmap of columns that the images hold, the first column lowest.

    Raises:
        DecodeError: Columns and bitmap do not fit, or a column cannot be read; the reader raises it
            for images that make no sense.
    """
    image = _Image.of("a", columns, present)
    if not image.columns:
        return _nothing(len(columns))
    lines = ["while p < end:", *_indented(_fork(image, "rows({})"))]
    read = _guarded(_function(lines, image.names, "rows"))
    return lambda data, start, end: read(data, start, end)[0]


def compile_updates(
    columns: Sequence[ImageColumn], before: bytes, after: bytes, *, partial: bool = False
) -> UpdateReader:
    """Make the reader for updates of one table, whose images come in pairs.

    Args:
        columns: As for :func:`compile_reader`.
        before: The bitmap of columns that the images before the update hold.
        after: The same for the images after it.
        partial: Whether the images are of PARTIAL_UPDATE_ROWS, which may hold changes of JSON columns.

    Raises:
        DecodeError: As for :func:`compile_reader`; also for a change of a JSON column that the image before
            the update does not hold.
    """
    first = _Image.of("b", columns, before)
    second = _Image.of("a", columns, after)
    if not first.columns and not second.columns:
        raise DecodeError("The images of a rows event of updates hold no column.")
    if partial:
        lines = [*_one_by_one(first, "befores({})"), *_partial_after(first, second)]
    else:
        lines = [*_fork(first, "befores({})"), *_fork(second, "afters({})")]
    names = {**first.names, **second.names, "partial": _partial, "change": _changed}
    read = _guarded(_function(["while p < end:", *_indented(lines)], names, "befores", "afters"))

    def reader(data: bytes, start: int, end: int) -> tuple[list[Row], list[Row]]:
        befores, afters = read(data, start, end)
        return befores, afters

    return reader


def _nothing(width: int) -> Reader:
    def reader(_: bytes, start: int, end: int) -> list[Row]:
        if start != end:
            raise DecodeError("The images of a rows event hold no column but take some bytes.")
        return [(ABSENT,) * width]

    return reader


def _guarded(read: Callable[[bytes, int, int], tuple[Any, ...]]) -> Callable[[bytes, int, int], tuple[Any, ...]]:
    """Whatever goes wrong in generated code is the data's fault. No value of a row may stand in the error."""

    def guarded(data: bytes, start: int, end: int) -> tuple[Any, ...]:
        if not 0 <= start <= end <= len(data):
            raise DecodeError("A rows event ends before its first image.")
        try:
            last, *lists = read(data, start, end)
        except (struct.error, LookupError, ValueError):
            raise DecodeError("A row image makes no sense.") from None
        if last != end:
            raise DecodeError("A row image ends beyond its event.")
        return tuple(lists)

    return guarded


# ------------------------------------------------------------------ partial updates


def _partial(data: bytes, place: int, json_columns: int) -> tuple[int, int]:
    """What stands before the image after a partial update: where it begins, and which JSON columns hold changes.

    The options are a number, whose lowest bit says that a bitmap follows. It has a bit for each JSON column of the
    table, present or not.
    """
    cursor = Cursor(data, "A row image", place)
    changed = cursor.number((json_columns + 7) // 8) if cursor.lenenc() & 1 else 0
    return cursor.at, changed


def _changed(before: bytes | None, changes: bytes) -> bytes:
    if before is None:
        raise DecodeError(
            "An update holds changes of a JSON column without the value they change.",
            fix="set binlog_row_value_options='' or binlog_row_image=FULL on the source.",
        )
    return jsonb.apply(before, changes)


# ------------------------------------------------------------------ generated code


@dataclass(frozen=True, slots=True)
class _Column:
    """A column that an image holds: its place in the table, in the image, and how it is read."""

    place: int
    bit: int
    recipe: Recipe
    json: bool
    nullable: bool


@dataclass(frozen=True, slots=True)
class _Image:
    """One kind of image. Its local names begin with ``name``."""

    name: str
    columns: tuple[_Column, ...]
    width: int
    """Columns of the table."""
    json: tuple[int, ...]
    """Places of the table's JSON columns."""
    names: dict[str, object]
    """What the generated code calls by name: the functions of recipes, struct's unpackers."""

    @classmethod
    def of(cls, name: str, columns: Sequence[ImageColumn], present: bytes) -> _Image:
        """Look up how each present column is read."""
        if len(present) != (len(columns) + 7) // 8:
            raise DecodeError("A rows event has another number of columns than its table map.")
        places = [place for place in range(len(columns)) if present[place >> 3] >> (place & 7) & 1]
        found = tuple(
            _Column(place, bit, recipe(one), one.type == JSON, one.nullable)
            for bit, (place, one) in enumerate((place, columns[place]) for place in places)
        )
        names = {
            f"{name}{letter}{column.place}": function
            for column in found
            for letter, function in zip("fgh", column.recipe.functions, strict=False)
        }
        return cls(
            name, found, len(columns), tuple(p for p, column in enumerate(columns) if column.type == JSON), names
        )

    def values(self, column: _Column) -> list[str]:
        """The names that a column's codes are unpacked into."""
        return [f"{self.name}v{column.place}_{number}" for number in range(column.recipe.values)]

    def bytes_of(self, column: _Column) -> str:
        """The name of the bytes of a column of variable length."""
        return f"{self.name}x{column.place}"

    def piece(self, column: _Column) -> str:
        """The expression that makes the piece."""
        values = [self.bytes_of(column)] if column.recipe.length else self.values(column)
        functions = {letter: f"{self.name}{letter}{column.place}" for letter in "fgh"}
        return f"({column.recipe.piece.format(*values, **functions)})"

    def unpacker(self, codes: str) -> tuple[str, int]:
        """The name of a function that unpacks these codes, and the bytes it takes."""
        layout = struct.Struct("<" + codes)
        name = f"{self.name}u{len(self.names)}"
        self.names[name] = layout.unpack_from
        return name, layout.size

    def row(self, pieces: dict[int, str]) -> str:
        """The display of the tuple, from the expressions by place."""
        return f"({''.join(pieces.get(place, 'ABSENT') + ', ' for place in range(self.width))})"


def _function(lines: list[str], names: dict[str, object], *lists: str) -> Callable[[bytes, int, int], Any]:
    """A function of the lines, which append to the lists by their names and move the place ``p``."""
    text = "\n".join(
        (
            "def read(data, p, end):",
            *(f"    l_{name} = []; {name} = l_{name}.append" for name in lists),
            *_indented(lines),
            f"    return p, {', '.join(f'l_{name}' for name in lists)}",
        )
    )
    space: dict[str, Any] = {**names, "integer": int.from_bytes, "ABSENT": ABSENT}
    exec(compile(text, "<row images>", "exec"), space)  # noqa: S102 - a text of our own making
    return space["read"]  # type: ignore[no-any-return]


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (_INDENT + line for line in lines)


def _width(image: _Image) -> int:
    """The bytes of the bitmap of NULLs."""
    return (len(image.columns) + 7) // 8


def _nulls(image: _Image) -> list[str]:
    """Read the bitmap of NULLs into ``n`` and go on behind it."""
    width = _width(image)
    return [f'n = integer(data[p : p + {width}], "little")', f"p += {width}"]


def _fork(image: _Image, append: str) -> list[str]:
    """One image, read in runs or one by one.

    Both servers set the bits beyond the last column. Where one did not, the second way is as right as the first.
    """
    if not image.columns:
        return [append.format(image.row({}))]
    none = (-1 << len(image.columns) & (1 << 8 * _width(image)) - 1).to_bytes(_width(image), "little")
    fork = f"data[p] == {none[0]}" if len(none) == 1 else f"data[p : p + {len(none)}] == {none!r}"
    return [
        f"if {fork}:",
        f"{_INDENT}p += {len(none)}",
        *_indented(_runs(image, image.columns)),
        *_indented([append.format(image.row({c.place: image.piece(c) for c in image.columns}))]),
        "else:",
        *_indented(_with_nulls(image, append)),
    ]


def _with_nulls(image: _Image, append: str) -> list[str]:
    """One image of which some columns are NULL; mostly such as may be."""
    never = sum(1 << column.bit for column in image.columns if not column.nullable)
    if not never:
        return _one_by_one(image, append)
    pieces = {c.place: _local(image, c) if c.nullable else image.piece(c) for c in image.columns}
    lines: list[str] = []
    for nullable, group in groupby(image.columns, attrgetter("nullable")):
        some = tuple(group)
        lines += _pieces(image, some) if nullable else _runs(image, some)
    return [
        *_nulls(image),
        f"if n & {never}:",
        *_indented([*_pieces(image, image.columns), append.format(image.row(_locals(image)))]),
        "else:",
        *_indented([*lines, append.format(image.row(pieces))]),
    ]


def _one_by_one(image: _Image, append: str) -> list[str]:
    if not image.columns:
        return [append.format(image.row({}))]
    return [*_nulls(image), *_pieces(image, image.columns), append.format(image.row(_locals(image)))]


def _local(image: _Image, column: _Column) -> str:
    return f"{image.name}c{column.place}"


def _locals(image: _Image) -> dict[int, str]:
    return {column.place: _local(image, column) for column in image.columns}


def _runs(image: _Image, columns: Sequence[_Column]) -> Iterator[str]:
    """Unpack columns of fixed width together, up to and with the length of one whose width is not."""
    codes, names = "", list[str]()
    for column in columns:
        codes += column.recipe.codes
        names += image.values(column)
        if column.recipe.length:
            yield from _run(image, codes, names)
            yield from _variable(image, column)
            codes, names = "", []
    if codes:
        yield from _run(image, codes, names)


def _run(image: _Image, codes: str, names: list[str]) -> Iterator[str]:
    if codes == "B":
        yield f"{names[0]} = data[p]"
        yield "p += 1"
    else:
        unpack, size = image.unpacker(codes)
        yield f"{', '.join(names)}, = {unpack}(data, p)"
        yield f"p += {size}"


def _variable(image: _Image, column: _Column) -> Iterator[str]:
    yield f"q = p + {column.recipe.length.format(*image.values(column))}"
    yield f"{image.bytes_of(column)} = data[p:q]"
    yield "p = q"


def _pieces(image: _Image, columns: Sequence[_Column], pieces: dict[int, str] | None = None) -> Iterator[str]:
    """Each column for itself, with the bit that says whether it is NULL.

    The bytes of JSON columns, NULL or not, stay at hand for :func:`_partial_after`.
    """
    for column in columns:
        piece = _local(image, column)
        expression = (pieces or {}).get(column.place) or image.piece(column)
        yield f"if n & {1 << column.bit}:"
        yield f"{_INDENT}{piece} = None"
        if column.json:
            yield f"{_INDENT}{image.bytes_of(column)} = None"
        yield "else:"
        yield from _indented(_run(image, column.recipe.codes, image.values(column)))
        if column.recipe.length:
            yield from _indented(_variable(image, column))
        yield f"{_INDENT}{piece} = {expression}"


def _partial_after(before: _Image, after: _Image) -> list[str]:
    """The image after a partial update, where a JSON column may hold changes of the one before."""
    held = {column.place for column in before.columns}
    pieces = {}
    for column in after.columns:
        if column.json:
            bit = 1 << after.json.index(column.place)
            old = before.bytes_of(column) if column.place in held else "None"
            pieces[column.place] = (
                f"change({old}, {after.bytes_of(column)}) if changed & {bit} else {after.piece(column)}"
            )
    start = [f"p, changed = partial(data, p, {len(after.json)})"]
    if not after.columns:
        return [*start, f"afters({after.row({})})"]
    return [
        *start,
        *_nulls(after),
        *_pieces(after, after.columns, pieces),
        f"afters({after.row(_locals(after))})",
    ]
