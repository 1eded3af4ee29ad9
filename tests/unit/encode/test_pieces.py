"""Rows of pieces become the JSON text of events: the same as written slowly, whatever is in them."""

import json
from dataclasses import dataclass
from datetime import time
from itertools import count

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.contract.payload import Form, form
from fuagent.encode.pieces import compile_pieces
from fuagent.encode.recover import Keys
from fuagent.encode.templates import Columnwise
from fuagent.model import Column, Deletes, EventSchema, Kind, Mapping, Property, Table, TableSpec
from fuagent.model_rows import Columns, Texts

HOSTILE = [
    '"',
    "\\",
    "%",
    "%b",
    "%d%%",
    "%(x)s",
    "{",
    "}",
    "},{",
    "a\nb\r\t\x00\x1f",
    "\x7f",
    "\x7f\x7f",
    "'",
    "🦊ü",
    "",
]

texts = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
raw_texts = st.one_of(texts.map(str.encode), st.binary(max_size=6), st.sampled_from([b"\xe2\x82", b"\xed\xa0\x80"]))
integers = st.one_of(st.integers(-(2**63), 2**64 - 1), st.integers(-2, 2))
digits = st.builds(lambda whole, part: b"%d.%02d" % (whole, part), st.integers(-999, 999), st.integers(0, 99))
floats = st.one_of(
    st.sampled_from([b"20", b"1.5", b"1e20", b"0.00001", b"-0"]),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda value: repr(value).encode()),
)
odd_floats = st.sampled_from([b'"NaN"', b'"Infinity"', b'"-Infinity"'])
odd_digits = st.sampled_from([b"NaN", b"Infinity", b"-Infinity"])
booleans = st.sampled_from([b"true", b"false"])
BEYOND = [b"infinity", b"-infinity", b"0044-03-15 BC", b"12024-05-01"]
dates = st.one_of(
    st.dates().map(lambda day: day.isoformat().encode()),
    st.sampled_from([b"2024-00-10", b"2024-05-00", *BEYOND]),
)
moments = st.one_of(
    st.datetimes().map(lambda moment: moment.isoformat().encode()),
    st.sampled_from([b"2024-00-10 01:02:03", b"2024-05-00 00:00:00.5", b"12024-05-01 01:02:03", *BEYOND]),
)
labels = st.lists(texts.map(lambda text: text.replace(",", "").encode()), max_size=3).map(b",".join)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner)
)
documents = st.one_of(
    trees.map(lambda tree: json.dumps(tree, ensure_ascii=False, indent=1).encode()),
    st.sampled_from([b"[1,\n2]", b"12345678901234567890123", b"-0", b"[{},{}]", b"1e5"]),
)
broken = st.sampled_from([b"{a", b"", b'1,"b":2', b"1}", b"NaN", b'"\xff"', b'"\\ud800"', b"1e999", b"[" * 2000])


def text(piece):
    """A JSON string of a text, what is not UTF-8 replaced."""
    return json.dumps(piece.decode(errors="replace"), ensure_ascii=False)


def bare(piece):
    return str(piece) if isinstance(piece, int) else piece.decode()


def quoted(piece):
    return f'"{bare(piece)}"'


def figure(piece):
    return bare(piece) if piece[-1:].isdigit() else quoted(piece)


def quoted_float(piece):
    return quoted(piece.strip(b'"'))


def day(piece):
    return quoted(piece) if b"-00" in piece or piece in BEYOND else f'"{bare(piece)}T{time.min.isoformat()}Z"'


def moment(piece):
    return quoted(piece) if b" " in piece or piece in BEYOND else f'"{bare(piece)}Z"'


def tree(piece):
    try:
        orjson.loads(piece)
    except ValueError:
        return text(piece)
    return piece.decode()


def array(piece):
    found = piece.decode(errors="replace").split(",") if piece else []
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class Way:
    """One way to write a kind: what a document asks for to have it, the pieces, and how a slow reader writes them."""

    kind: Kind
    form: Form
    pieces: st.SearchStrategy
    write: object
    wanted: Property | None = None
    type: str = ""


def asked(*types, format_=""):
    return Property(frozenset(types), format_)


