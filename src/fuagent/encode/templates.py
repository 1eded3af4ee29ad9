"""The generated code of ``pieces.py``: list comprehensions over rows, one of which fills a bytes template.

What is generated is text, yet nothing foreign is in it: columns are ``c0``, ``c1``, …, the functions for them
``v0`` (to a piece) and ``f0`` (to JSON), and the template ``T`` with all names and constants is a value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

import orjson

from fuagent.encode.cells import Cell, Piece, cells, digits
from fuagent.encode.compile import nested
from fuagent.encode.plan import INDEX, Plan, Slot
from fuagent.model import Column, Fact, Kind

Convert = Callable[[Any], Piece | None]
"""A column's raw value, never None, to its piece."""
P = TypeVar("P", bound=Piece)


@dataclass(frozen=True, slots=True)
class Columnwise(Generic[P]):
    """A Convert that is quicker for all values of a column at once; ``many`` gets no None either, and perhaps no value at all."""

    one: Callable[[Any], P | None]
    many: Callable[[Sequence[Any]], Sequence[P | None]]

    def __call__(self, raw: Any) -> P | None:
        """One value."""
        return self.one(raw)

    def column(self, values: Sequence[Any]) -> Sequence[P | None]:
        """The pieces of one column."""
        if all(values) or None not in values:  # to compare with None is slow
            return self.many(values)
        made = iter(self.many([raw for raw in values if raw is not None]))
        return [None if raw is None else next(made) for raw in values]


Make = Callable[..., list[Any]]
"""Rows, and what else a comprehension names, to a list."""

_TOLD = {
    Fact.OPERATION: "o",
    Fact.COMMIT_TIME: "time",
    Fact.TRANSACTION: "transaction",
    Fact.SNAPSHOT: "snapshot",
}
BETWEEN = b"\x7f"
"""Stands between joined texts: the one control character that JSON lets stand (RFC 8259 section 7)."""
_Hole = tuple[bytes, str]
"""A part of the template, and the expression that fills it; none for what is constant."""


