"""The checkpoint question and its answers."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.contract import status
from fuagent.contract.outcome import BODY_LIMIT
from fuagent.errors import FuagentError, HaltSyncError, TryAgainError, UnauthorisedError, WrongAnswerError
from fuagent.model import INDEX_MAX, Answer, Checkpoint

URL = "https://user:secret@h:8443/v1/sync-status?task_id=secret"
NAMED = "https://h:8443/v1/sync-status"


def read(code: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Checkpoint:
    """Read an answer at Unix time 0."""
    return status.read(code, headers or {}, body, url=URL, now=0.0)


def test_the_question_names_task_and_agent() -> None:
    """Under the contract's own names."""
    assert status.query("mysql-to-my-api", "agent-1") == "task_id=mysql-to-my-api&agent_id=agent-1"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
@pytest.mark.fault("S19")
def test_no_id_can_add_to_the_query(task: str, agent: str) -> None:
    """Whatever an id holds comes out as that id again, and the text is plain ASCII."""
    query = status.query(task, agent)

    assert parse_qsl(query, keep_blank_values=True) == [("task_id", task), ("agent_id", agent)]
    assert query.isascii()
    assert not set(query) & set(' #/?"<>')


def test_a_lone_surrogate_is_no_reason_to_fail() -> None:
    """It goes out as a question mark."""
    assert status.query("\ud800", "a") == "task_id=%3F&agent_id=a"


@pytest.mark.parametrize(
    ("body", "index"),
    [
        (b"1678886400000", 1678886400000),
        (b'{"index": 1678886400000}', 1678886400000),
        (b'\xef\xbb\xbf {"updated": [1, {"index": null}], "index": 7}\r\n', 7),
        (b"0", 0),
        (b"-0", 0),
        (b'{"index": 0}', 0),
        (b"5.0", 5),
        (b'{"index": 5e0}', 5),
        (b"1.5e1", 15),
        (b"9007199254740991", INDEX_MAX),
        (b"9007199254740991.0", INDEX_MAX),
        (b'{"in\\u0064ex": 3}', 3),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"content-type": "text/html"}, {"content-encoding": "identity"}])
def test_an_index_is_read_bare_or_from_an_object(body: bytes, index: int, headers: dict[str, str]) -> None:
    """Also as a number with a fraction of zero, as JavaScript and some databases write it."""
    assert read(200, body, headers) == Checkpoint(Answer.INDEX, index)