either_digits = integers.flatmap(lambda number: st.sampled_from([number, b"%d" % number]))
WAYS = [
    Way(Kind.INTEGER, Form.INTEGER, either_digits, bare),
    Way(Kind.INTEGER, Form.STRING, either_digits, quoted, asked("string")),
    Way(
        Kind.INTEGER,
        Form.BOOLEAN,
        either_digits,
        lambda piece: "false" if int(piece) == 0 else "true",
        asked("boolean"),
    ),
    Way(Kind.DECIMAL, Form.STRING, digits | odd_digits, quoted),
    Way(Kind.DECIMAL, Form.NUMBER, digits | odd_digits, figure, asked("number"), "numeric"),
    Way(Kind.DECIMAL, Form.NUMBER, digits, bare, asked("number"), "decimal(10,2)"),
    Way(Kind.DECIMAL, Form.INTEGER, integers.map(lambda n: b"%d" % n), bare, asked("integer"), "decimal(20,0)"),
    Way(Kind.FLOAT, Form.NUMBER, floats | odd_floats, bare),
    Way(Kind.FLOAT, Form.STRING, floats | odd_floats, quoted_float, asked("string")),
    Way(Kind.BOOLEAN, Form.BOOLEAN, booleans, bare),
    Way(Kind.BOOLEAN, Form.INTEGER, booleans, lambda piece: str(int(piece == b"true")), asked("integer")),
    Way(Kind.BOOLEAN, Form.STRING, booleans, quoted, asked("string")),
    Way(Kind.TEXT, Form.TEXT, raw_texts, text),
    Way(Kind.ENUM, Form.LABEL, raw_texts, text),
    Way(Kind.OTHER, Form.TEXT_FORM, raw_texts, text),
    Way(Kind.DATE, Form.DATE, dates, quoted),
    Way(Kind.DATE, Form.TIMESTAMP, dates, day, asked("string", format_="date-time")),
    Way(Kind.TIME, Form.TIME, st.sampled_from([b"23:59:58.125", b"-12:00:00", b"838:59:59"]), quoted),
    Way(Kind.DATETIME, Form.DATETIME, moments, quoted),
    Way(Kind.DATETIME, Form.TIMESTAMP, moments, moment, asked("string", format_="date-time")),
    Way(Kind.TIMESTAMP, Form.TIMESTAMP, moments.map(lambda piece: piece + b"Z"), quoted),
    Way(Kind.INTERVAL, Form.DURATION, st.sampled_from([b"P1Y2M3DT4H5M6.5S", b"PT-1S", b"infinity"]), quoted),
    Way(Kind.BINARY, Form.BASE64, st.sampled_from([b"", b"AA==", b"+/+/"]), quoted),
    Way(Kind.SET, Form.LABELS, labels, array),
    Way(Kind.SET, Form.STRING, labels, text, asked("string")),
    Way(Kind.JSON, Form.JSON, st.one_of(documents, broken), tree),
    Way(Kind.JSON, Form.STRING, st.one_of(documents, broken), text, asked("string")),
]


def table(columns):
    return Table("t", tuple(columns), (columns[0].name,))


@st.composite
def chunks(draw):
    """A spec, its rows of pieces, and each row as a slow reader writes its properties."""
    ways = draw(st.lists(st.sampled_from(WAYS), min_size=1, max_size=6))
    called = draw(st.lists(texts, min_size=len(ways), max_size=len(ways), unique_by=str.casefold))
    called = [f"{name}." if name.casefold() in ("index", "_deleted") else name for name in called]
    columns = [
        Column(name, way.kind, way.type, nullable=draw(st.booleans())) for name, way in zip(called, ways, strict=True)
    ]
    wanted = {name: way.wanted for name, way in zip(called, ways, strict=True) if way.wanted}
    for column, way in zip(columns, ways, strict=True):
        assert way.form is form(column, way.wanted, where="")
    deletes = draw(st.sampled_from([Deletes.ROW, Deletes.MARK]))
    spec = TableSpec(table(columns), Mapping(deletes=deletes), EventSchema(wanted))
    # A None also stands where the table says there is none, as in a view.
    cells = [way.pieces | st.none() if draw(st.booleans()) else way.pieces for way in ways]
    rows = draw(st.lists(st.tuples(*cells), max_size=6))
    slow = [
        [
            f"{json.dumps(name, ensure_ascii=False)}:{'null' if piece is None else way.write(piece)}"
            for name, way, piece in zip(called, ways, row, strict=True)
        ]
        for row in rows
    ]
    return spec, rows, slow


def whole(properties):
    return f"{{{','.join(properties)}}}".encode()


