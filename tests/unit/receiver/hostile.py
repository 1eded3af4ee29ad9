"""What a receiver may be sent by somebody who means it no good, and by somebody whose program is broken."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence

import zstandard
from hypothesis import strategies as st

from harness.receiving import AGENT, KEY

ODD_NAME = 'id") values'
NAMES = ["id", "name", "price", "at", "flag", "raw", "tree", "mark", "rough", "a", "b", "day", "hour", "index"]
NAMES += ["_deleted", ODD_NAME, "fuagent_run", "__class__", "Ⅸ", "", "a\x00b"]
TEXTS = ["", "x", "1", "a\x00b", "\ud800", "😀", "NaN", "Infinity", "-infinity", "1e400", "9" * 400, "0x10", "١٢"]
TEXTS += ["2024-02-30", "2024-02-29T12:00:00Z", "0000-00-00", "10000-01-01", "9999-12-31T23:59:59.999999999-23:59"]
TEXTS += ["0001-01-01T00:00:00+23:59", "24:00:00", "P1Y", "true", "AA==", "A", "=", "' OR 1=1 --", "x" * 70_000]
TEXTS += ["12345678-1234-5678-1234-567812345678", "٢٠٢٤-01-01", "1_000", " 1 ", "\u202e", "\ufeff", "1e-400"]
NUMBERS = ["0", "-0", "1", "-1", "1.0", "1.5", "1e2", "1E400", "-1e-400", "2147483648", "9007199254740992"]
NUMBERS += ["9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551616", "9" * 5000]
WORDS = ["null", "true", "false", "NaN", "Infinity", "nan", "undefined", "01", "+1", "1.", ".5", "0x1"]
TREES = ["[]", "{}", "[1]", '{"a":1}', "[" * 900 + "]" * 900, "[" * 100_000, '{"a":' * 100_000, '[{"id":null}]']
TREES += ['{"a":1,"a":2}', '[NaN, "\\u0000"]', '{"\\u0000":1}']

texts = st.sampled_from(TEXTS) | st.text(max_size=20)
"""As Python has them; a lone surrogate becomes an escape in JSON, which is well-formed there."""
values = st.one_of(
    texts.map(json.dumps),
    st.sampled_from(NUMBERS + WORDS + TREES),
    st.integers().map(str),
    st.floats().map(json.dumps),
)
"""JSON texts of one value, and texts that only look like one."""
GOOD = {
    "id": "1",
    "name": '"n"',
    "price": '"1.5"',
    "at": '"2024-02-29T12:00:00"',
    "a": '"a"',
    "b": "2",
    "flag": "true",
}
"""A row that fits every task."""


def event(changed: Mapping[str, str]) -> str:
    """A row that fits but for what is changed, as JSON text."""
    return _object([*(GOOD | dict(changed)).items()])


def body(task: str, rows: Sequence[str]) -> bytes:
    """A batch of these rows."""
    return _object(_members(task, rows)).encode()


def _members(task: str, rows: Sequence[str]) -> list[tuple[str, str]]:
    flags = [(name, "false") for name in ("is_snapshot_end", "snapshot_sync_suggested")]
    return [("agent_id", json.dumps(AGENT)), ("task_id", json.dumps(task)), *flags, ("events", f"[{','.join(rows)}]")]


def _object(members: Sequence[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in members) + "}"


@st.composite
def events(draw: st.DrawFn) -> str:
    """A row that fits but for a few properties, some of them named twice, or no object at all."""
    if draw(st.integers(0, 19)) == 0:
        return draw(values)
    members = list(GOOD.items())
    members += draw(st.lists(st.tuples(st.sampled_from(NAMES) | texts, values), max_size=3))
    if draw(st.booleans()):
        members = list(dict(members).items())
    if draw(st.booleans()):
        members.append(("index", str(draw(st.integers(1, 2**53)))))
    return _object(members)


@st.composite
def bodies(draw: st.DrawFn, task: str) -> bytes:
    """A batch that is right but for its events, and sometimes for its other members."""
    rows = draw(st.lists(events(), max_size=4))
    members = dict(_members(task, rows))
    if not rows:
        members["is_snapshot_end"] = draw(st.sampled_from(["false", "true"]))
    if draw(st.integers(0, 4)) == 0:
        members[draw(st.sampled_from(sorted(members)))] = draw(values)
    made = _object([*members.items()]).encode()
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(made)))
        made = made[:at] + draw(st.binary(max_size=4)) + made[at:]
    return made


keys = st.one_of(
    st.just(""),
    st.tuples(st.integers(0, 2**70), st.integers(0, 10**20), st.integers(0, 10**20)).map(
        lambda n: f"{n[0]:x}.{n[1]}.{n[2]}"
    ),
    st.text(st.characters(max_codepoint=255, blacklist_characters="\r\n\0"), max_size=300),
    st.sampled_from(["a.1.٣", "1.1.1\t", "." * 100, "f" * 16 + ".1.1"]),
)
"""Values of ``Idempotency-Key``."""

REFUSED = b'{"agent_id":"%b","task_id":"orders","is_snapshot_end":false,' % AGENT.encode() + (
    b'"snapshot_sync_suggested":false,"events":[{"id":"none","price":"none"},{"id":"none","price":"none"}]}'
)
"""A batch that no change of a byte or two makes fit."""


def request(body: bytes, *more: str, target: str = "/ingest-batch", key: str = "", length: object = None) -> bytes:
    """A POST with the right key; ``more`` are header lines, ``length`` stands instead of the body's own."""
    lines = [f"POST {target} HTTP/1.1", "Host: x", f"X-Api-Key: {KEY}", "Connection: close", *more]
    lines += [f"Idempotency-Key: {key}"] if key else []
    lines += [] if length == "none" else [f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(*parts: bytes) -> bytes:
    """A request in chunks as they are given, framing included."""
    return request(b"", "Transfer-Encoding: chunked", length="none") + b"".join(parts)


def question(query: str) -> bytes:
    """A question for the checkpoint."""
    return (
        f"GET /fuagent-sync-status{query} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {KEY}\r\nConnection: close\r\n\r\n".encode()
    )


_MEGABYTES = b"[" * 30_000_000
_RAW_DEFLATE = zlib.compress(REFUSED)
RAW: dict[str, bytes] = {
    "nothing": b"",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "only a line": b"POST /ingest-batch HTTP/1.1\r\n",
    "an unknown method": b"FROB /ingest-batch HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unknown version": b"POST /ingest-batch HTTP/9.9\r\nHost: x\r\n\r\n",
    "a target that cannot be": b"POST http://[:::1/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header without a colon": request(REFUSED, "nonsense"),
    "a header with NUL": request(REFUSED, "x-y: a\x00b"),
    "many headers": request(REFUSED, *(f"x-{n}: y" for n in range(5_000))),
    "a long header": request(REFUSED, "x-y: " + "z" * 500_000),
    "a key that is no ASCII": request(REFUSED).replace(KEY.encode(), b"\xe9\xff\xfe"),
    "a user that is no base64": request(REFUSED, "Authorization: Basic \xff\xfe====").replace(KEY.encode(), b""),
    "two keys": request(REFUSED, "X-Api-Key: other"),
    "half a body": request(REFUSED[:40], length=len(REFUSED)),
    "a length too short": request(REFUSED, length=10),
    "a negative length": request(REFUSED, length=-1),
    "a length of words": request(REFUSED, length="many"),
    "a huge length": request(REFUSED, length=2**70),
    "two lengths": request(REFUSED, "Content-Length: 3"),
    "length and chunks": request(REFUSED, "Transfer-Encoding: chunked"),
    "chunks of garbage": chunked(b"zz\r\nabc\r\n0\r\n\r\n"),
    "a chunk too long": chunked(b"ffffffffffffffffff\r\nabc"),
    "chunks that break off": chunked(b"5\r\nabc"),
    "a negative chunk": chunked(b"-5\r\nabcde\r\n0\r\n\r\n"),
    "garbage as gzip": request(REFUSED, "Content-Encoding: gzip"),
    "half a gzip": request(gzip.compress(REFUSED)[:-5], "Content-Encoding: gzip"),
    "two gzips": request(gzip.compress(REFUSED) * 2, "Content-Encoding: gzip"),
    "a gzip with a wrong sum": request(gzip.compress(REFUSED)[:-8] + b"12345678", "Content-Encoding: gzip"),
    "zlib as gzip": request(_RAW_DEFLATE, "Content-Encoding: gzip"),
    "a bomb of gzip": request(gzip.compress(_MEGABYTES), "Content-Encoding: gzip"),
    "garbage as zstd": request(REFUSED, "Content-Encoding: zstd"),
    "half a zstd": request(zstandard.compress(REFUSED)[:-5], "Content-Encoding: zstd"),
    "a bomb of zstd": request(zstandard.compress(_MEGABYTES), "Content-Encoding: zstd"),
    "a window too large": request(b"\x28\xb5\x2f\xfd\x00\xff" + bytes(20), "Content-Encoding: zstd"),
    "a coding within a coding": request(gzip.compress(gzip.compress(REFUSED)), "Content-Encoding: gzip, gzip"),
    "a coding that is no ASCII": request(REFUSED, "Content-Encoding: gz\xefp"),
    "deep brackets": request(b"[" * 100_000),
    "deep brackets in a row": request(
        REFUSED.replace(b'"none"', b"[" * 100_000 + b"1" + b"]" * 100_000, 1).replace(b'"none"', b"1")
    ),
    "invalid UTF-8": request(REFUSED.replace(b"none", b"\xff\xfe\xc0\x80")),
    "UTF-16": request(REFUSED.decode().encode("utf-16")),
    "a mark of byte order": request(b"\xef\xbb\xbf" + REFUSED),
    "a body twice": request(REFUSED * 2),
    "a question without any query": question(""),
    "a question with an empty query": question("?agent_id=&task_id="),
    "a question with NUL": question("?agent_id=a%00b&task_id=orders"),
    "a question with a surrogate": question("?agent_id=a%ed%a0%80&task_id=orders"),
    "a question with much": question(f"?agent_id={'a' * 5_000}&task_id={'b' * 5_000}"),
    "a question twice": question("?agent_id=a&agent_id=b&task_id=orders&task_id=loose"),
    "a question for another table": question("?agent_id=a&task_id=fuagent_state"),
    "a question with percent": question("?agent_id=%&task_id=%zz"),
}
"""Requests that must change nothing."""
