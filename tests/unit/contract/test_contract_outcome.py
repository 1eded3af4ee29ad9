"""What an answer means: the whole table, and whatever else may come over the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.contract import outcome
from fuagent.contract.outcome import BODY_LIMIT, FAULTS, OVERRIDES, ROWS, Fault
from fuagent.model import Outcome, Refused, Verdict

ACK = Verdict.ACKNOWLEDGED
NEEDED = b'{"snapshot_needed": true}'


def read(status: int, body: bytes = b"", headers: dict[str, str] | None = None, **more: object) -> Outcome:
    """Read an answer at Unix time 0."""
    return outcome.read(status, headers or {}, body, now=0.0, **more)  # type: ignore[arg-type]


VERDICTS = {
    **dict.fromkeys(range(200, 300), Verdict.ACKNOWLEDGED),
    **dict.fromkeys(range(300, 400), Verdict.WRONG_ANSWER),
    **dict.fromkeys(range(400, 500), Verdict.WRONG_ANSWER),
    **dict.fromkeys(range(500, 600), Verdict.RETRY),
    **dict.fromkeys((408, 425, 429), Verdict.RETRY),
    **dict.fromkeys((400, 409, 422), Verdict.REJECTED),
    **dict.fromkeys((401, 403), Verdict.UNAUTHORISED),
    410: Verdict.HALT,
    413: Verdict.SPLIT,
}


@pytest.mark.parametrize("status", VERDICTS)
def test_every_status_has_its_verdict(status: int) -> None:
    """From 200 to 599, one by one."""
    got = read(status)

    assert got.verdict is VERDICTS[status]
    assert got.status == status
    assert got.snapshot_needed is False


@pytest.mark.parametrize("status", [-1, 0, 1, 99, 100, 101, 103, 199, 600, 999, 10**30])
def test_what_is_no_final_status_is_no_answer(status: int) -> None:
    """1xx and numbers out of range are tried again slowly."""
    got = read(status)

    assert got.verdict is Verdict.WRONG_ANSWER
    assert "not a final HTTP status" in got.reason


def test_no_status_is_in_two_rows() -> None:
    """One row per case, and together they cover 200 to 599."""
    statuses = [status for row in ROWS for status in row.statuses]

    assert sorted(statuses) == list(range(200, 600))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.answer)
def test_every_row_has_words(row: outcome.Row) -> None:
    """The reference page prints them; whatever needs the operator says what to do."""
    assert row.answer
    assert row.reason
    assert bool(row.fix) or row.verdict is ACK


@pytest.mark.parametrize("status", [status for status in VERDICTS if status != 202 and VERDICTS[status] is not ACK])
def test_what_is_not_delivered_says_why(status: int) -> None:
    """The status stands in the reason, and something to do beside it."""
    got = read(status)

    assert got.reason.startswith(f"{status}: ")
    assert got.fix


def test_202_says_that_the_checkpoint_may_lag() -> None:
    """Delivered, but queued."""
    got = read(202, NEEDED)

    assert (got.verdict, got.snapshot_needed) == (ACK, True)
    assert "checkpoint may lag" in got.reason


@pytest.mark.parametrize(
    ("body", "needed"),
    [
        (b"", False),
        (b"{}", False),
        (b'{"snapshot_needed": false}', False),
        (NEEDED, True),
        (b"\xef\xbb\xbf \r\n" + NEEDED, True),
        (b'{"snapshot_needed": true, "more": [1]}', True),
        (b'{"snapshot_needed": "true"}', False),
        (b'{"snapshot_needed": "false"}', False),
        (b'{"snapshot_needed": 1}', False),
        (b'{"snapshot_needed": [true]}', False),
        (b'{"snapshot_needed": null}', False),
        (b'{"Snapshot_Needed": true}', False),
        (b'[{"snapshot_needed": true}]', False),
        (b'{"x": {"snapshot_needed": true}}', False),
        (b"true", False),
        (b"OK", False),
        (b'{"snapshot_needed": true', False),
        (b"\xff\xfe{", False),
        (b"[" * 60_000, False),
        (NEEDED + b" " * (BODY_LIMIT - len(NEEDED)), True),
        (NEEDED + b" " * BODY_LIMIT, False),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"content-type": "text/html"}, {"content-type": "application/json"}])
@pytest.mark.fault("F87")
def test_only_a_true_in_an_object_asks_for_a_snapshot(body: bytes, needed: bool, headers: dict[str, str]) -> None:
    """Whatever the Content-Type; everything else is delivered all the same."""
    for status in (200, 201, 204):
        got = read(status, body, headers)

        assert (got.verdict, got.snapshot_needed) == (ACK, needed)


def test_a_plain_success_needs_no_words() -> None:
    """The usual answer leaves nothing to say."""
    assert read(200, b'{"ok": 1}') == Outcome(ACK, status=200)


@pytest.mark.parametrize(
    ("body", "headers", "text"),
    [
        (b'{"snapshot_needed": true', {}, "looks like JSON but is not"),
        (b"{" + b" " * BODY_LIMIT, {}, "longer than 65536 bytes"),
        (b"\x1f\x8b", {"content-encoding": "gzip"}, "compressed although none was asked for"),
    ],
)
def test_an_answer_that_may_hide_a_wish_says_so(body: bytes, headers: dict[str, str], text: str) -> None:
    """Delivered, with a remark."""
    got = read(200, body, headers)

    assert got.verdict is ACK
    assert text in got.reason


ROWS_3_AND_1 = (
    b'{"rejected": [{"row": 3, "reason": "no\\nsuch colour"}, {"row": 1, "more": 5}], "snapshot_needed": true}'
)


def test_a_2xx_may_name_rows_it_rejects() -> None:
    """They come in order, with the service's words on one line; the others of the batch are acknowledged."""
    got = read(200, ROWS_3_AND_1, refusable=4)

    assert (got.verdict, got.snapshot_needed) == (ACK, True)
    assert got.rejected == (Refused(1), Refused(3, "no such colour"))
    assert "colour" not in repr(got)


