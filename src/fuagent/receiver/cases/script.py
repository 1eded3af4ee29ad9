"""A scripted service: plays one agent-side case and keeps what the agent broke.

It answers requests it is handed and waits for nothing, so that a test can put
any HTTP server in front of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from fuagent.contract import payload
from fuagent.errors import PayloadError
from fuagent.receiver.cases.checks import EVERY_BATCH, EVERY_QUESTION
from fuagent.receiver.cases.exchange import Act, Ask, Case, Check, Exchange, Exchanged, Reply, Request, Scene


class Script:
    """One conversation: hand every request to :meth:`answer`, do what :meth:`due` says, read :meth:`failures`."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.seen: list[Exchanged] = []
        self._failures: list[str] = []
        self._at = 0
        self._acts = list(case.exchanges[0].acts)
        self._begun = False
        """Whether the exchange at hand has had a request already (only where it may have many)."""

    @property
    def done(self) -> bool:
        """Whether every request that is owed has come."""
        return self._at + self._begun == len(self.case.exchanges)

    def due(self) -> Act | None:
        """What to do now, each act once; None: wait for the agent."""
        return self._acts.pop(0) if self._acts else None

    def failures(self) -> list[str]:
        """Everything the agent owed and did not do, or did and did not owe."""
        if self.done:
            return self._failures
        return [*self._failures, f"{self.case.exchanges[self._at].ask} never came"]

    def answer(self, request: Request) -> Reply:
        """The service's reply to one request of the agent."""
        scene = Scene(self.case.setup, request, tuple(self.seen))
        reply = self._reply(scene)
        self.seen.append(Exchanged(request, reply))
        return reply

    def _awaited(self) -> Exchange | None:
        """The exchange the next request belongs to; None while nothing may come."""
        over = self._at == len(self.case.exchanges)
        return None if over or self._acts else self.case.exchanges[self._at]

    def _reply(self, scene: Scene) -> Reply:
        ask = _classify(scene)
        if ask is None:
            self._failures.append(f"{scene.request.method} {scene.request.path} is nothing the contract knows")
            return Reply(404)
        if self._begun and ask not in {Ask.QUESTION, self.case.exchanges[self._at].ask}:
            self._advance()
        exchange = self._awaited()
        if exchange is not None and exchange.ask is ask:
            return self._owed(exchange, scene)
        if ask is Ask.QUESTION:
            self._verify(ask, EVERY_QUESTION, scene)
            return _truth(scene)
        self._failures.append(f"{ask} came where {exchange.ask if exchange else 'nothing'} was owed")
        return Reply(200, b"{}")

    def _owed(self, exchange: Exchange, scene: Scene) -> Reply:
        always = EVERY_QUESTION if exchange.ask is Ask.QUESTION else EVERY_BATCH
        self._verify(exchange.ask, (*always, *exchange.checks), scene)
        if exchange.many:
            self._begun = True
        else:
            self._advance()
        return exchange.answer if isinstance(exchange.answer, Reply) else exchange.answer(scene)

    def _advance(self) -> None:
        self._at += 1
        self._begun = False
        rest = self.case.exchanges[self._at :]
        self._acts = list(rest[0].acts) if rest else []

    def _verify(self, ask: Ask, checks: Iterable[Check], scene: Scene) -> None:
        self._failures += [f"{ask}: not so: {check.text}" for check in checks if not check.holds(scene)]


def _classify(scene: Scene) -> Ask | None:
    """What the request is; None for what no script can go on with."""
    request = scene.request
    if (request.method, request.path) == ("GET", scene.setup.status_path):
        return Ask.QUESTION
    if request.method != "POST":
        return None
    try:
        batch = payload.read(request.body)
    except PayloadError:
        return None
    if batch.is_snapshot_end:
        return Ask.END
    return Ask.SUGGESTION if batch.snapshot_sync_suggested else Ask.ROWS


def _truth(scene: Scene) -> Reply:
    """What an honest service answers: the largest index it has taken."""
    index = scene.checkpoint
    return Reply(404) if index is None else Reply(200, b'{"index":%d}' % index)
