"""What a batch does to a store, whatever comes twice, late, cut or out of order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuagent.errors import PayloadError
from fuagent.receiver.memory import MemoryStore
from fuagent.receiver.service import Answer, Changes, Route, receive
from fuagent.receiver.store import State, Target
from harness.deliveries import AGENT, ROUTE, ROWS, TASK, Life, payload

ONE, TWO = {"id": 1, "name": "a"}, {"id": 2, "name": "b"}
KEEPING = Route(TASK, Target(TASK, ("id",)), ROWS)
NEVER = Route(TASK, Target(TASK, ("id",)), ROWS, snapshots="never")

CHANGES = st.lists(st.tuples(st.integers(1, 4), st.none() | st.integers(0, 99)), max_size=20)
STEPS = st.lists(
    st.tuples(st.sampled_from(["stream", "stream", "repeat", "repeat", "restart", "snapshot"]), st.integers(0, 6)),
    max_size=20,
)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def state(store: MemoryStore, agent_id: str = AGENT) -> State:
    with store.transaction(agent_id, TASK) as transaction:
        return transaction.state


@example(
    changes=[(1, 0), (1, None), (4, 0), (4, None)],
    steps=[("stream", 2), ("restart", 0), ("stream", 2), ("snapshot", 0)],
    marks=False,
)
@given(changes=CHANGES, steps=STEPS, marks=st.booleans())
def test_the_store_holds_the_last_rows_whatever_happens(changes, steps, marks):
    """After every step the rows are the last ones delivered, and the checkpoint is the highest index."""
    store = MemoryStore()
    numbered = [(10 * place, key, value) for place, (key, value) in enumerate(changes, 1)]
    life = Life(store, numbered, marks)
    for step, size in steps:
        getattr(life, step)(size)

        assert {row["id"]: row["value"] for row in store.rows(TASK)} == life.expected
        assert (store.checkpoint(AGENT, TASK) or 0) == life.highest


def test_a_replay_is_not_applied_a_second_time(store):
    """An old version that comes again does not replace the newer one, even in a batch that is partly new."""
    receive(store, ROUTE, payload({"id": 1, "v": 1, "index": 5}, {"id": 1, "v": 2, "index": 6}))
    receive(store, ROUTE, payload({"id": 1, "v": 1, "index": 5}, {"id": 2, "v": 1, "index": 7}))

    assert store.rows(TASK) == [{"id": 1, "v": 2}, {"id": 2, "v": 1}]
    assert store.checkpoint(AGENT, TASK) == 7


def test_the_highest_index_counts_wherever_it_stands(store):
    """The checkpoint is no matter of order, and never goes back."""
    receive(store, ROUTE, payload(ONE | {"index": 9}, TWO | {"index": 2}))
    receive(store, ROUTE, payload(ONE | {"index": 3}))

    assert store.checkpoint(AGENT, TASK) == 9
    assert store.rows(TASK) == [ONE, TWO]


def test_the_last_row_of_a_key_wins(store):
    """Of several events of one key only the last takes effect, a delete like a row."""
    taken: list[Changes[Any]] = []
    route = Route(TASK, Target(TASK, ("id",)), ROWS, taken.append)
    gone = {"id": 2, "_deleted": True}
    receive(store, route, payload(ONE, TWO, gone, {"id": 3, "_deleted": True}, {"id": 3}, ONE | {"name": "z"}))

    assert store.rows(TASK) == [{"id": 1, "name": "z"}, {"id": 3}]
    assert [(one.rows, one.gone) for one in taken] == [(({"id": 1, "name": "z"}, {"id": 3}), ((2,),))]


def test_a_property_that_does_not_come_keeps_its_value(store):
    """An upsert touches what it names."""
    receive(store, ROUTE, payload(ONE | {"city": "Utrecht"}))
    receive(store, ROUTE, payload(ONE))

    assert store.rows(TASK) == [ONE | {"city": "Utrecht"}]


def test_what_the_function_raises_undoes_everything(store):
    """Neither rows nor checkpoint nor key remain of a batch whose function fails; sent again it is applied."""

    def fail(changes: Changes[Any]) -> None:
        raise RuntimeError

    broken = Route(TASK, Target(TASK, ("id",)), ROWS, fail)
    with pytest.raises(RuntimeError):
        receive(store, broken, payload(ONE | {"index": 4}), "a.1.1")
    assert store.rows(TASK) == []
    assert state(store) == State()

    receive(store, ROUTE, payload(ONE | {"index": 4}), "a.1.1")

    assert store.rows(TASK) == [ONE]


def test_a_function_is_not_called_for_what_was_applied_before(store):
    """A batch of replays alone, and one without events, lead to no call."""
    taken: list[Changes[Any]] = []
    route = Route(TASK, Target(TASK, ("id",)), ROWS, taken.append)
    for _ in range(2):
        receive(store, route, payload(ONE | {"index": 4}))
    receive(store, route, payload(end=True))

    assert len(taken) == 1
    assert (taken[0].agent_id, taken[0].task_id) == (AGENT, TASK)


def test_the_key_answered_last_is_answered_alike(store):
    """A repeated batch gets the same answer, though the rows stay as they are."""
    first = receive(store, ROUTE, payload(ONE | {"index": 4}, TWO | {"index": 5}), "a.1.1")
    again = receive(store, ROUTE, payload({"id": 1, "name": "other"}), "a.1.1")

    assert first == again == Answer(snapshot_needed=True)
    assert store.rows(TASK) == [ONE, TWO]


@pytest.mark.parametrize("key", ["a.2.4", "a.1.9", "a.2.1"])
def test_an_earlier_batch_of_the_same_start_is_late(store, key):
    """A lower number, or any number of an earlier run, is not applied."""
    receive(store, ROUTE, payload(ONE), "a.2.5")

    assert receive(store, ROUTE, payload(ONE | {"name": "old"}), key) == Answer(late=True)
    assert store.rows(TASK) == [ONE]


@pytest.mark.parametrize("key", ["a.2.6", "a.3.1", "b.1.1", "", "words", "A.2.5", "a.2", "a.2.5.1"])
def test_a_later_batch_or_an_unknown_key_is_applied(store, key):
    """Higher numbers, a new run, another start, and keys that say nothing."""
    receive(store, ROUTE, payload(ONE), "a.2.5")

    assert receive(store, ROUTE, payload(ONE | {"name": "new"}), key) == Answer()
    assert store.rows(TASK) == [ONE | {"name": "new"}]


def test_a_batch_of_an_earlier_start_never_becomes_the_last(store):
    """It is applied, but the batches of the newer start go on being told apart, and its marker sweeps nothing."""
    receive(store, ROUTE, payload(ONE), "b.1.1")
    receive(store, ROUTE, payload(TWO), "a.7.7")
    receive(store, ROUTE, payload(end=True), "a.7.8")

    assert store.rows(TASK) == [ONE, TWO]
    assert receive(store, ROUTE, payload(ONE | {"name": "old"}), "b.1.1") == Answer()
    assert store.rows(TASK) == [ONE, TWO]

    receive(store, ROUTE, payload(end=True), "b.1.2")

    assert store.rows(TASK) == [ONE]


def test_each_agent_has_a_checkpoint_of_its_own(store):
    """What one agent sent says nothing of another's place."""
    receive(store, ROUTE, payload(ONE | {"index": 4}))

    assert store.checkpoint("agent-other", TASK) is None


