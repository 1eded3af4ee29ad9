"""Renamed, nested, told, masked and transformed: what the mapping makes of rows."""

import hashlib
import hmac
import json

import pytest

from fuagent.encode.compile import Facts, compile_encoder
from fuagent.encode.transform import Unfit
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

TABLE = Table(
    "orders",
    (Column("id", Kind.INTEGER), Column("email", Kind.TEXT), Column("total", Kind.FLOAT)),
    ("id",),
    "shop",
)
SALT = Secret("pepper")


def encoder(fields=None, *, schema=None, table=TABLE, **more):
    made = None if fields is None else tuple(fields)
    return compile_encoder(TableSpec(table, Mapping(made, **more), schema))


def events(made, rows, **more):
    return [json.loads(text) for text in made.rows(rows, **more)]


class TestNested:
    def test_objects(self):
        """A dot makes an object, and what shares its first name stands in one."""
        made = encoder([Field("id", "id"), Field("customer.email", "email"), Field("customer.home.nr", constant=3)])

        assert events(made, [(1, "a@b", 2.0)], indexes=[7]) == [
            {"id": 1, "customer": {"email": "a@b", "home": {"nr": 3}}, "index": 7}
        ]

    def test_infinite_floats_inside(self):
        """What JSON cannot say is a word in a nested property too."""
        made = encoder([Field("sum.total", "total")])

        assert events(made, [(1, "", float("inf")), (2, "", None)]) == [
            {"sum": {"total": "Infinity"}},
            {"sum": {"total": None}},
        ]

    def test_infinite_floats_of_no_declared_type(self):
        """Where only the value says what it is, too."""
        made = encoder([Field("sum.total", "total")], table=Table("t", (Column("total", Kind.DYNAMIC),)))

        assert events(made, [(float("-inf"),), (None,)]) == [{"sum": {"total": "-Infinity"}}, {"sum": {"total": None}}]

    def test_column_with_a_dot(self):
        """Without fields a column keeps its name, dots and all."""
        made = encoder(table=Table("t", (Column("a.b", Kind.TEXT),)))

        assert events(made, [("x",)]) == [{"a.b": "x"}]

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (("a", "a.b"), 'property "a.b" of table shop.orders lies inside "a"'),
            (("a.b", "a"), 'property "a.b" of table shop.orders lies inside "a"'),
            (("a.b", "a.b"), 'share the name "a.b"'),
            (("a.b", "A.c"), "differ only by case"),
            (("a..b",), "has an empty name in it"),
            (("Index.a",), "where the event's own number goes"),
        ],
    )
    def test_in_each_others_way(self, names, message):
        """Two properties cannot have one place."""
        with pytest.raises(HaltSyncError, match=message):
            encoder([Field(name, "id") for name in names])

    def test_the_document_wants_a_value(self):
        """A property that the document describes as text cannot hold an object."""
        schema = EventSchema({"customer": Property(frozenset({"string"}))}, where="#/events")

        with pytest.raises(HaltSyncError, match='wants string for "customer", but what is nested in it'):
            encoder([Field("customer.email", "email")], schema=schema)


class TestFacts:
    FIELDS = tuple(Field(str(fact)[1:], fact=fact) for fact in Fact)

    def test_of_a_change(self):
        """Each event tells what happened to its row, where, when and together with what."""
        facts = Facts(["insert", "delete"], "2026-01-02T03:04:05Z", "4711")

        first, second = events(encoder(self.FIELDS), [(1, "", 0.5), (2, "", 0.5)], facts=facts)

        assert first == {
            "operation": "insert",
            "table": "orders",
            "schema": "shop",
            "commit_time": "2026-01-02T03:04:05Z",
            "transaction": "4711",
            "snapshot": False,
        }
        assert second["operation"] == "delete"

    def test_of_a_snapshot(self):
        """A row that a snapshot found says so, and knows no transaction."""
        [event] = events(encoder(self.FIELDS), [(1, "", 0.5)])

        assert (event["operation"], event["snapshot"], event["transaction"]) == ("snapshot", True, None)

    def test_with_mark_and_index(self):
        """Operation, mark and index each stand beside their own row."""
        made = encoder([Field("id", "id"), Field("op", fact=Fact.OPERATION)], deletes=Deletes.MARK)

        found = events(made, [(1, "", 0), (2, "", 0)], indexes=[5, 7], deleted=[False, True], facts=Facts(["a", "b"]))

        assert [list(event.values()) for event in found] == [[1, "a", False, 5], [2, "b", True, 7]]

    def test_the_document_wants_another_type(self):
        """A fact has a type of its own, which the document must allow."""
        schema = EventSchema({"snap": Property(frozenset({"string"}))}, where="#/events")

        with pytest.raises(HaltSyncError, match=r"\$snapshot, given for it under fields, is boolean"):
            encoder([Field("snap", fact=Fact.SNAPSHOT)], schema=schema)


