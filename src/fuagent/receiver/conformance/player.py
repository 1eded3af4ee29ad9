"""Plays probes against a live service and writes down what was sent and what came back."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from urllib.parse import urlencode

import orjson

from fuagent.contract import auth, outcome, status
from fuagent.contract.spec import Service
from fuagent.contract.text import LIMIT, clean
from fuagent.errors import FuagentError, TryAgainError
from fuagent.receiver.cases import Reply, Request, Setup, credential_headers
from fuagent.receiver.cases.exchange import Row
from fuagent.receiver.conformance.findings import Finding, Left, Result
from fuagent.receiver.conformance.link import Broken, Link
from fuagent.receiver.conformance.probes import Lane, Probe
from fuagent.receiver.conformance.rows import Maker
from fuagent.receiver.conformance.target import Target

NOWHERE = frozenset(range(300, 500)) - outcome.TRANSIENT
"""Answers to the first batch after which nothing more can be learnt."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """The exchange in which a lane ended, and what was asked of its answer."""

    request: Request
    reply: Reply | Broken
    asked: str


@dataclass(slots=True)
class Player:
    """One service and who is asking it."""

    link: Link
    target: Target
    service: Service
    maker: Maker
    task: str
    """The task id, or what each probe's own begins with."""
    agent: str
    """What each probe's agent id begins with."""
    left: Left = field(default_factory=Left)
    stopped: str = ""
    """Why nothing more is played."""

    def why_not(self, probe: Probe) -> str:
        """Why the probe cannot be played here; empty where it can."""
        if self.stopped:
            return self.stopped
        if probe.needs_status and self.service.status_url is None:
            return "there is no status endpoint; --status-endpoint names one the document does not"
        if probe.needs_credential and not self.target.has_credential:
            return "no credential was given, so nobody can be a stranger: --key, or --user and --password"
        return ""

    async def play(self, probe: Probe) -> Finding:
        """Hold the probe's conversations and say what became of it.

        Raises:
            TryAgainError: the very first batch reaches nobody.
        """
        reason = self.why_not(probe)
        if reason:
            return Finding(probe.about, Result.SKIPPED, reason)
        rows = probe.rows(self.maker, self.target.rows)
        if isinstance(rows, str):
            return Finding(probe.about, Result.SKIPPED, rows)
        setup = self._setup(probe, rows)
        ended = await asyncio.gather(*(self._converse(lane, setup, slow=probe.is_slow) for lane in probe.lanes))
        failure = next(filter(None, ended), None)
        if failure is None:
            return Finding(probe.about, Result.PASSED)
        self._note_stop(failure)
        return self._told(probe, failure)

    def _note_stop(self, failure: _Failure) -> None:
        """Nothing more is played where no batch has found a way in."""
        reply = failure.reply
        lost = isinstance(reply, Broken) or reply.status in NOWHERE
        if lost and failure.request.method == "POST" and not self.left.tasks:
            why = reply.why if isinstance(reply, Broken) else f"it was answered with {reply.status}"
            self.stopped = f"the first batch was not taken: {why}"

    def _setup(self, probe: Probe, rows: tuple[Row, ...]) -> Setup:
        """Ids of this probe alone, so that no probe sees another's checkpoint."""
        task = self.task if self.target.task_id is not None else f"{self.task}-{probe.about.id}"
        return Setup(
            agent_id=f"{self.agent}-{probe.about.id}",
            task_id=task,
            status_endpoint=None if self.service.status_url is None else "/",
            key=self.target.key,
            user=self.target.user,
            password=self.target.password,
            rows=rows,
            one_task=self.target.task_id is not None,
        )

    async def _converse(self, lane: Lane, setup: Setup, *, slow: bool) -> _Failure | None:
        replies: list[Reply] = []
        for step in lane:
            request = step.send(setup)
            reply = await self._exchange(request, slow=slow)
            if isinstance(reply, Broken):
                return _Failure(request, reply, step.expects[0].text if step.expects else "an answer comes")
            replies.append(reply)
            for expect in step.expects:
                if not expect.met(setup, replies):
                    return _Failure(request, reply, expect.text)
        return None

    async def _exchange(self, request: Request, *, slow: bool) -> Reply | Broken:
        url, headers = self._addressed(request)
        reply = await self.link.send(request.method, url, headers, request.body, slow=slow)
        if isinstance(reply, Broken) and reply.unreachable and not self.left.tasks:
            fix = "start the service, and check host and port"
            raise TryAgainError(reply.why, where=self.service.base_url, fix=fix)
        if isinstance(reply, Reply) and request.method == "POST" and 200 <= reply.status < 300:
            self.left.note(request.headers.get("task-id", ""), _agent(request.body), _events(request.body))
        return reply

    def _addressed(self, request: Request) -> tuple[str, dict[str, str]]:
        """Where it goes, and its headers: with the right credential also what else the document demands."""
        url = self._url(request)
        headers = dict(request.headers)
        if headers.get("authorization") is None or headers["authorization"] != self._authorization():
            return url, headers
        found = auth.access(self.target.credential(), self.service.demands(self.task))
        headers |= {name: value for name, value in found.headers if name.lower() not in headers}
        return (f"{url}{'&' if '?' in url else '?'}{found.query}" if found.query else url), headers

    def _url(self, request: Request) -> str:
        if request.method == "POST":
            return self.service.batch_url(request.headers.get("task-id", self.task))
        url = self.service.status_url or ""
        return f"{url}{'&' if '?' in url else '?'}{urlencode(request.query)}"

    def _authorization(self) -> str | None:
        target = self.target
        return credential_headers(Setup(key=target.key, user=target.user, password=target.password)).get(
            "authorization"
        )

    def _told(self, probe: Probe, failure: _Failure) -> Finding:
        request, reply = failure.request, failure.reply
        head = " ".join(f"{name}: {value}" for name, value in request.headers.items())
        sent = f"{request.method} {self._shown(self._url(request))}  {self._shown(head)}  {self._body(request.body)}"
        if isinstance(reply, Broken):
            return Finding(probe.about, Result.FAILED, reply.why, sent, "no answer", failure.asked)
        came = f"{reply.status} {self._body(reply.body)}"
        return Finding(probe.about, Result.FAILED, _reading(request, reply), sent, came.strip(), failure.asked)

    def _body(self, data: bytes) -> str:
        return self._shown(data[: 16 * LIMIT].decode("utf-8", "replace"))

    def _shown(self, text: str) -> str:
        """The text on one line, its secrets covered before it is cut."""
        return clean(self.target.covered(text), LIMIT)


def _agent(body: bytes) -> str:
    """Which agent a body names; empty where it is no batch."""
    try:
        return str(orjson.loads(body)["agent_id"])
    except (ValueError, TypeError, KeyError):
        return ""


def _events(body: bytes) -> int:
    """How many events a body has; nothing where it is no batch."""
    try:
        events = orjson.loads(body)["events"]
    except (ValueError, TypeError, KeyError):
        return 0
    return len(events) if isinstance(events, list) else 0


def _reading(request: Request, reply: Reply) -> str:
    """What the agent would make of the answer, where that is more than the status itself."""
    if request.method == "POST":
        is_empty = not _events(request.body)
        return outcome.read(reply.status, reply.headers, reply.body, now=time.time(), empty=is_empty).reason
    try:
        status.read(reply.status, reply.headers, reply.body, url="", now=time.time())
    except FuagentError as error:
        return error.what
    return ""
