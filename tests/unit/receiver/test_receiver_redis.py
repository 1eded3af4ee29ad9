"""Checkpoints in a real Redis: what is kept, who waits for whom, and what happens when a lock runs out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from fuagent.errors import FuagentError
from fuagent.receiver.cases import SERVICE_CASES, Reply, Setup
from fuagent.receiver.redis import RedisStore
from fuagent.receiver.router import Receiver
from fuagent.receiver.rows import RowType
from fuagent.receiver.service import Changes, Route, receive
from fuagent.receiver.store import State, Target
from harness.deliveries import AGENT, TASK, payload
from harness.receiving import KEY, batch, served
from harness.redis_server import RedisServer
from harness.server import until

FULL = State(2**53 - 1, "a.1.2", True, "a.1", True, True, True)


@pytest.fixture
def store(redis: RedisServer) -> Iterator[RedisStore]:
    with redis.connect() as client:
        yield RedisStore(client)


def save(store: RedisStore, state: State, task: str = TASK) -> None:
    with store.transaction(AGENT, task) as transaction:
        transaction.save(state)


def test_the_state_is_kept_whole(store, redis):
    """Every part of it survives the server's death, and is that of its own agent and task."""
    save(store, FULL)
    redis.kill()
    redis.start()

    with store.transaction(AGENT, TASK) as transaction:
        assert transaction.state == FULL
    assert store.checkpoint(AGENT, TASK) == FULL.checkpoint
    for agent, task in ((AGENT, "others"), ("agent", TASK), (f'{AGENT}","{TASK}', TASK)):
        assert store.checkpoint(agent, task) is None


@pytest.mark.parametrize("decoded", [True, False])
def test_any_client_will_do(redis, decoded):
    """Whether it decodes answers or not, or is made of a URL."""
    with redis.connect(decode_responses=decoded) as client:
        save(RedisStore(client), FULL)
        assert RedisStore(client).checkpoint(AGENT, TASK) == FULL.checkpoint
    by_url = RedisStore(redis.url())
    with closing(by_url._client):
        assert by_url.checkpoint(AGENT, TASK) == FULL.checkpoint


def test_what_fails_saves_nothing_and_holds_up_nobody(store):
    """The state stays as it was, and the next batch does not wait for a lock to run out."""
    save(store, FULL)

    def fail() -> None:
        with store.transaction(AGENT, TASK) as transaction:
            transaction.save(State(5))
            message = "no"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="no"):
        fail()
    with RedisStore(store._client, patience=0).transaction(AGENT, TASK) as transaction:
        assert transaction.state == FULL


def test_batches_of_one_sync_wait_for_each_other(store):
    """The second begins when the first has ended, and sees what it saved; another sync does not wait."""
    seen: list[State] = []

    def second() -> None:
        with store.transaction(AGENT, TASK) as transaction:
            seen.append(transaction.state)

    thread = threading.Thread(target=second)
    with store.transaction(AGENT, TASK) as transaction:
        thread.start()
        save(store, State(1), "others")
        transaction.save(FULL)
        assert seen == []
    thread.join(30)

    assert seen == [FULL]


def test_who_waits_too_long_is_told(store):
    """A batch that cannot begin fails with a text, and the one at work is not disturbed."""
    hasty = RedisStore(store._client, patience=0.05)
    with store.transaction(AGENT, TASK) as transaction:
        transaction.save(FULL)
        with pytest.raises(FuagentError, match="held its lock for too long"), hasty.transaction(AGENT, TASK):
            pass

    assert store.checkpoint(AGENT, TASK) == FULL.checkpoint


@pytest.mark.parametrize("another", [True, False])
def test_who_has_lost_the_lock_saves_nothing(store, another):
    """A batch that outlasts its lock does not write over a later one, nor take its lock away."""
    slow = RedisStore(store._client, lock_seconds=0.05)

    def outlast() -> None:
        with slow.transaction(AGENT, TASK) as transaction:
            transaction.save(State(5, "a.1.1"))
            until(lambda: not store._client.keys("*:lock"), "the lock runs out")
            if another:
                save(store, FULL)
                store._client.set(store._key("lock", AGENT, TASK), "a third one's")

    with pytest.raises(FuagentError, match="lock ran out: its checkpoint is not saved") as caught:
        outlast()

    assert "lock_seconds" in str(caught.value.fix)
    assert store.checkpoint(AGENT, TASK) == (FULL.checkpoint if another else None)
    assert len(store._client.keys("*:lock")) == another


