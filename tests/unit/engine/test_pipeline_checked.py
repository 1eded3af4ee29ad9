"""``validate: rows``: an event that does not fit the event schema goes the way of ``on_reject``, and nobody is asked."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import pytest
from engine_checks import numbered
from engine_world import World

from fuagent.engine.checking import check, checked
from fuagent.engine.pipeline import _Session
from fuagent.engine.reporter import GO_ON
from fuagent.errors import HaltSyncError
from fuagent.model import Column, EventSchema, Kind, Mapping, Place, Rows, Table, TableSpec, Verdict
from fuagent.model_rows import Texts

WHERE = "https://h/openapi.json POST /ingest-batch, events.items"
ORDERS = Table("orders", (Column("id", Kind.INTEGER), Column("name", Kind.TEXT)), ("id", "name"), "shop")


def schema(whole: dict[str, object]) -> EventSchema:
    """A document's schema of events."""
    return EventSchema(where=WHERE, whole=lambda: whole)


def spec(whole: dict[str, object], table: Table = ORDERS) -> TableSpec:
    """A table with this schema."""
    return TableSpec(table, Mapping(), schema(whole))


def world(*bad: int, **settings) -> World:
    """A world whose document takes no event of these keys."""
    found = World(**{"validate_rows": True} | settings)
    found.chunk = 20
    rule = schema({"properties": {"id": {"not": {"enum": list(bad)}}}})
    begin = found.begin

    def begun(**more: bool) -> None:
        begin(**more)
        found.sync.pusher._schema = rule

    found.begin = begun
    return found


def test_halt():
    """By default the sync halts and says which table, which key and what the schema has against it; nothing is sent."""
    one = world(3)

    async def story(world: World) -> None:
        await world.following(1)
        world.put(2, 3, 4)
        await world.until(lambda: world.pipeline.halted)

        assert world.progress.problem == (
            f"{WHERE}: one row of table a cannot be sent: "
            'it does not fit the event schema: property "id" does not meet not (key: id).'
        )
        assert (
            world.progress.fix == f"Mend the row at its source, or the document, or set on_reject: set_aside. {GO_ON}"
        )
        assert [event["id"] for event in world.service.events if "id" in event] == [1, 2]

    one.run(story)


def test_set_aside():
    """With set_aside such rows are kept, also two side by side, and what is around them arrives in order."""
    one = world(3, 4, 6, on_reject="set_aside")

    async def story(world: World) -> None:
        world.put(1, 3)
        world.begin()
        await world.until(lambda: world.progress.state.value == "caught up")
        world.put(2, 3, 4, 5, 6, 7)
        await world.until(lambda: ("a", 7) in world.service.rows())
        rows = world.sync.journal.rejected()

        assert set(world.service.rows()) == {("a", key) for key in (1, 2, 5, 7)}
        assert [row.status for row in rows] == [None] * 4
        assert all("does not fit" in row.reason for row in rows)
        assert [event["id"] for event in world.service.events if "index" in event][-3:] == [2, 5, 7]
        numbered(world)

    one.run(story)


def test_no_row_fits():
    """A schema that no row fits is to blame itself: the sync halts instead of setting everything aside."""
    one = world(2, 3, 4, on_reject="set_aside")

    async def story(world: World) -> None:
        await world.following(1)
        world.put(2, 3, 4)
        await world.until(lambda: world.pipeline.halted)

        assert world.progress.problem.endswith("So it goes row after row.")
        assert len(world.sync.journal.rejected()) == 1

    one.run(story)


def test_sent_again():
    """A row set aside that still does not fit is not sent again either."""
    one = world(2, on_reject="set_aside")

    async def story(world: World) -> None:
        await world.following(1)
        session = world.pipeline
        before = len(world.service.requests)
        refused = await _Session(world.sync, session)._alone("a", b'{"t":"a","id":2,"v":9}')
        taken = await _Session(world.sync, session)._alone("a", b'{"t":"a","id":1,"v":9}')

        assert (refused.verdict, taken.verdict) == (Verdict.REJECTED, Verdict.ACKNOWLEDGED)
        assert len(world.service.requests) == before + 1

    one.run(story)


def test_nothing_to_check_against():
    """Whoever wants rows checked is told at once that nothing says how they must look."""
    one = World(validate_rows=True)

    async def story(world: World) -> None:
        world.begin()
        await world.until(lambda: world.pipeline.halted)

        assert "nothing says how an event of table a must look" in world.progress.problem

    one.run(story)