def test_changes_without_a_snapshot_ask_for_one_until_it_begins(store):
    """The wish is repeated with every answer and ends with the first row that has no index."""
    answers = [receive(store, ROUTE, payload(*rows)) for rows in _life(4)]

    assert [answer.snapshot_needed for answer in answers] == [True, True, False, False]


def _life(index: int):
    return [
        (ONE | {"index": index}, TWO | {"index": index + 1}),
        (ONE | {"index": index + 2},),
        (ONE,),
        (TWO | {"index": index + 3},),
    ]


def test_a_single_first_row_may_be_a_whole_snapshot(store):
    """The last row of a snapshot carries an index: of a table of one row nothing else comes before the marker."""
    assert not receive(store, ROUTE, payload(ONE | {"index": 4})).snapshot_needed
    assert not receive(store, ROUTE, payload(end=True)).snapshot_needed
    assert not receive(store, ROUTE, payload(TWO | {"index": 5})).snapshot_needed


def test_a_single_first_row_that_is_no_snapshot_leads_to_a_wish(store):
    """Where another change follows instead of the marker, a snapshot is asked for."""
    receive(store, ROUTE, payload(ONE | {"index": 4}))

    assert receive(store, ROUTE, payload(TWO | {"index": 5})).snapshot_needed


def test_a_suggestion_is_accepted_until_the_snapshot_begins(store):
    """The wish outlives the flag, and ends when rows without an index or the marker come."""
    receive(store, ROUTE, payload(ONE))
    receive(store, ROUTE, payload(end=True))
    answers = [
        receive(store, ROUTE, payload(suggested=True)),
        receive(store, ROUTE, payload(TWO | {"index": 3})),
        receive(store, ROUTE, payload(TWO)),
        receive(store, ROUTE, payload(suggested=True)),
        receive(store, ROUTE, payload(end=True)),
    ]

    assert [answer.snapshot_needed for answer in answers] == [True, True, False, True, False]


