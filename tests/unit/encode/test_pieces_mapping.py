"""The mapping means the same for pieces as for any other rows."""

import hashlib
import hmac
import json
from itertools import count

import pytest

from fuagent.encode.compile import Facts, compile_encoder
from fuagent.encode.events import stored
from fuagent.encode.pieces import compile_pieces
from fuagent.errors import HaltSyncError
from fuagent.model import (
    Column,
    Cover,
    Deletes,
    EventSchema,
    Fact,
    Field,
    Kind,
    Mapping,
    Mask,
    Property,
    Secret,
    Table,
    TableSpec,
    Transform,
)
from fuagent.model_rows import Texts

TABLE = Table(
    "orders",
    (
        Column("id", Kind.INTEGER, nullable=False),
        Column("email", Kind.TEXT),
        Column("total", Kind.DECIMAL),
        Column("at", Kind.DATETIME, nullable=False),
    ),
    ("id",),
    "shop",
)
PIECES = [(1, b"a@b", b"10.00", b"2024-02-29T01:02:03"), (b"2", b'},{"%b', b"9.50", None), (3, None, None, None)]
VALUES = [
    tuple(int(piece) if place == 0 else piece and piece.decode() for place, piece in enumerate(row)) for row in PIECES
]
SALT = Secret("pepper")
CONSTANTS = (Field("id", "id"), Field("100%", constant={"a": "%b"}), Field("list", constant=[{}, {}]))
NESTED = (
    Field("id", "id"),
    Field("who.email", "email"),
    Field("at", "at"),
    Field("who.is.%d{", "total"),
    Field("who.kind", constant="x"),
)
TOLD = tuple(Field(f"fact.{str(fact)[1:]}", fact=fact) for fact in Fact)


def both(mapping, table=TABLE):
    spec = TableSpec(table, mapping)
    return compile_pieces(spec), compile_encoder(spec)


@pytest.mark.parametrize(
    "mapping",
    [
        Mapping(),
        Mapping(CONSTANTS),
        Mapping(NESTED),
        Mapping(TOLD),
        Mapping((*NESTED, *TOLD), Deletes.MARK, "gone%s"),
        Mapping((Field("id", "id"), Field("mail", "email"), Field("again", "email")), Deletes.MARK, "},{"),
        Mapping(()),
        Mapping(masks=(Mask("email", Cover.HASH, SALT), Mask("id", Cover.HASH, SALT), Mask("total", Cover.REDACT))),
        Mapping(masks=(Mask("email", Cover.TRUNCATE, length=3),)),
        Mapping((Field("{", "id"), Field("},{", "email"))),
    ],
)
@pytest.mark.parametrize("indexed", [False, True])
def test_the_same_mapping_gives_the_same_events(mapping, indexed):
    """Names, order, nesting, constants, facts, marks and masks: as the encoder of values writes them."""
    pieces, values = both(mapping)
    facts = Facts(["insert", "update", "delete"], "2026-01-02T03:04:05Z", "gtid},{%d")

    for given in (Facts(), facts):
        found = pieces.rows(PIECES, count(5) if indexed else None, [False, True, False], given)
        assert list(found) == list(values.rows(VALUES, count(5) if indexed else None, [False, True, False], given))
    assert list(pieces.rows(PIECES)) == list(values.rows(VALUES))
    assert (pieces.properties, pieces.marks, pieces.facts) == (values.properties, values.marks, values.facts)
    key = [(7,), (b"8",)] if pieces.marks else [(), ()]
    values_key = [(7,), (8,)] if pieces.marks else [(), ()]
    numbers = range(9, 11) if indexed else None
    assert list(pieces.keys(key, numbers)) == list(values.keys(values_key, numbers))


def test_no_rows_give_no_events():
    """An empty chunk is no special case."""
    assert both(Mapping())[0].rows([]) == []


