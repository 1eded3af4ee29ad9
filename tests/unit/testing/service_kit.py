"""The service in memory as the suite for pushers wants it."""

from fuagent.contract import payload
from fuagent.errors import HaltSyncError, TryAgainError
from fuagent.model import Answer, Checkpoint, Outcome, Verdict
from fuagent.testing.clock import ManualClock
from fuagent.testing.pusher_kit import LATER, Act, PusherKit, Said
from fuagent.testing.service import GONE, PAGE, REFUSED, REJECTED, TOO_LARGE, UNAVAILABLE, MemoryPusher, Reply, Service

ACTS = {
    Act.WISH: Reply(Outcome(Verdict.ACKNOWLEDGED, status=200, snapshot_needed=True), stored=True),
    Act.BUSY: Reply(UNAVAILABLE),
    Act.LATER: Reply(Outcome(Verdict.RETRY, "the service answers 503.", status=503, retry_after=LATER)),
    Act.LARGE: Reply(TOO_LARGE),
    Act.REFUSE: Reply(REJECTED),
    Act.DENY: Reply(REFUSED),
    Act.PAGE: Reply(PAGE),
    Act.GONE: Reply(GONE),
}
SAID = {
    Said.INDEX: Checkpoint(Answer.INDEX, 42),
    Said.NONE: Checkpoint(Answer.NONE),
    Said.BUSY: TryAgainError("500"),
    Said.DENY: TryAgainError("401"),
    Said.PAGE: TryAgainError("a page"),
    Said.NONSENSE: HaltSyncError("-5"),
}


class ServiceKit(PusherKit):
    """Each test has a service of its own; ``Driver`` may be a broken one."""

    Driver = MemoryPusher

    def __init__(self, directory):
        super().__init__(directory)
        self.service = Service(ManualClock())

    def pusher(self):
        return self.Driver(self.context(), self.service)

    async def received(self):
        return [request.body for request in self.service.requests]

    def events(self, body):
        return list(payload.read(body).events)

    async def play(self, act):
        self.service.script.append(ACTS[act])

    async def say(self, said):
        self.service.questions.append(SAID[said])