def test_a_server_that_is_not_there_is_an_error_with_a_text(redis):
    """The text says that it is Redis, and what to look at."""
    store = RedisStore(redis.url(), patience=0.2)
    with closing(store._client):
        redis.stop()

        with pytest.raises(FuagentError, match=r"Redis does not do its part: .*[Cc]onnect") as caught:
            store.checkpoint(AGENT, TASK)
        assert "whether it runs" in str(caught.value.fix)
        with pytest.raises(FuagentError, match="Redis does not do its part"), store.transaction(AGENT, TASK):
            pass
        redis.start()
        save(store, FULL)


@pytest.mark.parametrize("text", ["nonsense", "[1]", '{"other": 1}'])
def test_what_somebody_else_wrote_is_not_taken_for_a_state(store, text):
    """It is no reason for a snapshot, nor is it written over."""
    at = store._key("state", AGENT, TASK)
    store._client.set(at, text)

    with pytest.raises(FuagentError, match="not what this store writes"):
        store.checkpoint(AGENT, TASK)
    with pytest.raises(FuagentError, match="not what this store writes"):
        save(store, FULL)
    assert store._client.get(at) == text.encode()


def test_rows_need_a_function(store):
    """A task that would lose its rows, or sweep what is not there, is not made."""
    receiver = Receiver(store, keys=KEY)
    with pytest.raises(ValueError, match="decorate a function"):
        receiver.task("orders", key="id")(dict[str, Any])

    def taken(changes: Changes[dict[str, Any]]) -> None:
        pass

    with pytest.raises(ValueError, match="sweep"):
        receiver.task("orders", key="id", sweep=True)(taken)
    receiver.task("orders", key="id")(taken)


def test_the_function_comes_first_and_the_checkpoint_after(store):
    """What it raises leaves the checkpoint, and then the rows come again; a repeat of what was taken does not."""
    taken: list[Any] = []

    def take(changes: Changes[Any]) -> None:
        taken.append(changes.rows)
        assert store.checkpoint(AGENT, TASK) is None
        if len(taken) == 1:
            message = "later"
            raise RuntimeError(message)

    route = Route(TASK, Target(TASK, ("id",)), RowType(dict[str, Any], ["id"], None), take)
    sent = payload({"id": 1, "index": 3}), "a.1.1"
    with pytest.raises(RuntimeError, match="later"):
        receive(store, route, *sent)
    receive(store, route, *sent)
    receive(store, route, *sent)

    assert taken == [({"id": 1},)] * 2
    assert store.checkpoint(AGENT, TASK) == 3


@pytest.mark.parametrize("case", SERVICE_CASES, ids=lambda case: case.id)
def test_the_receiver_keeps_the_contract(case, store):
    """Every statement that a service owes holds with this store too."""
    receiver = Receiver(store, keys=KEY)

    @receiver.task(TASK, key="id")
    def taken(changes: Changes[dict[str, Any]]) -> None:
        pass

    setup = Setup(agent_id=f"agent-{case.id}", task_id=TASK, base="", key=KEY)
    replies: list[Reply] = []
    with served(receiver.app()) as service:
        for step in case.steps:
            replies.append(service.send(step.send(setup)))
            broken = [expect.text for expect in step.expects if not expect.met(setup, replies)]

            assert broken == [], replies[-1]


def test_a_failure_is_answered_and_logged(store, redis, caplog):
    """While Redis is away the agent is told to come again, and the log says why."""
    receiver = Receiver(store, keys=KEY)

    @receiver.task(TASK, key="id")
    def taken(changes: Changes[dict[str, Any]]) -> None:
        pass

    with served(receiver.app()) as service:
        redis.stop()
        with caplog.at_level(logging.ERROR, "fuagent.receiver"):
            assert service.post(batch(TASK, {"id": 1}))[0] == service.ask(TASK)[0] == 500
        assert "Redis does not do its part" in caplog.text
        redis.start()
        assert service.post(batch(TASK, {"id": 1}))[0] == 200