@pytest.mark.parametrize(
    ("whole", "event", "said"),
    [
        ({"properties": {"id": {"maximum": 7}}}, b'{"id":4711}', 'property "id" does not meet maximum 7'),
        ({"required": ["name"]}, b'{"id":4711}', 'the event lacks "name", which is required'),
        (
            {"properties": {"to": {"properties": {"mail": {"pattern": "@"}}}}},
            b'{"to":{"mail":"4711"}}',
            'property "to.mail" does not meet pattern "@"',
        ),
        (
            {"properties": {"id": {"$ref": "#/$defs/0"}}, "$defs": {"0": {"type": ["string", "null"]}}},
            b'{"id":4711}',
            'property "id" does not meet type',
        ),
        ({"properties": {"id": {"enum": ["a", "b"]}}}, b'{"id":4711}', 'property "id" does not meet enum ["a", "b"]'),
        ({"properties": {"id": {"const": 3}}}, b'{"id":4711}', 'property "id" does not meet const 3'),
        ({"properties": {"at": {"format": "date-time"}}}, b'{"at":"4711"}', "does not meet format"),
        ({"additionalProperties": False}, b'{"4711":1}', "the event holds what is not allowed"),
        (
            {"properties": {"j": {"additionalProperties": {"maxLength": 2}}}},
            b'{"j":{"4711":"4711"}}',
            'property "j" does not meet maxLength 2',
        ),
        ({"properties": {"properties": {"type": "null"}}}, b'{"properties":4711}', 'property "properties" does not'),
        ({"anyOf": [{"required": ["x"]}, {"maxProperties": 0}]}, b'{"id":4711}', "the event does not meet anyOf"),
    ],
)
def test_the_complaint_is_the_documents(whole, event, said):
    """It names the property and what the document wants, and never what stands in the event."""
    complaint = check(spec(whole)).complaint(event)

    assert said in complaint
    assert complaint.endswith("(key: id, name)")
    assert "4711" not in complaint


def test_a_table_without_key():
    """The complaint says that there is none."""
    assert check(spec({"maxProperties": 0}, Table("t", ORDERS.columns))).complaint(b'{"a":1}').endswith("(no key)")
    assert check(spec({"maxProperties": 1})).complaint(b'{"a":1}') == ""


@pytest.mark.parametrize("whole", [{"type": "money"}, {"pattern": "("}])
def test_a_schema_no_validator_reads(whole):
    """It is said at start, with the document's place."""
    with pytest.raises(HaltSyncError, match="none that a validator can read") as caught:
        check(spec(whole))

    assert caught.value.where == WHERE


def test_without_the_package(monkeypatch):
    """The validator is an extra: who wants rows checked is told what to install."""
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)

    with pytest.raises(HaltSyncError) as caught:
        check(spec({}))

    assert caught.value.fix == "pip install 'fuagent[validate]'"


async def test_rows_are_cut_where_they_do_not_fit():
    """Places, counts and ends stay where they are; Rows that fit are passed on as they are."""
    start, end = Place("1", 10), Place("2", 14)
    texts = Texts(b'{"id":1},{"id":2},{"id":3},{"id":4}', 4)
    mixed = Rows("shop.orders", texts, (11, 12, 13, 14), start, end, boundary=True, at_end=True, left_out=5)
    others = [
        Rows("shop.orders", [b'{"id":9}'], (15,), end, end, boundary=True),
        Rows("other", [b'{"id":3}'], (16,), end, end, boundary=True),
        Rows("shop.orders", [b'{"id":3}'], (17,), end, end, boundary=True, refused="by a transform"),
        Rows("shop.orders", (), (), end, end, boundary=True),
    ]
    closed = []

    async def given() -> AsyncIterator[Rows]:
        try:
            for rows in (mixed, *others):
                yield rows
        finally:
            closed.append(True)

    by_table = {"shop.orders": check(spec({"properties": {"id": {"enum": [1, 2, 9]}}}))}
    found = [rows async for rows in checked(given(), by_table)]
    first, second, third = found[:3]

    assert [list(rows.rows) for rows in found[:3]] == [[b'{"id":1}', b'{"id":2}'], [b'{"id":3}'], [b'{"id":4}']]
    assert [rows.indexes for rows in found[:3]] == [(11, 12), (13,), (14,)]
    assert [(rows.start, rows.end) for rows in found[:3]] == [(start, end)] * 3
    assert [(rows.boundary, rows.at_end, rows.left_out) for rows in found[:3]] == [
        (False, False, 5),
        (False, False, 0),
        (True, True, 0),
    ]
    assert not first.refused
    assert second.refused
    assert third.refused
    assert (second.against, second.among) == (WHERE, True)
    assert all(one is other for one, other in zip(found[3:], others, strict=True))
    assert closed == [True]