class TestMasks:
    def test_hash(self):
        """Equal values stay equal, keyed with the salt; NULL stays null."""
        made = encoder(masks=(Mask("email", Cover.HASH, SALT), Mask("id", Cover.HASH, SALT)))
        expected = hmac.digest(b"pepper", b"a@b", hashlib.sha256).hex()

        first, second = events(made, [(1, "a@b", 0), (1, None, 0)])

        assert first["email"] == expected
        assert second["email"] is None
        assert first["id"] == second["id"] == hmac.digest(b"pepper", b"1", hashlib.sha256).hex()

    def test_hash_of_every_kind(self):
        """Numbers, blobs and what JSON cannot say are hashed by their text."""
        made = encoder(masks=(Mask("total", Cover.HASH, SALT),))
        values = [1, 1.5, float("inf"), b"\x00", "ü"]

        found = [event["total"] for event in events(made, [(1, "", value) for value in values])]

        texts = [b"1", b"1.5", b"Infinity", b"AA==", "ü".encode()]
        assert found == [hmac.digest(b"pepper", text, hashlib.sha256).hex() for text in texts]

    def test_redact_and_truncate(self):
        """Nothing of a redacted value is left, and of a truncated one its first characters."""
        made = encoder(masks=(Mask("total", Cover.REDACT), Mask("email", Cover.TRUNCATE, length=2)))

        assert events(made, [(1, "üb@c", 3), (2, None, None)]) == [
            {"id": 1, "email": "üb", "total": "***"},
            {"id": 2, "email": None, "total": None},
        ]

    def test_old_keys_too(self):
        """The mark for an old key is masked like the row it belongs to."""
        made = encoder(masks=(Mask("id", Cover.HASH, SALT),), deletes=Deletes.MARK)

        [row], [key] = events(made, [(1, "", 0)]), [json.loads(text) for text in made.keys([(1,)])]

        assert key == {"id": row["id"], "_deleted": True}

    def test_wherever_the_column_goes(self):
        """A column is masked under every name it is sent under."""
        made = encoder([Field("a", "email"), Field("b.c", "email")], masks=(Mask("email", Cover.REDACT),))

        assert events(made, [(1, "a@b", 0)]) == [{"a": "***", "b": {"c": "***"}}]

    @pytest.mark.parametrize(
        ("mask", "message"),
        [
            (Mask("id", Cover.REDACT), "different rows would look the same"),
            (Mask("id", Cover.TRUNCATE, length=1), "different rows would look the same"),
            (Mask("total", Cover.TRUNCATE, length=1), "is no text and cannot be truncated"),
            (Mask("emial", Cover.REDACT), 'has no column "emial"'),
        ],
    )
    def test_refused(self, mask, message):
        """A mask that hides nothing, or too much, is an error before the first row."""
        with pytest.raises(HaltSyncError, match=message) as caught:
            encoder(masks=(mask,))

        assert caught.value.where == "mask"

    def test_the_document_wants_a_number(self):
        """What a mask leaves is text."""
        schema = EventSchema({"total": Property(frozenset({"number"}))}, where="#/events")

        with pytest.raises(HaltSyncError, match="what its mask leaves is string"):
            encoder(schema=schema, masks=(Mask("total", Cover.REDACT),))

    def test_the_salt_is_never_shown(self):
        """However a mask is printed, its salt is not in it."""
        assert "pepper" not in repr(Mask("id", Cover.HASH, SALT))


class TestTransform:
    def through(self, function, rows, indexes=None):
        made = encoder(transform=Transform("shop:tidy", function))
        return made.transformed(made.rows(rows), indexes)

    def test_what_it_gives_is_sent(self):
        """The function gets the event without its index, and the index stands last in what it gives."""
        seen = []

        def tidy(event):
            seen.append(dict(event))
            return {"upper": event["email"].upper()}

        assert self.through(tidy, [(1, "a@b", 2.5)], [9]) == [b'{"upper":"A@B","index":9}']
        assert seen == [{"id": 1, "email": "a@b", "total": 2.5}]

    def test_snapshot_rows(self):
        """Rows without an index get none."""
        assert self.through(lambda _event: {}, [(1, "", 0)]) == [b"{}"]
        assert self.through(lambda _event: {}, [(1, "", 0)], [3]) == [b'{"index":3}']

    def test_none_leaves_a_row_out(self):
        """None instead of an event sends nothing."""
        assert self.through(lambda _event: None, [(1, "", 0)]) == [None]

    @pytest.mark.parametrize(
        ("function", "reason"),
        [
            (lambda event: event["missing"], "transform shop:tidy failed with KeyError"),
            (lambda event: [event], "transform shop:tidy gave something other than a row"),
            (lambda event: {**event, "index": 3}, "transform shop:tidy set index, which is not its"),
            (lambda event: {"a": object()}, "transform shop:tidy failed with TypeError"),
        ],
    )
    def test_unfit(self, function, reason):
        """A row it fails on is kept as it was, and nothing of it stands in the reason."""
        [found] = self.through(function, [(1, "secret", 0.5)], [4])

        assert found == Unfit(b'{"id":1,"email":"secret","total":0.5,"index":4}', reason)