def test_events_stay_one_text():
    """A chunk is cut only where somebody asks, unless a text holds what stands between two events."""
    one = both(Mapping())[0]

    assert isinstance(one.rows(PIECES[:1] + PIECES[2:]), Texts)
    assert isinstance(one.rows([(1, b"{", None, None), (2, b"}", None, None)]), Texts)
    assert isinstance(one.rows(PIECES), list)


def test_old_keys_are_converted_too():
    """A key's raw values stand in the key's order and go through their columns' own functions."""
    table = Table("t", (Column("a", Kind.TEXT), Column("v", Kind.TEXT), Column("b", Kind.INTEGER)), ("b", "a"))
    spec = TableSpec(table, Mapping(deletes=Deletes.MARK))
    one = compile_pieces(spec, [bytes.upper, None, lambda raw: int(raw, 16)], numbers=True)

    assert list(one.rows([(b"x", None, b"ff")])) == [b'{"a":"X","v":null,"b":255,"_deleted":false}']
    assert list(one.keys([(b"ff", b"x")])) == [b'{"b":255,"a":"X","_deleted":true}']


def test_a_function_for_what_is_not_sent_is_not_called():
    """Columns that the mapping leaves out cost nothing."""
    spec = TableSpec(TABLE, Mapping((Field("mail", "email"),)))

    assert list(compile_pieces(spec, [lambda raw: 1 // 0]).rows(PIECES[:1])) == [b'{"mail":"a@b"}']


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("id >= 2", [False, True, True]),
        ("total > 9.5", [True, False, False]),
        ("total >= '9.5'", [True, True, False]),
        ("email LIKE 'a%'", [True, False, False]),
        ("email IS NULL", [False, False, True]),
        ("at >= '2024'", [True, False, False]),
        ("at IS NULL", [False, True, True]),
    ],
)
def test_conditions_are_about_values(condition, expected):
    """Numbers compare as numbers and texts as texts, whatever the pieces are; what is converted is compared so."""
    one = compile_pieces(TableSpec(TABLE, Mapping(where=condition)))
    raw = [tuple(None if piece is None else [piece] for piece in row[:3]) + row[3:] for row in PIECES]
    converted = compile_pieces(TableSpec(TABLE, Mapping(where=condition)), [lambda raw: raw[0]] * 3)

    assert one.fits(PIECES) == expected
    assert converted.fits(raw) == expected


def test_conditions_on_other_kinds():
    """Decimals compare by what they are worth, floats as numbers, and a value converted to None is NULL."""
    columns = (Column("a", Kind.DECIMAL), Column("b", Kind.DECIMAL), Column("f", Kind.FLOAT), Column("n", Kind.TEXT))
    rows = [(b"9.00", b"10.00", b"1e1", b""), (b"10.0", b"9.00", b"0.1", b"")]

    def fits(condition):
        spec = TableSpec(Table("t", columns), Mapping(where=condition))
        return compile_pieces(spec, [None, None, None, lambda _raw: None]).fits(rows)

    assert fits("a < b") == [True, False]
    assert fits("f = 0.1") == [False, True]
    assert fits("n IS NULL") == [True, True]


def test_conditions_on_booleans():
    """A boolean is true or false, and as a number 1 or 0."""
    spec = Table("t", (Column("b", Kind.BOOLEAN),))

    def fits(condition):
        return compile_pieces(TableSpec(spec, Mapping(where=condition))).fits([(b"true",), (b"false",), (None,)])

    assert fits("b = TRUE") == [True, False, False]
    assert fits("b <> TRUE") == [False, True, False]
    assert fits("b = 1") == [True, False, False]


def test_conditions_on_what_is_not_finite():
    """Infinity is above all numbers; NaN is equal to itself and comparable with no number."""
    table = Table("t", (Column("f", Kind.FLOAT), Column("d", Kind.DECIMAL)))
    rows = [(b'"NaN"', b"NaN"), (b'"Infinity"', b"Infinity"), (b'"-Infinity"', b"-Infinity"), (b"1", b"1")]

    def fits(condition):
        return compile_pieces(TableSpec(table, Mapping(where=condition))).fits(rows)

    for name in ("f", "d"):
        assert fits(f"{name} > 0") == [False, True, False, True]
        assert fits(f"NOT {name} > 0") == [False, False, True, False]
        assert fits(f"{name} = 'NaN'") == [True, False, False, False]
        assert fits(f"{name} IS NULL") == [False] * 4
    assert fits("f = d") == [True, True, True, True]


def test_a_transform_gets_the_events():
    """Events of pieces go through a function like any others."""
    made = both(Mapping(transform=Transform("m:f", lambda event: {"id": event["id"]})))[0]

    assert made.transformed(made.rows(PIECES[:1]), [4]) == [b'{"id":1,"index":4}']


def test_masks_of_every_kind():
    """A hash is over the value's own text: digits, base64, labels, JSON."""
    kinds = {
        Kind.FLOAT: b"1.50",
        Kind.BOOLEAN: b"true",
        Kind.BINARY: b"AA==",
        Kind.SET: b"a,b",
        Kind.JSON: b'{"a": 1}',
        Kind.TEXT: b"\xffx",
    }
    table = Table("t", tuple(Column(kind, kind) for kind in kinds))
    masks = tuple(Mask(kind, Cover.HASH, SALT) for kind in kinds)

    (event,) = compile_pieces(TableSpec(table, Mapping(masks=masks))).rows([tuple(kinds.values())])

    said = ["1.5", "true", "AA==", "a,b", '{"a": 1}', "\ufffdx"]
    assert [hmac.digest(b"pepper", text.encode(), hashlib.sha256).hex() for text in said] == list(
        json.loads(event).values()
    )


def test_a_mask_covers_what_is_not_finite():
    """The quotes of a float's piece are not part of what is hashed."""
    spec = TableSpec(Table("t", (Column("f", Kind.FLOAT),)), Mapping(masks=(Mask("f", Cover.HASH, SALT),)))
    digests = [hmac.digest(b"pepper", word, hashlib.sha256).hex() for word in (b"NaN", b"-Infinity")]

    events = compile_pieces(spec).rows([(b'"NaN"',), (b'"-Infinity"',)])

    assert [json.loads(event)["f"] for event in events] == digests


def test_one_column_in_two_forms():
    """A column escaped under one property stays as it is under another."""
    schema = EventSchema({"text": Property(frozenset({"string"}))})
    fields = (Field("text", "j"), Field("tree", "j"))
    one = compile_pieces(TableSpec(Table("t", (Column("j", Kind.JSON),)), Mapping(fields), schema))

    assert list(one.rows([(b'{"a":"\\n"}',), (None,)])) == [
        b'{"text":"{\\"a\\":\\"\\\\n\\"}","tree":{"a":"\\n"}}',
        b'{"text":null,"tree":null}',
    ]


def test_what_does_not_fit_is_said_before_the_first_row():
    """Plans are the same for pieces: the service's wishes are met or refused with both names."""
    schema = EventSchema({"email": Property(frozenset({"boolean"}))}, where="#/events")

    with pytest.raises(HaltSyncError, match=r'column "email" of table shop\.orders is text'):
        compile_pieces(TableSpec(TABLE, Mapping(), schema))


def test_tables_may_be_very_wide():
    """1900 columns are as good as one."""
    columns = tuple(Column(f"c{number}", Kind.INTEGER) for number in range(1900))

    (event,) = compile_pieces(TableSpec(Table("t", columns), Mapping()), numbers=True).rows([tuple(range(1900))])

    assert list(json.loads(event).values()) == list(range(1900))


@pytest.mark.parametrize(("condition", "ids"), [(None, [1, 2, 3]), ("total > 9.6", [1]), ("id > 9", [])])
def test_rows_as_a_snapshot_finds_them(condition, ids):
    """Those that meet the condition, without numbers."""
    encoder = compile_pieces(TableSpec(TABLE, Mapping(where=condition)))
    [done] = stored(encoder, PIECES)

    assert [json.loads(text)["id"] for text in done.texts] == ids
    assert done.indexes == ()