def test_nobody_is_misread_as_naming_rows() -> None:
    """Unless the configuration says that this service does so, a member called rejected means nothing."""
    got = read(200, ROWS_3_AND_1)

    assert (got.verdict, got.rejected, got.reason) == (ACK, (), "")


def test_one_row_that_is_named_is_refused_as_by_a_422() -> None:
    """Where there is nothing else to acknowledge, the whole answer is a refusal; a wish for a snapshot still holds."""
    got = read(200, b'{"rejected": [{"row": 0, "reason": "no"}], "snapshot_needed": true}', refusable=1)

    assert (got.verdict, got.snapshot_needed, got.rejected) == (Verdict.REJECTED, True, (Refused(0, "no"),))
    assert got.reason == "200: its answer names the row as rejected"
    assert got.fix


@pytest.mark.parametrize("body", [b"", b"OK", b"{}", b"[]", b'{"rejected": []}', b'{"rejected": null}'])
def test_nothing_named_is_nothing_refused(body: bytes) -> None:
    """An empty list, or none, is the ordinary answer."""
    assert read(200, body, refusable=4) == Outcome(ACK, status=200)


@pytest.mark.parametrize(
    ("rejected", "wrong"),
    [
        (b"3", "is no list"),
        (b'{"row": 3}', "is no list"),
        (b"[3]", "something other"),
        (b"[{}]", "something other"),
        (b'[{"row": "3"}]', "something other"),
        (b'[{"row": true}]', "something other"),
        (b'[{"row": 1.0}]', "something other"),
        (b'[{"row": 4}]', "does not have"),
        (b'[{"row": -1}]', "does not have"),
        (b'[{"row": 2}, {"row": 9}]', "does not have"),
        (b'[{"row": 2}, {"row": 2}]', "twice"),
    ],
)
def test_a_list_that_cannot_be_meant_refuses_nothing(rejected: bytes, wrong: str) -> None:
    """Half of a wrong list may be wrong as well: none of it counts, and the warning says so."""
    got = read(200, b'{"rejected": %b}' % rejected, refusable=4)

    assert (got.verdict, got.rejected) == (ACK, ())
    assert wrong in got.warning
    assert got.warning.endswith("every row counts as delivered")