@given(chunks(), st.booleans(), st.booleans(), st.data())
def test_events_are_what_a_slow_reader_writes(chunk, numbers, indexed, data):
    """Any columns, names and pieces, integers of either sort: the bytes are those of a writer that takes each by itself."""
    spec, rows, slow = chunk
    deleted = data.draw(st.none() | st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    indexes = count(7) if indexed else None
    if spec.mapping.deletes is Deletes.MARK:
        marks = deleted or [False] * len(rows)
        slow = [[*event, f'"_deleted":{json.dumps(mark)}'] for event, mark in zip(slow, marks, strict=True)]
    if indexed:
        slow = [[*event, f'"index":{at}'] for at, event in enumerate(slow, 7)]

    events = compile_pieces(spec, numbers=numbers).rows(rows, indexes, deleted)

    assert list(events) == [whole(event) for event in slow]
    assert isinstance(events, Texts) == (bool(rows) and b",".join(events).count(b"},{") == len(rows) - 1)


@given(chunks(), st.booleans(), st.data())
def test_raw_values_are_converted_first(chunk, numbers, data):
    """A column's own function makes its pieces, None among them, and never sees one."""
    spec, rows, _ = chunk
    width = len(spec.table.columns)
    apart = Columnwise(lambda value: value[0], lambda values: [value[0] for value in values])
    picked = data.draw(st.lists(st.sampled_from([None, lambda value: value[0], apart]), max_size=width))
    raw = [
        tuple([piece] if place < len(picked) and picked[place] else piece for place, piece in enumerate(row))
        for row in rows
    ]
    raw = [tuple(None if value == [None] and at % 2 else value for at, value in enumerate(row)) for row in raw]

    events = compile_pieces(spec, picked, numbers=numbers).rows(raw)

    assert list(events) == list(compile_pieces(spec, numbers=numbers).rows(rows))


@given(chunks(), st.booleans(), st.booleans(), st.data())
def test_rows_that_are_held_column_by_column_are_written_alike(chunk, numbers, indexed, data):
    """With functions of columns or without, NULLs and escapes anywhere: how rows are held never shows in their bytes."""
    spec, rows, _ = chunk
    width = len(spec.table.columns)
    apart = Columnwise(lambda value: value, list)
    picked = data.draw(st.lists(st.sampled_from([None, lambda value: value, apart]), min_size=width, max_size=width))
    held = Columns([[row[at] for row in rows] for at in range(width)], len(rows))
    one = compile_pieces(spec, picked, numbers=numbers)

    def indexes():
        return count(7) if indexed else None

    assert list(one.rows(held, indexes())) == list(one.rows(rows, indexes()))


@pytest.mark.parametrize("text", [b"plain", b'a"b', b"a\\", b"a\nb", b"\xff", b"{", b"},{", "ü".encode()])
def test_texts_in_columns_are_escaped_as_those_in_rows_are(text):
    """Each kind of text is met in a column, whatever chance draws for the test above."""
    spec = TableSpec(Table("t", (Column("a", Kind.INTEGER), Column("b", Kind.TEXT)), ("a",)), Mapping())
    rows = [(b"1", b"x"), (b"2", text), (b"3", None)]
    one = compile_pieces(spec)

    assert list(one.rows(Columns(list(zip(*rows, strict=True)), len(rows)))) == list(one.rows(rows))


@given(st.lists(st.none() | st.binary(max_size=2)))
def test_a_column_is_converted_in_one_go_whether_or_not_it_holds_nulls(values):
    """Each value becomes what it becomes by itself, in its own place; one call takes all that are not NULL."""
    seen = []

    def many(given):
        seen.append(given)
        return [value[::-1] for value in given]

    column = Columnwise(lambda value: value[::-1], many)
    alone = [None if value is None else column(value) for value in values]

    assert list(column.column(values)) == alone
    assert seen == [[value for value in values if value is not None]]


@given(chunks(), st.booleans())
def test_a_chunk_gives_the_same_bytes_as_its_rows_one_by_one(chunk, numbers):
    """How rows are grouped never shows in their bytes."""
    spec, rows, _ = chunk
    one = compile_pieces(spec, numbers=numbers)

    assert [one.rows([row])[0] for row in rows] == list(one.rows(rows))


@given(chunks())
def test_every_event_is_one_json_object(chunk):
    """Nothing a piece holds breaks out of its property."""
    spec, rows, _ = chunk

    for event in compile_pieces(spec).rows(rows):
        assert [column.name for column in spec.table.columns] == [
            name for name in orjson.loads(event) if name != "_deleted"
        ]


@given(st.tuples(integers, st.text(st.characters(exclude_categories=["Cs"]), max_size=9)))
def test_the_key_comes_back(key):
    """What is written of a key is what is read back from the event."""
    spec = TableSpec(Table("t", (Column("a", Kind.INTEGER), Column("b", Kind.TEXT)), ("b", "a")), Mapping())

    (event,) = compile_pieces(spec).rows([(b"%d" % key[0], key[1].encode())])

    assert Keys.of(spec).read(event) == (key[1], key[0])