def test_a_snapshot_that_was_broken_off_is_asked_for_again(store):
    """Changes alone before the end marker, in another run than its rows: whoever sent them does not go on with it."""
    answers = [
        receive(store, ROUTE, payload(*rows, end=end), key).snapshot_needed
        for key, rows, end in [
            ("a.1.1", (ONE | {"index": 1}, TWO | {"index": 2}), False),
            ("a.2.2", (ONE,), False),
            ("b.3.1", (TWO | {"index": 3},), False),
            ("b.3.2", (TWO | {"index": 4},), False),
            ("b.4.3", (ONE,), False),
            ("b.4.4", (TWO | {"index": 5},), False),
            ("b.4.5", (), True),
            ("b.5.6", (TWO | {"index": 6},), False),
        ]
    ]

    assert answers == [True, False, True, True, False, False, False, False]


def test_a_first_snapshot_that_was_broken_off_is_asked_for(store):
    """Also where nobody had to ask for it: it has begun, and never ended."""
    receive(store, ROUTE, payload(ONE), "a.1.1")
    receive(store, ROUTE, payload(TWO | {"index": 5}), "a.1.2")

    assert receive(store, ROUTE, payload(ONE | {"index": 6}), "b.2.1").snapshot_needed


def test_rows_that_nobody_asked_for_are_no_snapshot_to_be_ended(store):
    """A table that joins, or a row sent once more, comes without an index and has no end marker."""
    receive(store, ROUTE, payload(ONE), "a.1.1")
    receive(store, ROUTE, payload(end=True), "a.1.2")
    receive(store, ROUTE, payload(TWO), "a.2.3")

    assert not receive(store, ROUTE, payload(ONE | {"index": 6}), "a.3.4").snapshot_needed


def test_without_the_header_one_change_may_be_the_last_row(store):
    """Several changes without a row of the snapshot among them are none of it, and do not begin it anew."""
    receive(store, ROUTE, payload(ONE))
    one = receive(store, ROUTE, payload(TWO | {"index": 3}))
    more = receive(store, ROUTE, payload(TWO | {"index": 4}, {"id": 3, "index": 5}))
    receive(store, ROUTE, payload({"id": 4}))
    receive(store, ROUTE, payload(end=True))

    assert (one.snapshot_needed, more.snapshot_needed) == (False, True)
    assert len(store.rows(TASK)) == 4