@pytest.mark.parametrize(
    ("body", "headers", "verdict"),
    [
        (b"{" + b" " * BODY_LIMIT, {}, Verdict.SPLIT),
        (b'{"rejected": [', {}, Verdict.WRONG_ANSWER),
        (ROWS_3_AND_1, {"content-encoding": "br"}, Verdict.WRONG_ANSWER),
    ],
)
def test_an_answer_that_may_hide_refused_rows_is_no_success(
    body: bytes, headers: dict[str, str], verdict: Verdict
) -> None:
    """Rows would be lost in silence: an answer that is too long is asked for again in halves, any other slowly."""
    assert read(200, body, headers).verdict is ACK
    assert read(200, body, headers, refusable=4).verdict is verdict


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><title>Sign in</title>",
        b" \t\r\n<html>",
        b"\xef\xbb\xbf<?xml version='1.0'?>",
        b"\xef\xbb\xbf\n <p>",
        "<html>".encode("utf-16"),
        b"\xfe\xff" + "<html>".encode("utf-16-be"),
        b"<" + b"x" * (2 * BODY_LIMIT),
    ],
)
@pytest.mark.fault("F87")
def test_a_page_is_not_the_service(body: bytes) -> None:
    """A login page with 200 must not count as delivered, unless the configuration says that the service means it."""
    assert read(200, body).verdict is Verdict.WRONG_ANSWER
    assert read(204, body, {"content-type": "application/json"}).verdict is Verdict.WRONG_ANSWER
    assert read(200, body, overrides={200: "acknowledge"}).verdict is Verdict.WRONG_ANSWER
    assert read(200, body, accept_html=True).verdict is ACK


def test_a_compressed_page_is_a_page() -> None:
    """Its first character cannot be seen, its Content-Type can."""
    headers = {"content-encoding": "gzip", "content-type": "Text/HTML; charset=utf-8"}

    assert read(200, b"\x1f\x8b", headers).verdict is Verdict.WRONG_ANSWER
    assert read(200, b"<p>", {"content-encoding": "identity"}).verdict is Verdict.WRONG_ANSWER


def test_a_page_is_not_quoted() -> None:
    """Its title may be the message of an error, and that may hold a row."""
    assert "canary" not in read(200, b"<title>canary</title>").reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_names_its_target_without_secrets(status: int) -> None:
    """It is shown, never followed."""
    got = read(status, headers={"location": "https://user:secret@sso.example/login?token=secret"})

    assert got.reason == f"{status}: a redirect, which is never followed (to https://sso.example/login)"


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_a_refused_batch_without_events_halts(status: int) -> None:
    """There is no row to find and nothing to halve."""
    assert read(status, empty=True).verdict is Verdict.HALT
    assert read(503, empty=True).verdict is Verdict.RETRY
    assert read(200, empty=True).verdict is ACK


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", ""),
        (b"{", ""),
        (b'{"detail": "canary"}', ""),
        (b'{"detail": []}', ""),
        (b'{"detail": ["canary"]}', ""),
        (b'{"detail": [{"loc": "canary"}]}', ""),
        (b'{"error": "canary", "id": "0a1b2c3d4e5f"}', " (the service's log says why under 0a1b2c3d4e5f)"),
        (b'{"error": "canary", "id": "canary"}', ""),
        (b'{"name": "canary", "id": "0a1b2c3d4e5f"}', ""),
        (b'["canary"]', ""),
        (
            b'{"detail":[{"type":"int_parsing","loc":["body",null,"events",3,"id"],"msg":"canary","input":"canary"}]}',
            " (body.events.3.id: int_parsing)",
        ),
        (b'{"detail":[{"type":7,"loc":["body\\u001b[2J"]}]}', " (body [2J)"),
        (
            b'{"detail":[{"type":"No canary","loc":["body","events",3,"more","canary",0,"canary"]}]}',
            " (body.events.3.more)",
        ),
    ],
)
def test_a_refusal_says_where_but_never_what(body: bytes, reason: str) -> None:
    """Validation errors echo the value; only the place and the kind of error are shown."""
    got = read(422, body)

    assert got.reason == f"422: the service refuses what is in the batch; it is cut down to the row{reason}"


