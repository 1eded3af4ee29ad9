"""The body of one POST, written and read back."""

from __future__ import annotations

import json
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.contract import payload
from fuagent.errors import FuagentError, HaltSyncError, PayloadError
from fuagent.model import INDEX_MAX, Batch

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('abc"\\é', max_size=4), inner, max_size=3),
    max_leaves=6,
)
EVENTS = st.builds(
    lambda row, index: row if index is None else row | {"index": index},
    st.dictionaries(st.text("abcé% {", min_size=1, max_size=5), VALUES, max_size=4),
    st.none() | st.integers(1, INDEX_MAX),
)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Any batch the engine may make."""
    end = draw(st.booleans())
    events = () if end else tuple(orjson.dumps(event) for event in draw(st.lists(EVENTS, max_size=5)))
    return Batch(draw(IDS), draw(IDS), "1.2.3", events, "t", end, draw(st.booleans()))


def test_body_is_written_as_the_contract_shows_it() -> None:
    """Five keys in the contract's order, events joined as they are."""
    batch = Batch("orders", "agent-1", "k", (b'{"id":1}', b'{"id":2,"index":7}'))

    assert payload.body(batch) == (
        b'{"agent_id":"agent-1","task_id":"orders","is_snapshot_end":false,'
        b'"snapshot_sync_suggested":false,"events":[{"id":1},{"id":2,"index":7}]}'
    )


@pytest.mark.parametrize(("end", "suggested"), [(False, False), (False, True), (True, False), (True, True)])
def test_flags_are_json_booleans(end: bool, suggested: bool) -> None:
    """Each flag stands under its own key."""
    document = json.loads(payload.body(Batch("t", "a", "k", (), "", end, suggested)))

    assert (document["is_snapshot_end"], document["snapshot_sync_suggested"]) == (end, suggested)


@given(batches())
def test_reading_a_written_body_gives_the_batch_back(batch: Batch) -> None:
    """decode . encode is the identity."""
    got = payload.read(payload.body(batch))

    assert got == payload.Payload(
        batch.agent_id,
        batch.task_id,
        batch.is_snapshot_end,
        batch.snapshot_sync_suggested,
        tuple(orjson.loads(event) for event in batch.events),
    )


@given(batches())
def test_sizes_are_exact(batch: Batch) -> None:
    """The size is known to the byte without making the body."""
    body = payload.body(batch)
    plain = payload.body(replace(batch, is_snapshot_end=False, snapshot_sync_suggested=False))
    rows = sum(map(len, batch.events)) + max(0, len(batch.events) - 1) * len(payload.SEPARATOR)

    flagged = payload.overhead(
        batch.agent_id,
        batch.task_id,
        is_snapshot_end=batch.is_snapshot_end,
        snapshot_sync_suggested=batch.snapshot_sync_suggested,
    )

    assert flagged + rows == len(body)
    assert payload.overhead(batch.agent_id, batch.task_id) + rows == len(plain)
    assert len(body) <= len(plain)


def test_an_id_that_is_no_unicode_text_halts() -> None:
    """A lone surrogate is named as what it is instead of failing deep inside a library."""
    with pytest.raises(HaltSyncError, match="agent_id or the sync's name"):
        payload.body(Batch("t", "\ud800", "k"))


GOOD = {
    "agent_id": "a",
    "task_id": "t",
    "is_snapshot_end": False,
    "snapshot_sync_suggested": False,
    "events": [{"id": 1, "index": 5}, {"id": 2}],
}


def test_last_index_is_the_largest_one() -> None:
    """Wherever it stands; rows without an index do not count; none at all is None."""
    events = [{"index": 9}, {"id": 1}, {"index": 3}]

    assert payload.read(orjson.dumps(GOOD | {"events": events})).last_index == 9
    assert payload.read(orjson.dumps(GOOD | {"events": [{"id": 1}]})).last_index is None


def test_keys_of_a_later_contract_are_no_error() -> None:
    """An unknown key is left alone."""
    assert payload.read(orjson.dumps(GOOD | {"more": 1})) == payload.read(orjson.dumps(GOOD))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        *(({key: None}, f"{key} is not a JSON ") for key in GOOD),
        ({"agent_id": 7}, "agent_id is not a JSON string"),
        ({"agent_id": ""}, "agent_id is empty"),
        ({"task_id": ""}, "task_id is empty"),
        ({"is_snapshot_end": 1}, "is_snapshot_end is not a JSON boolean"),
        ({"is_snapshot_end": True}, "is_snapshot_end is true although the batch has events"),
        ({"events": {}}, "events is not a JSON array"),
        ({"events": [{}, 3]}, r"events\[1\] is not a JSON object"),
        *(
            ({"events": [{"index": index}]}, r"events\[0\].index is not an integer from 1 to 9007199254740991")
            for index in (0, -1, True, None, "5", 5.0, 2**53)
        ),
    ],
)
def test_a_body_that_breaks_the_contract_is_refused(change: dict[str, object], text: str) -> None:
    """The error names the key, so that whoever wrote the sender knows where to look."""
    with pytest.raises(PayloadError, match=text):
        payload.read(orjson.dumps(GOOD | change))


@pytest.mark.parametrize("key", GOOD)
def test_no_key_may_be_missing(key: str) -> None:
    """All five are owed on every request."""
    with pytest.raises(PayloadError, match=f"the body has no {key}"):
        payload.read(orjson.dumps({name: value for name, value in GOOD.items() if name != key}))


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b'"x"', b"{", b"\xff", b"[" * 100_000, b'{"a":NaN}'])
def test_a_body_that_is_no_object_is_refused(data: bytes) -> None:
    """Truncated, nested without end, not UTF-8: always the same kind of error."""
    with pytest.raises(PayloadError, match=r"the body is not (JSON:|a JSON object)"):
        payload.read(data)


def test_errors_show_no_value() -> None:
    """Row values never reach a log through an error."""
    with pytest.raises(PayloadError) as caught:
        payload.read(b'{"agent_id": "canary", canary')

    assert "canary" not in str(caught.value)


@given(st.binary(max_size=200) | VALUES.map(orjson.dumps))
def test_any_bytes_give_a_payload_or_our_error(data: bytes) -> None:
    """Nothing else ever comes out."""
    try:
        got = payload.read(data)
    except FuagentError:
        return

    assert isinstance(got, payload.Payload)