def test_a_late_batch_changes_no_answer_that_was_given(store):
    """Of an earlier start of the agent: its own answer goes to nobody, and what was answered last is answered alike."""
    receive(store, ROUTE, payload(ONE), "b.1.1")
    late = receive(store, ROUTE, payload(ONE | {"index": 3}, TWO | {"index": 4}), "a.9.9")

    assert late.snapshot_needed
    assert not receive(store, ROUTE, payload(ONE), "b.1.1").snapshot_needed


def test_the_snapshot_of_an_agent_whose_clock_was_set_back_ends_too(store):
    """Its runs seem to be of an earlier start and tell nothing: a change that comes alone may be the last row."""
    receive(store, ROUTE, payload(ONE), "b.1.1")
    receive(store, ROUTE, payload(end=True), "b.1.2")
    answers = [
        receive(store, ROUTE, payload(suggested=True), "a.1.1"),
        receive(store, ROUTE, payload(ONE), "a.2.2"),
        receive(store, ROUTE, payload(TWO | {"index": 5}), "a.2.3"),
        receive(store, ROUTE, payload(end=True), "a.2.4"),
    ]

    assert [answer.snapshot_needed for answer in answers] == [True, False, False, False]


def test_never_asks_never(store):
    """With snapshots="never" neither changes alone nor a suggestion lead to a wish."""
    answers = [receive(store, NEVER, payload(*rows, suggested=True)) for rows in _life(4)]

    assert [answer.snapshot_needed for answer in answers] == [False] * 4


def test_a_finished_snapshot_sweeps_what_it_did_not_contain(store):
    """Rows of earlier runs that did not come again are gone when the marker comes, and not before."""
    receive(store, ROUTE, payload(ONE, TWO), "a.1.1")
    receive(store, ROUTE, payload({"id": 3}), "a.2.2")
    receive(store, ROUTE, payload(TWO | {"index": 9}), "a.2.3")
    assert len(store.rows(TASK)) == 3

    receive(store, ROUTE, payload(end=True), "a.2.4")

    assert store.rows(TASK) == [TWO, {"id": 3}]


def test_without_sweep_nothing_is_taken_away(store):
    """The marker alone deletes no row."""
    receive(store, KEEPING, payload(ONE), "a.1.1")
    receive(store, KEEPING, payload(TWO), "a.2.2")
    receive(store, KEEPING, payload(end=True), "a.2.3")

    assert store.rows(TASK) == [ONE, TWO]


def test_a_marker_that_was_due_when_the_agent_stopped_keeps_the_snapshot(store):
    """After a crash behind the last row only the marker comes, in a run of its own: all those rows stay."""
    receive(store, ROUTE, payload({"id": 7}), "a.1.1")
    receive(store, ROUTE, payload(ONE), "a.2.2")
    receive(store, ROUTE, payload(TWO | {"index": 5}), "a.2.3")
    for number in (1, 2):
        receive(store, ROUTE, payload(end=True), f"b.3.{number}")

    assert store.rows(TASK) == [ONE, TWO]


def test_without_the_header_a_snapshot_begins_with_rows_without_an_index(store):
    """Each group of such rows up to the marker is one snapshot."""
    receive(store, ROUTE, payload(ONE))
    receive(store, ROUTE, payload(TWO))
    receive(store, ROUTE, payload(end=True))
    assert store.rows(TASK) == [ONE, TWO]
    receive(store, ROUTE, payload(ONE | {"index": 3}))
    receive(store, ROUTE, payload(TWO))
    receive(store, ROUTE, payload(end=True))

    assert store.rows(TASK) == [TWO]


@pytest.mark.parametrize("agent_id", ["a" * 201, "a\x00b", "a\nb"])
def test_an_agent_id_that_no_store_could_keep_is_refused(store, agent_id):
    """An id that is too long or not printable is the sender's fault."""
    with pytest.raises(PayloadError, match="agent_id"):
        receive(store, ROUTE, payload(ONE, agent_id=agent_id))