@pytest.mark.parametrize("status", [status for status in VERDICTS if VERDICTS[status] is not ACK])
def test_no_answer_is_quoted(status: int) -> None:
    """Services echo what they were sent, and that may be a row."""
    got = read(status, b'{"error": "canary"} canary', {"www-authenticate": "canary", "location": "/a?canary"})

    assert "canary" not in got.reason + got.fix


@pytest.mark.parametrize("status", [301, 401, 404, 413, 422, 429, 503])
def test_retry_after_is_kept(status: int) -> None:
    """Seconds and dates, on whatever is not delivered."""
    assert read(status, headers={"retry-after": "7"}).retry_after == 7.0
    assert read(status, headers={"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}).retry_after == 60.0
    assert read(status, headers={"retry-after": "never"}).retry_after is None
    assert read(status).retry_after is None


@pytest.mark.parametrize(
    ("status", "word", "verdict"),
    [
        (409, "acknowledge", ACK),
        (403, "halt", Verdict.HALT),
        (404, "retry", Verdict.RETRY),
        (500, "reject", Verdict.REJECTED),
        (400, "split", Verdict.SPLIT),
        (202, "retry", Verdict.RETRY),
        (101, "halt", Verdict.HALT),
    ],
)
def test_the_configuration_overrides_single_rows(status: int, word: str, verdict: Verdict) -> None:
    """The one status it names, and no other; the reason says who decided."""
    got = read(status, overrides={status: word})

    assert got.verdict is verdict
    assert got.reason == f'{status}: "{word}" by outcomes in the configuration'
    assert read(500, overrides={409: "acknowledge"}).verdict is Verdict.RETRY


def test_an_overridden_status_is_read_like_its_verdict() -> None:
    """A wish for a snapshot in an acknowledged 409 counts, and so does an empty batch."""
    assert read(409, NEEDED, overrides={409: "acknowledge"}).snapshot_needed is True
    assert read(500, empty=True, overrides={500: "reject"}).verdict is Verdict.HALT


def test_overrides_name_what_the_configuration_may_say() -> None:
    """Five words; a credential or a page in the service's place is nothing to choose."""
    assert dict(OVERRIDES) == {
        "acknowledge": ACK,
        "retry": Verdict.RETRY,
        "split": Verdict.SPLIT,
        "reject": Verdict.REJECTED,
        "halt": Verdict.HALT,
    }


@pytest.mark.parametrize("kind", Fault)
def test_every_fault_is_tried_again(kind: Fault) -> None:
    """Nothing that happens on the wire drops a batch; a proxy that refuses is asked slowly."""
    got = outcome.fault(kind, "connection\r\nrefused \x1b[1m")

    assert got.verdict is (Verdict.WRONG_ANSWER if kind is Fault.PROXY else Verdict.RETRY)
    assert got.reason == f"{FAULTS[kind].reason} (connection refused [1m)"
    assert got.fix
    assert got.status is None
    assert outcome.fault(kind).reason == FAULTS[kind].reason


@given(
    st.integers() | st.integers(100, 599),
    st.dictionaries(st.sampled_from(["retry-after", "location", "content-type", "content-encoding"]), st.text()),
    st.binary() | st.text().map(str.encode) | st.sampled_from([NEEDED, b"{}", b"<p>"]),
    st.dictionaries(st.integers(100, 599), st.sampled_from(sorted(OVERRIDES))),
    st.booleans(),
    st.booleans(),
)
def test_any_answer_gives_an_outcome(
    status: int, headers: dict[str, str], body: bytes, overrides: dict[int, str], accept: bool, empty: bool
) -> None:
    """Any bytes, any status: an Outcome fit to be shown, and delivered only if it was 2xx or the configuration said so."""
    got = outcome.read(status, headers, body, now=0.0, overrides=overrides, accept_html=accept, empty=empty)

    assert got.reason.isprintable()
    assert len(got.reason) < 500
    if got.verdict is ACK:
        assert 200 <= status < 300 or overrides.get(status) == "acknowledge"
        assert got.retry_after is None
    else:
        assert got.snapshot_needed is False
    if empty:
        assert got.verdict not in {Verdict.REJECTED, Verdict.SPLIT}