@pytest.mark.parametrize("body", [b"", b"0", b"5", b"<html>not found</html>", b'{"detail":"Not Found"}'])
@pytest.mark.fault("F100")
def test_404_is_none_whatever_the_body(body: bytes) -> None:
    """Frameworks answer it with pages, too."""
    assert read(404, body) == Checkpoint(Answer.NONE)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"null", "answers null, which is no index"),
        (b"true", "answers true"),
        (b"false", "answers false"),
        (b'"abc"', 'answers the string "abc"'),
        (b'"5"', 'answers the string "5"'),
        (b'"\\u001b[2J"', r'answers the string "\[2J"'),
        (b'"Bearer k-1234"', "answers the string of 13 characters, which is no index"),
        (b"Bearer k-1234", "answers 13 bytes, which is not JSON"),
        (b'"2024-05-06T07:08:09Z"', 'answers the string "2024-05-06T07:08:09Z"'),
        (b"[5]", "answers an array"),
        (b'{"index": null}', "answers null"),
        (b'{"index": true}', "answers true"),
        (b'{"index": "5"}', 'answers the string "5"'),
        (b'{"index": [5]}', "answers an array"),
        (b'{"index": {"index": 5}}', "answers an object, which is no index"),
        (b"{}", r'answers an object without "index" \(its keys: none\)'),
        (b'{"Index": 5, "a\\nb": 1}', r'its keys: "Index", "a b"'),
        (b'{"index": 5, "index": 6}', "a key stands twice"),
        (b'{"x": 5, "x": 6, "index": 1}', "a key stands twice"),
        (b"-1", "-1, which is negative"),
        (b"-0.5", "which is negative"),
        (b"5.5", "5.5, which is not a whole number"),
        (b"1e-400", "not a whole number"),
        (b"9007199254740991.4", "larger than any index"),
        (b"9007199254740990.5", "not a whole number"),
        (b"9007199254740992", "larger than any index"),
        (b"18446744073709551616", "larger than any index"),
        (b"1e400", "1e400, which is larger than any index"),
        (b"1e999999999999999999999999", "larger than any index .* or cannot be one"),
        (b"1e-99999999999999999999999", "or cannot be one"),
        (b"9" * 5000, "9…, which is larger than any index"),
        (b"NaN", "which is not JSON"),
        (b"Infinity", "which is not JSON"),
        (b"-Infinity", "which is not JSON"),
        (b'{"index": NaN}', "which is not JSON"),
        (b"05", "which is not JSON"),
        (b"5 6", '"5 6", which is not JSON'),
        (b"OK", '"OK", which is not JSON'),
        (b'{"index": 5', "which is not JSON"),
        (b"\xff\xfe5\x00", "which is not JSON"),
        (b"[" * 60_000, "which is not JSON"),
        (b'{"index":' * 7_000, "which is not JSON"),
        (b"5" + b" " * BODY_LIMIT, "more than 65536 bytes"),
    ],
)
@pytest.mark.fault("F101")
def test_a_clear_answer_that_is_no_index_halts(body: bytes, text: str) -> None:
    """The error names the URL without secrets, what was answered, and what to answer instead."""
    with pytest.raises(HaltSyncError, match=text) as caught:
        read(200, body)

    message = str(caught.value)
    assert message.startswith(f"{NAMED}: the status endpoint answers ")
    assert "must answer 200 with the last index it stored" in message
    assert "or 404 if it has none" in message
    assert "secret" not in message
    assert message.isprintable()
    assert len(message) < 500


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *((code, UnauthorisedError) for code in (401, 403)),
        *((code, TryAgainError) for code in (408, 425, 429, 500, 502, 503, 504, 599)),
        *((code, TryAgainError) for code in (201, 202, 204, 206)),
        *((code, WrongAnswerError) for code in (301, 302, 307, 308, 304)),
        *((code, WrongAnswerError) for code in (400, 405, 407, 410, 413, 422, 451)),
        *((code, WrongAnswerError) for code in (-1, 0, 100, 101, 600, 999)),
    ],
)
@pytest.mark.fault("F99")
def test_what_is_no_clear_answer_is_asked_again(code: int, kind: type[TryAgainError]) -> None:
    """It never counts as "no checkpoint": that would send everything again."""
    with pytest.raises(TryAgainError) as caught:
        read(code, b"" if code == 204 else b"5", {"retry-after": "9"})

    assert type(caught.value) is kind
    assert str(code) in caught.value.what
    assert caught.value.where == NAMED
    assert caught.value.retry_after == 9.0


@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_200_without_a_body_is_asked_again(body: bytes) -> None:
    """It says neither an index nor none; the error says what to answer."""
    with pytest.raises(TryAgainError, match="without a readable body") as caught:
        read(200, body)

    assert "404 if it has none" in caught.value.fix


def test_a_compressed_answer_is_asked_again() -> None:
    """None was asked for, so it cannot be read."""
    with pytest.raises(TryAgainError, match="without a readable body"):
        read(200, b"\x1f\x8b", {"content-encoding": "gzip"})


@pytest.mark.parametrize("code", [200, 202])
def test_a_page_is_not_the_service(code: int) -> None:
    """A login page says nothing about the checkpoint."""
    with pytest.raises(WrongAnswerError, match=rf"a page answers \({code}\) in the service's place"):
        read(code, b"\n<!doctype html>")


@given(
    st.integers() | st.sampled_from([200, 204, 301, 401, 404, 500]),
    st.dictionaries(st.sampled_from(["retry-after", "content-type", "content-encoding"]), st.text()),
    st.binary()
    | st.text().map(str.encode)
    | st.integers().map(lambda number: b"%d" % number)
    | st.from_regex(rb'(\{"index": ?)?-?[0-9]{1,30}(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,30})?\}?', fullmatch=True),
    st.text(),
)
def test_any_answer_gives_a_checkpoint_or_our_error(code: int, headers: dict[str, str], body: bytes, url: str) -> None:
    """And an index only from 0 to 2^53-1, only with 200; "none" only with 404."""
    got: object
    try:
        got = status.read(code, headers, body, url=url, now=0.0)
    except (HaltSyncError, TryAgainError) as error:
        got = error

    if isinstance(got, FuagentError):
        assert str(got).isprintable()
        return
    assert 0 <= got.index <= INDEX_MAX
    assert code == {Answer.INDEX: 200, Answer.NONE: 404}[got.answer]


@given(st.integers(0, INDEX_MAX))
@pytest.mark.fault("F101")
def test_every_index_is_read_exactly(index: int) -> None:
    """No digit is lost in either form."""
    assert read(200, b"%d" % index).index == read(200, b'{"index":%d}' % index).index == index