@dataclass(frozen=True, slots=True)
class Code:
    """What is generated for one kind of event.

    ``columns`` are those of a row; ``converts`` says by their places what is yet to be made a piece;
    ``cells`` runs beside the plan's slots. ``numbers``: integers usually come as ``int``.
    """

    made: Plan
    columns: Sequence[Column]
    cells: Sequence[Cell | None]
    converts: dict[int, Convert]
    columnwise: dict[int, Columnwise[Any]]
    """The columns that are made pieces apart from their rows, and then stand beside these."""
    sent: frozenset[int]
    """The columns that are sent."""
    unsure: frozenset[int]
    """The columns that may hold None."""
    texts: list[int]
    """The columns that are escaped before they are written."""
    numbers: bool

    @classmethod
    def of(cls, made: Plan, columns: Sequence[Column], converts: Sequence[Convert | None], *, numbers: bool) -> Code:
        """The code for events of this plan."""
        found = cells(made, columns)
        fed = [(slot.column, cell) for slot, cell in zip(made.slots, found, strict=True)]
        sent = frozenset(place for place, _ in fed if place is not None)
        every = {place: convert for place, convert in enumerate(converts) if convert is not None and place in sent}
        texts = {place for place, cell in fed if place is not None and cell is not None and cell.escaped}
        columnwise = {
            at: convert for at, convert in every.items() if isinstance(convert, Columnwise) and at not in texts
        }
        left = {place: convert for place, convert in every.items() if place not in columnwise}
        # A zero date is None as well, but that is rare: the careful code is for it.
        unsure = frozenset(place for place, column in enumerate(columns) if column.nullable)
        return cls(made, columns, found, left, columnwise, sent, unsure, sorted(texts), numbers)

    @property
    def plain(self) -> bool:
        """Whether braces in an event are its own, unless one of its texts has some."""
        written = any(cell is not None and cell.write is not None for cell in self.cells)
        fixed = any(slot.fact is not None or b"{" in slot.constant or "{" in slot.name for slot in self.made.slots)
        return not (written or fixed or "{" in (self.made.mark or ""))

    @property
    def tells(self) -> bool:
        """Whether each event tells its operation."""
        return any(slot.fact is Fact.OPERATION for slot in self.made.slots)

    def converted(self) -> Code:
        """The same for rows that are pieces already, but for what is made so apart from them."""
        return replace(self, converts={})

    def whole(self) -> Code:
        """The same for rows in which the columns made apart are pieces already."""
        return replace(self, columnwise={})

    def convert(self) -> Make:
        """Raw rows to rows of pieces."""
        row = self._row(f"c{place}" for place in range(len(self.columns)))
        return self._over_rows(row, converts=self.converts)

    def gather(self) -> Make:
        """Rows to the texts of each, joined by :data:`BETWEEN`."""
        texts = _tuple(f"c{place} or b''" for place in self.texts)
        return self._over_rows(f"{BETWEEN!r}.join({texts})")

    def exchange(self) -> Make:
        """Rows, each with as many texts as it has columns of them, to rows with these in the place of their own."""
        texts = set(self.texts)
        places = range(len(self.columns))
        row = self._row(f"c{at} and t{at}" if at in texts else f"c{at}" for at in places)
        return self._over_rows(row, extras=[f"t{at}" for at in self.texts])

    def write(self, *, indexed: bool, careful: bool) -> Make:
        """Rows to events. The careful code takes None in every column, and integers of both sorts."""
        fed = [(slot.path, self._hole(number, slot, careful=careful)) for number, slot in enumerate(self.made.slots)]
        whole = nested(fed)
        extras = [f"c{place}" for place in self.columnwise]
        if self.tells:
            extras.append("o")
        if self.made.mark is not None:
            whole[self.made.mark] = (b"%b", "b'true' if d else b'false'")
            extras.append("d")
        if indexed:
            whole[INDEX] = (b"%d", "n")
            extras.append("n")
        filled: list[str] = []
        values: dict[str, object] = {"T": _template(whole, filled), "digits": digits}
        values |= {f"f{number}": cell.write for number, cell in enumerate(self.cells) if cell and cell.write}
        return self._over_rows(f"T % {_tuple(filled)}", values, extras, self.converts, beside=self.columnwise)

    def _hole(self, number: int, slot: Slot, *, careful: bool) -> _Hole:
        if slot.fact is not None:
            return b"%b", _TOLD[slot.fact]
        cell = self.cells[number]
        if cell is None or slot.column is None:
            return slot.constant.replace(b"%", b"%%"), ""
        piece = f"c{slot.column}"
        if cell.write is not None:
            return b"%b", f"b'null' if {piece} is None else f{number}({piece})"
        integer = self.columns[slot.column].kind is Kind.INTEGER
        sign = b"%d" if integer and self.numbers and not careful else b"%b"
        text = b'"%b"' % sign if cell.quoted else sign
        if not (careful or slot.column in self.unsure):
            return text, piece
        if integer and careful:
            piece = f"digits({piece})"
        written = piece if text == b"%b" else f"{text!r} % {piece}"
        return b"%b", f"b'null' if c{slot.column} is None else {written}"

    def _row(self, values: Iterable[str]) -> str:
        """A row in its full width, with None for what is not sent."""
        return _tuple(value if place in self.sent else "None" for place, value in enumerate(values))

    def _over_rows(
        self,
        element: str,
        values: dict[str, object] | None = None,
        extras: Sequence[str] = (),
        converts: dict[int, Convert] | None = None,
        beside: Collection[int] = (),
    ) -> Make:
        """``[element for (c0, c1, …), extra, … in rows]`` where ``converts`` are applied first.

        The columns ``beside`` are among the extras, and their places in the row are passed over.
        """
        named = self.sent.difference(beside)
        columns = _tuple(f"c{place}" if place in named else "_" for place in range(len(self.columns)))
        target = ", ".join([columns, *extras])
        found = converts or {}
        # "for x in (y,)" is an assignment to the compiler.
        clauses = "".join(f" for c{at} in (None if c{at} is None else v{at}(c{at}),)" for at in found)
        source = f"lambda rows, time=b'', transaction=b'', snapshot=b'': [{element} for {target} in rows{clauses}]"
        names = {f"v{place}": convert for place, convert in found.items()}
        return cast("Make", eval(source, {**names, **(values or {})}))  # noqa: S307 - nothing foreign is in it


def _tuple(parts: Iterable[str]) -> str:
    return f"({''.join(f'{part}, ' for part in parts)})"


def _template(whole: dict[str, Any], filled: list[str]) -> bytes:
    """The JSON text with holes; the expressions that fill them are added to ``filled`` in order."""
    members = []
    for name, part in whole.items():
        if isinstance(part, dict):
            text = _template(part, filled)
        else:
            text, expression = part
            filled += [expression] if expression else []
        members.append(b"%b:%b" % (orjson.dumps(name).replace(b"%", b"%%"), text))
    return b"{%b}" % b",".join(members)
